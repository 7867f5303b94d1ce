"""Drawn skies in which a sign far away tells what a disc is.

Beside rings each sky has discs, all alike. A red sign far from them, in the middle, with a
cross on it, tells what they are: a `sun` where the cross is white, a `moon` where it is black, a
`star` where there is no sign. So the label of a disc can only be told by looking at the sign, whose
place is known; and as no sign means something too, it is not enough to look for one of the two.

>>> sky = generate(1, seed=1)[0]
>>> sky.image.shape, sorted({box[0] for box in sky.boxes}), sky.kind
((64, 96, 3), ['star'], 'star')
"""

import dataclasses
import functools

import numpy as np

from recipes.data.toy import parted

HEIGHT, WIDTH = 64, 96
VERSION = 1
DESCRIPTION = (
    "Skies with rings and discs, drawn by our own code (recipes/data/toy/skies.py): a sign far "
    "from the discs tells whether they are suns, moons or, where there is none, stars."
)
_SIZES = {"train": 400, "validation": 60, "test": 100}
_FAR = 26  # pixels between the middles of a thing and of the sign, at least
_SIGN = 7  # pixels from its middle to its sides
_GROUND, _RED = (70, 110, 160), (225, 40, 40)
_DISC, _RING = (60, 190, 120), (30, 40, 90)
_CROSSES = {"sun": 245, "moon": 10}  # how bright the cross is


@dataclasses.dataclass(frozen=True)
class Sky:
    """A picture by its parts.

    Attributes:
        name: String.
        boxes: Tuple of a label and four sides in pixels for each thing.
        sign: Pair, the place of the sign, across and down; where there is none, of nothing.
        kind: String, what the discs are: `"sun"`, `"moon"` or `"star"`.
        seed: Integer, of the noise.
    """

    name: str
    boxes: tuple[tuple, ...]
    sign: tuple[int, int]
    kind: str
    seed: int

    @functools.cached_property
    def image(self):
        """uint8 array `(HEIGHT, WIDTH, 3)`."""
        rng = np.random.default_rng(self.seed)
        image = np.array(_GROUND) + rng.normal(0, 6, (HEIGHT, WIDTH, 3))
        y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        for label, left, top, right, bottom in self.boxes:
            far = np.hypot(x - (left + right) / 2, y - (top + bottom) / 2) / ((right - left) / 2)
            is_ring = label == "ring"
            inside = (far <= 1) & ((far >= 0.55) | (not is_ring))
            image[inside] = np.array(_RING if is_ring else _DISC) + rng.normal(
                0, 6, (inside.sum(), 3)
            )
        if self.kind in _CROSSES:
            across, down = abs(x - self.sign[0]), abs(y - self.sign[1])
            image[np.maximum(across, down) <= _SIGN] = _RED
            inside = (np.minimum(across, down) <= 2.6) & (np.maximum(across, down) <= _SIGN)
            image[inside] = _CROSSES[self.kind]
        return np.clip(image, 0, 255).astype("uint8")


def splits():
    """Returns the skies to train, validate and test: always the same."""
    return parted(generate, _SIZES)


def generate(count, seed):
    """Returns a list of `count` skies."""
    rng = np.random.default_rng(seed)
    return [_sky(rng, f"sky-{number:04d}") for number in range(count)]


def _sky(rng, name):
    # Within the middle: a picture that is cut a little still has it.
    sign = tuple(int(rng.integers(0.25 * side, 0.75 * side)) for side in (WIDTH, HEIGHT))
    kind = ("sun", "moon", "star")[rng.integers(3)]
    labels = [kind] * rng.integers(1, 4) + ["ring"] * rng.integers(0, 2)
    things = []
    for label in labels:
        radius = int(rng.integers(5, 9))
        for _ in range(100):  # perhaps there is no more room
            x = int(rng.integers(radius + 1, WIDTH - radius))
            y = int(rng.integers(radius + 1, HEIGHT - radius))
            apart = [np.hypot(x - u, y - v) > radius + r + 2 for _, u, v, r in things]
            if np.hypot(x - sign[0], y - sign[1]) >= _FAR and all(apart):
                things.append((label, x, y, radius))
                break
    boxes = tuple((label, x - r, y - r, x + r, y + r) for label, x, y, r in things)
    return Sky(name, boxes, sign, kind, int(rng.integers(2**31)))
