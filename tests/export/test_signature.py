"""Signatures and their samples."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.export import ExportError, Signature, export_model
from tests.backend import needs_tensorflow
from tests.export.models import numbers, run_tflite, small_model


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"name": "a b"}, "`name` must be a Python identifier.*'a b'"),
        ({"function": 3}, "`function` must be a function.*3"),
        ({"inputs": {}}, "`inputs` must be a dict"),
        ({"inputs": {"self": ((None,), "int32")}}, "names of `inputs`.*not be `self`.*'self'"),
        ({"inputs": {"a b": ((None,), "int32")}}, "names of `inputs` must consist of.*'a b'"),
        ({"function": lambda model, y: y}, r"`function` of signature `a`.*\['x'\].*'y'"),
        ({"function": lambda: 0}, "`function` of signature `a` must take a model"),
        ({"decision": 1}, "`decision` must be.*1"),
    ],
)
def test_rejects_bad_signature(arguments, match):
    good = {
        "name": "a",
        "function": lambda model, x: x,
        "inputs": {"x": ((None,), "int32")},
        "samples": [1],
    }
    Signature(**good)
    with pytest.raises(ValueError, match=match):
        Signature(**good | arguments)


LEFT, RIGHT = np.ones((6, 4), "float32"), numbers(rows=6)

TARGETS, SHARES = np.zeros(6, "float32"), np.ones(6, "float32")


def signature_of(names):
    shapes = {"left": (None, 4), "right": (None, None, 4)}
    inputs = {name: (shapes[name], "float32") for name in names}
    return lambda samples: Signature("a", lambda model, **tensors: model, inputs, samples)


@needs_tensorflow
@pytest.mark.parametrize(
    "names, element",
    [
        (["right"], RIGHT),
        (["right"], (RIGHT,)),
        (["right"], (RIGHT, TARGETS)),
        (["right"], (RIGHT, TARGETS, SHARES)),
        (["right"], ((RIGHT,), TARGETS)),
        (["right"], {"right": RIGHT}),
        (["right"], ({"right": RIGHT},)),
        (["right"], ({"right": RIGHT}, TARGETS)),
        (["left", "right"], (LEFT, RIGHT)),
        (["left", "right"], ((LEFT, RIGHT),)),
        (["left", "right"], ((LEFT, RIGHT), TARGETS)),
        (["left", "right"], ((LEFT, RIGHT), TARGETS, SHARES)),
        (["left", "right"], {"right": RIGHT, "left": LEFT}),
        (["left", "right"], ({"right": RIGHT, "left": LEFT},)),
        (["left", "right"], ({"right": RIGHT, "left": LEFT}, TARGETS, SHARES)),
    ],
)
def test_samples_in_each_form(names, element):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(element).batch(4)
    batches = signature_of(names)(data).batches()
    assert [list(batch) for batch in batches] == [names, names]
    for name, expected in (("left", LEFT), ("right", RIGHT)):
        if name in names:
            np.testing.assert_array_equal(np.concatenate([x[name] for x in batches]), expected)


@pytest.mark.parametrize(
    "names, samples",
    [
        (["right"], RIGHT),
        (["right"], RIGHT.tolist()),
        (["right"], RIGHT.astype("float64")),
        (["right"], [RIGHT]),
        (["right"], (RIGHT,)),
        (["left", "right"], [LEFT, RIGHT]),
        (["left", "right"], (LEFT.tolist(), RIGHT)),
        (["left", "right"], {"left": LEFT, "right": RIGHT}),
    ],
)
def test_samples_as_arrays(names, samples):
    (batch,) = signature_of(names)(samples).batches()
    np.testing.assert_array_equal(batch["right"], RIGHT)
    assert batch["right"].dtype == "float32" and list(batch) == names


@needs_tensorflow
def test_samples_that_do_not_fit_say_why():
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices
    both = signature_of(["left", "right"])
    with pytest.raises(ValueError, match=r"the inputs \['left', 'right'\]. Received: 3 arrays"):
        both(data((LEFT, RIGHT, TARGETS)).batch(2)).batches()
    with pytest.raises(ValueError, match=r"\['left', 'right'\]. Received: one array .*\(6, 4\)"):
        both(LEFT).batches()
    one = signature_of(["right"])
    ragged = tf.ragged.constant([[[1.0] * 4], [[1.0] * 4] * 2], ragged_rank=1)
    for samples in (ragged, data(ragged).batch(2)):
        with pytest.raises(ValueError, match=r"`right` must be one array.*`.*to_tensor\(\).*`"):
            one(samples).batches()
    assert one(ragged.to_tensor()).batches()[0]["right"].shape == (2, 2, 4)
    with pytest.raises(ValueError, match=r"`.batch\(32\)`"):
        one(data(RIGHT)).batches()


@pytest.mark.parametrize(
    "dtype, samples, expected",
    [
        ("float32", np.array([0, 255], "uint8"), [0, 255]),
        ("float32", np.array([True, False]), [1, 0]),
        ("uint8", np.array([0, 255]), [0, 255]),
        ("int32", np.array([0, 255], "uint8"), [0, 255]),
        ("bool", np.array([0, 1]), [False, True]),
        ("uint8", np.array([0, 256]), "uint8, which does not hold all.*int64 from 0 to 256"),
        ("int32", np.array([0, 2**31]), "int32, which does not hold all"),
        ("bool", np.array([0, 2]), "bool, which does not hold all"),
        ("uint8", np.array([0.0, 1.0]), "must be uint8. Received: float64"),
    ],
)
def test_samples_of_another_type(dtype, samples, expected):
    signature = Signature("a", lambda model, x: x, {"x": ((None,), dtype)}, samples)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            signature.batches()
    else:
        (batch,) = signature.batches()
        assert batch["x"].dtype == dtype and batch["x"].tolist() == expected


@needs_tensorflow
def test_images_of_bytes(tmp_path):
    image = keras.Input((8, 7, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    model = keras.Model(image, keras.layers.Dense(2, name="label")(keras.layers.Flatten()(x)))
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 7, 3))
    export_model(model, tmp_path, images, formats=["saved_model", "tflite"])
    got = run_tflite(tmp_path / "model.tflite", image=images.astype("uint8"))["label"]
    np.testing.assert_allclose(got, model(images.astype("uint8")), atol=1e-5)


@needs_tensorflow
def test_samples_without_steps(tmp_path):
    export_model(small_model(), tmp_path, numbers(steps=0), formats=["tflite"])  # it can
    x = keras.Input((None, 4), name="x")
    model = keras.Model(x, ka.AttentionPooling()(x))
    with pytest.raises(ExportError, match="does not run .*axis of length 0"):  # XNNPACK cannot
        export_model(model, tmp_path / "out", numbers(steps=0), formats=["tflite"])
