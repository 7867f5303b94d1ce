"""What every layer of positions must do."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import needs_tensorflow, run, to_numpy


class PositionLayerContract:
    """Subclass, and set `make`, a function that makes the layer.

    Attributes:
        shape: Of the inputs.
        far: Call arguments that give large positions, where there are any.
    """

    make: staticmethod
    shape = (2, 3, 4)
    far = {"start_index": 4}

    def _x(self):
        return np.random.default_rng(0).normal(size=self.shape).astype("float32")

    def _built(self):
        layer = self.make()
        layer(self._x())
        return layer

    def _inputs(self):
        return keras.Input((*[None] * (len(self.shape) - 2), self.shape[-1]), name="x")

    def test_passes_the_mask_on(self):
        x = self._x()
        x[0, 2] = 0.0
        mask = keras.ops.not_equal(self._built()(keras.layers.Masking()(x))._keras_mask, False)
        expected = np.ones(self.shape[:-1], "bool")
        expected[0, 2] = False
        np.testing.assert_array_equal(to_numpy(mask), expected)

    def test_xla_gives_the_eager_numbers(self):
        layer = self._built()
        for eager, compiled in zip(
            keras.tree.flatten(run(layer, {"inputs": self._x()}, jit=False)),
            keras.tree.flatten(run(layer, {"inputs": self._x()}, jit=True)),
            strict=True,
        ):
            np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
    def test_low_precision_keeps_positions_apart(self, policy):
        exact, layer, x = self.make(), self.make(dtype=policy), self._x()
        exact(x), layer(x)
        layer.set_weights(exact.get_weights())
        got = keras.ops.cast(layer(x, **self.far), "float32")
        np.testing.assert_allclose(got, to_numpy(exact(x, **self.far)), rtol=0.02, atol=0.02)

    def test_save_and_load_give_the_same_bits(self, tmp_path):
        inputs = self._inputs()
        model = keras.Model(inputs, self.make()(inputs))
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(to_numpy(loaded(self._x())), to_numpy(model(self._x())))

    @needs_tensorflow
    def test_exports_compute_the_same_with_unknown_lengths(self, tmp_path):
        inputs = self._inputs()
        model = keras.Model(inputs, self.make()(inputs))
        assert model.output.shape == inputs.shape
        ka.export_model(
            model, tmp_path / "out", self._x(), formats=("saved_model", "tflite"), decision=None
        )

    def test_works_inside_time_distributed(self):
        inputs = keras.Input((2, *self.shape[1:]))
        model = keras.Model(inputs, keras.layers.TimeDistributed(self.make())(inputs))
        x = np.stack([self._x(), self._x()])
        assert model(x).shape == x.shape

    def test_rejects_inputs_without_steps(self):
        with pytest.raises(ValueError, match=r"must have the shape .*inputs_shape=\(2, 4\)"):
            self.make()(np.ones((2, 4)))


class SequencePositionLayerContract(PositionLayerContract):
    """Of a layer that can start at any position."""

    def test_start_index_continues_a_sequence(self):
        layer, x = self._built(), self._x()
        expected = to_numpy(layer(x))
        for start in (1, keras.ops.convert_to_tensor(1, "int32")):
            got = to_numpy(layer(x[:, 1:], start_index=start))
            np.testing.assert_allclose(got, expected[:, 1:], rtol=1e-5, atol=1e-6)

    def test_start_index_of_each_row(self):
        layer, x = self._built(), self._x()
        got = to_numpy(layer(x, start_index=np.array([-1, 2])))
        np.testing.assert_allclose(got[0, 1:], to_numpy(layer(x[:, 1:]))[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got[1], to_numpy(layer(x, start_index=2))[1], rtol=1e-5)


class GridPositionLayerContract(PositionLayerContract):
    """Of a layer that adds to a grid."""

    shape = (2, 3, 5, 4)
    far = {}
