"""Inputs without some of their parts: steps, words of pieces, sentences, cells of an image.

parts = parts_of(inputs, weights, mask=mask)    # or with `groups`, or `remove`
parts.mask                                      # (B, U): which parts each example has
parts.totals(weights)                           # (B, U): the weight of each part
parts.keep(rows, keep)                          # the inputs of some examples, with some parts alone
"""

from typing import Any

import keras
import numpy as np


class Steps:
    """Ids `(B, S)` or features `(B, S, D)`, whose steps are removed, alone or in groups.

    What is left moves together, and padding fills the end.

    Args:
        inputs: Array as above.
        mask: Boolean `(B, S)`, `True` for steps that are not padding; if `None`, those that differ
            from `padding`.
        padding: Number that the inputs are padded with.
        groups: Integers `(B, S)` from 0, the group of each step, such as the word of a piece; -1
            for steps that always stay. `None`: each step is a part.
    """

    def __init__(self, inputs, mask=None, padding=0, groups=None):
        self.inputs = inputs = _checked_inputs(inputs)
        _check_padding(padding, inputs)
        self._padding = padding
        if mask is None:
            mask = inputs != padding
            mask = mask.any(axis=-1) if mask.ndim == 3 else mask
        self._is_step = mask = _checked_mask(mask, inputs)  # (B, S)
        rows, steps = mask.shape
        self.shape = rows, steps  # of weights
        if groups is None:
            groups, count = np.broadcast_to(np.arange(steps), mask.shape), steps
        else:
            groups = _checked_groups(groups, inputs)
            count = int(groups.max(initial=-1)) + 1
        self._group = np.where(mask, groups, -1)
        self.mask = np.zeros((rows, count), bool)  # (B, U)
        row, step = np.nonzero(self._group >= 0)
        self.mask[row, self._group[row, step]] = True

    def __len__(self):
        return len(self.inputs)

    def totals(self, weights):
        """The sum of the weights of the steps of each part, `(B, U)`; of padding 0."""
        sums = np.zeros(self.mask.shape)
        row, step = np.nonzero(self._group >= 0)
        np.add.at(sums, (row, self._group[row, step]), weights[row, step])
        return sums

    def rows(self, rows):
        """The inputs of some examples."""
        return self.inputs[rows]

    def keep(self, rows, keep):
        """The inputs of some examples with the parts alone for which `keep` `(b, U)` is True."""
        group, is_step = self._group[rows], self._is_step[rows]
        if keep.shape[1]:
            kept = np.take_along_axis(keep, np.maximum(group, 0), axis=1)
            is_step = is_step & (kept | (group < 0))
        return keep_steps(self.inputs[rows], is_step, self._padding)


class Cells:
    """Images `(B, X, Y, C)`, of which cells of a grid get the image's mean colour.

    Args:
        inputs: Array as above.
        grid: `(H, W)`, the rows and columns of the grid.
    """

    def __init__(self, inputs, grid):
        self.inputs = np.asarray(inputs)
        self.shape = (len(self.inputs), *grid)
        if not all(
            1 <= cells <= pixels for cells, pixels in zip(grid, self.inputs.shape[1:3], strict=True)
        ):
            raise ValueError(
                "`weights` of images must have at least one and at most as many rows and columns "
                f"as these. Received: weights.shape={self.shape}, inputs.shape={self.inputs.shape}"
            )
        self.mask = np.ones((len(self.inputs), grid[0] * grid[1]), bool)

    def __len__(self):
        return len(self.inputs)

    def totals(self, weights):
        """The weights of the cells, row by row, `(B, U)`; those of pixels are added up."""
        rows, height, width = self.shape
        if weights.shape == self.shape:
            return weights.reshape(rows, -1).astype("float64")
        row, column = _cell_of(weights.shape[1], height), _cell_of(weights.shape[2], width)
        sums = np.zeros(self.shape)
        np.add.at(sums, (slice(None), row[:, None], column), weights)
        return sums.reshape(rows, -1)

    def rows(self, rows):
        """The inputs of some examples."""
        return self.inputs[rows]

    def keep(self, rows, keep):
        """The inputs of some examples with the cells alone for which `keep` `(b, U)` is True."""
        images = self.inputs[rows]
        grid = keep.reshape(len(images), *self.shape[1:])
        row, column = (
            _cell_of(pixels, cells)
            for pixels, cells in zip(images.shape[1:3], self.shape[1:], strict=True)
        )
        mean = images.mean(axis=(1, 2), keepdims=True)
        mean = (np.rint(mean) if images.dtype.kind in "iu" else mean).astype(images.dtype)
        return np.where(grid[:, row[:, None], column][..., None], images, mean)


class OwnParts:
    """Inputs of any kind, with a function that removes parts of them.

    Args:
        inputs: Array, list of B, or structure of arrays `(B, ...)`.
        mask: Boolean `(B, U)` or `(B, H, W)`, which parts each example has.
        remove: Function `(inputs, keep) -> inputs` of some examples and a boolean like the mask.
    """

    def __init__(self, inputs, mask, remove):
        self.inputs, self._remove = inputs, remove
        self.shape, self.mask = mask.shape, mask.reshape(len(mask), -1)
        arrays = [inputs] if isinstance(inputs, list) else keras.tree.flatten(inputs)
        if any(len(array) != len(mask) for array in arrays):
            raise ValueError(
                "`inputs` must have as many examples as `weights`. Received: "
                f"{[len(array) for array in arrays]}, weights.shape={mask.shape}"
            )

    def __len__(self):
        return len(self.mask)

    def totals(self, weights):
        """The weights of the parts, `(B, U)`; of padding 0."""
        return np.where(self.mask, weights.reshape(self.mask.shape), 0.0)

    def rows(self, rows):
        """The inputs of some examples."""
        if isinstance(self.inputs, list):
            return [self.inputs[row] for row in rows]
        return keras.tree.map_structure(lambda x: x[rows], self.inputs)

    def keep(self, rows, keep):
        """The inputs of some examples with the parts alone for which `keep` `(b, U)` is True."""
        return self._remove(self.rows(rows), keep.reshape(len(keep), *self.shape[1:]))


