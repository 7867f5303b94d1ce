"""The attention weights of any model, without changing it."""

import contextlib
import inspect
from typing import Any

import keras
import numpy as np

from keras_attention.explain.intercept import (
    UNREADABLE,
    intercepted,
    name_of,
    paths_of_layers,
    returns_weights,
    with_weights,
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
    paths = paths_of_layers(model)
    attention = [layer for layer in paths if returns_weights(layer)]
    if not attention:
        raise ValueError(
            "`model` has no attention layer (none whose `call` takes `return_attention_scores`). "
            f"Received: model={model.name!r} with layers {[layer.name for layer in paths]}"
        )
    records: list[Any] = []  # (layer, weights), one entry per call
    with contextlib.ExitStack() as stack:
        for layer in attention:
            stack.enter_context(intercepted(layer, "call", _recording(layer, records)))
        for layer in paths:
            if isinstance(layer, keras.layers.TimeDistributed):
                stack.enter_context(intercepted(layer, "call", _stacking(records)))
        model(inputs, **kwargs)
    if not records:  # no layer ran, or all in functions that were compiled before
        raise ValueError(UNREADABLE.format(what="The weights", name=attention[0].name))
    # Only now: a layer inside a loop has no values, but the layer around it may have replaced it.
    records = [(layer, _concrete(layer, weights)) for layer, weights in records]
    return _by_name(records, paths)


def _recording(layer, records):
    signature = inspect.signature(layer.call)

    def call(original, *args, **kwargs):
        start = len(records)
        outputs, weights = with_weights(signature, original, *args, **kwargs)
        del records[start:]  # of layers inside this one, whose weights these are
        records.append((layer, weights))
        return outputs

    return call


def _stacking(records):
    def call(original, *args, **kwargs):
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
        raise ValueError(UNREADABLE.format(what="The weights", name=layer.name)) from error


def _by_name(records, paths):
    recorded = list(dict.fromkeys(layer for layer, _ in records))
    maps = {}
    for layer, weights in records:
        name = name_of(layer, recorded, paths)
        for path, array in keras.tree.flatten_with_path(weights):
            entry = "/".join([name, *map(str, path)])
            calls = sum(key.partition(":")[0] == entry for key in maps)
            maps[f"{entry}:{calls}" if calls else entry] = array
    return maps
