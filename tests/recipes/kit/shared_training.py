"""A recipe's command, for tests that run it in several processes and kill some of them.

`python -m tests.recipes.kit.shared_training RECIPE train ...` writes one export alone. With
`ONLY_TRAIN=1` in the environment it is interrupted when training is over.
"""

import importlib
import os
import sys
from unittest import mock

from recipes.kit import exports, running
from tests.recipes.command import call_recipe


def main(name, *arguments):
    """The exit code of a recipe's command."""
    recipe = importlib.import_module(f"recipes.{name}")
    fit = running.Run.fit

    def fit_alone(*args, **kwargs):
        fit(*args, **kwargs)
        raise KeyboardInterrupt

    is_only_trained = bool(os.environ.get("ONLY_TRAIN"))
    with (
        mock.patch.object(exports, "FORMS", {"tflite": exports.FORMS["tflite"]}),
        mock.patch.object(running.Run, "fit", fit_alone if is_only_trained else fit),
    ):
        return call_recipe(recipe, *arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
