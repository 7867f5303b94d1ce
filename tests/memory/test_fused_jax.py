"""The JAX backend's fused kernels, by interpreters of theirs where the machine has none."""

import functools

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.memory import fused_jax
from tests.backend import BACKEND, run

pytestmark = pytest.mark.skipif(BACKEND != "jax", reason="JAX alone has fused kernels")

# In place of cuDNN XLA takes the very same arguments; Pallas interprets its kernels for a TPU.
KERNELS = {
    "cudnn": functools.partial(fused_jax.cudnn, implementation="xla"),
    "splash": functools.partial(fused_jax.splash, interpret=True),
}
RNG = np.random.default_rng(0)
STEPS = 60
PADDED = np.arange(STEPS) % 7 != 3
MASK = PADDED & (np.arange(STEPS) > 4) & np.array([[True], [False]])  # one row has nothing
PAIRS = RNG.random((2, STEPS, STEPS)) > 0.5


def inputs(value_steps=STEPS, **masks):
    query = RNG.normal(size=(2, STEPS, 16)).astype("float32")
    value = RNG.normal(size=(2, value_steps, 16)).astype("float32")
    return {"query": query, "value": value, **masks}


CASES = {
    "plain": ({}, {}, {}),
    "padding": ({}, {"value_mask": MASK, "query_mask": MASK[::-1]}, {}),
    "causal": ({}, {}, {"use_causal_mask": True}),
    "causal, padding": ({}, {"value_mask": MASK}, {"use_causal_mask": True}),
    "window, causal": ({"window": 20}, {}, {"use_causal_mask": True}),
    "window, causal, padding": ({"window": 3}, {"value_mask": MASK}, {"use_causal_mask": True}),
    "groups": ({"num_key_value_heads": 2}, {"value_mask": MASK}, {}),
    "one for all": ({"num_key_value_heads": 1}, {}, {"use_causal_mask": True}),
    "other values": ({"value_dim": 12}, {"value_mask": MASK}, {}),
    "small values": ({"value_dim": 3}, {}, {}),
    "rotary": ({"position": ka.RotaryPositionEmbedding()}, {"value_mask": MASK}, {}),
    "window": ({"window": 20}, {"value_mask": MASK}, {}),
    "window, groups": ({"window": 3, "num_key_value_heads": 2}, {"value_mask": MASK}, {}),
}
CUDNN = {
    "pairs": ({}, {"attention_mask": PAIRS}, {}),
    "pairs, padding": ({}, {"attention_mask": PAIRS, "value_mask": MASK}, {}),
    "pairs, causal": ({}, {"attention_mask": PAIRS & MASK[:, None]}, {"use_causal_mask": True}),
    "pairs of groups": ({"num_key_value_heads": 2}, {"attention_mask": PAIRS}, {}),
}
# An interpreted kernel takes long: those that differ in what they hand over.
OF_SPLASH = "padding", "causal", "window, causal, padding", "groups", "one for all", "window"
ALL = [
    *[("cudnn", name) for name in CASES],
    *[("splash", name) for name in OF_SPLASH],
    *[("cudnn", name) for name in CUDNN],
]


def compared(layer, tensors, kernel, monkeypatch, **call):
    """Outputs and gradients of the layer as a whole and by the kernel, which must have run."""
    layer(**tensors, **call)
    ran = []

    def counted(*args):
        found = kernel(*args)
        ran.append(found is not None)
        return found

    with ka.query_blocks(threshold=None):
        whole = run(layer, tensors, jit=True, **call)
    monkeypatch.setattr(fused_jax, "find_kernel", lambda: counted)
    found = run(layer, tensors, jit=True, **call)
    assert ran and all(ran)
    return keras.tree.flatten(whole), keras.tree.flatten(found)


@pytest.mark.parametrize(("kernel", "name"), ALL, ids=lambda x: x)
def test_same_numbers_and_gradients(kernel, name, monkeypatch):
    options, masks, call = {**CASES, **CUDNN}[name]
    layer = ka.MultiHeadAttention(4, 8, **options)
    check(*compared(layer, inputs(**masks), KERNELS[kernel], monkeypatch, **call))


