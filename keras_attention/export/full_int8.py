"""Full integer quantization that leaves attention weights in float.

TFLite's quantizer gives one scale to all operands of a select. A masked score of -3e38 or -1e9
therefore takes the scale away from every real score, back through reshapes to the multiplication
that made them; and the integer softmax has steps of 1/256, so that over hundreds of time steps
most weights round to zero. Marking these operators as "not to be quantized" does not help, as
scales are spread before the marks are read.

Here each softmax, and each other way to normalize, stays in float with all that surrounds it, from
the multiplication that makes the scores up to and including the one that averages the values:
between calibration and quantization these operators are hidden as custom operators, which the
quantizer passes by, and put back after.
"""

import dataclasses
import warnings

from keras_attention.export import flatbuffer

# Normalizers: softmax by itself, sparsemax and entmax by their sorted scores and running sums, all
# others (also means over unmasked steps) by their division: a count of 3 among counts of 500 has
# no meaning in int8. Logarithms and exponentials (of sums over steps, of scores) span as much.
_NORMALIZERS = {"SOFTMAX", "LOG_SOFTMAX", "TOPK_V2", "CUMSUM", "DIV", "EXP", "LOG"}

# Operators without weights of their own, through which scores come and attention weights go.
_ELEMENTWISE = {
    "ABS", "ADD", "BROADCAST_TO", "CAST", "CONCATENATION", "EQUAL", "EXPAND_DIMS", "GREATER",
    "GREATER_EQUAL", "LESS", "LESS_EQUAL", "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "MAXIMUM",
    "MINIMUM", "MUL", "NEG", "NOT_EQUAL", "PACK", "PAD", "PADV2", "POW", "REDUCE_MAX", "REDUCE_MIN",
    "RELU", "RESHAPE", "RSQRT", "SELECT", "SELECT_V2", "SLICE", "SQRT", "SQUARE", "SQUEEZE",
    "STRIDED_SLICE", "SUB", "SUM", "TILE", "TRANSPOSE",
}  # fmt: skip
_AVERAGE = "BATCH_MATMUL"

# Calibrated values beyond this are constants of masks, never activations.
_MASK_SIZE = 1e4

_HIDDEN = "keras_attention_float_"


def quantize(converter, samples, custom_operators=()):
    """The bytes of a TFLite file in full integer quantization.

    Args:
        converter: A `tf.lite.TFLiteConverter` without optimizations so far.
        samples: List of `(signature name, dict of arrays)` to calibrate with.
        custom_operators: Registerers of the custom operators in the graph.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    # The calibrator misreads texts in arrays of objects, silently.
    samples = [
        (name, {key: x.astype("S") if x.dtype == object else x for key, x in row.items()})
        for name, row in samples
    ]
    converter.representative_dataset = lambda: iter(samples)
    # The converter's own way to quantize in two steps; tf.lite.experimental.QuantizationDebugger
    # does the same, but cannot run custom operators.
    converter._experimental_calibrate_only = True
    converter.target_spec._experimental_custom_op_registerers = list(custom_operators)
    with warnings.catch_warnings():
        # Calibration runs TensorFlow's own copy of the interpreter.
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
        calibrated = converter.convert()
    content, hidden = _hide(calibrated)
    return _restore(mlir_quantize(content), hidden)


@dataclasses.dataclass(frozen=True)
class _Hidden:
    """What an operator was before it was hidden."""

    code: object
    options_type: int
    options: object


def _hide(content):
    model = flatbuffer.read(content)
    custom = flatbuffer.schema().BuiltinOperator.CUSTOM
    hidden = []
    for graph in model.subgraphs:
        for index in sorted(_around_normalizers(model, graph)):
            operator = graph.operators[index]
            code = flatbuffer.schema().OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = custom
            code.customCode = f"{_HIDDEN}{len(hidden)}"
            hidden.append(
                _Hidden(
                    model.operatorCodes[operator.opcodeIndex],
                    operator.builtinOptionsType,
                    operator.builtinOptions,
                )
            )
            model.operatorCodes.append(code)
            operator.opcodeIndex = len(model.operatorCodes) - 1
            operator.builtinOptionsType, operator.builtinOptions = 0, None
    return flatbuffer.write(model), hidden


def _restore(content, hidden):
    model = flatbuffer.read(content)
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = flatbuffer.operator_name(model, operator).removeprefix("CUSTOM:")
            if name.startswith(_HIDDEN):
                before = hidden[int(name.removeprefix(_HIDDEN))]
                model.operatorCodes.append(before.code)
                operator.opcodeIndex = len(model.operatorCodes) - 1
                operator.builtinOptionsType = before.options_type
                operator.builtinOptions = before.options
                operator.customOptions = None
    # Interpreters resolve every code of a file, used or not: keep none of the hidden ones.
    operators = [operator for graph in model.subgraphs for operator in graph.operators]
    used = sorted({operator.opcodeIndex for operator in operators})
    model.operatorCodes = [model.operatorCodes[index] for index in used]
    for operator in operators:
        operator.opcodeIndex = used.index(operator.opcodeIndex)
    return flatbuffer.write(model)


def _around_normalizers(model, graph):
    """Indices of the operators of one graph that stay in float."""
    types = flatbuffer.schema().TensorType
    names = [flatbuffer.operator_name(model, operator) for operator in graph.operators]
    makers, users = {}, {}
    for index, operator in enumerate(graph.operators):
        makers |= dict.fromkeys(operator.outputs, index)
        for tensor in operator.inputs:
            users.setdefault(tensor, []).append(index)

    def values(tensors):
        kinds = (types.FLOAT32, types.BOOL)
        return [x for x in tensors if x >= 0 and graph.tensors[x].type in kinds]

    def before(index):
        found = [makers[x] for x in values(graph.operators[index].inputs) if x in makers]
        return [i for i in found if names[i] in _ELEMENTWISE | _NORMALIZERS]

    def after(index):
        if names[index] == _AVERAGE:
            return []
        found = [i for x in values(graph.operators[index].outputs) for i in users.get(x, ())]
        return [i for i in found if names[i] in _ELEMENTWISE | _NORMALIZERS | {_AVERAGE}]

    start = {
        index
        for index, operator in enumerate(graph.operators)
        if names[index] in _NORMALIZERS
        or any(_is_masked(graph.tensors[x]) for x in values(operator.outputs))
    }
    return _closure(start, before) | _closure(start, after)


def _is_masked(tensor):
    """Whether calibration saw a mask's constant in a tensor."""
    seen = tensor.quantization
    if seen is None or seen.min is None or seen.max is None or not len(seen.min):
        return False
    return max(abs(seen.min).max(), abs(seen.max).max()) > _MASK_SIZE


def _closure(start, neighbours):
    found, todo = set(start), list(start)
    while todo:
        new = set(neighbours(todo.pop())) - found
        found |= new
        todo += new
    return found
