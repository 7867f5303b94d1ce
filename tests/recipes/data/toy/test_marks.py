"""The toy marks: what is drawn where, and that nothing else tells the class."""

import collections

import numpy as np
import pytest

from recipes.data.toy import marks


@pytest.fixture(scope="module")
def splits():
    return marks.splits()


@pytest.fixture(scope="module")
def rows(splits):
    return [row for split in splits for row in split]


def test_sizes_and_names(splits, rows):
    assert [len(split) for split in splits] == [1200, 200, 300]
    assert len({row.name for row in rows}) == len(rows)


def test_nothing_but_the_mark_tells_the_class(rows):
    others = {label: collections.Counter() for label in marks.MARKS}
    for row in rows:
        cells = [row.cell, *(cell for _, cell in row.others)]
        assert len(set(cells)) == len(cells) and 4 <= len(cells) <= 7
        others[row.label].update(kind for kind, _ in row.others)
    for counted in others.values():
        assert set(counted) == set(marks.OTHERS)
        shares = np.array(list(counted.values())) / sum(counted.values())
        assert shares.min() > 0.2 and shares.max() < 0.3
    assert min(collections.Counter(row.cell for row in rows).values()) > 60  # of 106 on average


def test_things_are_drawn_where_they_are_and_nowhere_else(rows):
    for row in rows[:200]:
        assert row.image.shape == (32, 32, 3) and row.image.dtype == np.uint8
        cells = row.image.reshape(4, 8, 4, 8, 3).astype(int)
        bright = cells.max((1, 3, 4)) > 140
        expected = {row.cell, *(cell for _, cell in row.others)}
        assert {tuple(map(int, cell)) for cell in np.argwhere(bright)} == expected


def test_same_seed_same_images():
    once, again, other = (marks.generate(20, seed=seed) for seed in (5, 5, 6))
    assert once == again != other
    np.testing.assert_array_equal(once[3].image, again[3].image)
