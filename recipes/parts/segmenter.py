"""A segmentation network in use: any size, tiles, exports and pictures.

The network takes pixels in deviations from the mean of their image, with sides that are multiples
of its `unit`, and gives `logits` and, by name, its gates; see
`recipes.image_segmentation.build_model`.
"""

import keras
import numpy as np
import tensorflow as tf

import keras_attention as ka
from recipes.data.images import statistics
from recipes.kit import exports
from recipes.parts.segmented import TILE, Reading

# A pixel whose probability is near the threshold may change sides.
_CLOSE = {"difference": 1e-2, "agreement": 0.999}
BOUNDS = {
    "saved_model": _CLOSE,
    "tflite": _CLOSE,
    "tflite_float16": {"difference": None, "agreement": 0.99},
    "tflite_int8": {"difference": None, "agreement": 0.95},
}


def unit_of(model):
    """Of how many pixels the sides of an image must be a multiple: as much as the network pools."""
    pools = [x for x in model.layers if isinstance(x, keras.layers.MaxPooling2D)]
    return 2 ** len(pools)


def segment(model, image, mean=None, deviation=None):
    """What the network says of uint8 images `(B, H, W, 3)` of any size.

    Args:
        model: The network.
        image: uint8 tensor.
        mean, deviation: Float tensors `(B,)` of all values of the image; computed by default. For
            a tile they are those of the whole image.

    Returns:
        Dict of `probability` `(B, H, W)` and of the gates, each `(B, h, w)` at its own level.
    """
    pixels = tf.cast(image, tf.float32)
    if mean is None:
        mean = tf.reduce_mean(pixels, axis=(1, 2, 3))
        square = tf.reduce_mean(tf.square(pixels - mean[:, None, None, None]), axis=(1, 2, 3))
        deviation = tf.sqrt(square)
    deviation = tf.maximum(deviation, 1.0)
    pixels = (pixels - mean[:, None, None, None]) / deviation[:, None, None, None]
    rows, columns = keras.ops.shape(pixels)[1:3]
    unit = unit_of(model)
    for axis, length in ((1, rows), (2, columns)):
        if isinstance(length, int) and length % unit == 0:
            continue
        # Its edge goes on until the image has a size that the network takes.
        places = tf.minimum(tf.range(-(-length // unit) * unit), length - 1)
        pixels = tf.gather(pixels, places, axis=axis)
    outputs = model(pixels, training=False)
    probability = tf.sigmoid(outputs.pop("logits"))[:, :rows, :columns]
    return {"probability": probability, **outputs}


def reader_of(model):
    """`Reading` of a Keras network, compiled once for all sizes."""
    specs = [tf.TensorSpec((1, None, None, 3), tf.uint8), *[tf.TensorSpec((1,), tf.float32)] * 2]
    # Nothing here is Python that AutoGraph would have to rewrite, which takes it seconds.
    graph = tf.function(
        lambda *tensors: segment(model, *tensors), input_signature=specs, autograph=False
    )

    def run(image, mean, deviation):
        outputs = graph(tf.constant(image), tf.constant(mean), tf.constant(deviation))
        return {name: x.numpy() for name, x in outputs.items()}

    return Reading(run, None)


def export(model, folder, images, tile):
    """Writes all forms.

    Args:
        model: The network.
        folder: Path.
        images: List of uint8 arrays on which the forms are compared.
        tile: Integer, pixels along each side of what the TFLite files take.

    Returns:
        As `kit.exports.export`.
    """
    tiles = {name: [] for name in ("image", "mean", "deviation")}
    for image in images:
        rows, columns = (min(tile, length) for length in image.shape[:2])
        missing = [(0, tile - rows), (0, tile - columns), (0, 0)]
        tiles["image"].append(np.pad(image[:rows, :columns], missing, "edge"))
        for name, value in zip(("mean", "deviation"), statistics(image), strict=True):
            tiles[name].append(value)
    tiles = {name: np.stack(x) for name, x in tiles.items()}

    def signature(name, batch, side, **kept):
        specs = {"image": ((batch, side, side, 3), "uint8")}
        specs |= dict.fromkeys(kept, ((batch,), "float32"))
        samples = {"image": tiles["image"], **kept}
        return ka.Signature(name, segment, specs, samples, decision=is_foreground)

    known = {name: tiles[name] for name in ("mean", "deviation")}
    figures = exports.export(
        model,
        folder,
        formats="saved_model",
        signatures=[signature("segment", None, None), signature(TILE, None, None, **known)],
        bounds=BOUNDS,
    )
    figures |= exports.export(
        model,
        folder,
        formats=[form for form in exports.FORMS if form != "saved_model"],
        signatures=[signature(TILE, 1, tile, **known)],
        adds=True,
        bounds=BOUNDS,
    )
    return figures


def is_foreground(outputs):
    """The decision of each pixel."""
    return outputs["probability"] > 0.5
