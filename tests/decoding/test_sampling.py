"""sample."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from tests.backend import to_numpy
from tests.decoding.models import END, PAD, STEPS, Decoder, Table, compiled, memories

ROWS = 20_000
LOGITS = np.array([1.0, -0.5, 2.0, 0.3, -np.inf, 1.6], "float32")


def _distribution(temperature=1.0, top_k=None, top_p=None):
    """What is left of the probabilities of `LOGITS`, rescaled."""
    p = np.exp(LOGITS.astype("float64") / temperature)
    order = np.argsort(-p)
    p[order[top_k or len(p) :]] = 0
    p /= p.sum()
    kept, mass = [], 0.0
    for token in order:
        if mass < (top_p or 1.0):
            kept.append(token)
        mass += p[token]
    p[[token for token in order if token not in kept]] = 0
    return p / p.sum()


def _draw(max_length=1, seed=0, **kwargs):
    def step(token, state):
        return ops.broadcast_to(LOGITS, (ROWS, len(LOGITS))), state

    start = np.zeros(ROWS, "int32")
    return ka.sample(step, start, None, max_length, seed=seed, **kwargs)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 3.0},
        {"top_k": 3},
        {"top_k": 1},
        {"top_p": 0.7},
        {"top_p": 0.001},
        {"top_p": 1.0},
        {"temperature": 2.0, "top_k": 4, "top_p": 0.8},
    ],
    ids=str,
)
def test_tokens_follow_what_is_left_of_the_distribution(arguments):
    p = _distribution(**arguments)
    for run in (_draw, compiled(lambda: _draw(**arguments))):
        tokens = to_numpy(run(**arguments if run is _draw else {})[0])
        counts = np.bincount(tokens[:, 0], minlength=len(p))
        assert not counts[p == 0].any()
        # Five standard deviations: one false alarm in a million.
        assert (np.abs(counts / ROWS - p) <= 5 * np.sqrt(p * (1 - p) / ROWS)).all()


def test_steps_are_drawn_apart():
    tokens = to_numpy(_draw(max_length=2)[0])
    p = _distribution()
    p = np.outer(p, p)
    pairs = np.bincount(tokens[:, 0] * len(LOGITS) + tokens[:, 1], minlength=p.size)
    deviation = np.sqrt(p * (1 - p) / ROWS)
    assert (np.abs(pairs.reshape(p.shape) / ROWS - p) <= 5 * deviation).all()


def test_scores_and_lengths_are_those_of_the_model():
    table = Table(rows=8)
    tokens, scores, lengths = to_numpy(
        ka.sample(
            *(table.step, table.start, table.state, STEPS, END),
            temperature=2.0,
            top_k=3,
            seed=1,
            pad_token=PAD,
        )
    )
    for row in range(8):
        written = tokens[row, : lengths[row]].tolist()
        expected = sum(table.log_p(row, written[:i])[token] for i, token in enumerate(written))
        assert scores[row] == pytest.approx(expected, abs=1e-4)
        assert written[-1] == END or lengths[row] == STEPS
        assert END not in written[:-1] and (tokens[row, lengths[row] :] == PAD).all()
    assert len(set(lengths)) > 1


def test_one_candidate_or_a_cold_temperature_is_greedy():
    table = Table()
    arguments = table.step, table.start, table.state, STEPS, END
    expected = to_numpy(ka.greedy_search(*arguments))
    for kwargs in ({"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-30}, {"temperature": 1e-39}):
        got = to_numpy(ka.sample(*arguments, **kwargs))
        for x, y in zip(got, expected, strict=True):
            np.testing.assert_allclose(x, y, atol=1e-6)


def test_seeds():
    table = Table(rows=20)

    def draw(seed):
        return to_numpy(ka.sample(table.step, 1, table.state, STEPS, seed=seed)[0])

    fixed = draw(4)
    np.testing.assert_array_equal(fixed, draw(4))
    assert (fixed != draw(5)).any()
    generator = keras.random.SeedGenerator(4)
    first, second = draw(generator), draw(generator)
    assert (first != second).any()
    np.testing.assert_array_equal(first, draw(keras.random.SeedGenerator(4)))
    assert (draw(None) != draw(None)).any()


def test_a_decoder_draws_under_xla():
    model, inputs = Decoder(), memories(6)

    def draw(memory, mask):
        state = model.initial_state(memory, mask)
        return ka.sample(model.step, 1, state, 8, end_token=2, seed=5)

    run = compiled(draw)
    tokens, scores, lengths = to_numpy(run(**inputs))
    np.testing.assert_array_equal(tokens, run(**inputs)[0])
    assert np.isfinite(scores).all() and lengths.min() >= 1 and len(np.unique(tokens, axis=0)) > 1


@pytest.mark.parametrize(
    "arguments, match",
    [
        ({"temperature": 0}, "`temperature` must be a positive number.*temperature=0"),
        ({"temperature": -1.0}, "`temperature` must be a positive.*temperature=-1.0"),
        ({"temperature": float("nan")}, "`temperature` must be a positive.*temperature=nan"),
        ({"top_k": 0}, "`top_k` must be a positive integer or `None`.*top_k=0"),
        ({"top_k": 5}, r"`top_k` must be at most.*top_k=5, logits.shape=\(3, 4\)"),
        ({"top_p": 0.0}, r"`top_p` must be a number in \(0, 1\].*top_p=0.0"),
        ({"top_p": 1.5}, r"`top_p` must be a number in \(0, 1\].*top_p=1.5"),
        ({"max_length": -1}, "`max_length` must be a positive integer.*max_length=-1"),
    ],
)
def test_rejects_bad_argument(arguments, match):
    table = Table()
    good = {"step": table.step, "start_token": 1, "state": table.state, "max_length": STEPS}
    with pytest.raises(ValueError, match=match):
        ka.sample(**good | arguments)
