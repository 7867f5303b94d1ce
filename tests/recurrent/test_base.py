"""RecurrentAttention, and other attentions under its protocol."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from keras_attention.recurrent.base import RecurrentAttention, recurrent
from tests.backend import to_numpy
from tests.contract import Case, LayerContract

RNG = np.random.default_rng(0)
QUERY = RNG.normal(size=(2, 3, 4)).astype("float32")
VALUE = RNG.normal(size=(2, 5, 4)).astype("float32")
MASK = np.array([[True, True, True, False, False], [False, True, True, True, True]])


@keras.saving.register_keras_serializable(package="tests")
class TiredAttention(RecurrentAttention):
    """Attention that turns from what it has seen: the simplest that has a past."""

    def __init__(self, score="bilinear", normalizer="softmax", dropout=0.0, seed=None, **kwargs):
        super().__init__(score, normalizer, dropout, seed, **kwargs)

    def initial_state(self, memory):
        return {"seen": ops.zeros_like(memory["value"][..., 0])}  # (B, S)

    def step(self, query, memory, state, training=None):
        def score(query, key, start):
            seen = ops.expand_dims(state["seen"], 1)
            return self.score.compare(query, key, start) - 3.0 * ops.cast(seen, query.dtype)

        mask = memory.get("mask")
        mask = None if mask is None else ops.expand_dims(mask, 1)
        context, weights = self._attend(
            ops.expand_dims(query, 1), memory["value"], memory["key"], mask, score, training
        )
        return context[:, 0], weights[:, 0], {"seen": state["seen"] + weights[:, 0]}


class TestContract(LayerContract):
    cases = {
        "a past": Case(
            TiredAttention,
            tensors={"query": "BTD", "value": "BSE", "key": "BSF"},
            weights="BTS",
            masks={"query_mask": "query", "value_mask": "value", "key_mask": "key"},
        )
    }


def test_the_past_counts_and_a_masked_query_leaves_none():
    layer = TiredAttention()
    query = np.repeat(QUERY[:, :1], 3, axis=1)
    _, weights = to_numpy(layer(query, VALUE, return_attention_scores=True))
    assert np.abs(weights[:, 0] - weights[:, 1]).max() > 0.01
    skip = np.array([[True, False, True]] * 2)
    _, skipped = to_numpy(layer(query, VALUE, query_mask=skip, return_attention_scores=True))
    np.testing.assert_array_equal(skipped[:, 1], 0)
    np.testing.assert_allclose(skipped[:, 2], weights[:, 1], rtol=1e-5)


SCORES = ["dot", "scaled_dot", "bilinear", "cosine", "concat", "additive", "tanh_dot"]


@pytest.mark.parametrize("score", [*SCORES, ka.ConcatScore("q,k,q*k,|q-k|", units=3)], ids=str)
def test_content_attention_step_by_step_equals_the_whole(score):
    layer = ka.ContentAttention(score)
    context, weights = layer(QUERY, VALUE, value_mask=MASK, return_attention_scores=True)
    steps = recurrent(layer)
    memory = steps.prepare(ops.convert_to_tensor(VALUE), mask=MASK)
    assert steps.initial_state(memory) == {}
    for t in range(3):
        got = steps.step(ops.convert_to_tensor(QUERY[:, t]), memory, {})
        np.testing.assert_allclose(got[0], to_numpy(context)[:, t], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got[1], to_numpy(weights)[:, t], rtol=1e-5, atol=1e-6)


def test_a_step_projects_no_key():
    layer = ka.ContentAttention("additive")
    layer(QUERY, VALUE)
    steps = recurrent(layer)
    memory = steps.prepare(ops.convert_to_tensor(VALUE))
    before = to_numpy(steps.step(ops.convert_to_tensor(QUERY[:, 0]), memory, {})[1])
    layer.score.key_dense.kernel.assign(ops.zeros((4, 4)))
    after = to_numpy(steps.step(ops.convert_to_tensor(QUERY[:, 0]), memory, {})[1])
    np.testing.assert_array_equal(after, before)


class Half:
    """Has a `call` of its own, which the `step` of another class knows nothing of."""

    def call(self, *args, **kwargs):
        return [0.5 * x for x in super().call(*args, **kwargs)]


def test_a_step_belongs_to_the_call_of_its_class():
    class Other(ka.ContentAttention):
        pass

    class HalfContent(Half, ka.ContentAttention):
        pass

    class Again(HalfContent):
        def step(self, *args, **kwargs):
            context, weights, state = super().step(*args, **kwargs)
            return 0.5 * context, 0.5 * weights, state

    for make, takes_steps in (
        (ka.ContentAttention, True),
        (ka.LocalAttention, True),
        (TiredAttention, True),
        (Other, True),
        (HalfContent, False),
        (Again, True),
    ):
        assert make.takes_steps is takes_steps, make
    assert recurrent(Again("dot")).step.__func__ is Again.step
    assert not hasattr(recurrent(HalfContent("dot")), "takes_steps")


def test_rejects_a_past_whose_step_is_not_that_of_its_call():
    class HalfTired(Half, TiredAttention):
        pass

    with pytest.raises(ValueError, match="`HalfTired` must define a `step`.*`call` of its own"):
        recurrent(HalfTired())


@pytest.mark.parametrize("make", [TiredAttention, RecurrentAttention])
def test_rejects_a_score_of_positions(make):
    with pytest.raises(ValueError, match=f"`{make.__name__}` reads at which step .*score=<SumSco"):
        make(ka.DotScore() + ka.ALiBiScore())


def test_one_mask_for_all_rows_is_prepared_for_each():
    for layer in (TiredAttention(), ka.ContentAttention("additive"), ka.LocalAttention(1)):
        layer(QUERY, VALUE)
        memory = recurrent(layer).prepare(ops.convert_to_tensor(VALUE), mask=MASK[:1])
        np.testing.assert_array_equal(memory["mask"], np.repeat(MASK[:1], 2, axis=0))
    with pytest.raises(ValueError, match="`value_mask` must be boolean.*dtype=float32"):
        recurrent(layer).prepare(ops.convert_to_tensor(VALUE), mask=MASK.astype("float32"))


def test_the_steps_take_integers():
    for layer in (ka.ContentAttention("additive"), ka.LocalAttention(1), ka.CoverageAttention(3)):
        query, value = (np.abs(5 * x).astype("int32") for x in (QUERY, VALUE))
        _, expected = layer(query, value, return_attention_scores=True)
        memory = layer.prepare(ops.convert_to_tensor(value))
        got = layer.step(ops.convert_to_tensor(query[:, 0]), memory, layer.initial_state(memory))
        np.testing.assert_allclose(got[1], to_numpy(expected)[:, 0], rtol=1e-5, atol=1e-6)


def test_heads_step_by_step_equal_the_whole():
    layer = ka.MultiHeadAttention(num_heads=3, key_dim=2)
    output, weights = layer(QUERY, VALUE, value_mask=MASK, return_attention_scores=True)
    steps = recurrent(layer)
    memory = steps.prepare(ops.convert_to_tensor(VALUE), mask=MASK)
    got = steps.step(ops.convert_to_tensor(QUERY[:, 2]), memory, {})
    np.testing.assert_allclose(got[0], to_numpy(output)[:, 2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got[1], to_numpy(weights)[:, :, 2], rtol=1e-5, atol=1e-6)


def test_rejects_a_subclass_without_a_step():
    with pytest.raises(NotImplementedError, match="`RecurrentAttention` must define `step`"):
        RecurrentAttention(score="dot")(QUERY, VALUE)
