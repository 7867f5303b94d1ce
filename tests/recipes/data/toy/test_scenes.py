"""The toy scenes: captions follow from what is drawn, and each word means a known place."""

import re

import numpy as np
import pytest

from recipes.data.toy import scenes as toy_scenes


@pytest.fixture(scope="module")
def splits():
    return toy_scenes.splits()


@pytest.fixture(scope="module")
def scenes(splits):
    return [scene for split in splits for scene in split]


def test_sizes_and_names(splits, scenes):
    assert [len(split) for split in splits] == [1000, 100, 300]
    assert len({scene.name for scene in scenes}) == len(scenes)


def test_two_things_that_share_nothing(scenes):
    for scene in scenes:
        first, second = scene.things
        assert first.colour != second.colour and first.shape != second.shape
        assert first.cell < second.cell  # the upper one first, of two in a row the left one
        for thing in scene.things:
            assert scene.place(thing.colour) == scene.place(thing.shape) == thing.cell
        assert scene.place("pink") is None


def test_captions_say_what_is_drawn(scenes):
    thing = rf"({'|'.join(toy_scenes.COLOURS)}) ({'|'.join(toy_scenes.SHAPES)})"
    pattern = re.compile(rf"{thing}.* (above|left of|right of) .*{thing}$")
    relations = {"above": 0, "left of": 0, "right of": 0}
    for scene in scenes:
        assert len(set(scene.captions)) == 5
        for caption in scene.captions:
            colour, shape, relation, *other = pattern.search(caption).groups()
            assert (colour, shape, *other) == tuple(
                word for thing in scene.things for word in (thing.colour, thing.shape)
            )
            down, across = (
                b - a for a, b in zip(*(thing.cell for thing in scene.things), strict=True)
            )
            sizes = {"above": down, "left of": across, "right of": -across}
            assert sizes[relation] == max(sizes.values())
            relations[relation] += 1
    assert min(relations.values()) > 0.1 * sum(relations.values())


def test_things_are_drawn_where_they_are_and_nowhere_else(scenes):
    for scene in scenes[:200]:
        image = scene.image
        assert image.shape == (60, 60, 3) and image.dtype == np.uint8
        cells = image.reshape(5, 12, 5, 12, 3).astype(int)
        bright = cells.max((1, 3, 4)) > 130
        assert {tuple(map(int, cell)) for cell in np.argwhere(bright)} == {
            thing.cell for thing in scene.things
        }
        for thing in scene.things:
            pixels = cells[thing.cell[0], :, thing.cell[1]].reshape(-1, 3)
            brightest = pixels[pixels.sum(1).argsort()[-20:]].mean(0)
            distance = {
                name: np.abs(brightest - colour).sum()
                for name, colour in toy_scenes.COLOURS.items()
            }
            assert min(distance, key=distance.get) == thing.colour


def test_same_seed_same_scenes():
    once, again, other = (toy_scenes.generate(20, seed=seed) for seed in (5, 5, 6))
    assert once == again != other
    np.testing.assert_array_equal(once[3].image, again[3].image)
