"""`keras-attention maps`: the attention weights of a model, as arrays and as a picture."""

import contextlib

import numpy as np

import keras_attention as ka
from keras_attention.export.signature import as_inputs
from keras_attention_command.errors import UserError, reason
from keras_attention_command.files import (
    check_can_draw,
    check_can_write,
    load_model,
    read_samples,
    written,
)

_MOST_STEPS = 64  # more cannot be read in a picture


def run(arguments):
    """Writes the weights and, if asked for, draws those of one row."""
    if arguments.output.suffix != ".npz":
        raise UserError(f"Expected as --output a file NAME.npz. Received: {arguments.output}")
    check_can_write(arguments.output)
    if arguments.png:
        check_can_draw("--png", arguments.png)
    model = load_model(arguments.model, arguments.modules)
    batches = read_samples(arguments.samples, model)
    maps = weights_of(model, batches)
    if arguments.layer is not None:
        maps = {arguments.layer: _chosen(maps, arguments.layer)}
    with contextlib.ExitStack() as files:
        with files.enter_context(written(arguments.output)).open("wb") as file:
            np.savez_compressed(file, **maps)
        if arguments.png:
            figure = _figure(maps, batches, arguments.row)
            try:
                figure.savefig(files.enter_context(written(arguments.png)))
            except ValueError as error:  # an ending that nobody knows
                raise UserError(f"Cannot write --png {arguments.png}: {error}") from error
    for name, weights in maps.items():
        print(f"{name}  {weights.shape}")
    print("Wrote", arguments.output, arguments.png or "")


def weights_of(model, batches):
    """The weights of all attention layers, by name, for all batches one after the other.

    Raises:
        UserError: If the model has no attention layer, or cannot run on the samples.
    """
    try:
        inputs = [as_inputs(model, [batch[x.name] for x in model.inputs]) for batch in batches]
        maps = [ka.attention_maps(model, batch) for batch in inputs]
    except Exception as error:  # each backend raises its own, as for an id outside the vocabulary
        raise UserError(f"Cannot read the attention weights: {reason(error)}") from error
    return {name: np.concatenate([each[name] for each in maps]) for name in maps[0]}


def _chosen(maps, name):
    if name not in maps:
        raise UserError(f"Expected as --layer one of {list(maps)}. Received: {name!r}")
    return maps[name]


def _figure(maps, batches, row):
    """A picture of the weights of one row, of the only layer that there is."""
    if len(maps) > 1:
        raise UserError(f"--png draws one layer: choose it with --layer, one of {list(maps)}")
    ((name, weights),) = maps.items()
    if not 0 <= row < len(weights):
        raise UserError(f"--row must be from 0 to {len(weights) - 1}. Received: {row}")
    weights = weights[row]
    if weights.ndim not in (1, 2, 3):
        raise UserError(
            "--png draws weights (steps), (queries, steps) or (heads, queries, steps) of a row. "
            f"Received: {weights.shape} of layer {name!r}"
        )
    queries, values = _used(weights, -2) if weights.ndim > 1 else 1, _used(weights, -1)
    if max(queries, values) > _MOST_STEPS:
        raise UserError(
            f"--png draws {_MOST_STEPS} steps at most. Row {row} of layer {name!r} has weights for "
            f"{max(queries, values)}"
        )
    words = _labels(batches, row, weights.shape[-1])[:values]
    title = f"{name}, row {row}"
    if weights.ndim == 1:
        return ka.plot_attention(weights[:values], words, title)
    weights = weights[..., :queries, :values]
    asked = _labels(batches, row, weights.shape[-2])[:queries]
    return ka.plot_alignment(weights, asked, words, title)


def _used(weights, axis):
    """The number of steps of an axis up to the last with a weight: padding comes after it."""
    others = tuple(i for i in range(weights.ndim) if i != weights.ndim + axis)
    steps = np.flatnonzero(np.any(weights != 0, axis=others))
    return int(steps[-1]) + 1 if len(steps) else 1


def _labels(batches, row, steps):
    """Names of the steps: the ids of the row, where the model has one input of so many ids."""
    rows = [array for batch in batches for array in next(iter(batch.values()))]
    ids = rows[row]
    if len(batches[0]) == 1 and ids.shape == (steps,) and ids.dtype.kind in "iu":
        return [f"{position}: {i}" for position, i in enumerate(ids)]
    return [str(position) for position in range(steps)]
