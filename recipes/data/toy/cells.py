"""Drawn slides in which only the surroundings tell which spots are to be marked.

Each slide has a piece of tissue, a disc a little brighter than the ground, and bright round cells
that look alike inside and outside of it. Those on the tissue are the mask; the others are dirt. A
cell alone tells nothing: the pixels around it decide, and so does the region that holds them.

>>> slide = generate(1, seed=3)[0]
>>> slide.image.shape, slide.mask.shape
((64, 64, 3), (64, 64))
>>> bool((slide.mask & ~slide.region).any())
False
"""

import dataclasses

import numpy as np

from recipes.data.toy import parted

SIZE = 64
DESCRIPTION = (
    "Slides with cells on tissue, and dirt outside it that looks like cells, drawn by our own code "
    "(recipes/data/toy/cells.py)."
)
_SIZES = {"train": 160, "validation": 24, "test": 60}
_GROUND, _TISSUE, _CELL = 60.0, 90.0, 170.0
_NOISE = 8.0


@dataclasses.dataclass(frozen=True)
class Slide:
    """A drawn slide.

    Attributes:
        name: String.
        image: uint8 array `(SIZE, SIZE, 3)`.
        mask: Boolean `(SIZE, SIZE)`: the cells on the tissue.
        region: Boolean `(SIZE, SIZE)`: the tissue, which decides.
        dirt: Boolean `(SIZE, SIZE)`: the cells beside the tissue.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray
    region: np.ndarray
    dirt: np.ndarray


def splits():
    """Returns the slides to train, validate and test: always the same."""
    return parted(generate, _SIZES)


def generate(count, seed):
    """Returns a list of `count` slides."""
    rng = np.random.default_rng(seed)
    return [_slide(rng, f"slide-{number:04d}") for number in range(count)]


def _slide(rng, name):
    radius = rng.uniform(15, 20)
    middle = rng.uniform(radius + 1, SIZE - radius - 1, 2)
    region = _disc(middle, radius)
    cells, mask, dirt = [], np.zeros_like(region), np.zeros_like(region)
    wanted = {True: rng.integers(3, 7), False: rng.integers(3, 7)}
    for _ in range(400):  # places are tried; a crowded slide has fewer cells
        size, place = rng.uniform(2.5, 4), rng.uniform(5, SIZE - 5, 2)
        depth = radius - np.hypot(*(place - middle))  # below zero outside
        if abs(depth) < size + 2 or not wanted[bool(depth > 0)]:
            continue
        if any(np.hypot(*(place - other)) < size + 6 for other in cells):
            continue
        wanted[bool(depth > 0)] -= 1
        cells.append(place)
        part = mask if depth > 0 else dirt
        part |= _disc(place, size)
    image = np.where(region, _TISSUE, _GROUND)
    image = np.where(mask | dirt, _CELL, image) + rng.normal(0, _NOISE, image.shape)
    image = np.clip(image, 0, 255).astype("uint8")
    return Slide(name, np.repeat(image[..., None], 3, axis=2), mask, region, dirt)


def _disc(middle, radius):
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    return np.hypot(rows - middle[0], columns - middle[1]) <= radius
