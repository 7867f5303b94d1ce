"""Permuted attention: whether the prediction depends on which step has which weight."""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from keras_attention import checks
from keras_attention.explain import probabilities
from keras_attention.explain.intercept import (
    UNREADABLE,
    find_layer,
    intercepted,
    paths_of_layers,
    returns_weights,
    with_weights,
)
from keras_attention.layer import layers_below
from keras_attention.layers.base import AttentionLayer
from keras_attention.layers.hierarchical_attention import HierarchicalAttention

LEVELS = ("words", "sentences")  # in the order in which `HierarchicalAttention` computes them


class CannotShuffle(ValueError):
    """Why the weights of a layer cannot be changed."""


def permutation_test(
    model: keras.layers.Layer,
    inputs: npt.ArrayLike,
    layer: str | None = None,
    output: str | None = None,
    num_permutations: int = 20,
    seed: int = 0,
    batch_size: int = 32,
) -> dict[str, np.ndarray]:
    """Shuffles the weights of an attention layer, and measures how far the prediction moves.

        distance = median_i 1/2 sum_c |p_c(weights) - p_c(permutation_i of the weights)|

    The weights of each row are shuffled among its allowed steps; masked steps keep 0. Where a large
    weight can be given to any other step without a change, it is no reason for the prediction: an
    example with a large `"largest_weight"` and a small `"distance"`. Runs the model
    `num_permutations + 1` times, `batch_size` rows at a time.

    Thread-safe: other threads may call the model or this function at the same time.

    Args:
        model: A built `keras.Model` or `keras.layers.Layer` of one array that returns probabilities
            `(B, C)`, or `(B,)` or `(B, 1)` of the second of two classes; or a dict with them.
        inputs: Array `(B, S)` or with more axes.
        layer: Name of an attention layer of this package whose weights its normalizer makes, or its
            path in the model if several have that name; or of a block with one inside. `None` for
            the only one. `"name/words"` and `"name/sentences"` shuffle one level of a
            `HierarchicalAttention`, `"name"` both.
        output: Key of the probabilities if the model returns a dict.
        num_permutations: Positive integer.
        seed: Integer seed of the permutations.
        batch_size: Positive integer, the rows computed at a time.

    Returns:
        Dict of NumPy arrays `(B,)`: `"distance"`, from 0 to 1; `"largest_weight"`, the largest of
        all the layer's weights before they are shuffled; `"flips"`, the share of the permutations
        after which the model predicts another class.

    Raises:
        ValueError: If there is no such layer, it is not of this package or has no normalizer, or
            the model runs it inside compiled code or a loop; if the model does not return
            probabilities; if `output` or a number does not fit.

    Example:
        >>> features = keras.Input((None, 4))
        >>> pooled = ka.AttentionPooling()(features)
        >>> model = keras.Model(features, keras.layers.Dense(2, activation="softmax")(pooled))
        >>> figures = ka.permutation_test(model, keras.ops.ones((1, 3, 4)))
        >>> {name: round(float(x[0]), 2) for name, x in figures.items()}  # the steps are alike
        {'distance': 0.0, 'largest_weight': 0.33, 'flips': 0.0}

    Reference:
        Jain & Wallace, 2019, algorithm 2, https://arxiv.org/abs/1902.10186
        As in the paper; of several rows of weights each is shuffled for itself.
    """
    inputs = probabilities.checked_inputs(inputs)
    batch_size = checks.positive_integer("batch_size", batch_size)
    num_permutations = checks.positive_integer("num_permutations", num_permutations)
    if not model.built:
        model(inputs[:1], training=False)

    def predict(some, change):
        with weights_changed(model, change, layer):
            outputs = probabilities.entry(model(some, training=False), output)
        return probabilities.checked("model", ops.convert_to_numpy(outputs), some)

    largest = np.zeros(len(inputs))
    whole = []
    for start in range(0, len(inputs), batch_size):
        some = inputs[start : start + batch_size]
        top = largest[start : start + batch_size]

        def look(weights, allowed, top=top):
            np.maximum(top, _by_example(weights, len(top)).max(axis=(1, 2), initial=0), out=top)
            return weights

        whole.append(predict(some, look))
    whole = np.concatenate(whole)  # (B, C)

    distance = np.zeros((len(inputs), num_permutations))
    flips = np.zeros((len(inputs), num_permutations), "bool")
    examples, numbers = np.divmod(np.arange(distance.size), num_permutations)
    for start in range(0, len(examples), batch_size):
        row, number = (x[start : start + batch_size] for x in (examples, numbers))
        # One for each row, so that neither the batch size nor the other rows make a difference.
        generators = [
            np.random.default_rng([seed, *pair]) for pair in zip(row, number, strict=True)
        ]

        def shuffle(weights, allowed, generators=generators):
            return _shuffled(weights, allowed, generators)

        moved = predict(inputs[row], shuffle)
        distance[row, number] = np.abs(moved - whole[row]).sum(axis=-1) / 2
        flips[row, number] = moved.argmax(axis=-1) != whole[row].argmax(axis=-1)
    return {
        "distance": np.median(distance, axis=-1),
        "largest_weight": largest,
        "flips": flips.mean(axis=-1),
    }


