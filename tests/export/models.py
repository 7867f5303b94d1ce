"""Models to export, and what runs them."""

import keras
import numpy as np
from keras import ops

WORDS = 50


@keras.saving.register_keras_serializable(package="test_export")
class Pool(keras.layers.Layer):
    """Attention over steps with the arithmetic of the package, and with `lowest` free to choose."""

    def __init__(self, units=8, lowest=-3e38, **kwargs):
        super().__init__(**kwargs)
        self.units, self.lowest = units, lowest

    def build(self, value_shape):
        self.hidden = keras.layers.Dense(self.units, activation="tanh", dtype=self.dtype_policy)
        self.score = keras.layers.Dense(1, use_bias=False, dtype=self.dtype_policy)
        self.hidden.build(value_shape)
        self.score.build((*value_shape[:-1], self.units))

    def call(self, value, mask):
        scores = ops.squeeze(self.score(self.hidden(value)), -1)  # (B, T)
        scores = ops.cast(scores, "float32")
        top = ops.max(ops.where(mask, scores, self.lowest), axis=-1, keepdims=True)
        weights = ops.softmax(ops.where(mask, scores - top, -30.0))
        weights = ops.cast(ops.where(mask, weights, 0.0), value.dtype)
        context = ops.matmul(ops.expand_dims(weights, 1), value)  # (B, 1, D)
        return ops.reshape(context, (-1, value.shape[-1]))

    def get_config(self):
        return super().get_config() | {"units": self.units, "lowest": self.lowest}


@keras.saving.register_keras_serializable(package="test_export")
class Apply(keras.layers.Layer):
    """A layer of one function."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return self.function(x)


def classifier(units=2, lowest=-3e38, dtype=None):
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = keras.layers.Embedding(WORDS, 16, name="words", dtype=dtype)(ids)
    x = Pool(name="pool", lowest=lowest, dtype=dtype)(x, ops.not_equal(ids, 0))
    x = keras.layers.Dense(8, activation="relu", dtype=dtype)(x)
    return keras.Model(ids, keras.layers.Dense(units, name="label", dtype=dtype)(x))


def texts(rows=40, steps=12, seed=0):
    """Ids with padding, and which of two kinds of words each row has one or more of."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((rows, steps), "int32")
    labels = rng.integers(0, 2, rows)
    for row, label in zip(ids, labels, strict=True):
        length = rng.integers(3, steps + 1)
        row[:length] = rng.integers(20, WORDS, length)
        row[rng.choice(length, 2, replace=False)] = rng.integers(1, 10, 2) + 10 * label
    return ids, labels


def small_model(function=None, name="odd"):
    x = keras.Input((None, 4), name="x")
    y = keras.layers.Dense(4, name="first")(x)
    if function is not None:
        y = Apply(function, name=name)(y)
    return keras.Model(x, keras.layers.Dense(3, name="last")(y))


def numbers(rows=10, steps=5):
    return np.random.default_rng(0).normal(size=(rows, steps, 4)).astype("float32")


def run_tflite(path, name=None, custom=(), /, **inputs):
    from ai_edge_litert import interpreter as litert

    if custom:
        interpreter = litert.InterpreterWithCustomOps(custom, model_path=str(path))
    else:
        interpreter = litert.Interpreter(str(path))
    return interpreter.get_signature_runner(name)(**inputs)


def tree_of(folder):
    """Each file below a folder with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
