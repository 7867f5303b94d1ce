"""The toy readers: what decides the next book is known, and a first-order model cannot know it."""

import collections

import pytest

from recipes.data.toy import interactions as toy

VOLUMES = {item: title.rpartition(" ") for item, title in toy.TITLES.items()}


@pytest.fixture(scope="module")
def readers():
    return toy.generate(1000, seed=1)


def test_deciding_is_the_volume_before(readers):
    for reader in readers:
        assert len(reader.items) == len(reader.deciding) == len(set(reader.items))
        for place, (item, before) in enumerate(zip(reader.items, reader.deciding, strict=True)):
            if before is not None:
                assert before < place
                series, _, volume = VOLUMES[item]
                series_before, _, volume_before = VOLUMES[reader.items[before]]
                assert series == series_before
                assert int(volume) == int(volume_before) + 1


def test_what_decides_stands_mostly_two_places_back(readers):
    distances = collections.Counter(
        place - before
        for reader in readers
        for place, before in enumerate(reader.deciding)
        if before is not None
    )
    total = distances.total()
    assert distances[2] / total > 0.6
    assert 0.05 < distances[1] / total < 0.25


def test_lengths_and_items(readers):
    lengths = [len(reader.items) for reader in readers]
    assert min(lengths) >= 10 and max(lengths) == 30
    counts = collections.Counter(item for reader in readers for item in reader.items)
    assert set(counts) == set(toy.TITLES)
    assert len(set(toy.TITLES.values())) == len(toy.TITLES) == len(toy.SERIES) * toy.VOLUMES


def test_two_series_and_few_other_books(readers):
    for reader in readers:
        series = collections.Counter(VOLUMES[item][0] for item in reader.items)
        assert sum(count for _, count in series.most_common(2)) >= 0.5 * len(reader.items)
    other = sum(before is None for reader in readers for before in reader.deciding[2:])
    assert 0.02 < other / sum(len(reader.items) - 2 for reader in readers) < 0.1


def test_same_seed_same_readers():
    assert toy.generate(20, seed=5) == toy.generate(20, seed=5)
    assert toy.generate(20, seed=5) != toy.generate(20, seed=6)


def test_rows():
    rows = toy.interactions(3, seed=2)
    assert [row for row in rows if row[0] == "1"] == [
        ("1", item, time) for time, item in enumerate(toy.generate(3, seed=2)[1].items)
    ]
