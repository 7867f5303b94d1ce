"""The state of a decoder between calls."""

import keras
from keras import ops


def fit_state(given, first):
    """A state that a call or a step returned, in the structure and dtypes of the first state.

    Args:
        given: Dict of structures of tensors, perhaps with a `"memory"`, which is left out.
        first: Dict of structures of tensors.

    Raises:
        ValueError: If it has other keys or other shapes.
    """
    given = {name: part for name, part in given.items() if name != "memory"}
    if set(given) != set(first):
        raise ValueError(
            "`initial_state` must be a state of the cell, or what a call of this layer returned: "
            f"a dict of {sorted(first)}. Received: a dict of {sorted(given)}"
        )
    return {name: _fit_part(name, given[name], first[name]) for name in first}


def _fit_part(name, given, first):
    flat_first, flat = keras.tree.flatten(first), keras.tree.flatten(given)
    flat = [ops.convert_to_tensor(x) for x in flat]
    wanted, shapes = ([tuple(x.shape) for x in tensors] for tensors in (flat_first, flat))
    if len(wanted) != len(shapes) or not all(map(_may_be, wanted, shapes)):
        raise ValueError(
            f"`initial_state[{name!r}]` must have the shapes {wanted}, as this layer has for this "
            f"memory. Received: shapes {shapes}"
        )
    flat = [ops.cast(x, y.dtype) for x, y in zip(flat, flat_first, strict=True)]
    return keras.tree.pack_sequence_as(first, flat)


def _may_be(shape, other):
    """Whether two shapes may be the same at run time."""
    pairs = zip(shape, other, strict=False)
    return len(shape) == len(other) and all(a is None or b is None or a == b for a, b in pairs)
