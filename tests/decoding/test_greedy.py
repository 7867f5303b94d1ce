"""greedy_search."""

import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from tests.backend import needs_tensorflow, to_numpy
from tests.decoding.models import END, PAD, STEPS, Decoder, Table, compiled, greedy, memories


def _oracle(table, row, end_token=END):
    written, score = [], 0.0
    while len(written) < STEPS and (not written or written[-1] != end_token):
        log_p = table.log_p(row, written)
        written.append(int(log_p.argmax()))
        score += log_p.max()
    return written, score


@pytest.mark.parametrize("end_token", [END, None])
@pytest.mark.parametrize("seed", range(3))
def test_equals_a_search_in_plain_python(seed, end_token):
    table = Table(seed, rows=6)

    def search():
        return ka.greedy_search(
            table.step, table.start, table.state, STEPS, end_token, pad_token=PAD
        )

    for run in (search, compiled(search)):
        tokens, scores, lengths = to_numpy(run())
        assert tokens.shape == (6, STEPS) and tokens.dtype == lengths.dtype == "int32"
        for row in range(6):
            written, score = _oracle(table, row, end_token)
            padding = [PAD] * (STEPS - len(written))
            assert tokens[row].tolist() == written + padding
            assert lengths[row] == len(written)
            assert scores[row] == pytest.approx(score, abs=1e-4)


def test_a_decoder_gives_the_same_tokens_under_xla():
    model = Decoder()
    inputs = memories(5)
    expected = to_numpy(greedy(model, **inputs))
    got = to_numpy(compiled(lambda memory, mask: greedy(model, memory, mask))(**inputs))
    np.testing.assert_array_equal(got["tokens"], expected["tokens"])
    np.testing.assert_allclose(got["scores"], expected["scores"], atol=1e-4)
    assert len(np.unique(expected["tokens"], axis=0)) > 1


def test_a_row_does_not_depend_on_the_others():
    model, inputs = Decoder(), memories(5)
    together = to_numpy(greedy(model, **inputs))
    for row in range(0, 5, 2):
        alone = to_numpy(greedy(model, **{k: x[row : row + 1] for k, x in inputs.items()}))
        np.testing.assert_array_equal(alone["tokens"][0], together["tokens"][row])


@needs_tensorflow
def test_the_loop_ends_with_its_last_row():
    calls = []

    def step(token, state):
        calls.append(token)
        return ops.one_hot(token + 1, 6), state

    lengths = ka.greedy_search(step, [3, 1], None, max_length=50, end_token=5)[2]
    assert to_numpy(lengths).tolist() == [2, 4]
    assert len(calls) == 4


def test_one_start_token_serves_all_rows_of_the_state():
    table = Table()
    tokens, *_ = ka.greedy_search(table.step, 1, table.state, STEPS)
    same, *_ = ka.greedy_search(table.step, ops.ones(3, "int32"), table.state, STEPS)
    np.testing.assert_array_equal(tokens, same)


@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.uint8])
def test_numpy_s_integers_are_integers(dtype):
    table = Table()
    expected = ka.greedy_search(table.step, table.start, table.state, STEPS, END, pad_token=9)
    start, numbers = table.start.astype(dtype), (dtype(STEPS), dtype(END))
    got = ka.greedy_search(table.step, start, table.state, *numbers, pad_token=dtype(9))
    for a, b in zip(to_numpy(got), to_numpy(expected), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


@needs_tensorflow
def test_a_state_may_lose_its_static_shape():
    import tensorflow as tf

    table = Table()

    def step(token, state):
        logits, state, _ = table.step(token, state)
        before = tf.raw_ops.PlaceholderWithDefault(input=state["before"], shape=(None,))
        logits = tf.raw_ops.PlaceholderWithDefault(input=logits, shape=(None, 4))
        return logits, state | {"before": before}

    arguments = table.start, table.state, STEPS, END
    for search in (ka.greedy_search, ka.beam_search):
        expected = search(table.step, *arguments)
        got = tf.function(lambda search=search: search(step, *arguments))()
        assert got[0].shape == expected[0].shape
        np.testing.assert_array_equal(got[0], expected[0])


def test_half_precision_logits_are_added_up_in_float32():
    def step(token, state):
        return ops.cast([[0.0, 9.0]], "float16"), state

    scores = to_numpy(ka.greedy_search(step, [0], None, 400)[1])
    assert scores.dtype == "float32"
    assert scores[0] == pytest.approx(-400 * np.log1p(np.exp(-9.0)), rel=1e-3)


def test_a_forbidden_token_is_never_taken():
    def step(token, state):
        return ops.convert_to_tensor([[-np.inf, -1e9, -np.inf]], "float32"), state

    tokens, scores, _ = to_numpy(ka.greedy_search(step, [0], None, 3))
    assert tokens.tolist() == [[1, 1, 1]] and scores.tolist() == [0.0]


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"step": 3}, "`step` must be a function.*step=3"),
        ({"max_length": 0}, "`max_length` must be a positive integer.*max_length=0"),
        ({"max_length": 2.0}, "`max_length` must be a positive integer.*max_length=2.0"),
        ({"end_token": 4}, r"`end_token` must be one of.*end_token=4, logits.shape=\(3, 4\)"),
        ({"end_token": -1}, "`end_token` must be one of.*end_token=-1"),
        ({"end_token": 1.0}, "`end_token` must be an integer.*end_token=1.0"),
        ({"pad_token": None}, "`pad_token` must be an integer.*pad_token=None"),
        ({"start_token": 1.0}, "`start_token` must be an integer.*float32"),
        ({"start_token": [[1], [1], [1]]}, r"`start_token` must be.*shape \(3, 1\)"),
        ({"start_token": [1, 1]}, r"have the batch.*start_token.shape=\(2,\).*\(3, 4\)"),
        ({"state": {"a": 1}}, "`start_token` must have the shape \\(batch,\\).*start_token=1"),
    ],
)
def test_rejects_bad_argument(arguments, match):
    table = Table()
    good = {"step": table.step, "start_token": 1, "state": table.state, "max_length": STEPS}
    with pytest.raises(ValueError, match=match):
        ka.greedy_search(**good | arguments)


def _growing(token, state):
    return ops.zeros((2, 4)), ops.concatenate([state, state], axis=1)


@pytest.mark.parametrize(
    "step, match",
    [
        (lambda token, state: ops.zeros((2, 4)), r"must return `\(logits, state\)`.*\(2, 4\)"),
        (lambda token, state: (ops.zeros((2, 1, 4)), state), r"of the shape \(rows, voc.*2, 1, 4"),
        (lambda token, state: (ops.zeros((2, 4)), [state]), r"in the structure.*\(2, 3\).*\[\("),
        (_growing, r"in its shape and dtype.*float32.*\(2, 3\), returned: float32.*\(2, 6\)"),
        (
            lambda token, state: (ops.zeros((2, 4)), ops.cast(state, "float16")),
            "in its shape and dtype.*float32.*returned: float16",
        ),
    ],
)
def test_rejects_bad_step(step, match):
    with pytest.raises(ValueError, match=match):
        ka.greedy_search(step, 0, ops.ones((2, 3)), 5)
