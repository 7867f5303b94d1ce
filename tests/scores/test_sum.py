"""SumScore, and location scores in layers made for content."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.contract import Case, LayerContract
from tests.scores.oracle import KEY, QUERY, RNG, WIDE, check, random_weights


def _case(make_score):
    return Case(
        lambda **kw: ka.ContentAttention(make_score(), **kw),
        tensors={"query": "BTD", "value": "BSE", "key": "BSD"},
        weights="BTS",
        masks={"query_mask": "query", "value_mask": "value", "key_mask": "key"},
        attention_mask="BTS",
        is_causal=True,
    )


class TestContract(LayerContract):
    cases = {
        "alibi alone": _case(lambda: "alibi"),
        "additive, location": _case(lambda: ka.AdditiveScore() + ka.LocationScore(10)),
        "dot, clipped, bucketed": _case(
            lambda: ka.SumScore(
                ["dot", ka.RelativePositionScore(2), ka.RelativePositionScore(4, num_buckets=8)]
            )
        ),
    }


def test_equation_5_of_shaw_2018_is_a_sum():
    bilinear = ka.BilinearScore()
    (w,) = random_weights(bilinear, KEY)
    check(ka.SumScore(["dot", bilinear]), KEY, lambda q, k: q @ k + q @ w @ k)
    check(ka.DotScore() + bilinear + ka.DotScore(), KEY, lambda q, k: 2 * q @ k + q @ w @ k)


def test_a_sum_hands_on_what_its_parts_can():
    plain = ka.SumScore(["additive", ka.DotScore() + ka.LocationScore(5)])
    assert not plain.uses_positions and not plain.is_relative
    of_positions = plain + (ka.DotScore() + ka.ALiBiScore([1.0]))
    assert of_positions.uses_positions and not of_positions.is_relative
    assert (ka.DotScore() + ka.ALiBiScore([1.0])).is_relative


def test_config_round_trip():
    score = ka.SumScore(["cosine", ka.LocationScore(5) + ka.ALiBiScore([0.3])])
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(score))
    assert again.get_config() == score.get_config()
    assert again.scores[1].scores[1].slopes == [0.3]


@pytest.mark.parametrize("place", [0, 1])
def test_a_learned_query_takes_the_size_that_a_part_asks_for(place):
    parts = ["alibi"]
    parts.insert(place, ka.TanhDotScore(units=3))
    pooled, weights = ka.AttentionPooling(score=ka.SumScore(parts))(
        KEY, return_attention_scores=True
    )
    assert tuple(pooled.shape) == (2, 4) and tuple(weights.shape) == (2, 5)


def test_dropout_of_scores_that_a_batch_shares_differs_by_example():
    layer = ka.ContentAttention("alibi", dropout=0.5, seed=1)
    value = np.repeat(KEY[:1], 2, 0)
    context = to_numpy(layer(np.ones((2, 3, 4)), value, training=True))
    assert not np.allclose(context[0], context[1])


@pytest.mark.parametrize(
    "position",
    [None, ka.ALiBiScore([0.5]), ka.RelativePositionScore(3), ka.RelativePositionScore(4, 8)],
    ids=["none", "alibi", "clipped", "bucketed"],
)
def test_positions_make_a_permuted_sequence_distinguishable(position):
    x = RNG.normal(size=(1, 6, 4))
    permuted = x[:, [3, 0, 5, 1, 4, 2]]
    content = ka.ScaledDotScore()
    layer = ka.SelfAttention(content if position is None else content + position)
    pooled, again = (to_numpy(layer(steps)).mean(1) for steps in (x, permuted))
    difference = np.abs(pooled - again).max()
    assert difference < 1e-6 if position is None else difference > 1e-3


@pytest.mark.parametrize("bad", [[], "dot", None])
def test_rejects_bad_scores(bad):
    with pytest.raises(ValueError, match="`scores` must be a list of at least one name or `Score`"):
        ka.SumScore(bad)


def test_rejects_an_unknown_name():
    with pytest.raises(ValueError, match="`score` must be one of 'additive'.*score='dott'"):
        ka.SumScore(["dot", "dott"])


def test_rejects_sizes_that_a_part_cannot_compare():
    with pytest.raises(ValueError, match="same size.*query_shape"):
        (ka.DotScore() + ka.ALiBiScore())(QUERY, WIDE)
