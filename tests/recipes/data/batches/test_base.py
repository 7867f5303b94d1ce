"""What all batches do: every row once, the same again for a seed and an epoch."""

import itertools

import numpy as np
import pytest

from recipes.data.batches import Batches, pad, widths
from tests.recipes.data.batches.examples import CLASSES, RNG, assert_equal, collect, digest

# Of two epochs, shuffled and not, which no change may change: figures of the recipes stand on
# these orders.
DIGESTS = {
    ("texts", None): ["d943a5d020dc5747", "d943a5d020dc5747"],
    ("texts", 3): ["89fe69f9d6cf572f", "4de48f0e2c8d2c47"],
    ("texts with their class", None): ["29e30d87e224634c", "29e30d87e224634c"],
    ("texts with their class", 3): ["4889b693f2655be1", "cbbd57c37355c0e1"],
    ("documents", None): ["c0f912869300300c", "c0f912869300300c"],
    ("documents", 3): ["ca41d242323636d8", "53c2839eb4b63fd2"],
    ("pairs", None): ["41a8b96252b6372c", "41a8b96252b6372c"],
    ("pairs", 3): ["787fde629abb9c73", "43933ed619ad2a5b"],
    ("summaries", None): ["a1b5fa29b70a3100", "a1b5fa29b70a3100"],
    ("summaries", 3): ["c305c2ed381c7d1c", "75e88a662de98ac4"],
    ("captions", None): ["2396df876722eda7", "2396df876722eda7"],
    ("captions", 3): ["1e0f31f5143fd42f", "af528e56be4931e6"],
    ("mirrored captions", None): ["2396df876722eda7", "2396df876722eda7"],
    ("mirrored captions", 3): ["fb863e8b68aa8e0e", "7a49a8f499e49379"],
    ("windows", 3): ["f56bc6292fc676c5", "ae45baa22bb13971"],
    ("windows with negatives", 3): ["0a2f0b86e891cee8", "7f95226918513740"],
}


@pytest.mark.parametrize(("name", "seed"), DIGESTS)
def test_batches_are_the_same_on_every_machine(name, seed):
    batches = CLASSES[name](shuffle_seed=seed)
    digests = [digest(collect(batches))]
    batches.on_epoch_end()
    assert [*digests, digest(collect(batches))] == DIGESTS[name, seed]


@pytest.mark.parametrize("name", CLASSES)
def test_a_resumed_epoch_has_the_batches_of_an_uninterrupted_one(name):
    first = CLASSES[name](shuffle_seed=3)
    before = collect(first)
    assert_equal(before, collect(CLASSES[name](shuffle_seed=3)))
    first.on_epoch_end()
    assert_equal(collect(first), collect(CLASSES[name](shuffle_seed=3, epoch=1)))
    assert digest(before) != digest(collect(first))


@pytest.mark.parametrize("name", [name for name in CLASSES if "windows" not in name])
def test_without_a_seed_the_order_stays(name):
    batches = CLASSES[name](shuffle_seed=None)
    before = collect(batches)
    batches.on_epoch_end()
    assert_equal(collect(batches), before)


class Rows(Batches):
    """The shortest subclass: the rows themselves."""

    def _arrays(self, rows, width):
        return {"row": np.repeat(rows[:, None], width, 1)}, rows


@pytest.mark.parametrize("seed", [None, 0])
def test_a_subclass_needs_no_more_than_the_arrays(seed):
    lengths = RNG.integers(1, 50, size=999)
    batches = collect(Rows(lengths, 10, shuffle_seed=seed))
    assert len(batches) == 100
    assert sorted(np.concatenate([rows for _, rows in batches])) == list(range(999))
    padding = sum(inputs["row"].size for inputs, _ in batches) / lengths.sum()
    assert padding < 1.1  # equally long rows stand together
    widths = [inputs["row"].shape[1] for inputs, _ in batches]
    assert widths[0] != widths[1]
    assert (widths[1:] == sorted(widths[1:])) == (seed is None)


def test_no_rows_make_no_batches():
    assert len(Rows([], 10)) == len(Rows([], 10, shuffle_seed=0)) == 0


def test_pad():
    assert pad([[1, 2], [3]], 3).tolist() == [[1, 2, 0], [3, 0, 0]]
    assert pad([[1, 2], []], 2, 3, at_left=True).tolist() == [[1, 2], [0, 0], [0, 0]]
    assert pad([[1, 2], [3]], 3, at_left=True).tolist() == [[0, 1, 2], [0, 0, 3]]
    assert pad([np.array([7])], 1).dtype == np.int32


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_no_other_candidates_need_less_padding(count):
    lengths = RNG.integers(1, 12, size=40).tolist()

    def steps(candidates):
        return sum(min(width for width in candidates if width >= length) for length in lengths)

    best = widths(lengths, count)
    *others, longest = sorted(set(lengths))
    chosen = itertools.combinations(others, min(count, len(others) + 1) - 1)
    assert len(best) <= count
    assert steps(best) == min(steps([*shorter, longest]) for shorter in chosen)