@pytest.mark.parametrize(
    ("kernel", "score", "dtype"),
    [
        ("cudnn", "dot", "float32"),
        ("cudnn", "scaled_dot", "mixed_bfloat16"),
        ("splash", "dot", "mixed_bfloat16"),
        ("splash", "scaled_dot", "float32"),
        ("cudnn", "bilinear", "float32"),
        ("cudnn", "cosine", "float32"),
        ("splash", "tanh_dot", "float32"),
    ],
)
def test_scores_without_heads(kernel, score, dtype, monkeypatch):
    layer = ka.ContentAttention(score, dtype=dtype)
    tensors = inputs(140, value_mask=np.arange(140) < np.array([[99], [0]]))
    whole, found = compared(layer, tensors, KERNELS[kernel], monkeypatch)
    check(whole, found, 1e-5 if dtype == "float32" else 0.03)


def check(whole, found, tolerance=1e-5):
    for expected, other in zip(whole, found, strict=True):
        expected, other = (np.asarray(x, "float32") for x in (expected, other))
        scale = np.abs(expected).max()
        assert np.isfinite(other).all()
        np.testing.assert_allclose(other, expected, atol=tolerance * max(scale, 1.0))


def test_more_keys_than_queries(monkeypatch):
    layer = ka.MultiHeadAttention(2, 8, window=30)
    tensors = inputs(140)
    check(*compared(layer, tensors, KERNELS["splash"], monkeypatch, use_causal_mask=True))


@pytest.mark.parametrize(
    ("layer", "call"),
    [
        (lambda: ka.MultiHeadAttention(4, 8, dropout=0.5, seed=0), {"training": True}),
        (lambda: ka.MultiHeadAttention(4, 8, normalizer="sparsemax"), {}),
        (lambda: ka.MultiHeadAttention(4, 8, position=ka.ALiBiScore()), {}),
        (lambda: ka.MultiHeadAttention(4, 8), {"return_attention_scores": True}),
        (lambda: ka.MultiHeadAttention(4, 8, window=9, num_global=2), {}),
        (lambda: ka.ContentAttention("additive"), {}),
    ],
    ids=["dropout", "sparse", "position", "weights", "global", "additive"],
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_what_kernels_cannot_do_goes_without(kernel, layer, call, monkeypatch):
    layer, tensors = layer(), inputs()
    layer(**tensors)
    with ka.query_blocks(threshold=None):
        whole = layer(**tensors, **call)
    contexts = []

    def watched(*args):
        contexts.append(KERNELS[kernel](*args))
        return contexts[-1]

    monkeypatch.setattr(fused_jax, "find_kernel", lambda: watched)
    other = layer(**tensors, **call)
    assert all(x is None for x in contexts)
    if not layer.dropout:
        keras.tree.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), whole, other
        )


def test_a_window_in_several_bands(monkeypatch):
    layer = ka.ContentAttention("scaled_dot", window=20)
    tensors = {
        "query": RNG.normal(size=(2, 300, 8)).astype("float32"),
        "value": RNG.normal(size=(2, 300, 8)).astype("float32"),
        "value_mask": np.arange(300) % 50 < np.array([[47], [9]]),
    }
    check(*compared(layer, tensors, KERNELS["cudnn"], monkeypatch))


def test_float32_and_odd_pairs_are_not_cudnns():
    x = keras.ops.ones((1, 1, 5, 8))
    everything = fused_jax.Visible()
    assert fused_jax.cudnn(x, x, x, 0.1, everything) is None
    half = keras.ops.cast(x, "bfloat16")
    pairs = fused_jax.Visible(pairs=keras.ops.ones((1, 1, 5, 5), "bool"))
    assert fused_jax.cudnn(half, half, half, 0.1, pairs) is None
    wide = keras.ops.ones((1, 1, 4, 264), "bfloat16")
    assert fused_jax.cudnn(wide, wide, wide, 0.1, everything, implementation="xla") is None


def test_no_kernel_on_a_cpu():
    assert fused_jax.find_kernel() is None
