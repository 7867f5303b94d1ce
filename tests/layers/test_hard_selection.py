"""HardSelection."""

import inspect

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import needs_tensorflow, run, to_numpy

RNG = np.random.default_rng(0)
WEIGHTS = RNG.dirichlet(np.ones(5), size=(2, 3)).astype("float32")
VALUE = RNG.normal(size=(2, 5, 4)).astype("float32")


def _model():
    inputs = {"weights": keras.Input((None, None), name="weights")}
    inputs["value"] = keras.Input((None, 4), name="value")
    outputs = ka.HardSelection(name="choose")(**inputs, return_attention_scores=True)
    return keras.Model(inputs, outputs)


def test_the_heaviest_step_is_chosen():
    context, choice = to_numpy(ka.HardSelection()(WEIGHTS, VALUE, return_attention_scores=True))
    np.testing.assert_array_equal(choice, np.eye(5)[WEIGHTS.argmax(-1)])
    for b in range(2):
        np.testing.assert_array_equal(context[b], VALUE[b][WEIGHTS[b].argmax(-1)])
    one = to_numpy(ka.HardSelection()(WEIGHTS[:, 0], VALUE))
    np.testing.assert_array_equal(one, context[:, 0])


def test_section_4_1_of_xu_2015_draws_by_the_weights():
    weights, value = np.repeat(WEIGHTS[:1, 0], 4000, 0), np.repeat(VALUE[:1], 4000, 0)
    layer = ka.HardSelection(seed=1)
    choice = to_numpy(layer(weights, value, return_attention_scores=True, training=True)[1])
    np.testing.assert_array_equal(np.sort(choice, -1)[:, :-1], 0)
    np.testing.assert_array_equal(choice.max(-1), 1)
    np.testing.assert_allclose(choice.mean(0), WEIGHTS[0, 0], atol=0.03)


@pytest.mark.parametrize("training", [False, True])
def test_steps_without_weight_are_never_chosen_and_may_hold_anything(training):
    weights, value = WEIGHTS.copy(), VALUE.copy()
    weights[:, :, 3] = 0
    value[:, 3] = np.nan
    weights[1] = 0
    tensors = {"weights": weights, "value": value}
    layer = ka.HardSelection(seed=1)
    layer.build(weights.shape, value.shape)
    (context, choice), _, gradients = run(
        layer, tensors, return_attention_scores=True, training=training
    )
    np.testing.assert_array_equal(choice[:, :, 3], 0)
    np.testing.assert_array_equal(choice.sum(-1), [[1] * 3, [0] * 3])
    np.testing.assert_array_equal(context[1], 0)
    assert np.isfinite(context).all()
    np.testing.assert_array_equal(gradients["weights"], 0)
    np.testing.assert_array_equal(gradients["value"][:, 3], 0)
    np.testing.assert_array_equal(gradients["value"][1], 0)
    assert np.abs(gradients["value"][0]).max() > 0


def test_low_precision_chooses_the_same():
    keras.config.set_dtype_policy("mixed_float16")
    context, choice = ka.HardSelection()(WEIGHTS, VALUE, return_attention_scores=True)
    assert keras.backend.standardize_dtype(context.dtype) == "float16"
    np.testing.assert_array_equal(to_numpy(choice), np.eye(5)[WEIGHTS.argmax(-1)])


def test_xla_gives_the_eager_numbers():
    layer, tensors = ka.HardSelection(), {"weights": WEIGHTS, "value": VALUE}
    layer.build(WEIGHTS.shape, VALUE.shape)
    eager, compiled = (run(layer, tensors, jit=jit) for jit in (False, True))
    np.testing.assert_array_equal(eager[0], compiled[0])


def test_the_same_seed_draws_the_same():
    draws = []
    for seed in (1, 1, 2):
        layer = ka.HardSelection(seed=seed)
        wide = np.full((50, 5), 0.2, "float32")
        value = np.repeat(VALUE[:1], 50, 0)
        draws.append([to_numpy(layer(wide, value, training=True)) for _ in range(2)])
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert not np.array_equal(draws[0][0], draws[0][1])


def test_symbolic_shapes_and_saving(tmp_path):
    model = _model()
    assert [output.shape for output in model.outputs] == [(None, None, 4), (None, None, None)]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    inputs = {"weights": WEIGHTS, "value": VALUE}
    for got, expected in zip(to_numpy(loaded(inputs)), to_numpy(model(inputs)), strict=True):
        np.testing.assert_array_equal(got, expected)
    arguments = set(inspect.signature(ka.HardSelection.__init__).parameters) - {"self", "kwargs"}
    config = ka.HardSelection(seed=3).get_config()
    assert set(config) == arguments | {"name", "trainable", "dtype"}


@needs_tensorflow
def test_exports_compute_the_same(tmp_path):
    samples = {"weights": WEIGHTS, "value": VALUE}
    report = ka.export_model(
        _model(),
        tmp_path / "export",
        samples=samples,
        formats=("saved_model", "tflite"),
        decision=None,
    )
    for form in report["forms"].values():
        assert form["signatures"]["serving_default"]["difference"] < 1e-6


def test_attention_maps_shows_the_choice():
    maps = ka.attention_maps(_model(), {"weights": WEIGHTS, "value": VALUE})
    np.testing.assert_array_equal(maps["choose"], np.eye(5)[WEIGHTS.argmax(-1)])


def test_rejects_weights_that_do_not_fit():
    with pytest.raises(ValueError, match=r"weights_shape=\(2, 3, 5\), value_shape=\(2, 6, 4\)"):
        ka.HardSelection()(WEIGHTS, np.ones((2, 6, 4)))
    with pytest.raises(ValueError, match=r"weights_shape=\(5,\), value_shape=\(2, 5, 4\)"):
        ka.HardSelection()(WEIGHTS[0, 0], VALUE)
