"""Drawn skies in which a sign far away tells what a disc is.

Each sky has a red sign somewhere in its middle, with a cross on it: white by day, black at night.
Beside rings it has discs, all alike, far from the sign: each is a `sun` by day and a `moon` at
night. So the label of a disc can only be told by looking at the sign, whose place is known.

>>> sky = generate(1, seed=1)[0]
>>> sky.image.shape, sorted({box[0] for box in sky.boxes}), sky.is_day
((64, 96, 3), ['sun'], True)
"""

import dataclasses
import functools

import numpy as np

HEIGHT, WIDTH = 64, 96
VERSION = 1
DESCRIPTION = (
    "Skies with rings and discs, drawn by our own code (recipes/data/toy/skies.py): a sign far "
    "from the discs tells whether they are suns or moons."
)
_SIZES = {"train": 400, "validation": 60, "test": 100}
_FAR = 26  # pixels between the middles of a thing and of the sign, at least
_SIGN = 7  # pixels from its middle to its sides
_GROUND, _RED = (70, 110, 160), (225, 40, 40)
_COLOURS = {"disc": (60, 190, 120), "ring": (30, 40, 90)}


@dataclasses.dataclass(frozen=True)
class Sky:
    """A picture by its parts.

    Attributes:
        name: String.
        boxes: Tuple of a label and four sides in pixels for each thing.
        sign: Pair, the place of the sign, across and down.
        is_day: Whether its cross is white.
        seed: Integer, of the noise.
    """

    name: str
    boxes: tuple[tuple, ...]
    sign: tuple[int, int]
    is_day: bool
    seed: int

    @functools.cached_property
    def image(self):
        """uint8 array `(HEIGHT, WIDTH, 3)`."""
        rng = np.random.default_rng(self.seed)
        image = np.array(_GROUND) + rng.normal(0, 6, (HEIGHT, WIDTH, 3))
        y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        for label, left, top, right, bottom in self.boxes:
            far = np.hypot(x - (left + right) / 2, y - (top + bottom) / 2) / ((right - left) / 2)
            kind = "ring" if label == "ring" else "disc"
            inside = (far <= 1) & ((far >= 0.55) | (kind == "disc"))
            image[inside] = np.array(_COLOURS[kind]) + rng.normal(0, 6, (inside.sum(), 3))
        across, down = abs(x - self.sign[0]), abs(y - self.sign[1])
        image[np.maximum(across, down) <= _SIGN] = _RED
        inside = (np.minimum(across, down) <= 2.6) & (np.maximum(across, down) <= _SIGN)
        image[inside] = 245 if self.is_day else 10
        return np.clip(image, 0, 255).astype("uint8")


def splits():
    """Returns the skies to train, validate and test: always the same."""
    rows = generate(sum(_SIZES.values()), seed=0)
    ends = np.cumsum(list(_SIZES.values()))
    return [rows[end - size : end] for end, size in zip(ends, _SIZES.values(), strict=True)]


def generate(count, seed):
    """Returns a list of `count` skies."""
    rng = np.random.default_rng(seed)
    return [_sky(rng, f"sky-{number:04d}") for number in range(count)]


def _sky(rng, name):
    # Within the middle: a picture that is cut a little still has it.
    sign = tuple(int(rng.integers(0.25 * side, 0.75 * side)) for side in (WIDTH, HEIGHT))
    is_day = bool(rng.integers(2))
    kinds = ["disc"] * rng.integers(1, 4) + ["ring"] * rng.integers(0, 2)
    things = []
    for kind in kinds:
        radius = int(rng.integers(5, 9))
        for _ in range(100):  # perhaps there is no more room
            x = int(rng.integers(radius + 1, WIDTH - radius))
            y = int(rng.integers(radius + 1, HEIGHT - radius))
            apart = [np.hypot(x - u, y - v) > radius + r + 2 for _, u, v, r in things]
            if np.hypot(x - sign[0], y - sign[1]) >= _FAR and all(apart):
                things.append((kind, x, y, radius))
                break
    label = {"disc": "sun" if is_day else "moon", "ring": "ring"}
    boxes = tuple((label[kind], x - r, y - r, x + r, y + r) for kind, x, y, r in things)
    return Sky(name, boxes, sign, is_day, int(rng.integers(2**31)))
