"""Segments in every plan: blocks of queries or of heads, causal pieces, bands, a fused kernel."""

import functools

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.memory import fused_jax, plans
from tests.backend import BACKEND, needs_tensorflow, run
from tests.memory.comparison import (
    CAUSAL,
    QUERY,
    SELF,
    check_numbers_and_gradients,
    check_unknown_lengths,
    close,
    in_blocks,
    trained,
    whole,
)

IDS = np.array([[0] * 7 + [9] * 11 + [4] * 6, [2] * 15 + [1] * 9], "int32")
PACKED = {**SELF, "segment_ids": IDS}
CASES = {
    "by query": (lambda: ka.MultiHeadAttention(4, 2, position=ka.ALiBiScore()), CAUSAL),
    "by head": (lambda: ka.MultiHeadAttention(4, 2), {}),
    "by head, in groups": (lambda: ka.MultiHeadAttention(4, 2, num_key_value_heads=2), CAUSAL),
    "bands": (lambda: ka.MultiHeadAttention(4, 2, window=5), CAUSAL),
    "bands, in groups": (
        lambda: ka.MultiHeadAttention(4, 2, num_key_value_heads=1, window=6),
        {},
    ),
    "bands, global": (lambda: ka.MultiHeadAttention(4, 2, window=5, num_global=3), {}),
}


@pytest.mark.parametrize(("make", "flags"), CASES.values(), ids=CASES)
def test_numbers_and_gradients_of_the_whole(make, flags):
    check_numbers_and_gradients(make, flags, PACKED)


@needs_tensorflow
@pytest.mark.parametrize("name", ["by head, in groups", "bands, global"])
def test_lengths_that_are_unknown_until_run_time(name):
    check_unknown_lengths(*CASES[name], PACKED)


def test_of_one_head():
    """A layer without an axis of heads, whose example 1 has a single segment."""
    given = {"inputs": QUERY, "segment_ids": np.where([[True], [False]], IDS, 3).astype("int32")}
    layer = trained(lambda: ka.SelfAttention(window=4), given)
    with whole():
        expected = run(layer, given, **CAUSAL)
    with in_blocks():
        close(run(layer, given, **CAUSAL), expected)


def test_a_window_goes_in_bands_with_segments_too(monkeypatch):
    met = []
    in_bands = plans.in_bands
    monkeypatch.setattr(plans, "in_bands", lambda *args: met.append(args) or in_bands(*args))
    layer = ka.MultiHeadAttention(4, 2, window=5)
    with in_blocks():
        layer(QUERY, QUERY, segment_ids=IDS, **CAUSAL)
    assert len(met) == 1


@pytest.mark.skipif(BACKEND != "jax", reason="JAX alone has fused kernels")
@pytest.mark.parametrize("window", [None, 20])
def test_a_kernel_of_segments(window, monkeypatch):
    x = np.random.default_rng(0).normal(size=(2, 150, 16)).astype("float32")
    ids = np.array([[5] * 70 + [8] * 80, [1] * 20 + [0] * 130], "int32")
    given = {"query": x, "value": x, "segment_ids": ids}
    layer = trained(functools.partial(ka.MultiHeadAttention, 2, 8, window=window), given)
    with whole():
        expected = run(layer, given, **CAUSAL)
    ran, kernel = [], functools.partial(fused_jax.splash, interpret=True)
    monkeypatch.setattr(
        fused_jax, "find_kernel", lambda: lambda *args: ran.append(1) or kernel(*args)
    )
    found = run(layer, given, **CAUSAL)
    for a, e in zip(*map(keras.tree.flatten, (found, expected)), strict=True):
        # Sums over 150 steps; that of a bias of the keys is 0.
        np.testing.assert_allclose(a, e, atol=1e-5 * max(10.0, np.abs(e).max()))
    assert ran
    count = len(ran)  # hidden keys and segments together are no work for it
    layer(**given, value_mask=np.ones((2, 150), "bool"), **CAUSAL)
    assert len(ran) == count
