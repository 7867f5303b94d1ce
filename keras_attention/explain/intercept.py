"""The layers of a model by name, and their methods intercepted in one thread alone."""

import contextlib
import contextvars
import functools
import inspect
import threading
from collections.abc import Mapping
from typing import Any

import keras

from keras_attention.layer import layers_below

# What takes the place of a method in this thread, by the layer's id and the method's name.
_handlers: contextvars.ContextVar[Mapping[Any, Any] | None] = contextvars.ContextVar(
    "handlers", default=None
)
_lock = threading.Lock()
_users: dict[Any, int] = {}  # the same keys: how many contexts of any thread run with it now

IN_A_LOOP = "the model runs it in a compiled function or a loop, or does not run it"
UNREADABLE = (
    f"{{what}} of {{name!r}} can't be read: {IN_A_LOOP}. Call the model without `tf.function` or "
    "`jax.jit`."
)


@contextlib.contextmanager
def intercepted(layer, method, handler):
    """Inside this context, in this thread, a method of the layer is `handler(original, ...)`.

    In all other threads it is the original; so it is in all after the last context. Of several
    contexts in one thread the inner one is called first, with the outer one as its original.

    Args:
        layer: A layer.
        method: String, the name of the method.
        handler: Function of the original and of what the method is called with.
    """
    key = id(layer), method
    with _lock:
        _users[key] = _users.get(key, 0) + 1
        if _users[key] == 1:  # not by Keras' `__setattr__`, which would track it
            object.__setattr__(layer, method, _handled(key, getattr(layer, method)))
    outer = _handlers.get() or {}
    if key in outer:
        handler = _nested(handler, outer[key])
    token = _handlers.set({**outer, key: handler})
    try:
        yield
    finally:
        _handlers.reset(token)
        with _lock:
            _users[key] -= 1
            if not _users[key]:
                del _users[key]
                _restore(layer, method)


def _handled(key, original):
    @functools.wraps(original)
    def call(*args, **kwargs):
        handler = (_handlers.get() or {}).get(key)
        if handler is None:
            return original(*args, **kwargs)
        return handler(original, *args, **kwargs)

    return call


def _nested(inner, outer):
    return lambda original, *args, **kwargs: inner(
        functools.partial(outer, original), *args, **kwargs
    )


def _restore(layer, method):
    """Restores the original, of the class or, rarely, of the instance."""
    original = getattr(layer, method).__wrapped__
    if getattr(original, "__self__", None) is layer:
        object.__delattr__(layer, method)
    else:
        object.__setattr__(layer, method, original)


def with_weights(signature, original, *args, **kwargs):
    """Calls an attention layer for its weights.

    Args:
        signature: The signature of the layer's `call`.
        original: That `call`, or what takes its place; called with `args` and `kwargs`.

    Returns:
        What the caller asked for, with or without the weights; and the weights.
    """
    given = signature.bind(*args, **kwargs)
    are_wanted = given.arguments.get("return_attention_scores", False)
    given.arguments["return_attention_scores"] = True
    output, weights, *others = original(*given.args, **given.kwargs)
    if are_wanted:
        return (output, weights, *others), weights
    return ((output, *others) if others else output), weights


def returns_weights(layer):
    """Whether a layer is an attention layer: it can return its weights."""
    return "return_attention_scores" in inspect.signature(layer.call).parameters


def paths_of_layers(model):
    """Dict from each layer, the model first, to its path from the model's own name on."""
    below = {layer: f"{model.name}/{path}" for path, layer in layers_below(model)}
    return {model: model.name, **below}


def name_of(layer, layers, paths):
    """The layer's name, or where others of `layers` have it too its path within the model."""
    is_unique = [other.name for other in layers].count(layer.name) == 1
    return layer.name if is_unique else paths[layer].partition("/")[2]


def find_layer(name, layers, paths, what, error=ValueError):
    """The one of some layers that has a name, or a path within the model.

    Args:
        name: String, or `None` for the only one there is.
        layers: List of layers.
        paths: From `paths_of_layers`.
        what: String, what the layers are, for the error.
        error: Class of the error.

    Raises:
        ValueError: If there is none or more than one, with the names of all.
    """
    found = [x for x in layers if name in (None, x.name, paths[x].partition("/")[2])]
    if len(found) == 1:
        return found[0]
    names = [name_of(layer, layers, paths) for layer in layers]
    raise error(
        f"`layer` must be the name or path of one of the model's {what}. Received: layer={name!r}, "
        f"of {names}"
    )


def wrappers_of(layer, paths):
    """The `TimeDistributed` layers of a model that call a layer once for each of their steps."""
    wrappers = [x for x in paths if isinstance(x, keras.layers.TimeDistributed)]
    return [x for x in wrappers if layer in (below for _, below in layers_below(x))]
