"""Checks of constructor arguments, all worded alike."""


def positive_integer(name, value, optional=False):
    """`value`, or a `ValueError` that names the argument."""
    if optional and value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        wanted = "a positive integer or `None`" if optional else "a positive integer"
        raise ValueError(f"`{name}` must be {wanted}. Received: {name}={value!r}")
    return value


def fraction(name, value):
    """`value` as a float in `[0, 1)`, or a `ValueError` that names the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(f"`{name}` must be a number in [0, 1). Received: {name}={value!r}")
    return float(value)


def non_negative(name, value):
    """`value` as a float of at least 0, or a `ValueError` that names the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ValueError(f"`{name}` must be a number of at least 0. Received: {name}={value!r}")
    return float(value)


def positive(name, value):
    """`value` as a float above 0, or a `ValueError` that names the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"`{name}` must be a number above 0. Received: {name}={value!r}")
    return float(value)


def number(name, value):
    """`value` as a float, or a `ValueError` that names the argument."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise ValueError(f"`{name}` must be a number. Received: {name}={value!r}")
    return float(value)


def sequence(name, shape):
    """Raises a `ValueError` unless `shape` is `(B, steps, D)` with a known D."""
    if len(shape) != 3 or shape[-1] is None:
        raise ValueError(
            f"`{name}` must have the shape (batch, steps, features) with a known number of "
            f"features. Received: {name}_shape={tuple(shape)}"
        )


def grid(name, shape):
    """Raises a `ValueError` unless `shape` is `(B, H, W, C)` with a known C."""
    if len(shape) != 4 or shape[-1] is None:
        raise ValueError(
            f"`{name}` must have the shape (batch, height, width, channels) with a known number of "
            f"channels. Received: {name}_shape={tuple(shape)}"
        )


def mask_axes(mask, inputs):
    """Raises a `ValueError` unless the mask has the axes of the inputs but the last."""
    if mask is not None and len(mask.shape) != len(inputs.shape) - 1:
        raise ValueError(
            "`mask` must have the shape of `inputs` without its last axis. Received: "
            f"mask.shape={tuple(mask.shape)}, inputs.shape={tuple(inputs.shape)}"
        )


def attention_shapes(query_shape, value_shape, key_shape):
    """Raises a `ValueError` unless the three fit together; returns the key's shape."""
    key_shape = value_shape if key_shape is None else key_shape
    if query_shape is not None:
        sequence("query", query_shape)
    sequence("value", value_shape)
    sequence("key", key_shape)
    lengths = value_shape[1], key_shape[1]
    if None not in lengths and lengths[0] != lengths[1]:
        raise ValueError(
            "`value` and `key` must have the same number of steps. Received: "
            f"value_shape={tuple(value_shape)}, key_shape={tuple(key_shape)}"
        )
    return key_shape
