"""Copies that keep TFLite's plain kernels from overwriting tensors that are read later.

The plain kernels compute sums, products and softmax in place, in the memory of an operand that
no other operator reads. A reshaped tensor shares the memory of its source, and the kernels do not
check whether another reshaped form of that source is read later: a product of one changes the
other. With `y = softmax(2 * x)`, `concat(reshape(y), reshape(reshape(y) * 10))` gives ten times
its first half (ai-edge-litert 2.3.0; sizes must be fixed, and XNNPACK is not concerned). Where a
file has this, the operand is copied first.
"""

import collections
import copy
import math

import numpy as np

from keras_attention.export import flatbuffer

# Operators whose output shares the memory of their input, in another shape.
_VIEWS = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "BITCAST"}

# Operators that compute in place, or may do so in later versions: a needless copy costs little.
_IN_PLACE = {
    "ABS", "ADD", "CEIL", "COS", "DIV", "DYNAMIC_UPDATE_SLICE", "ELU", "EXP", "FLOOR", "FLOOR_DIV",
    "FLOOR_MOD", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC", "LOG_SOFTMAX", "MAXIMUM",
    "MINIMUM", "MUL", "NEG", "POW", "RELU", "RELU6", "ROUND", "RSQRT", "SIN", "SOFTMAX", "SQRT",
    "SQUARE", "SQUARED_DIFFERENCE", "SUB", "TANH",
}  # fmt: skip


def protect(content):
    """The bytes of a TFLite file, with copies where the plain kernels need them."""
    model = flatbuffer.read(content)
    inserted = 0
    for graph in model.subgraphs:
        # From the end, so that the earlier positions stay valid.
        for position, tensor in reversed(_overwritten(model, graph)):
            _copy_before(model, graph, position, tensor)
            inserted += 1
    return flatbuffer.write(model) if inserted else content


def _overwritten(model, graph):
    """Pairs of an operator's position and an operand whose memory is read after it."""
    operators = graph.operators or []
    names = [flatbuffer.operator_name(model, operator) for operator in operators]
    operands = [_indices(operator.inputs) for operator in operators]
    makers, last_reads, uses = {}, {}, collections.Counter()
    for position, operator in enumerate(operators):
        makers |= dict.fromkeys(_indices(operator.outputs), position)
    for position, tensors in enumerate([*operands, _indices(graph.outputs)]):
        last_reads |= dict.fromkeys(tensors, position)
        uses.update(tensors)

    def source(tensor):
        """The tensor whose memory a tensor shares."""
        while tensor in makers and names[makers[tensor]] in _VIEWS:
            tensor = operands[makers[tensor]][0]
        return tensor

    sharing = collections.defaultdict(list)
    for tensor in uses:
        sharing[source(tensor)].append(tensor)

    def is_safe(tensor):
        """Whether the kernels themselves do not overwrite a tensor."""
        first = source(tensor)
        is_owner = first not in makers or names[makers[first]] not in _IN_PLACE
        return first == tensor or uses[tensor] > 1 or (is_owner and uses[first] > 1)

    return [
        (position, tensor)
        for position, operator in enumerate(operators)
        if names[position] in _IN_PLACE
        for tensor in dict.fromkeys(operands[position])
        if not is_safe(tensor)
        and _may_share(graph.tensors[tensor], graph.tensors[operator.outputs[0]])
        and any(last_reads[other] > position for other in sharing[source(tensor)])
    ]


def _indices(tensors):
    """Indices of tensors as a list, without missing ones (-1)."""
    return [] if tensors is None else [int(tensor) for tensor in tensors if tensor >= 0]


def _may_share(operand, output):
    """Whether two tensors may have equal sizes: only then one overwrites the other."""
    if not _sizes(operand):
        return False  # a scalar, which is never shared
    if any(size < 0 for tensor in (operand, output) for size in _sizes(tensor)):
        return True
    return math.prod(_sizes(operand)) == math.prod(_sizes(output))


def _sizes(tensor):
    """The sizes of a tensor's axes, -1 where unknown."""
    sizes = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
    return [] if sizes is None else [int(size) for size in sizes]


def _copy_before(model, graph, position, tensor):
    """Inserts a copy of a tensor before an operator, which then reads the copy."""
    schema = flatbuffer.schema()
    rank = len(_sizes(graph.tensors[tensor]))
    paddings = schema.TensorT()
    paddings.shape, paddings.type = [rank, 2], schema.TensorType.INT32
    paddings.name, paddings.buffer = b"no_padding", _buffer(model, np.zeros(2 * rank, "<i4"))
    copied = copy.copy(graph.tensors[tensor])
    copied.name, copied.buffer = b"copied", _buffer(model)
    graph.tensors += [paddings, copied]
    # Padding by nothing is a copy that exists for every type and in XNNPACK.
    pad = schema.OperatorT()
    pad.opcodeIndex = _pad_code(model, graph.tensors[tensor].type, rank)
    pad.inputs, pad.outputs = [tensor, len(graph.tensors) - 2], [len(graph.tensors) - 1]
    pad.builtinOptionsType = schema.BuiltinOptions.PadOptions
    pad.builtinOptions = schema.PadOptionsT()
    operator = graph.operators[position]
    operator.inputs = [pad.outputs[0] if x == tensor else int(x) for x in operator.inputs]
    graph.operators.insert(position, pad)


def _buffer(model, values=None):
    """The index of a new buffer; without values it is filled at run time."""
    buffer = flatbuffer.schema().BufferT()
    if values is not None:
        buffer.data = np.frombuffer(values.tobytes(), "u1")
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _pad_code(model, kind, rank):
    """The index of a new operator code for `PAD`, of the version for a type and a rank."""
    schema = flatbuffer.schema()
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.PAD
    versions = {schema.TensorType.INT8: 2, schema.TensorType.INT16: 3}
    code.version = 4 if rank > 4 else versions.get(kind, 1)
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
