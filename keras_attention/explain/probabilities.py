"""What a classifier returns, as probabilities of its classes."""

import numpy as np
from keras import ops


def entry(outputs, output):
    """One tensor of a model's outputs: all of it, or the entry of a dict that `output` names.

    Raises:
        ValueError: If `output` names none of them, or is needed and `None`.
    """
    if isinstance(outputs, dict):
        if output in outputs:
            return outputs[output]
        wanted = f"one of {', '.join(map(repr, outputs))}, as the model returns a dict"
    elif hasattr(outputs, "shape"):
        if output is None:
            return outputs
        wanted = "`None`, as the model returns one array"
    else:
        raise ValueError(
            "`model` must return an array of probabilities, or a dict. Received: a model that "
            f"returns a {type(outputs).__name__}"
        )
    raise ValueError(f"`output` must be {wanted}. Received: output={output!r}")


def checked(name, probabilities, inputs, count=None):
    """Probabilities `(B, C)` in float64; a single one of a binary classifier becomes two.

    Args:
        name: String, the argument that they come from.
        probabilities: Array `(B, C)`, `(B,)` or `(B, 1)`.
        inputs: Array `(B, ...)`, list, or structure of arrays that they were predicted for.
        count: Integer B, needed for a structure.

    Raises:
        ValueError: If they have another shape or are no probabilities.
    """
    count = len(inputs) if count is None else count
    probabilities = np.asarray(probabilities, "float64")
    if probabilities.ndim == 1:
        probabilities = probabilities[:, None]
    if probabilities.ndim != 2 or len(probabilities) != count:
        given = f"inputs of shape {inputs.shape}" if hasattr(inputs, "shape") else f"{count} inputs"
        raise ValueError(
            f"`{name}` must return probabilities (batch, classes). Received: shape "
            f"{probabilities.shape} for {given}"
        )
    # Softmax in half precision may come out a little above 1.
    if not ((probabilities >= -0.01) & (probabilities <= 1.01)).all():
        raise ValueError(
            f"`{name}` must return probabilities, from 0 to 1; logits need a softmax or a sigmoid "
            f"first. Received: numbers from {probabilities.min():.3g} to {probabilities.max():.3g}"
        )
    if probabilities.shape[1] == 1:
        probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
    return probabilities


def checked_inputs(inputs):
    """`inputs` as an array of numbers `(B, ...)` of B > 0 examples with an axis of steps at least.

    Raises:
        ValueError: For anything else.
    """
    inputs = ops.convert_to_numpy(inputs)
    if inputs.ndim < 2 or inputs.dtype.kind not in "biuf" or not len(inputs):
        raise ValueError(
            "`inputs` must be one array of numbers, (batch, steps) or more axes. Received: "
            f"inputs.shape={inputs.shape}, inputs.dtype={inputs.dtype}"
        )
    return inputs
