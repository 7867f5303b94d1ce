"""Whether what is traced now will be compiled by XLA, where other ways are the fast ones."""

import keras


def is_under_xla():
    """True on JAX, and on TensorFlow inside a function with `jit_compile=True`."""
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util  # no public function tells

    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
