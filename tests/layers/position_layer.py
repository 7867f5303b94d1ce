"""What every layer of positions must do."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import needs_tensorflow, run, to_numpy


def _x(size=4):
    return np.random.default_rng(0).normal(size=(2, 3, size)).astype("float32")


class PositionLayerContract:
    """Subclass, and set `make`, a function that makes the layer."""

    make: staticmethod

    def _built(self):
        layer = self.make()
        layer(_x())
        return layer

    def test_start_index_continues_a_sequence(self):
        layer, x = self._built(), _x()
        expected = to_numpy(layer(x))
        for start in (1, keras.ops.convert_to_tensor(1, "int32")):
            got = to_numpy(layer(x[:, 1:], start_index=start))
            np.testing.assert_allclose(got, expected[:, 1:], rtol=1e-5, atol=1e-6)

    def test_start_index_of_each_row(self):
        layer, x = self._built(), _x()
        got = to_numpy(layer(x, start_index=np.array([-1, 2])))
        np.testing.assert_allclose(got[0, 1:], to_numpy(layer(x[:, 1:]))[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got[1], to_numpy(layer(x, start_index=2))[1], rtol=1e-5)

    def test_passes_the_mask_on(self):
        x = _x()
        x[0, 2] = 0.0
        mask = keras.ops.not_equal(self._built()(keras.layers.Masking()(x))._keras_mask, False)
        np.testing.assert_array_equal(to_numpy(mask), [[True, True, False], [True] * 3])

    def test_xla_gives_the_eager_numbers(self):
        layer = self._built()
        for eager, compiled in zip(
            keras.tree.flatten(run(layer, {"inputs": _x()}, jit=False)),
            keras.tree.flatten(run(layer, {"inputs": _x()}, jit=True)),
            strict=True,
        ):
            np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
    def test_low_precision_keeps_positions_apart(self, policy):
        exact, layer = self.make(), self.make(dtype=policy)
        exact(_x()), layer(_x())
        layer.set_weights(exact.get_weights())
        got = keras.ops.cast(layer(_x(), start_index=4), "float32")
        np.testing.assert_allclose(got, to_numpy(exact(_x(), start_index=4)), rtol=0.02, atol=0.02)

    def test_save_and_load_give_the_same_bits(self, tmp_path):
        inputs = keras.Input((None, 4))
        model = keras.Model(inputs, self.make()(inputs))
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(to_numpy(loaded(_x())), to_numpy(model(_x())))

    @needs_tensorflow
    def test_exports_compute_the_same_with_unknown_lengths(self, tmp_path):
        inputs = keras.Input((None, 4), name="x")
        model = keras.Model(inputs, self.make()(inputs))
        assert model.output.shape == (None, None, 4)
        ka.export_model(
            model, tmp_path / "out", _x(), formats=("saved_model", "tflite"), decision=None
        )

    def test_works_inside_time_distributed(self):
        inputs = keras.Input((2, 3, 4))
        model = keras.Model(inputs, keras.layers.TimeDistributed(self.make())(inputs))
        assert model(np.stack([_x(), _x()])).shape == (2, 2, 3, 4)

    def test_rejects_inputs_without_steps(self):
        with pytest.raises(ValueError, match=r"must have the shape .*inputs_shape=\(2, 4\)"):
            self.make()(np.ones((2, 4)))
