"""Parts of a detector: its blocks, its losses, and from its maps to boxes.

A cell of the finest grid is `STRIDE` pixels wide. The network says for each cell how probable it is
the middle of a thing of each class, and how far the sides of that thing's box are from the middle
of the cell: left, top, right, bottom.
"""

import math

import keras
from keras import layers, ops

import keras_attention as ka

STRIDE = 4  # pixels of a cell of the finest grid, along each side
COARSEST = 16  # of the grid over which attention looks


def convolve(x, filters, kernel=3, strides=1, activation="relu"):
    """A convolution with batch normalization."""
    x = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.95)(x)  # few steps make an epoch
    return layers.Activation(activation)(x) if activation else x


def residual(x, cbam):
    """A residual block; with `cbam` its branch ends in convolutional block attention."""
    filters = x.shape[-1]
    y = convolve(convolve(x, filters), filters, activation=None)
    if cbam:
        y = ka.ConvBlockAttention(reduction_ratio=8)(y)
    return layers.Activation("relu")(layers.Add()([x, y]))


def look_around(x, heads, blocks, dropout, seed):
    """Self-attention over all cells of a grid.

    Returns:
        The grid, and the weights `(B, S, S)` of the last block, a mean over its heads.
    """
    _, height, width, size = x.shape
    x = ka.SinusoidalPositionEncoding2D(name="position")(x)
    x = layers.Reshape((height * width, size))(x)
    for number in range(blocks):
        block = ka.TransformerEncoderBlock(
            2 * size, heads, dropout=dropout, norm_first=True, seed=seed + number,
            name=f"look_{number + 1}",
        )  # fmt: skip
        x, weights = block(x, return_attention_scores=True)
    return layers.Reshape((height, width, size))(x), ops.mean(weights, axis=1)


def stay(x, blocks, dropout, seed):
    """What stands in place of `look_around` without attention: its feed-forward networks."""
    size = x.shape[-1]
    for number in range(blocks):
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        y = layers.Dense(size)(layers.Dense(2 * size, activation="relu")(y))
        x = layers.Add()([x, layers.Dropout(dropout, seed=seed + number)(y)])
    return x


def merge(coarse, fine):
    """A coarse grid laid over the next finer one."""
    x = layers.Conv2D(fine.shape[-1], 1)(coarse)
    return convolve(layers.Add()([layers.UpSampling2D()(x), fine]), fine.shape[-1])


@keras.saving.register_keras_serializable(package="keras_attention_recipes")
class Sides(layers.Layer):
    """Distances in pixels, all positive, from numbers of any sign: `typical exp(x)`.

    Args:
        typical: Positive number, pixels.
    """

    def __init__(self, typical, **kwargs):
        super().__init__(**kwargs)
        self.typical = typical

    def call(self, x):
        return ops.exp(ops.clip(x, -5.0, 4.0) + math.log(self.typical))

    def get_config(self):
        return {**super().get_config(), "typical": self.typical}


def head(x, outputs, name, bias=0.0):
    """Numbers for each cell."""
    x = convolve(x, x.shape[-1])
    return layers.Conv2D(
        outputs, 1, bias_initializer=keras.initializers.Constant(bias), name=name, dtype="float32"
    )(x)


# -------------------------------------------------------------------------------- losses


def focal_loss(heat, logits):
    """The focal loss of the middles, for each image.

    With y the target, 1 in the cells of the middles and less around, and p the probability:

        -(1 - p)^2 log p                    where y = 1
        -(1 - y)^4 p^2 log(1 - p)           elsewhere

    summed over cells and classes, over the mean number of middles in an image.

    Args:
        heat: Float `(B, H, W, C)`, y.
        logits: Float `(B, H, W, C)`.

    Returns:
        Float `(B,)`.

    Reference:
        Zhou et al., 2019, eq. 1, https://arxiv.org/abs/1904.07850
    """
    middle = ops.cast(heat >= 1.0, logits.dtype)
    p, log_p, log_q = ops.sigmoid(logits), ops.log_sigmoid(logits), ops.log_sigmoid(-logits)
    found = middle * ops.square(1.0 - p) * log_p
    other = (1.0 - middle) * ops.square(ops.square(1.0 - heat)) * ops.square(p) * log_q
    count = ops.mean(ops.sum(middle, axis=(1, 2, 3)))
    return -ops.sum(found + other, axis=(1, 2, 3)) / ops.maximum(count, 1.0)


def overlap_loss(boxes, sides):
    """The mean of 1 - GIoU over the cells of a thing, for each image.

    GIoU is intersection over union, less the share of the smallest box around both that neither
    covers. As both boxes contain the middle of the cell, the distances are all it takes.

    Args:
        boxes: Float `(B, H, W, 5)`, the true distances and the cell's weight, 0 for most.
        sides: Float `(B, H, W, 4)`, distances.

    Returns:
        Float `(B,)`.

    Reference:
        Rezatofighi et al., 2019, https://arxiv.org/abs/1902.09630
    """
    true, weight = boxes[..., :4], boxes[..., 4]

    def area(x):
        return (x[..., 0] + x[..., 2]) * (x[..., 1] + x[..., 3])

    # A middle may lie a little outside of a thin box.
    meets = ops.maximum(_spans(ops.minimum(true, sides)), 0.0)
    meets = meets[..., 0] * meets[..., 1]
    union = ops.maximum(area(true) + area(sides) - meets, 1e-6)
    around = ops.maximum(area(ops.maximum(true, sides)), 1e-6)
    loss = 1.0 - meets / union + (around - union) / around
    total = ops.mean(ops.sum(weight, axis=(1, 2)))
    return ops.sum(weight * loss, axis=(1, 2)) / ops.maximum(total, 1e-6)


