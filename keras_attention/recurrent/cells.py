"""Keras' recurrent cells as a loop needs them."""

import functools
import inspect

import keras
from keras import ops


def of_one_call(cell, training=False, batch=None, input_size=None):
    """A cell for one call alone, which no other call sees.

    Keras' cells keep the dropout masks of a sequence, and some draw them out of training too. So a
    call works with a copy, which has the cell's own variables. In training its masks are drawn
    here, as they must not be drawn inside a loop; else it drops nothing.

    Args:
        cell: A cell, or `StackedRNNCells`.
        training: Whether to drop.
        batch: Integer or scalar tensor B, for training.
        input_size: Integer, the features of an input, for training.

    Returns:
        The cell itself where it keeps no masks, else the copy.
    """
    if hasattr(cell, "cells"):
        copies = []
        for one in cell.cells:
            copies.append(of_one_call(one, training, batch, input_size))
            input_size = output_size(one)
        is_new = any(a is not b for a, b in zip(copies, cell.cells, strict=True))
        return copy_of(cell, cells=copies) if is_new else cell
    if not hasattr(cell, "get_dropout_mask"):
        return cell
    copy = copy_of(cell)
    copy.reset_dropout_mask()
    copy.reset_recurrent_dropout_mask()
    if not training:
        copy.dropout = copy.recurrent_dropout = 0.0
        return copy
    sizes = input_size, keras.tree.flatten(cell.state_size)[0]
    x, h = (ops.ones((batch, size), cell.compute_dtype) for size in sizes)
    copy.get_dropout_mask(x)
    copy.get_recurrent_dropout_mask(h)
    return copy


def copy_of(layer, **changes):
    """A shallow copy of a layer, with its variables; what is set on it is not tracked by Keras."""
    copy = object.__new__(_untracked(type(layer)))
    vars(copy).update(vars(layer))
    vars(copy).update(changes)
    return copy


@functools.lru_cache(maxsize=128)
def _untracked(cls):
    # Keras' trackers, which a copy shares with its layer, would note what is set on the copy.
    names = {"__setattr__": object.__setattr__, "__module__": cls.__module__}
    return type(cls)(cls.__name__, (cls,), names)


def cells_in(cell):
    """The cells of a stack, or the one cell."""
    return list(getattr(cell, "cells", [cell]))


def output_size(cell):
    size = getattr(cell, "output_size", None)
    return size if isinstance(size, int) else keras.tree.flatten(cell.state_size)[0]


def arguments_of(cell, training):
    """`{"training": training}` for a cell whose `call` takes it, else `{}`."""
    takes_training = "training" in inspect.signature(cell.call).parameters
    return {"training": training} if takes_training else {}


def run(cell, x, state, training):
    """The cell's output and next state, in the structure of the given state."""
    output, new = cell(x, state, **arguments_of(cell, training))
    # Cells are free to return another kind of structure than they were given.
    return output, keras.tree.pack_sequence_as(state, keras.tree.flatten(new))


def first_state(cell, batch, dtype):
    """A cell's state before its first step, a list in the cell's own structure."""
    if hasattr(cell, "get_initial_state"):
        state = cell.get_initial_state(batch_size=batch)
    else:
        sizes = keras.tree.flatten(cell.state_size)
        state = [ops.zeros((batch, size), dtype) for size in sizes]
    return list(state) if isinstance(state, (list, tuple)) else [state]


def fit_state(given, first, dtype):
    """A given state of a cell in the structure of its first state, and in a dtype.

    Raises:
        ValueError: If it has other shapes.
    """
    given = [ops.convert_to_tensor(x) for x in keras.tree.flatten(given)]
    wanted = [(None, x.shape[-1]) for x in keras.tree.flatten(first)]
    if [(None, *x.shape[1:]) for x in given] != wanted:
        raise ValueError(
            f"`initial_state` must fit the cell's state, {wanted}, or be what a call returned. "
            f"Received: shapes {[tuple(x.shape) for x in given]}"
        )
    given = [ops.cast(x, dtype) for x in given]
    return keras.tree.pack_sequence_as(first, given)


def first_output(cell, state, batch, dtype):
    """A cell's output before its first step: in Keras' cells the first tensor of the state."""
    last = state[-1] if hasattr(cell, "cells") else state
    first, size = keras.tree.flatten(last)[0], output_size(cell)
    return first if first.shape[-1] == size else ops.zeros((batch, size), dtype)


def draws(layer):
    """Whether a step may draw random numbers, or change variables that are not trained."""
    return not hasattr(layer, "get_dropout_mask") and bool(layer.non_trainable_variables)
