"""Readers of book series, in which we know which past book decides the next one.

Each reader follows two series and reads both in order, mostly a volume of one and then a volume of
the other. So what decides the next book is seldom the last one: it is the volume before it, two
positions back. Sometimes a reader takes two volumes of a series in a row, which is all that a model
of neighbouring books can learn, and sometimes any book at all. All names are our own.

>>> reader = generate(1, seed=3)[0]
>>> [TITLES[item] for item in reader.items[:3]]
['The Silver River 3', 'The Salt Compass 6', 'The Silver River 4']
>>> reader.deciding[:4]
[None, None, 0, 1]
"""

import dataclasses
import random

SERIES = [
    f"The {first} {second}"
    for first, second in zip(
        "Amber Brass Copper Glass Iron Ivory Linen Paper Salt Silver Stone Willow".split(),
        "Orchard Lantern Bridge Harbour Garden Tower Map Kite Compass River Letter Clock".split(),
        strict=True,
    )
]
VOLUMES = 24
# Item to title; the items of a series stand side by side, by volume.
TITLES = {
    str(VOLUMES * series + volume): f"{name} {volume}"
    for series, name in enumerate(SERIES)
    for volume in range(1, VOLUMES + 1)
}
AGAIN_RATE = 0.15  # two volumes of a series in a row
OTHER_RATE = 0.05  # any book at all
DESCRIPTION = (
    "Readers of book series, generated (recipes/data/toy/interactions.py): each follows two "
    "series in turns, so that mostly the book before the last one decides the next."
)


@dataclasses.dataclass(frozen=True)
class Reader:
    """What one reader read.

    Attributes:
        items: List of strings, the books in the order of reading, 10 to 30, no book twice.
        deciding: For each book the position in `items` of the volume before it, which decided it;
            `None` for a series' first volume read and for any book at all.
    """

    items: list[str]
    deciding: list[int | None]


def generate(count, *, seed=0):
    """Returns `count` readers."""
    rng = random.Random(seed)
    return [_reader(rng) for _ in range(count)]


def interactions(count=2000, *, seed=0):
    """Returns rows `(user, item, time)` of all readers; the time counts a reader's books."""
    return [
        (str(number), item, time)
        for number, reader in enumerate(generate(count, seed=seed))
        for time, item in enumerate(reader.items)
    ]


def _reader(rng):
    length = rng.randint(10, 30)
    followed = rng.sample(range(len(SERIES)), 2)
    volumes = {series: rng.randint(1, 8) for series in followed}  # the next to read
    waiting, positions = list(followed), {}  # the series that waited longest stands first
    items, deciding = [], []
    while len(items) < length:
        draw = rng.random()
        if draw < OTHER_RATE:
            others = [series for series in range(len(SERIES)) if series not in followed]
            item = str(VOLUMES * rng.choice(others) + rng.randint(1, VOLUMES))
            if item not in items:
                items.append(item)
                deciding.append(None)
            continue
        series = waiting[-1] if draw < OTHER_RATE + AGAIN_RATE and items else waiting[0]
        if volumes[series] > VOLUMES:
            break
        deciding.append(positions.get(series))
        positions[series] = len(items)
        items.append(str(VOLUMES * series + volumes[series]))
        volumes[series] += 1
        waiting.remove(series)
        waiting.append(series)
    return Reader(items, deciding)
