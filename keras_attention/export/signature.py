"""Signatures: the entry points of an exported model, with samples to check them."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_attention.types import Tensor

_ROWS = 32  # how many samples go through a model at once
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.>-]*")


@dataclasses.dataclass(frozen=True)
class Signature:
    """One entry point of an exported model. All entry points of an export share their weights.

    Args:
        name: String, a Python identifier. The first signature of an export is also the
            SavedModel's `serving_default`.
        function: A function `(model, **tensors)` that returns a tensor, a list of tensors or a
            dict of named tensors. The model is an argument because a model in mixed precision is
            first rebuilt in float32.
        inputs: Dict of input name to `(shape, dtype)`, or to anything with these two attributes,
            such as `keras.InputSpec`. `None` stands for an unknown size.
        samples: Inputs for the comparison of the written forms and for the calibration of full
            integer quantization: a dict of arrays, one array, a list of arrays in the order of
            `inputs`, or a batched `tf.data.Dataset` of any of these, also with targets and sample
            weights, `(inputs, targets)` or `(inputs, targets, weights)`, which are ignored. Use a
            few hundred rows that are typical of later use.
        resources: Trackable objects that the function uses besides the model, such as a tokenizer
            or a lookup table.
        text: Whether the function may use operators of `tensorflow_text`.
        decision: The decision on which the written forms must agree: `"auto"`, the argmax over the
            first output's last axis, or whether it exceeds 0.5 if that axis has a single entry; the
            name of another output for the same; a function from the dict of output arrays to an
            array; or `None` if there is no decision.

    Raises:
        ValueError: If an argument is not as described, or `function` does not take the inputs.

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
    function: Callable[..., Any]
    inputs: Mapping[str, Any]
    samples: Any
    resources: Sequence[Any] = ()
    text: bool = False
    decision: str | Callable[..., Any] | None = "auto"

    def __post_init__(self):
        if not (isinstance(self.name, str) and self.name.isidentifier()):
            raise ValueError(f"`name` must be a Python identifier. Received: name={self.name!r}")
        if not callable(self.function):
            raise ValueError(
                "`function` must be a function `(model, **tensors)`. "
                f"Received: function={self.function!r}"
            )
        if not isinstance(self.inputs, Mapping) or not self.inputs:
            raise ValueError(
                "`inputs` must be a dict of input name to `(shape, dtype)`. "
                f"Received: inputs={self.inputs!r}"
            )
        for name in self.inputs:
            if not (isinstance(name, str) and _NAME.fullmatch(name)) or name == "self":
                raise ValueError(
                    "The names of `inputs` must consist of letters, digits, `_`, `.` and `-`, "
                    "begin with a letter or a digit, and not be `self`, or TensorFlow cannot take "
                    f"them. Received: {name!r}"
                )
        if not (self.decision is None or isinstance(self.decision, str) or callable(self.decision)):
            raise ValueError(
                '`decision` must be "auto", the name of an output, a function or `None`. '
                f"Received: decision={self.decision!r}"
            )
        self._check_call()

    def _check_call(self):
        """Raises a `ValueError` if the function cannot take a model and the inputs."""
        try:
            parameters = inspect.signature(self.function)
        except (TypeError, ValueError):  # some functions written in C have no signature
            return
        tensors, named = self._arguments(self.inputs)
        try:
            parameters.bind(None, *tensors, **named)
        except TypeError as error:
            raise ValueError(
                f"`function` of signature `{self.name}` must take a model, and then the inputs "
                f"{list(self.inputs)} by their names: {error}"
            ) from error

    def _arguments(self, tensors):
        """The tensors to pass by position, and those to pass by name.

        All by name, unless an input has the name of the function's model argument.
        """
        try:
            first = next(iter(inspect.signature(self.function).parameters.values()), None)
        except (TypeError, ValueError):
            first = None
        if first and first.kind is first.POSITIONAL_OR_KEYWORD and first.name in tensors:
            return list(tensors.values()), {}
        return [], dict(tensors)

    @property
    def specs(self) -> dict[str, tuple[tuple[int | None, ...], str]]:
        """Dict of input name to `(shape, dtype)`; an unknown size is `None`."""
        specs = {}
        for name, spec in self.inputs.items():
            shape, dtype = spec if isinstance(spec, tuple) else (spec.shape, spec.dtype)
            # Strings are the only type of TensorFlow that Keras does not know.
            text = dtype == "string" or getattr(dtype, "name", None) == "string"
            specs[name] = tuple(shape), "string" if text else keras.backend.standardize_dtype(dtype)
        return specs

    def call(self, model: keras.Model, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Calls the function.

        Args:
            model: The Keras model.
            tensors: Dict of input name to tensor.

        Returns:
            Dict of output name to tensor; a function that returns no names has `"output_0"` and so
            on.
        """
        by_position, by_name = self._arguments(tensors)
        outputs = self.function(model, *by_position, **by_name)
        if isinstance(outputs, Mapping):
            return dict(outputs)
        if not isinstance(outputs, list | tuple):
            outputs = [outputs]
        return {f"output_{i}": output for i, output in enumerate(outputs)}

    def batches(self) -> list[dict[str, np.ndarray]]:
        """Reads the samples.

        Returns:
            List of dicts of input name to NumPy array, each with the signature's batch size, or
            with at most 32 rows if that is unknown.

        Raises:
            ValueError: If the samples do not fit the inputs.
        """
        is_dataset = hasattr(self.samples, "as_numpy_iterator")
        elements = self.samples.as_numpy_iterator() if is_dataset else [self.samples]
        batches = [
            piece
            for element in elements
            for piece in self._pieces(self._checked(self._inputs_of(element, is_dataset)))
        ]
        if not batches:
            raise ValueError(f"`samples` of signature `{self.name}` is empty")
        return batches

    def _inputs_of(self, element, is_dataset):
        """The inputs of an element of a data set, or of all samples, as a dict."""
        names = list(self.inputs)
        if is_dataset and isinstance(element, tuple):
            element = self._without_targets(element)
        if isinstance(element, Mapping):
            if set(element) == set(names):
                return element
            received = list(element)
        elif len(names) == 1:
            is_listed = isinstance(element, list | tuple) and len(element) == 1
            rank = len(self.specs[names[0]][0])
            # One array, or a list or tuple that holds one.
            is_listed = is_listed and not _is_ragged(element[0]) and _rank(element[0]) == rank
            return {names[0]: element[0] if is_listed else element}
        elif isinstance(element, list | tuple):
            if len(element) == len(names):
                return dict(zip(names, element, strict=True))
            received = f"{len(element)} arrays"
        else:
            received = f"one array of the shape {np.shape(element)}"
        raise ValueError(
            f"`samples` of signature `{self.name}` must have the inputs {names}. "
            f"Received: {received}"
        )

    def _without_targets(self, element):
        """The inputs of `(inputs,)`, `(inputs, targets)` or `(inputs, targets, weights)`."""
        inputs = element[0]
        is_one_array = not isinstance(inputs, Mapping | list | tuple)
        if is_one_array and len(self.inputs) > 1:
            return element  # a single array cannot be all inputs: these are the inputs alone
        return inputs

    def _checked(self, element):
        arrays = {name: _array(name, element[name], *self.specs[name]) for name in self.inputs}
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
    """The signature of a model's own inputs, with their names and unknown sizes.

    Raises:
        ValueError: If the model's inputs are unknown, as in a subclassed model.
    """
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"The inputs of model `{model.name}` are unknown, as it is not a functional model. "
            "Describe them: `signatures=[ka.Signature(...)]`"
        )

    def function(model, /, **tensors):  # one of the inputs may be called `model`
        flat = [tensors[x.name] for x in model.inputs]
        outputs = model(as_inputs(model, flat), training=False)
        return dict(zip(_output_names(model, outputs), keras.tree.flatten(outputs), strict=True))

    inputs = {x.name: (x.shape, x.dtype) for x in model.inputs}
    return Signature("serving_default", function, inputs, samples, decision=decision)


def as_inputs(model, flat):
    """A list of tensors, one for each of `model.inputs`, in the structure that the model takes."""
    # A sequential model has no `input`.
    structure = flat[0] if isinstance(model, keras.Sequential) else model.input
    return keras.tree.pack_sequence_as(structure, flat)


def _output_names(model, outputs):
    """Keys of a dict output, else the names of the layers that made the outputs."""
    if isinstance(outputs, dict) and not any(map(keras.tree.is_nested, outputs.values())):
        return sorted(outputs)  # as keras.tree.flatten orders them
    count = len(keras.tree.flatten(outputs))
    names = getattr(model, "output_names", None) or []
    if len(names) != count or len(set(names)) != count:
        return [f"output_{i}" for i in range(count)]
    return names


def _is_ragged(values):
    return hasattr(values, "row_splits")


def _rank(values):
    """The number of axes of an array or of nested lists of any lengths."""
    if hasattr(values, "shape"):
        return len(values.shape)
    return 1 + _rank(values[0]) if isinstance(values, list | tuple) and len(values) else 0


def _array(name, values, shape, dtype):
    """`values` as an array of the input's dtype, or a `ValueError` that names the input."""
    unequal = f"Samples for input `{name}` must be one array with rows of equal shapes"
    if _is_ragged(values):
        raise ValueError(
            f"{unequal}: pad ragged ones by `to_tensor()`. Received: {type(values).__name__}"
        )
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{unequal}: pad the shorter ones. Received: {error}") from error
    if array.dtype == object and dtype != "string":  # so a data set gives ragged tensors
        raise ValueError(
            f"{unequal}: pad ragged ones, as by `samples.map(lambda x: x.to_tensor())`. "
            "Received: an array of objects"
        )
    if dtype == "string":
        # Objects, as NumPy's own bytes lose trailing zeros.
        texts = [x.encode() if isinstance(x, str) else bytes(x) for x in array.ravel()]
        array = np.array(texts, dtype=object).reshape(array.shape)
    else:
        array = _cast(name, array, dtype)
    known = zip(shape[1:], array.shape[1:], strict=False)
    if array.ndim != len(shape) or any(size not in (None, got) for size, got in known):
        is_row = array.ndim == len(shape) - 1
        raise ValueError(
            f"Samples for input `{name}` must have the shape {shape}. Received: {array.shape}"
            + (". The first axis is that of rows: batch a data set with `.batch(32)`" * is_row)
        )
    return array


def _cast(name, array, dtype):
    """An array in another dtype, if that holds its values: `uint8` as `float32` and the like."""
    if np.can_cast(array.dtype, dtype, "same_kind") and "float" in dtype:
        return array.astype(dtype)
    if array.dtype.kind not in "biu" or "float" in dtype or "complex" in dtype:
        raise ValueError(f"Samples for input `{name}` must be {dtype}. Received: {array.dtype}")
    cast = array.astype(dtype)
    if not np.array_equal(cast.astype(array.dtype), array):
        raise ValueError(
            f"Samples for input `{name}` must be {dtype}, which does not hold all of them. "
            f"Received: {array.dtype} from {array.min()} to {array.max()}"
        )
    return cast
