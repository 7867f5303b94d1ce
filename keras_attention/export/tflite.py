"""Conversion of a SavedModel to TFLite files with builtin operators only."""

import dataclasses
import functools
import re

import keras

from keras_attention.export import flatbuffer, full_int8, in_place, layer_tree
from keras_attention.export.errors import ExportError

_LOOPS = ("While", "StatelessWhile", "Enter")


class Converter:
    """Writes TFLite files of one SavedModel.

    Args:
        folder: Path of the SavedModel.
        signatures: List of `Signature`.
        nodes: The `GraphNodes` of the SavedModel.
    """

    def __init__(self, folder, signatures, nodes):
        self._folder, self._signatures, self._nodes = str(folder), signatures, nodes
        self._has_text = any(signature.text for signature in signatures)

    def convert(self, form, calibration):
        """The bytes of one TFLite file.

        Args:
            form: `"tflite"`, `"tflite_float16"`, `"tflite_int8"` or `"tflite_full_int8"`.
            calibration: List of `(signature name, dict of arrays)`, for full integer quantization.

        Raises:
            ExportError: If the converter fails or TFLite has no such operator; names the layer.
        """
        try:
            if form == "tflite_full_int8":
                operators = text_operators() if self._has_text else ()
                content = full_int8.quantize(self._make(), calibration, operators)
            else:
                content = self._quantized(form)
        except Exception as error:  # the converter raises many types, some of them private
            raise ExportError(_explain(form, str(error), self._nodes)) from error
        _check_operators(form, content, self._signatures, self._nodes)
        return in_place.protect(content)

    def _quantized(self, form):
        import tensorflow as tf

        converter = self._shared
        is_small = form in ("tflite_float16", "tflite_int8")
        converter.optimizations = [tf.lite.Optimize.DEFAULT] if is_small else []
        converter.target_spec.supported_types = [tf.float16] if form == "tflite_float16" else []
        return converter.convert()

    @functools.cached_property
    def _shared(self):
        return self._make()  # loads the SavedModel, once for all forms but full integers

    def _make(self):
        import tensorflow as tf

        names = [signature.name for signature in self._signatures]
        converter = tf.lite.TFLiteConverter.from_saved_model(self._folder, signature_keys=names)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.allow_custom_ops = self._has_text
        converter.exclude_conversion_metadata = True  # slow to write, and parity.json says more
        return converter


def refuse_loops(nodes):
    """Raises an `ExportError` if the model has a loop: quantizing one crashes the process."""
    places = [place for loop in _LOOPS for place in nodes.places(loop)]
    if places:
        raise ExportError(
            f"`tflite_full_int8` cannot hold a loop, and the model has one: {_texts(places)}. "
            "Use `tflite_int8` (dynamic range) instead, or a layer without recurrence."
        )


def text_operators():
    """Registerers of tensorflow_text's operators for TFLite interpreters.

    Raises:
        ImportError: If tensorflow_text is not installed.
    """
    try:
        import tensorflow_text
    except ImportError as error:
        raise ImportError(
            "A signature with `text=True` needs tensorflow-text, which is not installed: "
            "pip install tensorflow-text"
        ) from error

    return tensorflow_text.tflite_registrar.SELECT_TFTEXT_OPS


def _text_names():
    """The prefixes of tensorflow_text's operators in a TFLite file."""
    # AddFastWordpieceTokenize registers FastWordpieceTokenizeWithOffsets, and so on.
    stems = [add.__name__.removeprefix("Add") for add in text_operators()]
    return ("TFText>", *stems)


@dataclasses.dataclass(frozen=True)
class Place:
    """The node and layers of a model that an operator comes from.

    Args:
        operator: String, TensorFlow's name of it.
        node: String, the node's name, which is the path of its layers; `""` if unknown.
        layers: Tuple of Keras layers, from the outside in.
    """

    operator: str
    node: str = ""
    layers: tuple = ()

    def __str__(self):
        layer = f" in layer `{self.path}`" if self.layers else ""
        return f"operator `{self.operator}`{layer}" + (f" (node {self.node})" if self.node else "")

    @property
    def path(self):
        return _path(self.layers)


