"""Batches of pairs and of summaries, in few shapes."""

import numpy as np
import pytest

from recipes.data.batches import PairBatches, SummaryBatches
from tests.recipes.data.batches.examples import (
    CLASSES,
    END,
    OPTIONS,
    SHAPES,
    SOURCES,
    START,
    TARGETS,
    collect,
)


@pytest.mark.parametrize("seed", [None, 3])
def test_every_pair_once_and_what_is_predicted_is_one_step_ahead(seed):
    pairs = []
    for inputs, labels in collect(PairBatches(SOURCES, TARGETS, 8, shuffle_seed=seed, **OPTIONS)):
        assert len(labels) == 8
        for source, target, label in zip(inputs["source"], inputs["target"], labels, strict=True):
            source, label = source[source > 0], label[label > 0]
            if not len(source):  # a row of padding
                assert not len(label) and not target.any()
                continue
            np.testing.assert_array_equal(target[: len(label)], [START, *label[:-1]])
            assert not target[len(label) :].any()
            pairs.append((source.tolist(), label.tolist()))
    assert sorted(pairs) == sorted(
        (a.tolist(), b.tolist()) for a, b in zip(SOURCES, TARGETS, strict=True)
    )


def test_few_shapes():
    batches = collect(PairBatches(SOURCES, TARGETS, 8, shuffle_seed=0, **OPTIONS))
    assert len({labels.shape for _, labels in batches[1:]}) <= 3
    # Only the last batch of all is not full, and of what is left over nothing is cut.
    assert sum(not inputs["source"][-1].any() for inputs, _ in batches) <= 1


def test_a_pair_longer_than_all_in_training():
    long = [np.append(np.full(99, 5), END)]
    ((inputs, labels),) = collect(PairBatches(long, long, 4, **OPTIONS))
    assert labels.shape == inputs["source"].shape == (4, 100)


@pytest.mark.parametrize("seed", [None, 3])
def test_every_summary_once_in_full_batches_of_few_shapes(seed):
    batches = collect(CLASSES["summaries"](shuffle_seed=seed))
    seen = []
    for inputs, labels in batches:
        assert len(inputs["source"]) == len(labels) == 8
        np.testing.assert_array_equal(inputs["labels"], labels)
        for source, target, row in zip(inputs["source"], inputs["target"], labels, strict=True):
            source, target, row = (x[x > 0].tolist() for x in (source, target, row))
            assert target == [START, *row[:-1]] if row else not source
            seen.append((source, row))
    expected = [(s.tolist(), t.tolist()) for s, t in zip(SOURCES, TARGETS, strict=True)]
    assert sorted(pair for pair in seen if pair[0]) == sorted(expected)
    shapes = [(inputs["source"].shape[1], labels.shape[1]) for inputs, labels in batches]
    longest = max(map(len, SOURCES)), max(map(len, TARGETS))
    assert {*shapes} == {*SHAPES, longest}
    # Keras expects of all batches what the first two have in common: here nothing.
    assert shapes[:2] == [SHAPES[0], longest]


def test_summaries_of_one_shape_stay_so():
    for count in (3, 20):
        found = collect(
            SummaryBatches(SOURCES[:count], TARGETS[:count], 4, start=2, shapes=[(40, 40)])
        )
        assert {labels.shape for _, labels in found} == {(4, 40)}


def test_the_first_two_batches_are_of_different_width():
    same = [np.array([5, 6, END])] * 20
    first, second = collect(PairBatches(same, same, 4, start=START, widths=[3]))[:2]
    assert first[1].shape[1] != second[1].shape[1]
