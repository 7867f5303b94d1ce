"""Errors that a user can mend, which end a recipe with one line."""

import contextlib
import errno
import os


class UserError(Exception):
    """An expected error: shown as one line, without a traceback, with exit code 2.

    The message says what was expected and what came, and where: a flag, or a file and its line.
    """


def says_disk_full(error):
    """Whether Python, HDF5 or TensorFlow, each in its own way, reports a full disk or quota."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return (isinstance(error, OSError) and error.errno in full) or (
        os.strerror(errno.ENOSPC) in str(error)
    )


@contextlib.contextmanager
def writing(flag, path):
    """Within this context what goes wrong with a file is a `UserError` that names flag and file."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a picture's ending that nobody knows
        if says_disk_full(error):
            raise
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"Cannot write {flag} {path}: {reason}") from error


def cannot_load(path, error):
    """The `UserError` for a part of a trained model that cannot be read."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(f"Cannot load {path}. Train it anew. Received: {reason}")
