"""Checks of arguments, with error messages in one form."""

import keras


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


def boolean(name, mask):
    """Raises a `ValueError` for a mask of floats; integers count as booleans."""
    dtype = keras.backend.standardize_dtype(mask.dtype)
    if "float" in dtype:
        raise ValueError(
            f"`{name}` must be boolean, `True` where a step may be attended to: pass `mask == 0` "
            "for a mask that is added to scores (0 and -1e9), `mask == 1` for one of ones and "
            f"zeros. Received: {name}.dtype={dtype}"
        )


def mask(name, mask, tensor_name, tensor):
    """Raises a `ValueError` unless the mask has the tensor's shape without its last axis."""
    boolean(name, mask)
    if not _fits(mask.shape, tensor.shape[:-1]):
        raise ValueError(
            f"`{name}` must have the shape of `{tensor_name}` without its last axis. Received: "
            f"{name}.shape={tuple(mask.shape)}, {tensor_name}.shape={tuple(tensor.shape)}"
        )


def mask_of_words(name, mask, words):
    """Raises a `ValueError` unless the mask is `(B, N, W)` for words or `(B, N)` for sentences."""
    boolean(name, mask)
    if not any(_fits(mask.shape, words.shape[:rank]) for rank in (2, 3)):
        raise ValueError(
            f"`{name}` must have the shape (batch, sentences, words) or (batch, sentences). "
            f"Received: {name}.shape={tuple(mask.shape)}, words of shape {tuple(words.shape)}"
        )


def attention_mask(mask, query, value, num_heads=None):
    """Raises a `ValueError` unless the mask broadcasts to the scores `(B, T, S)`."""
    boolean("attention_mask", mask)
    shape, batch = tuple(mask.shape), value.shape[0]
    heads = [] if num_heads is None else [num_heads]
    wanted = [batch, *heads, query.shape[1], value.shape[1]]
    full, shared = wanted[:1] + wanted[-2:], wanted[-2:]
    if not any(_fits(shape, axes, broadcasts=True) for axes in (wanted, full, shared)):
        axes = "(T, S), (B, T, S)" + (" or (B, heads, T, S)" if heads else "")
        raise ValueError(
            f"`attention_mask` must have the shape {axes}. Received: attention_mask.shape={shape}, "
            f"query.shape={tuple(query.shape)}, value.shape={tuple(value.shape)}"
            + (f", {num_heads} heads" if heads else "")
        )


def segment_ids(ids, query, value):
    """Raises a `ValueError` unless ids are integers `(B, T)`, for a query and value of T steps."""
    dtype = keras.backend.standardize_dtype(ids.dtype)
    if "int" not in dtype:
        raise ValueError(
            "`segment_ids` must be integers, one for each step. "
            f"Received: segment_ids.dtype={dtype}"
        )
    steps = tuple(query.shape[:2])
    if not (_fits(ids.shape, steps) and _fits(value.shape[:2], steps)):
        raise ValueError(
            "`segment_ids` must have the shape (batch, steps) of a query and a value of as many "
            f"steps. Received: segment_ids.shape={tuple(ids.shape)}, "
            f"query.shape={tuple(query.shape)}, value.shape={tuple(value.shape)}"
        )


def _fits(shape, wanted, broadcasts=False):
    """Whether a mask's shape is the wanted one, where both are known.

    The batch axis, with `broadcasts` every axis, may also have size 1.
    """
    if len(shape) != len(wanted):
        return False
    for axis, (size, other) in enumerate(zip(shape, wanted, strict=True)):
        # A dynamic size is `None`, or on JAX a symbol that cannot be compared.
        is_known = isinstance(size, int) and isinstance(other, int)
        may_be_one = axis == 0 or broadcasts
        if is_known and size != other and not (may_be_one and size == 1):
            return False
    return True


def attention_shapes(query_shape, value_shape, key_shape):
    """Raises a `ValueError` unless the three shapes fit; returns the key's shape."""
    key_shape = value_shape if key_shape is None else key_shape
    if query_shape is not None:
        sequence("query", query_shape)
    sequence("value", value_shape)
    sequence("key", key_shape)
    batches = {shape[0] for shape in (query_shape, value_shape) if shape is not None} - {None, 1}
    if len(batches) > 1 and all(isinstance(size, int) for size in batches):
        raise ValueError(
            "`query` and `value` must have the same batch size. Received: "
            f"query_shape={tuple(query_shape)}, value_shape={tuple(value_shape)}"
        )
    lengths = value_shape[1], key_shape[1]
    if None not in lengths and lengths[0] != lengths[1]:
        raise ValueError(
            "`value` and `key` must have the same number of steps. Received: "
            f"value_shape={tuple(value_shape)}, key_shape={tuple(key_shape)}"
        )
    return key_shape
