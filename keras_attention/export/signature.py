"""Signatures: what a written model can be asked, and the samples that prove each answer."""

import collections.abc
import dataclasses

import keras
import numpy as np

_ROWS = 32  # how many samples go through a model at once


@dataclasses.dataclass(frozen=True)
class Signature:
    """One entry point of an exported model. All entry points of an export share their weights.

    Args:
        name: String, a Python identifier. The first signature of an export is also the
            SavedModel's `serving_default`.
        function: A function `(model, **tensors)` that returns a tensor, a list of tensors or a
            dict of named tensors. It gets its model as an argument because a model in mixed
            precision is rebuilt in float32 first.
        inputs: Dict of input name to `(shape, dtype)`, or to anything with these two attributes,
            such as `keras.InputSpec`. `None` stands for an unknown size.
        samples: What the written forms are compared on, and what full integer quantization is
            calibrated with: a dict of arrays, one array, a list of arrays in the order of
            `inputs`, or a batched `tf.data.Dataset`, whose targets are left out. Take some hundred
            rows like those of later use.
        resources: Trackable objects that the function uses beside the model, such as a tokenizer
            or a lookup table.
        text: Whether the function may use operators of `tensorflow_text`.
        decision: What the written forms must agree on: `"auto"`, the highest entry of the first
            output's last axis, or whether it exceeds 0.5 where that axis has a single entry; the
            name of another output to treat so; a function from the dict of output arrays to an
            array; or `None` where an output decides nothing.

    Example:
        >>> signature = ka.Signature(
        ...     name="ids",
        ...     function=lambda model, ids: {"probability": model(ids, training=False)},
        ...     inputs={"ids": ((None, None), "int32")},
        ...     samples=[[3, 4, 0], [5, 0, 0]],
        ... )
        >>> [batch["ids"].shape for batch in signature.batches()]
        [(2, 3)]
    """

    name: str
    function: collections.abc.Callable
    inputs: collections.abc.Mapping
    samples: object
    resources: collections.abc.Sequence = ()
    text: bool = False
    decision: object = "auto"

    def __post_init__(self):
        if not (isinstance(self.name, str) and self.name.isidentifier()):
            raise ValueError(f"`name` must be a Python identifier. Received: name={self.name!r}")
        if not callable(self.function):
            raise ValueError(
                "`function` must be a function `(model, **tensors)`. "
                f"Received: function={self.function!r}"
            )
        if not isinstance(self.inputs, collections.abc.Mapping) or not self.inputs:
            raise ValueError(
                "`inputs` must be a dict of input name to `(shape, dtype)`. "
                f"Received: inputs={self.inputs!r}"
            )
        if not (self.decision is None or isinstance(self.decision, str) or callable(self.decision)):
            raise ValueError(
                '`decision` must be "auto", the name of an output, a function or `None`. '
                f"Received: decision={self.decision!r}"
            )

    @property
    def specs(self):
        """Dict of input name to `(shape, dtype)`."""
        specs = {}
        for name, spec in self.inputs.items():
            shape, dtype = spec if isinstance(spec, tuple) else (spec.shape, spec.dtype)
            # Of TensorFlow's own types only strings are unknown to Keras.
            text = dtype == "string" or getattr(dtype, "name", None) == "string"
            specs[name] = tuple(shape), "string" if text else keras.backend.standardize_dtype(dtype)
        return specs

    def call(self, model, tensors):
        """The outputs for a dict of tensors: a dict of named tensors."""
        outputs = self.function(model, **tensors)
        if isinstance(outputs, collections.abc.Mapping):
            return dict(outputs)
        if not isinstance(outputs, list | tuple):
            outputs = [outputs]
        return {f"output_{i}": output for i, output in enumerate(outputs)}

    def batches(self):
        """The samples as a list of dicts of arrays, each of at most 32 rows.

        Raises:
            ValueError: for samples that do not fit the inputs.
        """
        batches = [
            self._checked(element)
            for element in (
                map(_without_targets, self.samples.as_numpy_iterator())
                if hasattr(self.samples, "as_numpy_iterator")
                else [self.samples]
            )
        ]
        batches = [piece for batch in batches for piece in self._pieces(batch)]
        if not batches:
            raise ValueError(f"`samples` of signature `{self.name}` is empty")
        return batches

    def _checked(self, element):
        names = list(self.inputs)
        if not isinstance(element, collections.abc.Mapping):
            element = dict(zip(names, [element] if len(names) == 1 else element, strict=True))
        if set(element) != set(names):
            raise ValueError(
                f"`samples` of signature `{self.name}` must have the inputs {names}. "
                f"Received: {list(element)}"
            )
        arrays = {name: _array(name, element[name], *self.specs[name]) for name in names}
        rows = {name: len(array) for name, array in arrays.items()}
        if len(set(rows.values())) > 1:
            raise ValueError(
                f"`samples` of signature `{self.name}` must have as many rows for each input. "
                f"Received: {rows}"
            )
        return arrays

    def _pieces(self, arrays):
        """The arrays cut into batches: of the signature's own size where that is fixed."""
        fixed = next((shape[0] for shape, _ in self.specs.values() if shape[0]), None)
        size, rows = fixed or _ROWS, len(next(iter(arrays.values())))
        if fixed and rows % fixed:
            raise ValueError(
                f"Signature `{self.name}` takes batches of {fixed} rows: the number of samples "
                f"must be a multiple of that. Received: {rows} rows"
            )
        for start in range(0, rows, size):
            yield {name: array[start : start + size] for name, array in arrays.items()}


