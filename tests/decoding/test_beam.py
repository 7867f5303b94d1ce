"""beam_search, against searches in plain Python."""

import itertools

import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from tests.backend import needs_tensorflow, to_numpy
from tests.decoding.models import (
    END,
    PAD,
    ROWS,
    STEPS,
    Decoder,
    Table,
    beam,
    check,
    compiled,
    memories,
)


def _score(table, row, tokens, length_penalty=0.0, coverage_penalty=0.0):
    """s(Y, X) of a whole hypothesis (Wu 2016, eq. 14)."""
    prefixes = [tokens[:i] for i in range(len(tokens))]
    log_p = sum(table.log_p(row, x)[t] for x, t in zip(prefixes, tokens, strict=True))
    lp = (5 + len(tokens)) ** length_penalty / (5 + 1) ** length_penalty
    cp = 0.0
    for step in np.flatnonzero(table.mask[row]):
        cp += np.log(min(sum(table.weights(row, x)[step] for x in prefixes), 1.0))
    return log_p / lp + coverage_penalty * cp


def _oracle(
    table, row, num_beams, n_best=1, max_length=STEPS, early_stop=False, no_repeat_ngram_size=0,
    **penalties,
):  # fmt: skip
    """Beam search with lists, and without a thought of stopping before `max_length`."""
    live, finished = [(0.0, ())], []
    for i in range(max_length):
        candidates = sorted(
            (
                (score + table.log_p(row, tokens)[token], (*tokens, token))
                for score, tokens in live
                for token in range(table.words)
                if not _repeats((*tokens, token), no_repeat_ngram_size)
            ),
            reverse=True,
        )
        for _, tokens in candidates[:num_beams]:
            if tokens[-1] == END or i == max_length - 1:
                finished.append((_score(table, row, tokens, **penalties), tokens))
        if early_stop and len(finished) >= num_beams:
            break
        live = [x for x in candidates if x[1][-1] != END][:num_beams]
    return sorted(finished, reverse=True)[:n_best]


def _repeats(tokens, n):
    """Whether the last n tokens, none of which ends, stand together before too."""
    last = tokens[len(tokens) - n :]
    return 0 < n <= len(tokens) and any(tokens[i : i + n] == last for i in range(len(tokens) - n))


def _search(table, max_length=STEPS, jit=False, **kwargs):
    if kwargs.get("coverage_penalty"):
        kwargs["memory_mask"] = table.mask

    def run():
        return ka.beam_search(
            *(table.step, table.start, table.state, max_length, END), pad_token=PAD, **kwargs
        )

    return (compiled(run) if jit else run)()


CASES = [
    {"num_beams": 1},
    {"num_beams": 2},
    {"num_beams": 3, "n_best": 3},
    {"num_beams": 6, "n_best": 4},
    {"num_beams": 3, "n_best": 2, "length_penalty": 1.0},
    {"num_beams": 3, "n_best": 3, "coverage_penalty": 0.4},
    {"num_beams": 3, "n_best": 2, "length_penalty": 2.0, "early_stop": True},
    {"num_beams": 4, "n_best": 2, "length_penalty": 0.6, "coverage_penalty": 0.2},
]


@pytest.mark.parametrize(
    "kwargs, jit",
    [*((case, False) for case in CASES), *((case, True) for case in CASES[-2:])],
    ids=str,
)
def test_equals_a_search_in_plain_python(kwargs, jit):
    for seed in range(1 if jit else 4):
        table = Table(seed)
        expected = [_oracle(table, row, **kwargs) for row in range(ROWS)]
        check(_search(table, jit=jit, **kwargs), expected)


