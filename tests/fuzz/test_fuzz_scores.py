"""Scores alone, and sums of them, from any first position."""

import keras
import numpy as np
from hypothesis import strategies as st

import keras_attention as ka
from tests.backend import to_numpy
from tests.fuzz.cases import cases
from tests.fuzz.strategies import SIZES, TOLERANCES, numbers, scores
from tests.fuzz.test_fuzz_layers import assert_close

STARTS = {
    "int": int,
    "NumPy's": np.int64,
    "tensor": lambda start: keras.ops.convert_to_tensor(start, "int32"),
}


@st.composite
def comparisons(draw):
    """A score or two, a query and a key, with heads or without."""
    heads = draw(st.sampled_from([None, None, 1, 2, 3]))
    query_size, batch = draw(st.sampled_from(SIZES)), draw(st.sampled_from([1, 2, 0]))
    key_size = query_size if heads or draw(st.booleans()) else draw(st.sampled_from(SIZES))
    steps, length = draw(st.integers(0, 5)), draw(st.integers(0, 6))
    one = scores(query_size, key_size, length, content=heads is None, heads=heads)
    chosen = draw(st.lists(one, min_size=2, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    of_keys = heads and draw(st.sampled_from([heads, 1]))
    query = numbers(rng, (batch, *([heads] if heads else []), steps, query_size))
    key = numbers(rng, (batch, *([of_keys] if heads else []), length, key_size))
    return chosen, query.astype("float32"), key.astype("float32"), rng


@cases(
    0.15,
    comparison=comparisons(),
    start=st.one_of(st.none(), st.integers(0, 7)),
    kind=st.sampled_from(sorted(STARTS)),
)
def test_a_sum_is_the_sum_of_its_scores_in_any_order(comparison, start, kind):
    chosen, query, key, rng = comparison
    made = [score.make() for score in chosen]
    forward, backward = ka.SumScore(made), ka.SumScore(made[::-1])
    by_plus = made[0] + made[1]
    place = start if start is None else STARTS[kind](start)
    shape = (*query.shape[:-1], key.shape[-2])
    for score in (forward, backward, by_plus):
        score(query, key)
    for weight in forward.weights:
        weight.assign(numbers(rng, weight.shape))

    def of(score):
        return np.broadcast_to(to_numpy(score(query, key, start=place)), shape)

    def values(layer):
        return {
            f"/{w.path}".split(f"/{layer.name}/", 1)[1]: np.float64(to_numpy(w))
            for w in layer.weights
        }

    wide_key = key
    if query.ndim == 4:
        wide_key = np.repeat(key, query.shape[1] // key.shape[1], axis=1)
    parts = [
        np.broadcast_to(score(np.float64(query), np.float64(wide_key), values, start), shape)
        for score in chosen
    ]
    for score, part in zip(made, parts, strict=True):
        assert_close(of(score), part, TOLERANCES["float32"])
    assert_close(of(forward), sum(parts), TOLERANCES["float32"])
    assert_close(of(backward), sum(parts), TOLERANCES["float32"])
    assert_close(of(by_plus), parts[0] + parts[1], TOLERANCES["float32"])
