"""Native libraries' remarks on the machine, kept off the terminal.

TensorFlow's libraries remark on instruction sets and GPUs while they are loaded, before they read
`TF_CPP_MIN_LOG_LEVEL`, and would bury the recipe's own lines.
"""

import contextlib
import importlib.abc
import importlib.util
import logging
import os
import re
import sys
import tempfile

_REMARK = re.compile(rb"I\d{4} |INFO: |WARNING: All log messages before absl")
_LOUD = ("tensorflow", "tensorflow_text")


@contextlib.contextmanager
def without_remarks():
    """Whatever else is written to standard error within this context is written at its end."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            os.write(2, b"".join(line for line in written if not _REMARK.match(line)))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds what the other finders find, to be loaded without remarks."""

    def find_spec(self, name, path, target=None):
        if name not in _LOUD:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None:
            load = spec.loader.exec_module

            def exec_module(module):
                with without_remarks():
                    load(module)

            spec.loader.exec_module = exec_module
        return spec


def hide_remarks():
    """From now on in this process, and what TensorFlow writes later is held to errors."""
    # That `predict` is traced for a few lengths is meant.
    logging.getLogger("tensorflow").addFilter(lambda record: "retracing" not in str(record.msg))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
