"""What a block takes of larger tensors, and the seeds and variables that it is computed with."""

import contextlib
import dataclasses

import keras
from keras import ops


@dataclasses.dataclass
class Gathered:
    """Parts of `x` on its first axis: `x[index(number)]` is the part of block `number`."""

    x: object
    index: object

    def part(self, x, number):
        return x[self.index(number)]


@dataclasses.dataclass
class Bands:
    """Overlapping parts of `x` `(..., S, _)`: `count` of them, each `rows + halo` steps long, the
    first from step 0 on, each further one `rows` steps later.
    """

    x: object
    count: object
    rows: int
    halo: int

    def part(self, x, number):
        """One part of `x`, which stands for `self.x`: `(..., rows + halo, _)`."""
        *lead, _, size = ops.shape(x)
        start = (*[0] * len(lead), number * self.rows, 0)
        return ops.slice(x, start, (*lead, self.rows + self.halo, size))

    def stack(self, x):
        """All parts of `x`: `(count, ..., rows + halo, _)`."""
        *lead, total, size = ops.shape(x)
        x = ops.reshape(x, (*lead, total // self.rows, self.rows, size))  # (..., N, rows, _)
        whole, rest = divmod(self.halo, self.rows)
        parts = [x[..., n : n + self.count, :, :] for n in range(whole + 1)]
        if rest:
            parts.append(x[..., whole + 1 : whole + 1 + self.count, :rest, :])
        return to_front(ops.concatenate(parts, axis=-2))


def to_front(x):
    """`(..., N, L, _)` to `(N, ..., L, _)`."""
    axes = list(range(len(x.shape)))
    return ops.transpose(x, [axes.pop(-3), *axes])


def variables_as(variables, values):
    """Within this context the variables have these values."""
    mapping = list(zip(variables, values, strict=True))
    return keras.StatelessScope(mapping) if mapping else contextlib.nullcontext()


def dtype_of_sum(dtype):
    """The dtype of a sum over many blocks, which half precision could not hold."""
    dtype = keras.backend.standardize_dtype(dtype)
    return "float32" if dtype in ("float16", "bfloat16") else dtype


class BlockSeed(keras.random.SeedGenerator):
    """Seeds of one block: the same when it is computed again, and others for each draw in it."""

    def __init__(self, base, number):
        self._base, self._number, self._draws = base, number, 0
        self._initial_seed = 0  # dropout on PyTorch asks whether there is one

    def next(self, ordered=True):
        # Calls count up the second of the two numbers; blocks and draws count up the first.
        offset = ops.stack([8 * ops.cast(self._number, "int32") + self._draws, 0])  # (2,)
        self._draws += 1
        return self._base + ops.cast(offset, self._base.dtype)
