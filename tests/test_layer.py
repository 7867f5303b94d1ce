"""BaseLayer: what all layers do with what they are given, and with what was done to their parts."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import BACKEND, needs_tensorflow, to_numpy

X = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")


@pytest.mark.parametrize("layer", [ka.ContentAttention, ka.LocationSensitiveAttention])
def test_rejects_tensors_in_a_list(layer):
    wanted = rf"`{layer.__name__}` must be called as `layer\(query, value\)`.* a list of 2 tensors"
    with pytest.raises(ValueError, match=wanted):
        layer()([X, X])
    steps = keras.Input((5, 4))
    with pytest.raises(ValueError, match=wanted):
        layer()([steps, steps])


@needs_tensorflow
def test_rejects_ragged_tensors():
    import tensorflow as tf

    ragged = tf.RaggedTensor.from_row_lengths(X[0], [2, 3])
    for call in (lambda x: ka.AttentionPooling()(x), lambda x: ka.ContentAttention()(X, value=x)):
        with pytest.raises(ValueError, match=r"dense tensors: pass `x.to_tensor\(\)` of a ragged"):
            call(ragged)


def test_low_rank_parts_and_frozen_parts_are_saved_and_loaded(tmp_path):
    inputs = keras.Input((5, 4))
    heads = ka.MultiHeadAttention(2, 3)
    model = keras.Model(inputs, ka.TransformerEncoderBlock(6, attention=heads)(inputs))
    heads.query_dense.enable_lora(2)
    heads.query_dense.lora_kernel_b.assign(np.ones((2, 3)))
    heads.value_dense.trainable = False
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(X), to_numpy(model(X)))
    assert len(loaded.trainable_weights) == len(model.trainable_weights) < len(model.weights)
    names = [[w.name for w in m.trainable_weights] for m in (model, loaded)]
    assert names[0] == names[1] and "lora_kernel_a" in names[0]


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_quantized_decoder_is_saved_and_loaded(tmp_path, mode):
    inputs, memory = keras.Input((None, 4)), keras.Input((None, 6))
    cell, attention = keras.layers.GRUCell(7), ka.ContentAttention("additive")
    model = keras.Model([inputs, memory], ka.AttentionDecoder(cell, attention)(inputs, memory))
    model.quantize(mode)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    given = [X, np.ones((2, 3, 6), "float32")]
    np.testing.assert_array_equal(loaded(given), to_numpy(model(given)))
    assert any("int8" in str(w.dtype) for w in loaded.weights)


def test_an_added_loss_has_the_dtype_in_which_keras_sums():
    layer = ka.AttentionPooling(2, penalty=1.0, dtype="float64" if BACKEND != "jax" else "bfloat16")
    layer(X)
    assert [keras.backend.standardize_dtype(loss.dtype) for loss in layer.losses] == ["float32"]


def test_floats_casts_whole_numbers_alone():
    layer = ka.AttentionPooling(dtype="mixed_bfloat16")
    whole, half, none = layer.floats(np.arange(3), np.ones(2, "float16"), None)
    assert keras.backend.standardize_dtype(whole.dtype) == "bfloat16"
    assert half.dtype == "float16" and none is None
    assert keras.backend.standardize_dtype(layer.floats(np.array([True])).dtype) == "bfloat16"