def from_model(model, samples, decision="auto"):
    """The signature of a model's own inputs, with their names and unknown sizes left open.

    Raises:
        ValueError: if the model's inputs are unknown, as in a subclassed model.
    """
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"The inputs of model `{model.name}` are unknown, as it is not a functional model. "
            "Describe them: `signatures=[ka.Signature(...)]`"
        )

    def function(model, **tensors):
        flat = [tensors[x.name] for x in model.inputs]
        outputs = model(keras.tree.pack_sequence_as(model.input, flat), training=False)
        return dict(zip(_output_names(model, outputs), keras.tree.flatten(outputs), strict=True))

    inputs = {x.name: (x.shape, x.dtype) for x in model.inputs}
    return Signature("serving_default", function, inputs, samples, decision=decision)


def _output_names(model, outputs):
    """Keys of a dict output, else the names of the layers that made the outputs."""
    if isinstance(outputs, dict) and not any(map(keras.tree.is_nested, outputs.values())):
        return sorted(outputs)  # as keras.tree.flatten orders them
    count = len(keras.tree.flatten(outputs))
    names = getattr(model, "output_names", None) or []
    if len(names) != count or len(set(names)) != count:
        return [f"output_{i}" for i in range(count)]
    return names


def _without_targets(element):
    return element[0] if isinstance(element, tuple) else element


def _array(name, values, shape, dtype):
    """`values` as an array of the input's dtype, or a `ValueError` that names the input."""
    array = np.asarray(values)
    if dtype == "string":
        # Objects, as NumPy's own bytes lose trailing zeros.
        texts = [x.encode() if isinstance(x, str) else bytes(x) for x in array.ravel()]
        array = np.array(texts, dtype=object).reshape(array.shape)
    elif not np.can_cast(array.dtype, dtype, "same_kind"):
        raise ValueError(f"Samples for input `{name}` must be {dtype}. Received: {array.dtype}")
    else:
        array = array.astype(dtype)
    known = zip(shape[1:], array.shape[1:], strict=False)
    if array.ndim != len(shape) or any(size not in (None, got) for size, got in known):
        raise ValueError(
            f"Samples for input `{name}` must have the shape {shape}. Received: {array.shape}"
        )
    return array
