"""Whether the attention maps of a trained model are true, tested on examples of its data.

run.publish(model, data, ..., maps=[Maps(predict, inputs, weights, "word", shown, headings)])

tests them when a model is trained: the verdict goes into the card, figures into `metrics.json`, and
a page into the folder. `write(config, NAME, Config, maps_of)` does the same later, as the command
`explain` of a recipe.
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from recipes.kit import flags, run_folder
from recipes.kit.errors import UserError, writing
from recipes.kit.flags import argument, option

HELP = "test examples on which the attention maps are tested; 0: none"  # of the flag --explained
HEADING = "Are its maps true?"  # of the section in the model card
SEED = 0  # of the random weights, and of the choice of examples


@dataclasses.dataclass(frozen=True)
class ExplainConfig:
    """What `explain` can be told."""

    folder: Path = argument("folder that train wrote")
    data: str | None = option(
        None, "data whose test examples are taken, as for train (default: those of the training)"
    )
    examples: int = option(100, "test examples on which the attention maps are tested", low=10)
    shown: int = option(10, "examples on the page", low=0)
    output: Path | None = option(
        None, "folder to write the pages to (default: the folder of the model)"
    )


@dataclasses.dataclass(frozen=True)
class Maps:
    """Attention weights of a model, with what is needed to test them.

    Attributes:
        predict, inputs, weights: As for `ka.explanation_report`, `predict` a function.
        unit: String, what a part of an input is called, in the singular.
        shown: List of the inputs as they are shown, as for `ExplanationReport.to_html`.
        headings: List of strings, what the model says of each.
        options: Dict of other arguments of `ka.explanation_report`.
        note: String, a sentence on how the examples were prepared, or empty.
    """

    predict: Callable
    inputs: Any
    weights: Any
    unit: str
    shown: list
    headings: list
    options: dict = dataclasses.field(default_factory=dict)
    note: str = ""

    @property
    def file(self):
        """The name of the page."""
        return f"explanation_{self.unit.replace(' ', '_')}s.html"


def measure(maps, folder, title, *, shown=10, verbose=False):
    """Tests maps and writes a page of each.

    Args:
        maps: List of `Maps`.
        folder: Path, where the pages go.
        title: String, of the pages.
        shown: Integer, how many examples a page shows.
        verbose: Whether a bar shows the progress.

    Returns:
        Dict from the unit of each to its `ExplanationReport`.
    """
    import keras_attention as ka

    reports = {}
    for one in maps:
        report = ka.explanation_report(
            one.predict, one.inputs, one.weights, unit=one.unit, seed=SEED, verbose=verbose,
            **one.options,
        )  # fmt: skip
        page = report.to_html(title, one.shown[:shown], one.headings[:shown])
        run_folder.write_text(folder / one.file, page)
        reports[one.unit] = report
    return reports


def chosen(count, total):
    """The numbers of `count` examples of `total`, drawn without looking at them, in order."""
    return np.sort(np.random.default_rng(SEED).permutation(total)[:count])


def of_parts(rows):
    """Weights of examples of different lengths as one array `(B, U)`, and the mask of their parts.

    >>> weights, mask = of_parts([[0.5, 0.5], [1.0]])
    >>> weights.tolist(), mask.tolist()
    ([[0.5, 0.5], [1.0, 0.0]], [[True, True], [True, False]])
    """
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    weights = np.zeros(mask.shape)
    weights[mask] = np.concatenate(rows)
    return weights, mask


def section(maps, reports):
    """The section of a model card on reports: its text in Markdown."""
    texts = []
    for one in maps:
        report = reports[one.unit]
        rows = "".join(
            f"| {name} | {figures['aopc']:.3f} ± {figures['error']:.3f} |\n"
            for name, figures in report.figures.items()
        )
        texts.append(
            f"{report.sentence} Measured on {len(report.mask):,} test examples{one.note}; "
            f"[{one.file}]({one.file}) has all tests and examples.\n\n"
            f"| {one.unit}s by | AOPC ± standard error |\n| --- | --- |\n{rows}"
        )
    return "\n".join(texts)


def write(config, recipe, config_class, maps_of, files=()):
    """The command `explain` of a recipe: tests the maps of a trained model and writes the pages.

    Args:
        config: An `ExplainConfig`.
        recipe: String, the recipe's name.
        config_class: The recipe's `Config`.
        maps_of: Function `(folder, training_config) -> list of Maps`; how many examples are taken
            of which data the config says, by `explained` and `data`.
        files: Names of files that the run's folder must hold, beside the model.

    Raises:
        UserError: If there is no such run, it has no maps, or its data cannot be read.
    """
    metrics = run_folder.find_run(config.folder, recipe=recipe, files=["model.keras", *files])
    if "settings" not in metrics:
        raise UserError(f"{config.folder} was trained before there was `explain`: train it again")
    settings = flags.restored(config_class, metrics["settings"])
    settings = dataclasses.replace(
        settings, explained=config.examples, data=config.data or settings.data
    )
    folder = (config.output or config.folder).expanduser()
    with writing("--output", folder):
        folder.mkdir(parents=True, exist_ok=True)
    maps = maps_of(config.folder, settings)
    if not maps:
        raise UserError(f"The model in {config.folder} has no attention weights to test")
    is_watched = sys.stdout.isatty()
    reports = measure(maps, folder, title_of(recipe), shown=config.shown, verbose=is_watched)
    for one in maps:
        print(f"{reports[one.unit].sentence}\nWrote {folder / one.file}")


def title_of(recipe):
    """The title of a page."""
    return f"Are the maps of {recipe.replace('_', ' ')} true?"
