"""The attention weights of any model, without changing it."""

import contextlib
import contextvars
import functools
import inspect
import threading
from typing import Any

import keras
import numpy as np

from keras_attention.layer import layers_below

# The records of the `attention_maps` call in this thread, `None` if there is none.
_records: contextvars.ContextVar[list[Any] | None] = contextvars.ContextVar("records", default=None)
_lock = threading.Lock()
_listeners: dict[int, int] = {}  # id of a layer: how many calls of `attention_maps` run with it now

_UNREADABLE = (
    "The weights of {name!r} can't be read: the model runs it in a compiled function or a loop, or "
    "does not run it. Call the model without `tf.function` or `jax.jit`."
)


def attention_maps(model: keras.layers.Layer, inputs: Any, **kwargs: Any) -> dict[str, np.ndarray]:
    """Runs a model once and returns the weights of every attention layer in it.

    Works on functional, subclassed and nested models, on layers inside layers, and inside
    `TimeDistributed`. An attention layer is any layer, of this package, of Keras or of your own,
    whose `call` takes `return_attention_scores` and then returns `(output, weights)`. A structure
    of weights, as from `HierarchicalAttention`, gives one entry each: `"name/words"`. If a layer
    such as `TransformerEncoderBlock` returns weights, the attention layers inside it have no entry.

    Thread-safe: other threads may call the model or this function at the same time.

    Args:
        model: A built `keras.Model` or `keras.layers.Layer`.
        inputs: The model's inputs; arrays or tensors.
        kwargs: More call arguments, such as masks.

    Returns:
        Dict from layer name to a NumPy array of its weights, in the order in which the layers
        ran. Layers with the same name are named by their path in the model
        (`"encoder/attention"`), several calls of a layer `"name"`, `"name:1"`, `"name:2"`. Inside
        `TimeDistributed` the weights have its time axis second: `(B, time, ...)`.

    Raises:
        ValueError: If the model has no attention layer, or runs one inside compiled code or a loop.

    Example:
        >>> inputs = keras.Input((None, 4))
        >>> outputs = keras.layers.Dense(2)(ka.AttentionPooling(name="pool")(inputs))
        >>> model = keras.Model(inputs, outputs)
        >>> maps = ka.attention_maps(model, keras.ops.ones((3, 5, 4)))
        >>> {name: weights.shape for name, weights in maps.items()}
        {'pool': (3, 5)}
    """
    if not model.built:
        model(inputs, **kwargs)
    paths = {model: model.name}
    paths |= {below: f"{model.name}/{path}" for path, below in layers_below(model)}
    attention = [layer for layer in paths if returns_weights(layer)]
    if not attention:
        raise ValueError(
            "`model` has no attention layer (none whose `call` takes `return_attention_scores`). "
            f"Received: model={model.name!r} with layers {[layer.name for layer in paths]}"
        )
    records: list[Any] = []  # (layer, weights), one entry per call
    with contextlib.ExitStack() as stack:
        for layer in attention:
            stack.enter_context(_reporting(layer, _recording))
        for layer in paths:
            if isinstance(layer, keras.layers.TimeDistributed):
                stack.enter_context(_reporting(layer, _stacking))
        token = _records.set(records)
        try:
            model(inputs, **kwargs)
        finally:
            _records.reset(token)
    if not records:  # no layer ran, or all in functions that were compiled before
        raise ValueError(_UNREADABLE.format(name=attention[0].name))
    # Only now: a layer inside a loop has no values, but the layer around it may have replaced it.
    records = [(layer, _concrete(layer, weights)) for layer, weights in records]
    return _by_name(records, paths)


def returns_weights(layer):
    """Whether a layer is an attention layer: it can return its weights."""
    return "return_attention_scores" in inspect.signature(layer.call).parameters


@contextlib.contextmanager
def _reporting(layer, wrap):
    """Inside this context the layer's `call` records in the threads that run `attention_maps`.

    In all other threads it behaves as the original. The last context restores the original.
    """
    with _lock:
        _listeners[id(layer)] = _listeners.get(id(layer), 0) + 1
        if _listeners[id(layer)] == 1:  # not by Keras' `__setattr__`, which would track it
            object.__setattr__(layer, "call", functools.wraps(layer.call)(wrap(layer, layer.call)))
    try:
        yield
    finally:
        with _lock:
            _listeners[id(layer)] -= 1
            if not _listeners[id(layer)]:
                del _listeners[id(layer)]
                _restore(layer)


def _restore(layer):
    """Restores the original `call`, of the class or, rarely, of the instance."""
    original = layer.call.__wrapped__
    if getattr(original, "__self__", None) is layer:
        object.__delattr__(layer, "call")
    else:
        object.__setattr__(layer, "call", original)


def _recording(layer, original):
    signature = inspect.signature(original)

    def call(*args, **kwargs):
        records = _records.get()
        if records is None:
            return original(*args, **kwargs)
        given = signature.bind(*args, **kwargs)
        return_attention_scores = given.arguments.get("return_attention_scores", False)
        given.arguments["return_attention_scores"] = True
        start = len(records)
        output, weights, *others = original(*given.args, **given.kwargs)
        del records[start:]  # of layers inside this one, whose weights these are
        records.append((layer, weights))
        if return_attention_scores:
            return output, weights, *others
        return (output, *others) if others else output

    return call


def _stacking(wrapper, original):
    def call(*args, **kwargs):
        records = _records.get()
        if records is None:
            return original(*args, **kwargs)
        start = len(records)
        output = original(*args, **kwargs)
        steps = records[start:]
        del records[start:]
        order = list(dict.fromkeys(layer for layer, _ in steps))
        for layer in order:
            weights = [weights for other, weights in steps if other is layer]
            weights = [_concrete(layer, x) for x in weights]
            stacked = keras.tree.map_structure(lambda *steps: np.stack(steps, axis=1), *weights)
            records.append((layer, stacked))
        return output

    return call


def _concrete(layer, weights):
    try:
        return keras.tree.map_structure(keras.ops.convert_to_numpy, weights)
    except Exception as error:  # each backend raises its own for a tensor of a traced function
        raise ValueError(_UNREADABLE.format(name=layer.name)) from error


def _by_name(records, paths):
    names = [layer.name for layer in dict.fromkeys(layer for layer, _ in records)]
    maps = {}
    for layer, weights in records:
        # Without the model's own name, with which every path starts.
        is_unique = names.count(layer.name) == 1
        name = layer.name if is_unique else paths[layer].partition("/")[2]
        for path, array in keras.tree.flatten_with_path(weights):
            entry = "/".join([name, *map(str, path)])
            calls = sum(key.partition(":")[0] == entry for key in maps)
            maps[f"{entry}:{calls}" if calls else entry] = array
    return maps