def parts_of(
    inputs: Any, shape: tuple[int, ...], *, mask: Any, padding: Any, groups: Any, remove: Any
) -> Steps | Cells | OwnParts:
    """The parts of inputs that weights of a shape belong to.

    Args:
        inputs: Ids, features, images, or with `remove` inputs of any kind.
        shape: That of the weights: `(B, S)`, of images `(B, H, W)`, with `remove` `(B, U)` or
            `(B, H, W)`.
        mask, padding, groups: As in `Steps`; with `remove` `mask` has the shape of the weights.
        remove: As in `OwnParts`, or `None`.

    Raises:
        ValueError: If these do not go together.
    """
    if remove is not None:
        if groups is not None:
            raise ValueError("`remove` and `groups` must not both be given. Received both")
        if len(shape) not in (2, 3):
            raise ValueError(
                "`weights` must have the shape (batch, parts) or (batch, rows, columns) where "
                f"`remove` is given. Received: weights.shape={shape}"
            )
        mask = np.ones(shape, bool) if mask is None else np.asarray(mask)
        if mask.shape != shape:
            raise ValueError(
                "`mask` must have the shape of `weights` where `remove` is given. Received: "
                f"mask.shape={mask.shape}, weights.shape={shape}"
            )
        return OwnParts(inputs, _as_booleans(mask), remove)
    if np.ndim(inputs) == 4:
        if len(shape) != 3 or shape[0] != len(inputs) or mask is not None or groups is not None:
            raise ValueError(
                "`weights` of images must have the shape (batch, rows, columns), without `mask` "
                f"and `groups`. Received: weights.shape={shape}, inputs.shape={np.shape(inputs)}"
            )
        return Cells(inputs, shape[1:])
    parts = Steps(inputs, mask, padding, groups)
    if parts.shape != tuple(shape):
        raise ValueError(
            "`weights` must have the shape (batch, steps) of `inputs`. Received: "
            f"weights.shape={shape}, inputs.shape={parts.inputs.shape}"
        )
    return parts


def ranks(weights, mask):
    """Rank of each part by falling weight, from 0; ties by position, padding last."""
    order = np.argsort(np.where(mask, -weights, np.inf), axis=-1, kind="stable")
    return np.argsort(order, axis=-1, kind="stable")


def numbers_of(fraction, mask):
    """How many parts of each example a fraction of them is, rounded up, `(B, 1)`."""
    # 10 % of 30 steps are 3, though 0.1 * 30 in floats is a little more.
    return np.ceil(fraction * mask.sum(axis=-1, keepdims=True) - 1e-9).astype(int)


def keep_steps(inputs, keep, padding):
    """The steps where `keep` is True, moved together, then padding."""
    order = np.argsort(~keep, axis=-1, kind="stable")
    axes = (..., None) if inputs.ndim == 3 else ...
    moved = np.take_along_axis(inputs, order[axes], axis=1)
    kept = np.take_along_axis(keep, order, axis=1)
    return np.where(kept[axes], moved, np.asarray(padding, inputs.dtype))


def _cell_of(pixels, cells):
    """The cell of each pixel of an axis."""
    return np.arange(pixels) * cells // pixels


def _checked_inputs(inputs):
    inputs = np.asarray(inputs)
    if inputs.ndim not in (2, 3) or inputs.dtype.kind not in "biuf":
        raise ValueError(
            "`inputs` must be one array of numbers, (batch, steps) or (batch, steps, features). "
            f"Received: inputs.shape={inputs.shape}, inputs.dtype={inputs.dtype}"
        )
    return inputs


def _check_padding(padding, inputs):
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            fits = np.ndim(padding) == 0 and np.asarray(padding).astype(inputs.dtype) == padding
    except (TypeError, ValueError):
        fits = False
    if not fits:  # nor does NaN, which equals nothing
        raise ValueError(
            "`padding` must be a number that the dtype of `inputs` can hold. Received: "
            f"padding={padding!r}, inputs.dtype={inputs.dtype}"
        )


def _checked_mask(mask, inputs):
    mask = np.asarray(mask)
    if mask.shape != inputs.shape[:2]:
        raise ValueError(
            "`mask` must have the shape (batch, steps) of `inputs`. Received: "
            f"mask.shape={mask.shape}, inputs.shape={inputs.shape}"
        )
    return _as_booleans(mask)


def _as_booleans(mask):
    # A float mask may hold 0 and -1e9, which as booleans would be inverted.
    if mask.dtype.kind not in "biu" or not np.isin(mask, (0, 1)).all():
        raise ValueError(
            "`mask` must be boolean, True for steps that are no padding. Received: "
            f"mask.dtype={mask.dtype}"
        )
    return mask.astype("bool")


def _checked_groups(groups, inputs):
    groups = np.asarray(groups)
    if groups.shape != inputs.shape[:2] or groups.dtype.kind not in "iu":
        raise ValueError(
            "`groups` must be integers of the shape (batch, steps) of `inputs`. Received: "
            f"groups.shape={groups.shape}, groups.dtype={groups.dtype}, inputs.shape={inputs.shape}"
        )
    if groups.size and not -1 <= groups.min() <= groups.max() < inputs.shape[1]:
        raise ValueError(
            "`groups` must be from -1, for none, to the number of steps less one. Received: "
            f"integers from {groups.min()} to {groups.max()} for {inputs.shape[1]} steps"
        )
    return groups
