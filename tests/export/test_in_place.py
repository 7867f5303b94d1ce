"""What plain kernels overwrite."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.export import export_model, in_place
from tests.backend import needs_tensorflow
from tests.export.models import numbers, small_model


def run_plain(content, *arrays):
    """The first output of a TFLite file, by the plain kernels; inputs in the file's order."""
    from ai_edge_litert import interpreter as litert

    interpreter = litert.Interpreter(
        model_content=content,
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def converted(function, *shapes):
    import tensorflow as tf

    specs = [tf.TensorSpec(shape) for shape in shapes]
    concrete = tf.function(function).get_concrete_function(*specs)
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()


def two_shapes_of(make):
    """A function that reads what `make` makes in one shape after it changed it in another."""
    import tensorflow as tf

    def function(x, factor):
        y = make(x)  # (1, 4)
        larger = tf.reshape(tf.reshape(y, (4, 1)) * factor, (1, 4, 1))
        return tf.concat([tf.reshape(y, (1, 4, 1)), larger], -1)

    return function


X, FACTOR = np.array([[0.5, 1, 2, 3]], "float32"), np.array([[10]], "float32")


@needs_tensorflow
@pytest.mark.parametrize("operator", ["softmax", "multiply", "add", "divide"])
def test_plain_kernels_overwrite_what_is_read_later(operator):
    """Why files get copies; that the plain kernels err is TFLite's fault, of ai-edge-litert 2.3."""
    import tensorflow as tf

    make = {
        "softmax": lambda x: tf.nn.softmax(x * 2.0),
        "multiply": lambda x: tf.exp(x + 1.0) * 3.0,
        "add": lambda x: x * 2.0 + 1.0,
        "divide": lambda x: (x + 1.0) / (2.0 + tf.reduce_sum(x)),
    }[operator]
    content = converted(two_shapes_of(make), (1, 4), (1, 1))
    expected = two_shapes_of(make)(X, FACTOR).numpy()
    safe = in_place.protect(content)
    np.testing.assert_allclose(run_plain(safe, X, FACTOR), expected, rtol=1e-5)
    assert in_place.protect(safe) == safe
    if operator == "softmax":
        wrong = run_plain(content, X, FACTOR)[..., 0]
        np.testing.assert_allclose(wrong, 10 * expected[..., 0], rtol=1e-5)


@needs_tensorflow
def test_files_without_the_danger_stay_as_they_are(tmp_path, monkeypatch):
    """A copy is made only where memory is shared and still read: most files have no such place."""
    import tensorflow as tf

    def read_before(x, factor):
        y = tf.nn.softmax(x * 2.0)
        first = tf.reshape(y, (1, 4, 1)) + 1.0
        return tf.concat([first, tf.reshape(tf.reshape(y, (4, 1)) * factor, (1, 4, 1))], -1)

    content = converted(lambda x, factor: tf.reshape(x * 2.0, (4, 1)) * factor, (1, 4), (1, 1))
    assert in_place.protect(content) == content
    content = in_place.protect(converted(read_before, (1, 4), (1, 1)))
    np.testing.assert_allclose(run_plain(content, X, FACTOR), read_before(X, FACTOR), rtol=1e-5)
    inserted = []
    monkeypatch.setattr(in_place, "_copy_before", lambda *args: inserted.append(args))
    export_model(small_model(), tmp_path, numbers(), formats=["tflite"])
    assert not inserted


@needs_tensorflow
@pytest.mark.parametrize("batch", [1, None])
def test_weights_in_two_shapes(tmp_path, batch):
    """Weights that are returned, and scaled for something else: the sentiment recipe's case."""
    x = keras.Input(batch_shape=(batch, 5, 4), name="x")
    scores = ops.reshape(keras.layers.Dense(1)(x), (-1, 1, 5)) * 2.0  # of one query
    weights = ops.squeeze(ops.softmax(scores, axis=-1), 1)
    strength = ops.exp(ops.max(x, axis=1)[:, :1])
    contribution = ops.expand_dims(weights * strength, -1) * x
    model = keras.Model(
        x, {"all": ops.concatenate([ops.expand_dims(weights, -1), contribution], axis=-1)}
    )
    forms = ["tflite", "tflite_full_int8"]
    bounds = {"tflite_full_int8": {"difference": 0.1, "agreement": None}}
    export_model(model, tmp_path, numbers(), formats=forms, bounds=bounds)