@contextlib.contextmanager
def weights_changed(
    model: keras.layers.Layer,
    change: Callable[[np.ndarray, np.ndarray], npt.ArrayLike],
    layer: str | None = None,
) -> Iterator[None]:
    """Inside this context, in this thread, an attention layer goes on with other weights.

    Args:
        model: A built model, which must be called eagerly.
        change: Function of the weights and of a boolean array, where they are allowed, both of the
            shape of the scores, such as `(B, T, S)`, to weights of that shape.
        layer: As in `permutation_test`.

    Raises:
        ValueError: As `permutation_test`; if the layer has not run, when the context ends.
    """
    attention, level = _find(model, layer)
    signature = inspect.signature(attention.call)
    count = 0  # of the calls of the normalizer

    def call(original, *args, **kwargs):
        # With its weights, a layer computes all of them at once, and not block by block.
        return with_weights(signature, original, *args, **kwargs)[0]

    def normalize(original, scores, mask, seed=None):
        nonlocal count
        weights, number = original(scores, mask, seed), count
        count += 1
        if level is not None and LEVELS[number % len(LEVELS)] != level:
            return weights
        try:
            values = ops.convert_to_numpy(weights)
            allowed = True if mask is None else ops.convert_to_numpy(ops.cast(mask, "bool"))
        except Exception as error:  # each backend raises its own for a tensor of a traced function
            raise _unreadable(attention) from error
        changed = np.asarray(change(values, np.broadcast_to(allowed, values.shape)))
        return ops.cast(ops.convert_to_tensor(changed), weights.dtype)

    with intercepted(attention, "call", call), intercepted(attention, "_normalize", normalize):
        yield
    if not count:
        raise _unreadable(attention)


def _unreadable(layer):
    return ValueError(UNREADABLE.format(what="The weights", name=layer.name))


def _find(model, name):
    """The attention layer of a name, and the level that the name ends with or `None`."""
    paths = paths_of_layers(model)
    layers = [layer for layer in paths if has_normalizer(layer)]
    named = [x for x in paths if name in (x.name, paths[x].partition("/")[2])]
    stem, _, level = (name or "").rpartition("/")
    if stem and level in LEVELS and not named:
        hierarchical = [layer for layer in layers if isinstance(layer, HierarchicalAttention)]
        what = "`HierarchicalAttention` layers"
        return find_layer(stem, hierarchical, paths, what, CannotShuffle), level
    if len(named) == 1 and named[0] not in layers and returns_weights(named[0]):
        inside = [below for _, below in layers_below(named[0]) if has_normalizer(below)]
        if len(inside) == 1:  # a block speaks for the layer in it
            return inside[0], None
        if not inside:
            raise CannotShuffle(
                "`layer` must be an attention layer of `keras_attention` with a normalizer. "
                f"Received: layer={name!r}, a `{type(named[0]).__name__}`" + instead_of(named[0])
            )
    if not layers:
        others = [x for x in paths if returns_weights(x)]
        raise CannotShuffle(
            "`model` must have an attention layer of `keras_attention` with a normalizer. "
            f"Received: model={model.name!r} with {[type(x).__name__ for x in others]}"
            + "".join(map(instead_of, others[:1]))
        )
    return find_layer(name, layers, paths, "attention layers", CannotShuffle), None


def has_normalizer(layer):
    """Whether a layer's weights are made by a normalizer of its own."""
    return isinstance(layer, AttentionLayer) and "normalizer" in layer.get_config()


def instead_of(layer):
    """What to use in place of an attention layer of Keras, as the end of a sentence."""
    ours = {
        keras.layers.MultiHeadAttention: "ka.MultiHeadAttention",
        keras.layers.GroupQueryAttention: "ka.MultiHeadAttention(num_key_value_heads=...)",
        keras.layers.Attention: 'ka.ContentAttention("dot")',
        keras.layers.AdditiveAttention: 'ka.ContentAttention("additive")',
    }
    # The last one: in Keras `AdditiveAttention` is a kind of `Attention`.
    fitting = [name for theirs, name in ours.items() if isinstance(layer, theirs)]
    return f" of Keras: use `{fitting[-1]}` instead" if fitting else ""


def _by_example(weights, count):
    """Weights `(count, R, S)` of R rows for each example; they may come as `(count * R, ..., S)`.

    The sentences of `HierarchicalAttention` are such rows, those of one document side by side.
    """
    rows, rest = divmod(math.prod(weights.shape[:-1]), count)
    if rest:
        raise CannotShuffle(
            "`layer` must run on the batch of the inputs. Received: a layer with weights of shape "
            f"{weights.shape} for {count} inputs"
        )
    return weights.reshape(count, rows, weights.shape[-1])


def _shuffled(weights, allowed, generators):
    """Each row shuffled among its allowed steps; a generator for each example."""
    rows = _by_example(weights, len(generators))  # (B, R, S)
    keys = np.stack([generator.random(rows.shape[1:]) for generator in generators])
    allowed = _by_example(allowed, len(generators))
    taken = np.argsort(np.where(allowed, keys, 2), axis=-1, kind="stable")  # those allowed first
    places = np.argsort(~allowed, axis=-1, kind="stable")
    shuffled = rows.copy()
    np.put_along_axis(shuffled, places, np.take_along_axis(rows, taken, axis=-1), axis=-1)
    return shuffled.reshape(weights.shape)
