"""Recipes' commands, run in this process as their users run them."""

import re

from recipes.kit import flags


def call_recipe(recipe, *arguments, **commands):
    """Runs a recipe's command line; returns its exit code, 0 to 2 or 130.

    `commands` are those that it has beside `train` and `predict`, as for `flags.command_line`.
    """
    try:
        return flags.command_line(
            recipe.__doc__,
            [str(argument) for argument in arguments],
            train=(recipe.Config, recipe.train),
            predict=(recipe.PredictConfig, recipe.predict),
            **commands,
        )
    except SystemExit as exit:  # argparse
        return exit.code


def one_line(capfd, pattern):
    """Checks that one error was printed, a single line that matches."""
    error = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(error) == 1
    assert re.search(pattern, error[0]), error[0]
