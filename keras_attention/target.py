"""What the code that is traced now will run on: the backend, XLA or not, a TFLite file or not."""

import contextlib
import contextvars

import keras

_is_for_tflite = contextvars.ContextVar("is_for_tflite", default=False)


def is_tensorflow():
    return keras.backend.backend() == "tensorflow"


def is_jax():
    return keras.backend.backend() == "jax"


def is_under_xla():
    """Whether XLA compiles the code, which makes other code the faster one.

    True on JAX, and on TensorFlow inside a function with `jit_compile=True`. On PyTorch, which is
    eager, the same code is the faster one.
    """
    if not is_tensorflow():
        return True
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util  # no public function tells

    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def has_sizes_of_its_own(x):
    """Whether the sizes of a tensor are its own, and not stand-ins for dynamic ones.

    Keras infers shapes on PyTorch with tensors without data ("meta"), where each unknown size is
    83, then 89: more than a table of positions may have.
    """
    return getattr(getattr(x, "device", None), "type", None) != "meta"


def without_graph(x):
    """On PyTorch, the tensor without what computed it, which a search would keep of each step, the
    caches too. Elsewhere nothing is kept that no gradient asks for.
    """
    return keras.ops.stop_gradient(x) if keras.backend.backend() == "torch" else x


def is_for_tflite():
    """Whether the code becomes a TFLite file: one whole graph, and small numbers alone."""
    return _is_for_tflite.get()


@contextlib.contextmanager
def for_tflite():
    """Within this context all code that is traced becomes a TFLite file."""
    token = _is_for_tflite.set(True)
    try:
        yield
    finally:
        _is_for_tflite.reset(token)
