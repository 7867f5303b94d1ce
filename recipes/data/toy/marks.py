"""Drawn images in which we know which place decides the class.

Each image has one mark (a circle, cross, square or triangle), which is its class, and three to six
other things (rings, bars and corners) that say nothing about it. Each lies in a cell of its own of
a grid, in any of the same colours, on a noisy ground: only the look of one place tells the class.

>>> row = generate(1, seed=3)[0]
>>> row.label, row.cell
('cross', (1, 0))
>>> row.image.shape, row.image.dtype
((32, 32, 3), dtype('uint8'))
"""

import dataclasses
import functools
import random

import numpy as np

from recipes.data.toy import parted

CELLS, CELL = 4, 8  # cells along each side, and pixels along each side of a cell
SIZE = CELLS * CELL
# Which points (u to the right, v down, from -1 to 1) belong to a mark.
MARKS = {
    "circle": lambda u, v: u**2 + v**2 <= 0.85,
    "cross": lambda u, v: np.minimum(abs(u), abs(v)) <= 0.3,
    "square": lambda u, v: np.maximum(abs(u), abs(v)) <= 0.85,
    "triangle": lambda u, v: (v <= 0.85) & (abs(u) <= (v + 1) / 1.8),
}
OTHERS = {
    "ring": lambda u, v: (u**2 + v**2 <= 1) & (u**2 + v**2 >= 0.4),
    "bar": lambda u, v: abs(v) <= 0.3,
    "pole": lambda u, v: abs(u) <= 0.3,
    "corner": lambda u, v: np.minimum(u, v) <= -0.4,
}
_COLOURS = ((225, 60, 55), (60, 180, 75), (70, 110, 235), (235, 210, 70), (235, 235, 235))
DESCRIPTION = (
    "Images with one mark among other shapes, drawn by our own code (recipes/data/toy/marks.py); "
    "the mark is the class."
)
_SIZES = {"train": 1200, "validation": 200, "test": 300}


@dataclasses.dataclass(frozen=True)
class Row:
    """An image to be drawn.

    Attributes:
        name: String, like the name of a file.
        label: String, the mark.
        cell: Pair of integers, the row and column of the mark's cell.
        others: List of pairs of another thing and its cell.
        seed: Integer, of the drawing.
    """

    name: str
    label: str
    cell: tuple[int, int]
    others: tuple
    seed: int

    @functools.cached_property
    def image(self):
        """uint8 array `(SIZE, SIZE, 3)`."""
        rng = np.random.default_rng(self.seed)
        image = rng.uniform(30, 90) + rng.normal(0, 10, (SIZE, SIZE, 3))
        for shape, cell in ((self.label, self.cell), *self.others):
            _draw(image, {**MARKS, **OTHERS}[shape], cell, rng)
        return np.clip(image, 0, 255).astype("uint8")


def splits():
    """Returns the rows to train, validate and test: always the same."""
    return parted(generate, _SIZES)


def generate(count, seed):
    """Returns a list of `count` rows."""
    rng = random.Random(seed)
    return [_row(rng, f"mark-{number:05d}") for number in range(count)]


def _row(rng, name):
    cells = [divmod(cell, CELLS) for cell in rng.sample(range(CELLS**2), rng.randint(4, 7))]
    others = tuple((rng.choice(list(OTHERS)), cell) for cell in cells[1:])
    return Row(name, rng.choice(list(MARKS)), cells[0], others, rng.getrandbits(32))


def _draw(image, shape, cell, rng):
    """Draws a shape into a cell, with soft edges, a little moved, in one of the colours."""
    fine = 4  # points along each side of a pixel
    centre = CELL / 2 + rng.uniform(-0.4, 0.4, 2)
    points = (np.arange(CELL * fine) + 0.5) / fine
    v, u = np.meshgrid(*((points - middle) / 3.4 for middle in centre), indexing="ij")
    inside = shape(u, v) & (np.maximum(abs(u), abs(v)) <= 1)
    cover = inside.reshape(CELL, fine, CELL, fine).mean((1, 3))[..., None]  # (CELL, CELL, 1)
    top, left = (CELL * index for index in cell)
    part = image[top : top + CELL, left : left + CELL]
    colour = np.array(_COLOURS[rng.integers(len(_COLOURS))]) + rng.normal(0, 12, 3)
    part[:] = (1 - cover) * part + cover * (colour + rng.normal(0, 8, part.shape))
