"""Drawn scenes in which we know which place each word of a caption means.

Each scene has two objects, of different colours and shapes, in two of the 25 cells of a grid, on a
noisy dark ground. Its captions follow by rule: "a red circle above a blue square", "the red circle
is above the blue square" and the like. The upper object comes first, of two in one row the left
one. Which colour goes with which shape, and how the two lie to each other, can only be told by
looking at the right places.

>>> scene = generate(1, seed=3)[0]
>>> scene.captions[0], scene.place("ring")
('a green ring above a purple square', (2, 4))
>>> scene.image.shape, scene.image.dtype
((60, 60, 3), dtype('uint8'))
"""

import dataclasses
import functools
import random

import numpy as np

from recipes.data.toy import parted

CELLS, CELL = 5, 12  # cells along each side, and pixels along each side of a cell
SIZE = CELLS * CELL
COLOURS = {
    "red": (225, 40, 35),
    "green": (40, 180, 60),
    "blue": (50, 90, 235),
    "yellow": (240, 215, 50),
    "purple": (165, 55, 190),
    "white": (240, 240, 240),
}
# Which points (u to the right, v down, from -1 to 1) belong to a shape.
SHAPES = {
    "circle": lambda u, v: u**2 + v**2 <= 1,
    "square": lambda u, v: np.maximum(abs(u), abs(v)) <= 0.88,
    "triangle": lambda u, v: (v <= 0.85) & (abs(u) <= (v + 1) / 1.8),
    "cross": lambda u, v: np.minimum(abs(u), abs(v)) <= 0.34,
    "ring": lambda u, v: (u**2 + v**2 <= 1) & (u**2 + v**2 >= 0.36),
    "diamond": lambda u, v: abs(u) + abs(v) <= 1,
}
DESCRIPTION = (
    "Scenes of two coloured shapes, drawn by our own code (recipes/data/toy/scenes.py), with "
    "captions by rule."
)
_SIZES = {"train": 1000, "validation": 100, "test": 300}
_FORMS = (
    "a {first} {relation} a {second}",
    "the {first} is {relation} the {second}",
    "there is a {first} {relation} a {second}",
    "a {first} lies {relation} a {second}",
    "one {first} {relation} one {second}",
)


@dataclasses.dataclass(frozen=True)
class Thing:
    """An object: its colour, its shape, and the cell `(row, column)` it lies in."""

    colour: str
    shape: str
    cell: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Scene:
    """Two objects, five captions, and the seed of the drawing."""

    name: str
    things: tuple[Thing, Thing]
    captions: tuple[str, ...]
    seed: int

    @functools.cached_property
    def image(self):
        """uint8 array `(SIZE, SIZE, 3)`."""
        rng = np.random.default_rng(self.seed)
        image = rng.uniform(20, 60) + rng.normal(0, 8, (SIZE, SIZE, 3))
        for thing in self.things:
            _draw(image, thing, rng)
        return np.clip(image, 0, 255).astype("uint8")

    def place(self, word):
        """The cell that a colour or a shape means; `None` if the scene has no such thing."""
        cells = [thing.cell for thing in self.things if word in (thing.colour, thing.shape)]
        return cells[0] if cells else None


def splits():
    """Returns the scenes to train, validate and test: always the same."""
    return parted(generate, _SIZES)


def generate(count, seed):
    """Returns a list of `count` scenes."""
    rng = random.Random(seed)
    return [_scene(rng, f"scene-{number:05d}") for number in range(count)]


def _scene(rng, name):
    colours, shapes = rng.sample(list(COLOURS), 2), rng.sample(list(SHAPES), 2)
    down = across = 0
    while abs(down) == abs(across):  # one relation, and not in two minds
        cells = sorted((rng.randrange(CELLS), rng.randrange(CELLS)) for _ in range(2))
        down, across = (b - a for a, b in zip(*cells, strict=True))
    relation = "above" if down > abs(across) else "left of" if across > 0 else "right of"
    things = tuple(map(Thing, colours, shapes, cells))
    first, second = (f"{thing.colour} {thing.shape}" for thing in things)
    captions = [form.format(first=first, relation=relation, second=second) for form in _FORMS]
    return Scene(name, things, tuple(captions), rng.getrandbits(32))


def _draw(image, thing, rng):
    """Draws a thing into its cell, with soft edges, a little moved and of a size of its own."""
    fine = 4  # points along each side of a pixel
    radius = rng.uniform(4.3, 5.3)
    centre = CELL / 2 + rng.uniform(-0.6, 0.6, 2)
    points = (np.arange(CELL * fine) + 0.5) / fine
    v, u = np.meshgrid(*((points - middle) / radius for middle in centre), indexing="ij")
    inside = SHAPES[thing.shape](u, v) & (np.maximum(abs(u), abs(v)) <= 1)
    cover = inside.reshape(CELL, fine, CELL, fine).mean((1, 3))[..., None]  # (CELL, CELL, 1)
    top, left = (CELL * index for index in thing.cell)
    cell = image[top : top + CELL, left : left + CELL]
    colour = np.array(COLOURS[thing.colour]) + rng.normal(0, 10, 3)
    cell[:] = (1 - cover) * cell + cover * (colour + rng.normal(0, 6, cell.shape))
