"""TensorFlow's log, kept off the terminal."""

import contextlib
import logging
import os
import sys
import tempfile


@contextlib.contextmanager
def quiet():
    """Keeps the C++ log of converter and interpreter off the terminal.

    If the block fails, the end of the log is added to the error as a note.
    """
    import absl.logging

    sys.stderr.flush()
    verbosity = absl.logging.get_verbosity()
    of_tensorflow = logging.getLogger("tensorflow")
    level = of_tensorflow.level
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        absl.logging.set_verbosity(absl.logging.ERROR)
        of_tensorflow.setLevel(logging.ERROR)  # where assets went; notebooks show it
        try:
            yield
        except Exception as error:
            log.seek(0)
            end = log.read()[-2000:].decode(errors="replace").strip()
            if end:
                error.add_note(f"The end of the log:\n{end}")
            raise
        finally:
            absl.logging.set_verbosity(verbosity)
            of_tensorflow.setLevel(level)
            os.dup2(stderr, 2)
            os.close(stderr)
