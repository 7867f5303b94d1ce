"""Whether what is traced now becomes a TFLite file: one whole graph, and small numbers alone."""

import contextlib
import contextvars

_is_for_tflite = contextvars.ContextVar("is_for_tflite", default=False)


@contextlib.contextmanager
def for_tflite():
    """Within this context whatever is traced becomes a TFLite file."""
    token = _is_for_tflite.set(True)
    try:
        yield
    finally:
        _is_for_tflite.reset(token)


def is_for_tflite():
    return _is_for_tflite.get()
