"""Batches of windows of histories."""

import keras
import numpy as np
import pytest

from recipes.data.batches import Windows, padded
from tests.recipes.data.batches.examples import HISTORIES, collect, windows


def test_padded():
    assert padded([np.array([4, 5, 6]), np.array([7])]).tolist() == [[4, 5, 6], [0, 0, 7]]
    assert padded([np.array([4, 5, 6]), np.array([7])], 2).tolist() == [[5, 6], [0, 7]]
    assert padded([np.array([], "int32")]).tolist() == [[0]]


def test_every_item_follows_the_one_before_it():
    expected = {(h[i], h[i + 1]) for h in HISTORIES for i in range(len(h) - 1)}
    pairs = set()
    for inputs, weights in collect(windows()):
        history, target = inputs["history"], inputs["target"]
        np.testing.assert_array_equal(weights, target > 0)
        np.testing.assert_array_equal(history > 0, target > 0)
        assert (np.diff((history > 0).astype(int), axis=1) >= 0).all()  # padding at the left
        np.testing.assert_array_equal(
            history[:, 1:][history[:, :-1] > 0], target[:, :-1][history[:, :-1] > 0]
        )
        pairs |= set(zip(history[history > 0], target[target > 0], strict=True))
    assert pairs == expected


def test_short_windows_come_in_larger_batches():
    shapes = {inputs["history"].shape for inputs, _ in collect(windows())}
    assert all(rows == 32 // length for rows, length in shapes)
    assert 3 < len(shapes) <= 8
    assert max(length for _, length in shapes) <= 16


def test_widths_of_windows_follow_the_histories():
    lengths = [*[4] * 500, *[7] * 300, 150]
    histories = [np.arange(1, 1 + length, dtype="int32") for length in lengths]
    batches = collect(Windows(histories, 200, 200, 64))
    shapes = {inputs["history"].shape for inputs, _ in batches}
    assert shapes == {(21, 3), (10, 6), (1, 149)}
    real = sum(weights.sum() for _, weights in batches)
    assert real == sum(length - 1 for length in lengths)
    assert real > 0.95 * sum(weights.size for _, weights in batches)


def test_as_many_batches_in_each_epoch():
    batches = windows()
    count = len(batches)
    for _ in range(5):
        batches.on_epoch_end()
        assert len(batches) == count


def test_negatives_are_items_that_the_user_never_took():
    users = {tuple(sorted(h)): set(h) for h in HISTORIES}
    drawn = []
    for inputs, weights in collect(windows(negatives=3)):
        assert inputs["negatives"].shape == (*weights.shape, 3)
        for row in range(len(weights)):
            known = set(inputs["history"][row]) | set(inputs["target"][row]) - {0}
            if not (known := known - {0}):
                continue
            negatives = inputs["negatives"][row][weights[row] > 0]
            drawn.append(negatives)
            whole = [taken for taken in users.values() if known <= taken]
            assert any(not taken & set(negatives.ravel()) for taken in whole)
    drawn = np.concatenate(drawn)
    assert drawn.min() >= 1 and drawn.max() <= 60
    assert len(np.unique(drawn)) == 60


def test_a_user_who_took_everything_does_not_hang():
    everything = [np.arange(1, 5, dtype="int32")]
    inputs, _ = Windows(everything, 4, 8, 8, negatives=1)[0]
    assert inputs["negatives"].max() <= 4


@pytest.mark.parametrize("max_history", [2, 3, 5, 8, 200])
def test_keras_takes_batches_of_any_length(max_history):
    batches = windows(max_history=max_history)
    history = keras.Input((None,), dtype="int32", name="history")
    target = keras.Input((None,), dtype="int32", name="target")
    model = keras.Model({"history": history, "target": target}, keras.ops.max(target, axis=1))
    largest = model.predict(batches, verbose=0)
    assert largest.max() == 60
