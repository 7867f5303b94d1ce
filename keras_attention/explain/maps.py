"""The attention weights of any model, without rewiring it."""

import contextlib
import inspect

import keras
import numpy as np

_UNREADABLE = (
    "The weights of {name!r} can't be read: the model runs it inside a compiled function or a "
    "loop, or not at all. Call the model without `tf.function` or `jax.jit`."
)


def attention_maps(model, inputs, **kwargs):
    """Runs a model once and returns the weights of every attention layer in it.

    Works on functional, subclassed and nested models, on layers inside layers, and inside
    `TimeDistributed`. An attention layer is any layer, of this package, of Keras or of your own,
    whose `call` takes `return_attention_scores` and then returns `(output, weights)`. Weights that
    are a structure, as those of `HierarchicalAttention`, come apart: `"name/words"`. A layer that
    returns weights, such as `TransformerEncoderBlock`, speaks for the attention layers inside it.

    Args:
        model: A built `keras.Model` or `keras.layers.Layer`.
        inputs: What the model is called with; arrays or tensors.
        kwargs: More call arguments, such as masks.

    Returns:
        Dict from layer name to a NumPy array of its weights, in the order in which the layers
        ran. Layers that share a name go by their path in the model (`"encoder/attention"`), and a
        layer that is called several times by `"name"`, `"name:1"`, `"name:2"`. Inside
        `TimeDistributed` the weights have its time axis second: `(B, time, ...)`.

    Raises:
        ValueError: If the model has no attention layer, or runs one inside compiled code, whose
            numbers can't be read.

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
    paths = dict(_paths(model))
    attention = [layer for layer in paths if _returns_weights(layer)]
    if not attention:
        raise ValueError(
            "`model` has no attention layer (none whose `call` takes `return_attention_scores`). "
            f"Received: model={model.name!r} with layers {[layer.name for layer in paths]}"
        )
    records = []  # (layer, weights), one entry a call
    with contextlib.ExitStack() as stack:
        for layer in attention:
            stack.enter_context(_replaced_call(layer, _recording(layer, records)))
        for layer in paths:
            if isinstance(layer, keras.layers.TimeDistributed):
                stack.enter_context(_replaced_call(layer, _stacking(layer, records)))
        model(inputs, **kwargs)
    if not records:  # none ran, or all within functions that were compiled before
        raise ValueError(_UNREADABLE.format(name=attention[0].name))
    # Only now: a layer inside a loop has no numbers, but the layer around it may have had them.
    records = [(layer, _concrete(layer, weights)) for layer, weights in records]
    return _by_name(records, paths)


def _paths(layer, above="", seen=None):
    """Pairs of a layer and its path, for the layer and all below it, each once."""
    seen = set() if seen is None else seen
    if layer in seen:
        return
    seen.add(layer)
    yield layer, above + layer.name
    for below in layer._layers:  # Keras has no public way down into a layer that is no model
        yield from _paths(below, f"{above}{layer.name}/", seen)


def _returns_weights(layer):
    return "return_attention_scores" in inspect.signature(layer.call).parameters


@contextlib.contextmanager
def _replaced_call(layer, call):
    """Gives one layer another `call` for a while; its signature stays known to Keras."""
    object.__setattr__(layer, "call", call)
    try:
        yield
    finally:
        object.__delattr__(layer, "call")


def _recording(layer, records):
    original = layer.call

    def call(*args, return_attention_scores=False, **kwargs):
        start = len(records)
        output, weights, *others = original(*args, return_attention_scores=True, **kwargs)
        del records[start:]  # of layers inside this one, whose weights these are
        records.append((layer, weights))
        if return_attention_scores:
            return output, weights, *others
        return (output, *others) if others else output

    return call


def _stacking(wrapper, records):
    original = wrapper.call

    def call(*args, **kwargs):
        start = len(records)
        output = original(*args, **kwargs)
        steps = records[start:]
        del records[start:]
        order = list(dict.fromkeys(layer for layer, _ in steps))
        for layer in order:
            weights = [weights for other, weights in steps if other is layer]
            weights = [_concrete(layer, one) for one in weights]
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
        # Every path starts with the model's own name, which tells nothing.
        short = names.count(layer.name) == 1
        name = layer.name if short else paths[layer].partition("/")[2]
        for place, array in keras.tree.flatten_with_path(weights):
            part = "/".join([name, *map(str, place)])
            calls = sum(key.partition(":")[0] == part for key in maps)
            maps[f"{part}:{calls}" if calls else part] = array
    return maps