def _spans(sides):
    return ops.stack([sides[..., 0] + sides[..., 2], sides[..., 1] + sides[..., 3]], axis=-1)


# ---------------------------------------------------------------------- from maps to boxes


def detect(heat, sides, size, *, most, overlap, weights=None):
    """The boxes of images, the most certain first.

    A cell counts that is the largest of its class among its eight neighbours; of those the `most`
    largest; of two of a class that overlap by more than `overlap` the less certain goes
    (greedily, in the order of their scores).

    Args:
        heat: Float `(B, H, W, C)`, logits.
        sides: Float `(B, H, W, 4)`, distances in pixels of the network's input.
        size: Integers `(B, 2)`, height and width of the given picture.
        most: Integer K.
        overlap: Float, intersection over union.
        weights: Float `(B, S, S)`, attention weights of the coarsest grid, or `None`.

    Returns:
        Dict of `boxes` `(B, K, 4)`, left, top, right and bottom in pixels of the given picture;
        `scores` `(B, K)`, 0 behind the last; `classes` `(B, K)`; `count` `(B,)`; with weights also
        `weights` `(B, K, S)`: where the cell looked in which the middle of the box lies.

    Reference:
        Zhou et al., 2019, section 3, https://arxiv.org/abs/1904.07850
        With suppression, which the paper leaves out: a large thing has several peaks.
    """
    _, height, width, classes = heat.shape
    most = min(most, height * width * classes)
    probability = ops.sigmoid(heat)
    is_peak = probability >= ops.max_pool(probability, 3, strides=1, padding="same")
    peaks = ops.where(is_peak, probability, 0.0)
    scores, index = ops.top_k(ops.reshape(peaks, (-1, height * width * classes)), most)  # (B, K)
    index = ops.cast(index, "int32")
    cells, kinds = index // classes, index % classes
    boxes = _boxes(ops.reshape(sides, (-1, height * width, 4)), cells, height, width)
    scores = scores * suppress(boxes, kinds, overlap)
    scores, order = ops.top_k(scores, most)
    order = ops.cast(order, "int32")
    boxes, kinds, cells = _rows(boxes, order), _take(kinds, order), _take(cells, order)
    given = ops.cast(size, "float32")  # (B, 2)
    scale = given / ops.convert_to_tensor([height * STRIDE, width * STRIDE], "float32")
    scale = ops.concatenate([scale[:, 1:], scale[:, :1]] * 2, axis=1)[:, None]  # (B, 1, 4)
    limits = ops.concatenate([given[:, 1:], given[:, :1]] * 2, axis=1)[:, None]
    found = {
        "boxes": ops.minimum(ops.maximum(boxes * scale, 0.0), limits),
        "scores": scores,
        "classes": kinds,
        "count": ops.sum(ops.cast(scores > 0, "int32"), axis=1),
    }
    if weights is not None:
        ratio = COARSEST // STRIDE
        row, column = cells // width // ratio, cells % width // ratio
        found["weights"] = _rows(ops.cast(weights, "float32"), row * (width // ratio) + column)
    return found


def suppress(boxes, kinds, overlap):
    """Non-maximum suppression: 1 for the boxes that stay, else 0.

    Args:
        boxes: Float `(B, K, 4)`, the most certain first.
        kinds: Integers `(B, K)`, their classes.
        overlap: Float, intersection over union above which the later of two of a class goes.

    Returns:
        Float `(B, K)`.
    """
    low = ops.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = ops.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    meets = ops.prod(ops.maximum(high - low, 0.0), axis=-1)  # (B, K, K)
    areas = ops.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)
    union = areas[:, :, None] + areas[:, None] - meets
    place = ops.arange(boxes.shape[1])
    beats = ops.cast(
        (meets > overlap * union)
        & (kinds[:, :, None] == kinds[:, None])
        & (place[:, None] < place)[None],
        "float32",
    )  # whether i beats j, if it stays itself
    keep = ops.ones_like(areas)

    def losing(keep):
        return ops.cast(ops.max(keep[..., None] * beats, axis=1) < 0.5, "float32")

    # Repeated until nothing changes this is the greedy search: in each round what stands behind
    # a longer chain of boxes is decided, so few rounds do.
    keep, _ = ops.while_loop(
        lambda keep, before: ops.any(keep != before),
        lambda keep, before: (losing(keep), keep),
        (losing(keep), keep),
        maximum_iterations=boxes.shape[1],
    )
    return keep


def _boxes(sides, cells, height, width):
    """Boxes `(B, K, 4)` of cells `(B, K)`, in pixels of the network's input."""
    sides = _rows(sides, cells)
    x, y = (
        STRIDE * (ops.cast(place, "float32") + 0.5) for place in (cells % width, cells // width)
    )
    low = ops.stack([x, y], axis=-1) - sides[..., :2]
    return ops.concatenate([low, ops.stack([x, y], axis=-1) + sides[..., 2:]], axis=-1)


def _rows(x, index):
    """Rows of `(B, N, D)` at `(B, K)`."""
    return ops.take_along_axis(x, index[..., None], axis=1)


def _take(x, index):
    return ops.take_along_axis(x, index, axis=1)
