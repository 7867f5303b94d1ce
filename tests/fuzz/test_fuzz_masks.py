"""Masks alone: how they broadcast, how they combine, what normalizers make of them."""

import keras
import numpy as np
from hypothesis import strategies as st

from keras_attention.functional import normalize
from tests.backend import run, to_numpy
from tests.fuzz import oracle
from tests.fuzz.cases import cases
from tests.fuzz.strategies import (
    MASK_DTYPES,
    MASK_KINDS,
    NORMALIZERS,
    broadcast_shapes,
    calls,
    mask_array,
)
from tests.fuzz.test_fuzz_layers import assert_close


def _answers(call, masks):
    """Output and weights, without the rows in which rounding decides."""
    tensors = {name: x for name, x in call.tensors().items() if name not in call.masks}
    got = call.layer(**tensors, **masks, **call.flags(), return_attention_scores=True)
    is_sure = call.answer().is_sure
    output, weights = to_numpy(got)
    if call.kind == "multi_head":
        weights = np.moveaxis(weights, 1, 2)  # (B, T, H, S)
    if output.ndim < 3 and call.kind == "pooling":
        is_sure = is_sure[:, 0]
    return [output[is_sure].astype("float64"), weights[is_sure].astype("float64")]


@cases(0.1, call=calls(policies=("float32",)))
def test_a_broadcast_mask_is_the_full_mask(call):
    call.make()
    full = call.pairs(by_position=False)
    masks = {"attention_mask": full}
    if call.kind == "local" and "query_mask" in call.masks:  # a monotonic centre counts by it
        masks["query_mask"] = call.masks["query_mask"]
    for got, wanted in zip(_answers(call, call.masks), _answers(call, masks), strict=True):
        assert_close(got, wanted, call.tolerance)


@st.composite
def rows(draw):
    """Scores and a mask that broadcasts to them; the masked scores may be anything."""
    full = (draw(st.integers(0, 3)), draw(st.integers(0, 4)), draw(st.integers(0, 7)))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    scale = draw(st.sampled_from([1.0, 0.01, 30.0, 1e4]))
    scores = scale * rng.normal(size=full)
    if draw(st.booleans()):
        scores = np.round(scores)  # ties
    shape = draw(st.one_of(st.just(full), broadcast_shapes(full)))
    mask = mask_array(rng, shape, draw(MASK_KINDS), draw(st.sampled_from(MASK_DTYPES)))
    dtype = draw(st.sampled_from(["float32", "float32", "float16"]))
    return scores.astype(dtype), mask, draw(st.booleans())


class _Normalizing(keras.layers.Layer):
    def __init__(self, name):
        super().__init__()
        self.normalizer = normalize.get(name)

    def call(self, scores, allowed):
        return self.normalizer(scores, allowed)


@cases(0.1, drawn=rows(), name=st.sampled_from(NORMALIZERS))
def test_normalizers_are_their_equations(drawn, name):
    scores, mask, is_dirty = drawn
    if name == "smooth":
        scores = np.clip(scores, -20, 20)  # sigmoids of -1e4 are all zero
    given = scores.copy()
    hidden = ~np.broadcast_to(mask.astype(bool), scores.shape)
    if is_dirty:
        given[hidden] = np.resize([np.nan, np.inf, -np.inf, 1e3], given[hidden].shape)
    weights, _, gradients = run(_Normalizing(name), {"scores": given, "allowed": mask}, jit=False)
    gradient = gradients["scores"].astype("float64")
    weights = weights.astype("float64")
    np.testing.assert_array_equal(weights[hidden], 0)
    np.testing.assert_array_equal(gradient[hidden], 0)
    assert np.isfinite(gradient).all()
    wide = scores.astype("float64")
    expected, is_sure = oracle.normalize(name, wide, mask.astype(bool))
    # A score of 1e4 in float32 is itself off by 1e-3.
    tolerance = 2e-3 if scores.dtype == "float16" else 1e-5
    assert_close(weights, expected, tolerance, is_sure)
    if name != "identity":
        has_step = ~hidden.all(axis=-1)
        np.testing.assert_allclose(weights.sum(-1), has_step, atol=5 * tolerance)
        if name != "smooth":  # the same for all scores shifted by the same
            np.testing.assert_allclose(gradient.sum(-1), 0, atol=0.02 if tolerance > 1e-4 else 1e-4)
