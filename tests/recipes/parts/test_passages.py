"""Batches that hold the answer, windows of long passages, and the best of their spans."""

import numpy as np
import pytest

from recipes.parts import passages

SIZES = {"max_context": 10, "max_question": 4, "max_answer": 3}


def batches_of(targets, lengths=(8, 30, 25), **options):
    contexts = [np.arange(1, 1 + length, dtype="int32") for length in lengths]
    questions = [np.full(6, 1 + row, "int32") for row in range(len(lengths))]
    return passages.SpanBatches(
        questions, contexts, np.array(targets, "int32"), 2, max_context=10, max_question=4,
        **options,
    )  # fmt: skip


def test_a_window_of_training_has_the_answer():
    batches = batches_of([[2, 3], [15, 17], [24, 24]], shuffle_seed=0)
    widths, begins = set(), set()
    for _ in range(12):
        for index in range(len(batches)):
            inputs, targets = batches[index]
            widths.add(inputs["context"].shape[1])
            assert inputs["question"].shape[1] == (4 if index else 5)  # no width of all
            for row, context in enumerate(inputs["context"]):
                first, last = targets["start"][row], targets["end"][row]
                answer = context[first : last + 1].tolist()
                assert answer in ([3, 4], [16, 17, 18], [25])
                begins.add((len(answer), int(context[0])))
        batches.on_epoch_end()
    assert max(widths) <= 11
    assert len({begin for length, begin in begins if length == 3}) > 3  # drawn anew
    assert {begin for length, begin in begins if length == 1} == {16}  # the end of the passage


def test_an_answer_longer_than_a_window_is_cut():
    (inputs, targets), *_ = batches_of([[5, 20]], lengths=[30])
    assert inputs["context"][0, targets["start"][0]] == 6
    assert targets["end"][0] == 9


def test_windows_cover_a_passage_and_share_steps():
    for length in range(1, 60):
        begins = passages.windows(length, 10, 3)
        assert begins[0] == 0 and begins[-1] + 10 >= length
        steps = np.diff(begins)
        assert (steps <= 7).all() and (steps > 0).all()


def run(question, context):
    """Finds the step with the highest id as the first of two; looks at it alone."""
    best = context.argmax(axis=1)
    score = context.max(axis=1).astype("float32")
    weights = np.zeros((*context.shape, question.shape[1]), "float32")
    weights[np.arange(len(best)), best, 0] = 1
    return {
        "start": best, "end": best, "score": score, "probability": np.full(len(best), 0.5),
        "looked_at": np.eye(context.shape[1], dtype="float32")[best], "weights": weights,
    }  # fmt: skip


def test_the_best_of_all_windows_is_found():
    contexts = [np.array(row, "int32") for row in ([1, 5, 2], range(1, 33), [], [9] + [1] * 40)]
    questions = [np.array([3] * 9, "int32")] * 4
    found = dict(passages.find(run, questions, contexts, at_once=4, **SIZES))
    assert sorted(found) == [0, 1, 2, 3]
    assert [found[row].start for row in range(4)] == [1, 31, 0, 0]
    assert found[1].looked_at.tolist() == [0] * 31 + [1]
    assert found[1].weights.shape == (32, 4) and found[1].weights[31, 0] == 1
    assert found[0].probability == pytest.approx(0.5)
    # Each window's best span is half of it: of 5 windows, e^9 is little less than half of all.
    total = 2 * (1 + 5 * np.exp(1 - 9))
    assert found[3].probability == pytest.approx(1 / total, rel=1e-3)


def test_tokens_are_told_as_characters_of_the_text():
    found = passages.Found(1, 2, 1.0, None, None)
    spans = np.array([(0, 1), (1, 5), (5, 11)])
    assert passages.characters("a big  cat.", spans, found) == (2, 11)  # not the space before it
    assert passages.characters("", np.zeros((0, 2), int), found) == (0, 0)
