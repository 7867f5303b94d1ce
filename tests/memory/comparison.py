"""The same attention in blocks and as a whole: what the tests of all plans need."""

import keras
import numpy as np

import keras_attention as ka
from tests.backend import run, to_numpy

RNG = np.random.default_rng(0)
QUERY = RNG.normal(size=(2, 24, 8)).astype("float32")
VALUE = RNG.normal(size=(2, 18, 8)).astype("float32")
# One row of values is padded in the middle, the other has nothing to attend to at all.
QUERY_MASK = (np.arange(24) >= np.array([[0], [2]])) & (np.arange(24) < np.array([[19], [11]]))
VALUE_MASK = (np.arange(18) % 7 != 3) & np.array([[True], [False]])
CROSS = {"query": QUERY, "value": VALUE, "query_mask": QUERY_MASK, "value_mask": VALUE_MASK}
SELF = {"query": QUERY, "value": QUERY, "query_mask": QUERY_MASK, "value_mask": QUERY_MASK}
CAUSAL = {"use_causal_mask": True}


def in_blocks():
    """Blocks of five queries, head by head where that is possible, whatever the sizes."""
    return ka.query_blocks(threshold=0, block=4096, rows=5)


def whole():
    return ka.query_blocks(threshold=None)


def trained(make, given):
    """A layer whose weights are no longer those of the start."""
    layer = make()
    layer(**given)
    for weight in layer.trainable_weights:
        weight.assign(weight + 0.3 * RNG.normal(size=weight.shape))
    return layer


def close(actual, expected):
    keras.tree.map_structure(
        lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-4, atol=2e-5), actual, expected
    )


def check_numbers_and_gradients(make, flags, given=CROSS, jit=None):
    """Outputs and gradients in blocks against those of the whole, and of the whole with weights."""
    layer = trained(make, given)
    with whole():
        expected = run(layer, given, **flags)
    with in_blocks():
        found = run(layer, given, jit, **flags)
    close(found, expected)
    context, weights = layer(**given, **flags, return_attention_scores=True)
    close(found[0], to_numpy(context))
    nothing = ~to_numpy(weights).any(axis=-1)
    assert nothing.any()
    assert given is not CROSS or nothing[1].all()


def check_unknown_lengths(make, flags, given=CROSS, jit=False):
    """Outputs and gradients where the run chooses, by a condition in the graph."""
    import tensorflow as tf

    layer = trained(make, given)
    shapes = {name: tf.TensorSpec([None, None, *x.shape[2:]], x.dtype) for name, x in given.items()}
    steps = given["query"].shape[1]
    floats = [name for name, x in given.items() if x.dtype == "float32"]

    @tf.function(jit_compile=jit, input_signature=[shapes])
    def differentiate(given):
        inputs = {name: given[name] for name in floats}
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            context = layer(**given, **flags)
            weights = np.random.default_rng(0).normal(size=(2, steps, context.shape[-1]))
            loss = tf.reduce_sum(context * weights.astype("float32"))
        variables = [weight.value for weight in layer.trainable_weights]
        return context, *tape.gradient(
            loss, (variables, inputs), unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    with in_blocks():
        assert "/cond" in names_of_operations(differentiate)
        found = to_numpy(differentiate({name: tf.constant(x) for name, x in given.items()}))
    with whole():
        close(found, run(layer, given, **flags))


def names_of_operations(function):
    graph = function.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return " ".join(node.name for node in nodes)
