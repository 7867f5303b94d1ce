"""Rewrites of operations that TFLite's converter gets wrong for fixed sizes.

**Sums.** On TensorFlow `keras.ops.add(a, b)`, and so `a + b` in a functional model, becomes a
`BiasAdd` if all axes of `b` but one have size 1. If the size of that axis is that of axis 1 of `a`
and not of its last axis, the `BiasAdd` is "channels first", which the converter translates for
images only. Two tensors of shape `(1, T, 1)` are such a pair. Here it becomes an addition.

**New axes.** The converter moves sums with a constant across an `ExpandDims`, and may then miss one
axis of a tensor: `tanh(q + expand_dims(dense(reshape(x)), 1))`, the hidden layer of additive
attention with a learned query, fails for a batch of one. Here it becomes a `Reshape`.
"""

import pathlib


def rewrite(folder):
    """Rewrites such operations of a SavedModel without changing its results.

    Args:
        folder: Path of a SavedModel, which is changed in place.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    path = pathlib.Path(folder) / "saved_model.pb"
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(path.read_bytes())
    functions = [f for graph in saved.meta_graphs for f in graph.graph_def.library.function]
    rewritten = [rewrite(f) for f in functions for rewrite in (_rewrite_sums, _rewrite_new_axes)]
    if any(rewritten):
        path.write_bytes(saved.SerializeToString())


def _rewrite_sums(function):
    """Changes each channels-first `BiasAdd` to an `AddV2`; returns whether there was one."""
    bias_adds = [node for node in function.node_def if _is_channels_first(node)]
    for node in bias_adds:
        bias = function.node_def.add(name=f"{node.name}/bias", op="Reshape")
        # (C,) becomes (C, 1, ..., 1), with one axis fewer than the other: no batch.
        bias.input.extend([node.input[1], ""])
        bias.attr["T"].type = node.attr["T"].type
        _give_shape(function, bias, [-1] + [1] * (len(_shape(node)) - 2))
        node.op, node.input[1] = "AddV2", f"{bias.name}:output:0"
        del node.attr["data_format"]
    # The output of a `BiasAdd` is called `output`, that of an `AddV2` `z`.
    names = {f"{node.name}:output:0": f"{node.name}:z:0" for node in bias_adds}
    for node in function.node_def:
        for position, name in enumerate(node.input):
            node.input[position] = names.get(name, name)
    for output, name in function.ret.items():
        function.ret[output] = names.get(name, name)
    return bool(bias_adds)


def _is_channels_first(node):
    if node.op != "BiasAdd" or "data_format" not in node.attr:  # reading a missing attr adds it
        return False
    return node.attr["data_format"].s == b"NCHW" and len(_shape(node) or ()) > 2


def _rewrite_new_axes(function):
    """Changes each `ExpandDims` to fixed sizes to a `Reshape`; returns whether there was one."""
    nodes = [node for node in function.node_def if node.op == "ExpandDims"]
    nodes = [node for node in nodes if _shape(node) and None not in _shape(node)]
    for node in nodes:
        node.op = "Reshape"
        node.attr.pop("Tdim", None)
        _give_shape(function, node, _shape(node))
    return bool(nodes)


def _give_shape(function, reshape, shape):
    """Sets a list of sizes as the second input of a `Reshape`."""
    import tensorflow as tf

    sizes = function.node_def.add(name=f"{reshape.name}/sizes", op="Const")
    sizes.attr["dtype"].type = tf.int32.as_datatype_enum
    sizes.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(shape, tf.int32))
    reshape.input[1] = f"{sizes.name}:output:0"
    reshape.attr["Tshape"].type = tf.int32.as_datatype_enum


def _shape(node):
    """The sizes of a node's output, `None` where unknown; `None` for an unknown rank."""
    shapes = node.attr["_output_shapes"].list.shape if "_output_shapes" in node.attr else ()
    if not shapes or shapes[0].unknown_rank:
        return None
    return [None if axis.size < 0 else axis.size for axis in shapes[0].dim]
