"""Full integer quantization that leaves attention weights in float.

TFLite's quantizer uses one scale for all operands of a select. A masked score of -3e38 or -1e9
therefore determines the scale of every real score, back through reshapes to the multiplication that
computed them; and the integer softmax has a resolution of 1/256, so that over hundreds of time
steps most weights round to zero. Marking these operators as "not to be quantized" does not help, as
scales are propagated before the marks are read.

Here each softmax, and each other normalizer, stays in float with the operators around it, from the
multiplication that computes the scores up to and including the one that averages the values:
between calibration and quantization these operators are replaced by custom operators, which the
quantizer skips, and restored after.
"""

import dataclasses
import warnings

from keras_attention.export import flatbuffer

# Operators that show a normalizer: softmax itself; the sorting and cumulative sums of sparsemax and
# entmax; the division of all others (also means over unmasked steps): int8 cannot represent a count
# of 3 among counts of 500. Logarithms and exponentials (of sums, of scores) have as wide a range.
_NORMALIZERS = {"SOFTMAX", "LOG_SOFTMAX", "TOPK_V2", "CUMSUM", "DIV", "EXP", "LOG"}

# Operators without weights, between the scores and a normalizer or a normalizer and the average.
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
        converter: A `tf.lite.TFLiteConverter` without optimizations.
        samples: List of `(signature name, dict of arrays)` for calibration.
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
    # Quantization in two steps, as tf.lite.experimental.QuantizationDebugger does it; that class
    # cannot run custom operators.
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
    """The original of an operator that is hidden as a custom one."""

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
    # Interpreters resolve every code of a file, also unused ones: remove those.
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
        inputs = [makers[x] for x in values(graph.operators[index].inputs) if x in makers]
        return [i for i in inputs if names[i] in _ELEMENTWISE | _NORMALIZERS]

    def after(index):
        if names[index] == _AVERAGE:
            return []
        outputs = [i for x in values(graph.operators[index].outputs) for i in users.get(x, ())]
        return [i for i in outputs if names[i] in _ELEMENTWISE | _NORMALIZERS | {_AVERAGE}]

    start = {
        index
        for index, operator in enumerate(graph.operators)
        if names[index] in _NORMALIZERS
        or any(_is_masked(graph.tensors[x]) for x in values(operator.outputs))
    }
    return _closure(start, before) | _closure(start, after)


def _is_masked(tensor):
    """Whether a tensor held a mask's constant during calibration."""
    calibrated = tensor.quantization
    if calibrated is None or calibrated.min is None or calibrated.max is None:
        return False
    if not len(calibrated.min):
        return False
    return max(abs(calibrated.min).max(), abs(calibrated.max).max()) > _MASK_SIZE


def _closure(start, neighbours):
    closed, todo = set(start), list(start)
    while todo:
        new = set(neighbours(todo.pop())) - closed
        closed |= new
        todo += new
    return closed