class GraphNodes:
    """The nodes of a SavedModel and the layers that they come from.

    Args:
        folder: Path of the SavedModel, which is loaded at the first query.
        signatures: List of `Signature`.
        model: The Keras model, for its layers' names.
    """

    def __init__(self, folder, signatures, model):
        self._folder, self._signatures, self._model = str(folder), signatures, model

    @functools.cached_property
    def _nodes(self):
        import tensorflow as tf

        loaded, nodes = tf.saved_model.load(self._folder), []
        for signature in self._signatures:
            graph = loaded.signatures[signature.name].graph.as_graph_def()
            nodes += graph.node
            nodes += [node for f in graph.library.function for node in f.node_def]
        return nodes

    def places(self, operator):
        """Where an operator such as `"Erf"` is used: a list of `Place`."""
        names = dict.fromkeys(node.name for node in self._nodes if node.op == operator)
        return [self.place(operator, name) for name in names]

    def place(self, operator, node):
        """The `Place` of one node."""
        return Place(operator, node, tuple(layer_tree.along(self._model, node.split("/")[:-1])))


def _path(layers):
    return "/".join(layer.name for layer in layers)


def _texts(places):
    return "; ".join(dict.fromkeys(map(str, places)))


def _explain(form, message, nodes):
    """The converter's error message in terms of layers."""
    # The converter says `loc(... "Erf:", "model/layer/Erf@function" ...): 'tf.Erf' op is ...`,
    # each node twice or more.
    located = re.findall(r'error: loc\(.*?"\w+:", "([^"@]+)@?[^"]*".*?: \'tf\.(\w+)\' op', message)
    places = [nodes.place(operator, node) for node, operator in located]
    if not places:
        for operator in re.findall(r"\btf\.(\w+)\b", message):
            places += nodes.places(operator)
    if places:
        return _unsupported(form, places)
    around = [nodes.place("", node).path for node in re.findall(r'"([^"@]+)@__inference', message)]
    around = ", ".join(f"`{path}`" for path in dict.fromkeys(filter(None, around)))
    where = f" around the layers {around}" if around else ""
    return f"`{form}`: the converter failed{where}. It says: {message}"


def _check_operators(form, content, signatures, nodes):
    """Raises an `ExportError` for operators in the written file that the converter let pass."""
    model = flatbuffer.read(content)
    places = []
    for signature in signatures:
        allowed = _text_names() if signature.text else ()
        for graph in flatbuffer.subgraphs_of(model, signature.name):
            for operator in graph.operators:
                kind, _, name = flatbuffer.operator_name(model, operator).partition(":")
                if kind != "CUSTOM" or name.startswith(allowed):
                    continue
                name = name.removeprefix("Flex")
                places += nodes.places(name) or [Place(name)]
    if places:
        raise ExportError(_unsupported(form, places))


def _unsupported(form, places):
    fixes = dict.fromkeys(filter(None, map(_fix, places)))
    fixes = " ".join(fixes) or "Write that step with other operations,"
    return (
        f"`{form}`: TFLite has no builtin operator for {_texts(places)}. {fixes} "
        "or remove the form from `formats`."
    )


def _fix(place):
    """The fix for a recurrent layer of Keras, whose loop needs a fixed batch size."""
    is_recurrent = [isinstance(layer, keras.layers.RNN) for layer in place.layers]
    if not any(is_recurrent) or not place.operator.startswith("TensorList"):
        return None
    last = len(is_recurrent) - is_recurrent[::-1].index(True)
    layer, path = place.layers[last - 1], _path(place.layers[:last])
    fix = "fix the batch size in a `Signature`, as in `((1, None, 4), 'float32')`"
    cells = [
        (f"keras.layers.{kind}({layer.units})", f"keras.layers.{kind}Cell({layer.units})")
        for kind in ("LSTM", "GRU", "SimpleRNN")
        if isinstance(layer, getattr(keras.layers, kind))
    ]
    if type(layer) is keras.layers.RNN:
        cells = [("keras.layers.RNN(cell)", "cell")]
    for now, cell in cells:
        fix = (
            f"replace `{now}` by `ka.ExportableRNN({cell}, ...)` (arguments of the cell, such as "
            "`activation`, go to the cell) and copy the weights by "
            f"`new.set_weights(old.get_weights())`, or {fix}"
        )
    return (
        f"Layer `{path}` is one of Keras' recurrent layers, which convert for a fixed batch size "
        f"only: {fix};"
    )
