"""Errors that a user can mend."""

import re

# Where in the model, in Keras' words, and colours and nodes of the graph in TensorFlow's.
_AROUND = re.compile(r"Exception encountered when calling .*|\x1b\[\d*m|\{\{.*?\}\} ?")


class UserError(Exception):
    """Shown as one line, without a traceback, with exit code 2.

    The message says what was expected and what came.
    """


def reason(error):
    """The first line of an error's message that says something, or the error's name."""
    lines = [line.strip() for line in _AROUND.sub("", str(error)).splitlines()]
    return next(filter(None, lines), type(error).__name__)
