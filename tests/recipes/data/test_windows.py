"""Windows of histories: every step to predict comes, padded at the left, the same again."""

import keras
import numpy as np
import pytest

from recipes.data.windows import Windows, padded

RNG = np.random.default_rng(0)
HISTORIES = [
    RNG.permutation(np.arange(1, 61, dtype="int32"))[:length]
    for length in [1, 2, 3, 7, 8, 9, 16, 17, 40, 55] * 3
]


def windows(**changes):
    arguments = {"num_items": 60, "max_history": 16, "batch_size": 32, "seed": 3} | changes
    return Windows(HISTORIES, **arguments)


def seen(batches):
    return [batches[index] for index in range(len(batches))]


def test_padded():
    assert padded([np.array([4, 5, 6]), np.array([7])]).tolist() == [[4, 5, 6], [0, 0, 7]]
    assert padded([np.array([4, 5, 6]), np.array([7])], 2).tolist() == [[5, 6], [0, 7]]
    assert padded([np.array([], "int32")]).tolist() == [[0]]


def test_every_item_follows_the_one_before_it():
    wanted = {(h[i], h[i + 1]) for h in HISTORIES for i in range(len(h) - 1)}
    found = set()
    for inputs, weights in seen(windows()):
        history, target = inputs["history"], inputs["target"]
        np.testing.assert_array_equal(weights, target > 0)
        np.testing.assert_array_equal(history > 0, target > 0)
        assert (np.diff((history > 0).astype(int), axis=1) >= 0).all()  # padding at the left
        np.testing.assert_array_equal(
            history[:, 1:][history[:, :-1] > 0], target[:, :-1][history[:, :-1] > 0]
        )
        found |= set(zip(history[history > 0], target[target > 0], strict=True))
    assert found == wanted


def test_short_windows_come_in_larger_batches():
    shapes = {inputs["history"].shape for inputs, _ in seen(windows())}
    assert all(rows == 32 // length for rows, length in shapes)
    assert {length for _, length in shapes} <= {2, 4, 6, 8, 10, 12, 14, 16}
    assert len(shapes) > 3


def test_as_many_batches_in_each_epoch():
    batches = windows()
    count = len(batches)
    for _ in range(5):
        batches.on_epoch_end()
        assert len(batches) == count


def test_a_resumed_epoch_has_the_batches_of_an_uninterrupted_one():
    first = windows(negatives=2)
    before = seen(first)
    first.on_epoch_end()
    resumed = windows(negatives=2, epoch=1)
    for (one, _), (other, _) in zip(seen(first), seen(resumed), strict=True):
        for name in ("history", "target", "negatives"):
            np.testing.assert_array_equal(one[name], other[name])
    assert any(
        not np.array_equal(one["target"], other["target"])
        for (one, _), (other, _) in zip(before, seen(first), strict=True)
    )


def test_negatives_are_items_that_the_user_never_took():
    users = {tuple(sorted(h)): set(h) for h in HISTORIES}
    drawn = []
    for inputs, weights in seen(windows(negatives=3)):
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
