"""Batches of pairs: few shapes, every pair once, and padding where pairs are missing."""

import itertools

import numpy as np
import pytest

from recipes.data.pair_batches import PairBatches, widths

RNG = np.random.default_rng(0)
END, START = 3, 2
SOURCES = [np.append(RNG.integers(4, 90, size=n), END) for n in RNG.integers(1, 30, size=101)]
TARGETS = [np.append(RNG.integers(4, 90, size=n), END) for n in RNG.integers(1, 30, size=101)]
OPTIONS = {"start": START, "widths": widths(SOURCES, TARGETS, 3)}


def seen(batches):
    return [batches[index] for index in range(len(batches))]


@pytest.mark.parametrize("seed", [None, 3])
def test_every_pair_once_and_what_is_predicted_is_one_step_ahead(seed):
    found = []
    for inputs, labels in seen(PairBatches(SOURCES, TARGETS, 8, shuffle_seed=seed, **OPTIONS)):
        assert len(labels) == 8
        for source, target, label in zip(inputs["source"], inputs["target"], labels, strict=True):
            source, label = source[source > 0], label[label > 0]
            if not len(source):  # a row of padding
                assert not len(label) and not target.any()
                continue
            np.testing.assert_array_equal(target[: len(label)], [START, *label[:-1]])
            assert not target[len(label) :].any()
            found.append((source.tolist(), label.tolist()))
    pairs = zip(SOURCES, TARGETS, strict=True)
    assert sorted(found) == sorted((a.tolist(), b.tolist()) for a, b in pairs)


def test_few_shapes():
    batches = seen(PairBatches(SOURCES, TARGETS, 8, shuffle_seed=0, **OPTIONS))
    assert len({labels.shape for _, labels in batches[1:]}) <= 3
    # Only the last batch of all is not full, and of what is left over nothing is cut.
    assert sum(not inputs["source"][-1].any() for inputs, _ in batches) <= 1


def test_a_pair_longer_than_all_in_training():
    long = [np.append(np.full(99, 5), END)]
    ((inputs, labels),) = seen(PairBatches(long, long, 4, **OPTIONS))
    assert labels.shape == inputs["source"].shape == (4, 100)


def test_a_resumed_epoch_has_the_batches_of_an_uninterrupted_one():
    first = PairBatches(SOURCES, TARGETS, 8, shuffle_seed=3, **OPTIONS)
    before = seen(first)
    first.on_epoch_end()
    resumed = PairBatches(SOURCES, TARGETS, 8, shuffle_seed=3, epoch=1, **OPTIONS)
    for (_, one), (_, other) in zip(seen(first), seen(resumed), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(not np.array_equal(a[1], b[1]) for a, b in zip(before, seen(first), strict=False))


def test_the_first_two_batches_are_of_different_width():
    same = [np.array([5, 6, END])] * 20
    first, second = seen(PairBatches(same, same, 4, start=START, widths=[3]))[:2]
    assert first[1].shape[1] != second[1].shape[1]


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_no_other_widths_need_less_padding(count):
    lengths = RNG.integers(1, 12, size=40).tolist()

    def steps(some):
        return sum(min(width for width in some if width >= length) for length in lengths)

    found = widths([[1]] * 40, [[1] * length for length in lengths], count)
    *others, longest = sorted(set(lengths))
    chosen = itertools.combinations(others, min(count, len(others) + 1) - 1)
    assert len(found) <= count
    assert steps(found) == min(steps([*some, longest]) for some in chosen)
