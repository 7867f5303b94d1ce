"""SelfAttention."""

import keras
import numpy as np

import keras_attention as ka
from tests.backend import to_numpy
from tests.contract import Case, LayerContract


def _case(score):
    return Case(
        lambda **kw: ka.SelfAttention(score, **kw),
        tensors={"inputs": "BTD"},
        weights="BTT",
        masks={"mask": "inputs"},
        attention_mask="BTT",
        is_causal=True,
    )


class TestContract(LayerContract):
    cases = {"bilinear": _case("bilinear"), "additive": _case("additive")}


def test_is_content_attention_of_a_sequence_with_itself():
    x = np.random.default_rng(0).normal(size=(2, 5, 4))
    ours = ka.SelfAttention("scaled_dot")(x)
    np.testing.assert_allclose(ours, ka.ContentAttention("scaled_dot")(x, x), rtol=1e-6)


def test_implicit_mask_counts_beside_an_attention_mask():
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    x[:, 3:] = 0.0
    layer, everything = ka.SelfAttention(), np.ones((5, 5), "bool")
    masked = keras.layers.Masking()(x)
    _, weights = layer(masked, attention_mask=everything, return_attention_scores=True)
    np.testing.assert_array_equal(to_numpy(weights)[..., 3:], 0)


def test_fits_a_sequential_model_and_passes_its_mask_on():
    model = keras.Sequential(
        [keras.layers.Embedding(9, 4, mask_zero=True), ka.SelfAttention(), ka.AttentionPooling()]
    )
    short, padded = model(np.array([[3, 4]])), model(np.array([[3, 4, 0, 0]]))
    np.testing.assert_allclose(short, padded, rtol=1e-5)