@pytest.mark.parametrize(
    "kwargs, jit",
    [
        ({"num_beams": 1, "no_repeat_ngram_size": 1}, False),
        ({"num_beams": 3, "n_best": 3, "no_repeat_ngram_size": 2}, False),
        ({"num_beams": 3, "n_best": 2, "no_repeat_ngram_size": 2, "length_penalty": 1.0}, True),
        ({"num_beams": 2, "no_repeat_ngram_size": 3, "coverage_penalty": 0.3}, False),
    ],
    ids=str,
)
def test_no_ngram_occurs_twice(kwargs, jit):
    steps, n, differs = 9, kwargs["no_repeat_ngram_size"], False
    for seed in range(1 if jit else 3):
        table = Table(seed, scale=3.0)
        table.bias[:, END] = -6.0  # so that hypotheses are long enough to repeat something
        expected = [_oracle(table, row, max_length=steps, **kwargs) for row in range(ROWS)]
        got = to_numpy(_search(table, steps, jit, **kwargs))
        check(got, expected)
        for row, (count, *_) in zip(got[0][:, 0], got[2], strict=True):
            grams = list(zip(*(row[i:count] for i in range(n)), strict=False))
            assert len(set(grams)) == len(grams) > 1
        free = to_numpy(_search(table, steps, jit, **kwargs | {"no_repeat_ngram_size": 0}))
        differs |= not np.array_equal(free[0], got[0])
    assert differs


def test_a_hypothesis_without_an_allowed_token_is_dropped():
    def step(token, state):
        return ops.zeros((4, 2)), state

    arguments = {"num_beams": 2, "n_best": 2, "no_repeat_ngram_size": 1}
    tokens, scores, lengths = to_numpy(ka.beam_search(step, [0, 0], None, 2, **arguments))
    assert sorted(tokens[0].tolist()) == [[0, 1], [1, 0]]  # the start token counts for nothing
    assert (lengths == 2).all()
    assert np.exp(scores) == pytest.approx(0.25, rel=1e-5)  # not renormalized
    tokens, scores, lengths = to_numpy(ka.beam_search(step, [0, 0], None, 3, **arguments))
    assert (scores == -np.inf).all() and (lengths == 0).all() and (tokens == 0).all()


