"""A classifier of clips: what a frame tells, what reads the frames, and attention over them.

frames -> features of each frame -> encoder -> attention pooling -> the class

A frame whose numbers are all 0 is not there: so clips of different lengths stand in one batch.
"""

import itertools

import keras
import numpy as np
from keras import layers, ops

import keras_attention as ka
from recipes.parts.equal_weights import EqualScore

KERNEL = 3  # frames that a convolution sees


def is_there(frames):
    """Which frames `(B, T, F)` are no padding: boolean `(B, T)`."""
    return ops.max(ops.abs(frames), axis=-1) > 0.0


@keras.saving.register_keras_serializable(package="recipes")
class PoseFeatures(layers.Layer):
    """What a frame of joints tells: where they are, how they move, and how far apart they are.

        x_tj = (pose_tj - mean pose of the clip) / s;  c_t = mean_j x_tj
        features_t = [x_t - c_t, c_t, x_{t+1} - x_t, x_{t+2} - x_t, |x_ti - x_tj| for i < j]

    with s the root mean square distance of the joints from the middle of their frame. So neither
    the place in the picture nor the distance from the camera counts.

    Call arguments:
        frames: Float tensor `(B, T, 2 J)`: x and y of each joint in turn.
        mask: Boolean `(B, T)`, which frames are there.

    Returns:
        Float tensor `(B, T, 6 J + 2 + J (J - 1) / 2)`, zeros where no frame is. A difference to a
        frame that is not there is 0.

    Reference:
        Yang et al., 2019 (DD-Net), section 3, https://arxiv.org/abs/1907.09658. There the fast
        motion skips every other frame, and the poses themselves are not read.
    """

    def call(self, frames, mask):
        joints = frames.shape[-1] // 2
        there = ops.expand_dims(ops.cast(mask, frames.dtype), (2, 3))  # (B, T, 1, 1)
        x = ops.reshape(frames, (-1, ops.shape(frames)[1], joints, 2))
        count = ops.maximum(ops.sum(there, axis=1, keepdims=True), 1.0)  # (B, 1, 1, 1)
        centre = ops.mean(x, axis=2, keepdims=True)  # (B, T, 1, 2)
        x = x - ops.sum(centre * there, axis=1, keepdims=True) / count
        centre = ops.mean(x, axis=2, keepdims=True)
        spread = ops.sum(ops.square(x - centre), axis=(2, 3), keepdims=True) / joints
        spread = ops.sum(spread * there, axis=1, keepdims=True) / count
        scale = 1.0 / ops.sqrt(spread + 1e-12)  # (B, 1, 1, 1)
        x, centre = x * scale * there, centre * scale * there
        ahead = ops.pad(x, [[0, 0], [0, 2], [0, 0], [0, 0]])  # (B, T + 2, J, 2)
        there_ahead = ops.pad(there, [[0, 0], [0, 2], [0, 0], [0, 0]])
        slow = (ahead[:, 1:-1] - x) * there_ahead[:, 1:-1]
        fast = (ahead[:, 2:] - x) * there_ahead[:, 2:]
        first, second = np.array(list(itertools.combinations(range(joints), 2)), "int32").T
        apart = ops.take(x, first, axis=2) - ops.take(x, second, axis=2)
        apart = ops.sqrt(ops.sum(ops.square(apart), axis=-1) + 1e-6)  # (B, T, J (J - 1) / 2)
        rows = (-1, ops.shape(frames)[1])
        parts = [ops.reshape(part, (*rows, 2 * joints)) for part in (x - centre, slow, fast)]
        parts += [ops.reshape(centre, (*rows, 2)), apart]
        return ops.concatenate(parts, axis=-1) * ops.squeeze(there, 3)

    def compute_output_shape(self, frames_shape, mask_shape=None):
        joints = frames_shape[-1] // 2
        return (*frames_shape[:-1], 6 * joints + 2 + joints * (joints - 1) // 2)


def statistics(clips, joints):
    """Mean and variance of each feature over all frames of clips, arrays `(F,)`.

    Args:
        clips: List of arrays `(T, N)`.
        joints: Whether the numbers of a frame are joints.
    """
    features = [_features(ops.convert_to_tensor(clip[None]), joints)[0] for clip in clips]
    rows = np.concatenate([ops.convert_to_numpy(one)[0] for one in features])
    return rows.mean(0), rows.var(0) + 1e-4


def _features(frames, joints):
    """Features of frames `(B, T, N)`, and which frames are there."""
    mask = is_there(frames)
    return (PoseFeatures(name="pose")(frames, mask) if joints else frames), mask


def classifier(config, size, num_classes, mean, variance, *, joints, attention):
    """The model from frames to class.

    Args:
        config: A `recipes.action_recognition.Config`.
        size: Integer N, numbers of a frame.
        num_classes: Integer C.
        mean, variance: Arrays, as of `statistics`.
        joints: Whether the numbers of a frame are joints.
        attention: String, a score of `ka.AttentionPooling`, or `"none"` for equal weights.

    Returns:
        Model of `frames` `(B, T, N)` to a dict of `probability` `(B, C)` and `weights` `(B, T)`,
        which sum to one.
    """
    frames = keras.Input((None, size), name="frames")
    x, mask = _features(frames, joints)
    x = layers.Normalization(mean=mean.tolist(), variance=variance.tolist(), name="normalize")(x)
    x = layers.Dropout(config.input_dropout, seed=config.seed, name="hide")(x)
    x = layers.Dense(config.units, activation="relu", name="frame")(x)
    x = {"cnn": _cnn, "gru": _gru, "transformer": _transformer}[config.encoder](config, x, mask)
    pool = ka.AttentionPooling(
        score=EqualScore() if attention == "none" else attention, name="attention"
    )
    vector, weights = pool(x, mask=mask, return_attention_scores=True)
    vector = layers.Dropout(config.dropout, seed=config.seed + 1)(vector)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(vector)
    outputs = {
        "probability": layers.Softmax(name="probability", dtype="float32")(logits),
        "weights": ops.cast(weights, "float32"),
    }
    return keras.Model(frames, outputs, name="classifier")


def of_pictures(backbone, classify):
    """The model from pictures to class, of a network that sees and one that tells.

    Args:
        backbone: Model from images `(B, size, size, 3)` to features `(B, N)`.
        classify: As `classifier` returns it, for frames of N numbers.

    Returns:
        Model of `frames` `(B, T, size, size, 3)`, 0 to 255, to what `classify` gives. A black frame
        is not there.
    """
    shape = backbone.input_shape[1:]
    frames = keras.Input((None, *shape), name="frames")
    return keras.Model(frames, classify(EachFrame(backbone, name="see")(frames)))


@keras.saving.register_keras_serializable(package="recipes")
class EachFrame(layers.Wrapper):
    """What a network sees in each picture of clips: zeros where a picture is black.

    Call arguments:
        frames: Float tensor `(B, T, size, size, 3)`.

    Returns:
        Float tensor `(B, T, N)`, for a network from `(B, size, size, 3)` to `(B, N)`.
    """

    def build(self, frames_shape):
        self.built = True  # the network came with its weights

    def call(self, frames):
        size, count = self.layer.output_shape[-1], ops.shape(frames)[1]
        seen = self.layer(ops.reshape(frames, (-1, *frames.shape[2:])), training=False)
        there = ops.cast(ops.max(frames, axis=(2, 3, 4)) > 0.0, seen.dtype)
        return ops.reshape(seen, (-1, count, size)) * ops.expand_dims(there, -1)

    def compute_output_shape(self, frames_shape):
        return (*frames_shape[:2], self.layer.output_shape[-1])


def _cnn(config, x, mask):
    there = ops.expand_dims(ops.cast(mask, x.dtype), -1)
    for number in range(1, config.blocks + 1):
        conv = layers.Conv1D(
            config.units, KERNEL, padding="same", dilation_rate=2 ** (number - 1),
            name=f"block_{number}",
        )  # fmt: skip
        y = layers.LayerNormalization(name=f"norm_{number}")(conv(x * there))
        y = layers.Dropout(config.dropout, seed=config.seed + 1 + number)(ops.relu(y))
        x = x + y
    return x


def _gru(config, x, mask):
    for number in range(1, config.blocks + 1):
        # Not `layers.GRU`, which TFLite takes for one size of batch alone.
        one_way = ka.ExportableRNN(layers.GRUCell(config.units // 2), return_sequences=True)
        x = layers.Bidirectional(one_way, name=f"block_{number}")(x, mask=mask)
        x = layers.Dropout(config.dropout, seed=config.seed + 1 + number)(x)
    return x


def _transformer(config, x, mask):
    for number in range(1, config.blocks + 1):
        block = ka.TransformerEncoderBlock(
            2 * config.units,
            attention=ka.MultiHeadAttention(
                config.heads, config.units // config.heads, position=ka.RotaryPositionEmbedding()
            ),
            dropout=config.dropout,
            norm_first=True,
            seed=config.seed + 10 * number,
            name=f"block_{number}",
        )
        x = block(x, mask=mask)
    return layers.LayerNormalization(name="norm")(x)
