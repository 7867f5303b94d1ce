"""How a text goes on: a context that is full, an end, and draws."""

import numpy as np
import pytest

from recipes.parts import continuation
from recipes.text.tokens import BORDER, Characters, Pieces

CONTEXT, SIZE = 8, 12


class Successor:
    """A model of which each token is followed by the next number, with what it was given."""

    shapes = {"tokens": (1, 1), "index": (1,), "mask_1": (1, CONTEXT), "key_1": (1, 2, CONTEXT, 4)}

    def __init__(self):
        self.calls = []

    def __call__(self, tokens, index, mask_1, key_1):
        assert (index.dtype, mask_1.dtype, key_1.dtype) == ("int32", "bool", "float32")
        self.calls.append((int(index[0]), tokens[0].tolist()))
        logits = np.eye(SIZE)[(tokens + 1) % SIZE] * 9.0
        index = index + tokens.shape[1]
        return {"logits": logits, "index": index, "mask_1": mask_1, "key_1": key_1}


def greedy(logits):
    return continuation.drawn(logits, 0)


def test_a_full_context_is_read_anew_from_its_middle_on():
    step = Successor()
    found = list(continuation.continued(step, [3], 7, greedy))
    assert found == [4, 5, 6, 7, 8, 9, 10]
    assert step.calls[0] == (0, [BORDER, 3])
    assert step.calls[1:7] == [(n, [n + 2]) for n in range(2, 8)]
    assert list(continuation.continued(step, [3], 8, greedy))[-1] == 11
    assert step.calls[-1] == (0, [7, 8, 9, 10])


def test_of_a_long_text_its_end_is_read():
    step = Successor()
    assert list(continuation.continued(step, range(3, 10), 1, greedy)) == [10]
    assert step.calls == [(0, [6, 7, 8, 9])]


def test_the_end_of_a_document_ends_it():
    def choose(logits):
        return BORDER

    assert list(continuation.continued(Successor(), [3], 5, choose)) == []


def test_draws_have_the_probabilities_of_the_sampler():
    logits, rng = np.log([0.05, 0.05, 0.1, 0.2, 0.2, 0.4]), np.random.default_rng(0)

    def shares(**options):
        found = [continuation.drawn(logits, **options, rng=rng) for _ in range(3000)]
        return np.bincount(found, minlength=6) / 3000

    p = np.array([0, 0, 1, 2, 2, 4]) / 9  # without padding and unknown
    np.testing.assert_allclose(shares(temperature=1.0), p, atol=0.04)
    np.testing.assert_allclose(shares(temperature=0.5), p**2 / (p**2).sum(), atol=0.04)
    np.testing.assert_allclose(shares(temperature=1.0, top_k=1), [0, 0, 0, 0, 0, 1])
    nucleus = shares(temperature=1.0, top_p=0.5)  # 4/9, and 2/9 which passes a half
    np.testing.assert_allclose(nucleus, [0, 0, 0, 2 / 6, 0, 4 / 6], atol=0.04)


@pytest.mark.parametrize("tokens", [Characters.learn(["ø!"]), Pieces.learn(["ø!"], 259)])
def test_parts_are_whole_characters(tokens):
    shown = list(continuation.parts(tokens, tokens.encode("ø!ø")))
    assert shown == ["ø", "!", "ø"]
    cut = tokens.encode("!ø")[: None if len(tokens) < 259 else -1]
    assert "".join(continuation.parts(tokens, cut)) in ("!ø", "!\ufffd")