def test_an_ngram_as_long_as_the_hypothesis_blocks_nothing():
    table = Table()
    free = to_numpy(_search(table, num_beams=3))
    for n in (STEPS, 99):
        blocked = to_numpy(_search(table, num_beams=3, no_repeat_ngram_size=n))
        for a, b in zip(blocked, free, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kwargs", [{}, {"length_penalty": 1.0, "early_stop": True}], ids=str)
def test_one_beam_is_greedy(seed, kwargs):
    table = Table(seed, rows=8)
    arguments = table.step, table.start, table.state, STEPS, END
    expected = to_numpy(ka.greedy_search(*arguments))
    tokens, scores, lengths = to_numpy(ka.beam_search(*arguments, num_beams=1, **kwargs))
    np.testing.assert_array_equal(tokens[:, 0], expected[0])
    np.testing.assert_array_equal(lengths[:, 0], expected[2])
    if not kwargs:
        np.testing.assert_allclose(scores[:, 0], expected[1], atol=1e-5)


@pytest.mark.parametrize(
    "penalties, jit",
    [({}, False), ({"length_penalty": 1.5, "coverage_penalty": 0.5}, True)],
    ids=str,
)
def test_as_many_beams_as_sequences_are_exhaustive(penalties, jit):
    table, steps = Table(1), 3
    expected = []
    for row in range(ROWS):
        every = itertools.chain(*(itertools.product(range(4), repeat=n + 1) for n in range(steps)))
        whole = [x for x in every if END not in x[:-1] and (x[-1] == END or len(x) == steps)]
        expected.append(sorted((_score(table, row, x, **penalties), x) for x in whole)[::-1])
    assert len(expected[0]) == 40  # of the 64 places the other 24 stay empty
    check(_search(table, steps, jit, num_beams=64, n_best=64, **penalties), expected)


def test_equation_14_of_wu_2016():
    """The penalties of one given hypothesis: a step that leaves no choice."""
    weights = np.array([[0.5, 0.25, 0.25, 0.0], [0.75, 0.125, 0.125, 0.0]], "float32")
    mask = np.array([[True, True, True, False]])
    p = 0.8  # of token 1, then of token 2, which ends

    def step(token, state):
        logits = ops.log(ops.take([[0.2, p, 0.0], [0.2, 0.0, p]], token, axis=0))
        return logits, state, ops.take(weights, token, axis=0)

    _, scores, lengths = to_numpy(
        ka.beam_search(
            *(step, [0], None, 2, 2),
            num_beams=1,
            length_penalty=0.7,
            coverage_penalty=0.3,
            memory_mask=mask,
        )
    )
    log_p = 2 * np.log(p)
    lp = (5 + 2) ** 0.7 / (5 + 1) ** 0.7
    cp = 0.3 * (np.log(1.0) + np.log(0.375) + np.log(0.375))  # 0.5 + 0.75 counts as 1
    assert lengths[0, 0] == 2
    assert scores[0, 0] == pytest.approx(log_p / lp + cp, abs=1e-5)


def test_the_best_are_sorted_and_distinct():
    model, inputs = Decoder(), memories(4)
    state = model.initial_state(**inputs)
    tokens, scores, _ = to_numpy(
        ka.beam_search(model.step, 1, state, 8, 2, num_beams=6, n_best=6, length_penalty=1.0)
    )
    assert (np.diff(scores) <= 0).all()
    for row in tokens:
        assert len(np.unique(row, axis=0)) == 6


def _chain(probabilities):
    """Step of a Markov chain whose rows of `probabilities` are what follows each token."""
    logits = np.log(np.maximum(np.array(probabilities, "float32"), 1e-30))
    return lambda token, state: (ops.take(logits, token, axis=0), state)


def test_a_finished_hypothesis_is_kept_while_others_pass_it_by():
    # Token 2 ends. [2] with 0.4 ranks second of two at the first step, and all else ends worse.
    step = _chain([[0.0, 0.6, 0.4], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    tokens, scores, lengths = to_numpy(ka.beam_search(step, [0], None, 4, 2, num_beams=2))
    assert tokens[0, 0, 0] == 2 and lengths[0, 0] == 1
    assert np.exp(scores[0, 0]) == pytest.approx(0.4, rel=1e-5)


def test_a_row_stops_early_only_if_asked_to():
    # [2] has 0.51; [1, 2] has 0.49 and wins by its length.
    step = _chain([[0.0, 0.49, 0.51], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    arguments = {"max_length": 4, "end_token": 2, "num_beams": 1, "length_penalty": 1.0}
    tokens, scores, _ = to_numpy(ka.beam_search(step, [0], None, **arguments))
    assert tokens[0, 0].tolist() == [1, 2, 0, 0]
    assert scores[0, 0] == pytest.approx(np.log(0.49) * 6 / 7, abs=1e-5)
    tokens, scores, _ = to_numpy(ka.beam_search(step, [0], None, **arguments, early_stop=True))
    assert tokens[0, 0].tolist() == [2, 0, 0, 0]
    assert scores[0, 0] == pytest.approx(np.log(0.51), abs=1e-5)


@needs_tensorflow
@pytest.mark.parametrize(
    "kwargs, steps",
    [
        ({}, 1),  # 0.6 is more than the other's 0.4 can ever become
        ({"n_best": 2}, 3),  # [1, 2] has 0.18 then, and [1, 1] 0.22
        ({"length_penalty": 1.0}, 2),  # 0.4 might become 0.4^(6 / 15) and 0.22 not enough
    ],
    ids=str,
)
def test_a_row_stops_when_nothing_can_overtake(kwargs, steps):
    calls = []
    chain = _chain([[0.0, 0.4, 0.6], [0.0, 0.55, 0.45], [1.0, 0.0, 0.0]])

    def step(token, state):
        calls.append(1)
        return chain(token, state)

    ka.beam_search(step, [0], None, 10, 2, num_beams=2, **kwargs)
    assert len(calls) == steps


def test_a_row_does_not_depend_on_the_others():
    model, inputs = Decoder(), memories(5)
    together = to_numpy(beam(model, **inputs))
    for row in range(0, 5, 2):
        alone = to_numpy(beam(model, **{k: x[row : row + 1] for k, x in inputs.items()}))
        np.testing.assert_array_equal(alone["tokens"][0], together["tokens"][row])
        np.testing.assert_allclose(alone["scores"][0], together["scores"][row], atol=1e-4)


def test_a_decoder_gives_the_same_hypotheses_under_xla():
    model, inputs = Decoder(), memories(5)
    expected = to_numpy(beam(model, **inputs))
    got = to_numpy(compiled(lambda memory, mask: beam(model, memory, mask))(**inputs))
    np.testing.assert_array_equal(got["tokens"], expected["tokens"])
    np.testing.assert_allclose(got["scores"], expected["scores"], atol=1e-4)


@needs_tensorflow
def test_a_state_that_is_handed_on_untouched_now_and_then_is_reordered():
    """Only eagerly can one step do other things than the next."""
    logits = Table(scale=0.4).logits.reshape(4, 16)[:, :4]
    calls = []

    def step(token, state):
        calls.append(1)
        now = ops.take(logits, token, axis=0)
        return now + state, state if len(calls) % 2 == 0 else state + 2 * now

    start = np.array([0, 1, 2])
    tokens, scores, lengths = to_numpy(
        ka.beam_search(step, start, np.zeros((3, 4), "float32"), STEPS, num_beams=3, n_best=3)
    )
    assert (lengths == STEPS).all()
    for row, rank in np.ndindex(3, 3):
        read = [start[row], *tokens[row, rank]]
        state, score = np.zeros(4), 0.0
        for i in range(STEPS):
            now = logits[read[i]]
            score += (now + state - np.log(np.exp(now + state).sum()))[read[i + 1]]
            state = state if i % 2 else state + 2 * now
        assert scores[row, rank] == pytest.approx(score, abs=1e-4)


def test_numpy_s_integers_are_integers_and_one_mask_does_for_all_rows():
    table = Table()
    mask = table.mask[:1]
    penalties = {"length_penalty": 0.6, "coverage_penalty": 0.2}
    expected = ka.beam_search(
        table.step,
        table.start,
        table.state,
        STEPS,
        END,
        num_beams=2,
        n_best=2,
        pad_token=7,
        memory_mask=np.repeat(mask, ROWS, axis=0),
        **penalties,
    )
    for dtype in (np.int64, np.uint8, np.int16):
        got = ka.beam_search(
            table.step,
            table.start.astype(dtype),
            table.state,
            dtype(STEPS),
            dtype(END),
            num_beams=dtype(2),
            n_best=dtype(2),
            pad_token=dtype(7),
            memory_mask=mask,
            **penalties,
        )
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


def test_a_vocabulary_of_one():
    def step(token, state):
        return ops.zeros((4, 1)), state

    tokens, _, lengths = to_numpy(ka.beam_search(step, [0, 0], None, 3, num_beams=2, n_best=2))
    assert tokens.tolist() == [[[0] * 3] * 2] * 2
    assert lengths.tolist() == [[3, 0]] * 2


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"num_beams": 0}, "`num_beams` must be a positive integer.*num_beams=0"),
        ({"n_best": 3}, "`n_best` must be at most `num_beams`.*n_best=3, num_beams=2"),
        ({"length_penalty": -1}, "`length_penalty` must be a number of at least 0.*=-1"),
        ({"coverage_penalty": -1}, "`coverage_penalty` must be a number of at least 0.*=-1"),
        (
            {"no_repeat_ngram_size": -1},
            "`no_repeat_ngram_size` must be a number of at least 0.*=-1",
        ),
        ({"no_repeat_ngram_size": 1.5}, "`no_repeat_ngram_size` must be an integer.*=1.5"),
        ({"coverage_penalty": 0.2}, "go together.*coverage_penalty=0.2, memory_mask=None"),
        ({"memory_mask": np.ones((3, 6))}, "go together.*coverage_penalty=0.0, memory_mask=a m"),
        (
            {"coverage_penalty": 0.2, "memory_mask": np.zeros((3, 6), "float32")},
            "`memory_mask` must be boolean.*memory_mask.dtype=float32",
        ),
        (
            {"coverage_penalty": 0.2, "memory_mask": np.ones(6, "bool")},
            r"`memory_mask` must have the shape \(batch.*memory_mask.shape=\(6,\)",
        ),
        (
            {"coverage_penalty": 0.2, "memory_mask": np.ones((3, 5), "bool")},
            r"weights.shape=\(6, 6\), memory_mask.shape=\(3, 5\)",
        ),
        (
            {
                "coverage_penalty": 0.2,
                "memory_mask": np.ones((3, 6), "bool"),
                "step": lambda token, state: (ops.zeros((6, 4)), state),
            },
            "`coverage_penalty` needs a `step`.*coverage_penalty=0.2",
        ),
        ({"max_length": None}, "`max_length` must be a positive integer.*max_length=None"),
    ],
)
def test_rejects_bad_argument(arguments, match):
    table = Table()
    good = {
        "step": table.step, "start_token": 1, "state": table.state,
        "max_length": STEPS, "num_beams": 2,
    }  # fmt: skip
    with pytest.raises(ValueError, match=match):
        ka.beam_search(**good | arguments)
