"""What was measured: metrics, the model card, the history and its picture."""

import csv
import datetime
import json
import math
import shlex
import sys
from pathlib import Path

from recipes.kit.run_folder import METRICS, write_text


def read_history(path):
    """Returns the rows of a `history.csv` as dicts of floats; none if there is no file yet."""
    if not Path(path).exists():
        return []
    with Path(path).open(newline="", encoding="utf-8") as file:
        return [
            # "NA" stands where an epoch had no validation.
            {name: float(value) for name, value in row.items() if value != "NA"}
            for row in csv.DictReader(file)
        ]


def write_metrics(
    folder,
    *,
    recipe,
    data,
    seed,
    scores,
    baselines,
    minutes,
    epochs,
    parameters,
    exports=None,
    details=None,
    settings=None,
):
    """Writes `metrics.json`, the same for all recipes, and returns what is in it.

    Machine, versions, date and command are added.

    Args:
        folder: Path, usually `run.path`.
        recipe: String, the recipe's name.
        data: String, the name of the data set.
        seed: Integer.
        scores: Dict, name of a figure on the test split to number.
        baselines: Dict, what simpler models reach by the first of the scores.
        minutes: Float, the training took.
        epochs: Integer, trained.
        parameters: Integer, weights of the model.
        exports: Dict, name of a file to a dict with its `bytes`, its `milliseconds` for one input
            and its `agreement` with the Keras model's decisions, in `[0, 1]`.
        details: Dict of whatever else was measured, and how.
        settings: Dict of the options of the training.
    """
    from keras_attention.machine import machine, versions

    metrics = {
        "recipe": recipe,
        "data": data,
        "seed": seed,
        "scores": scores,
        "baselines": baselines,
        "minutes": round(minutes, 2),
        "epochs": epochs,
        "parameters": parameters,
        "exports": exports or {},
        "details": details or {},
        "settings": settings or {},
        "machine": machine(),
        "versions": versions(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": _command(),
    }
    # NaN is no JSON, and no score.
    text = json.dumps(metrics, indent=2, allow_nan=False, default=_plain)
    write_text(Path(folder) / METRICS, text + "\n")
    return json.loads(text)


def write_model_card(folder, *, title, sections, metrics):
    """Writes the run's `README.md`: the recipe's words and, before the last section, the figures.

    Args:
        folder: Path, usually `run.path`.
        title: String.
        sections: Dict, heading to Markdown, in the order of the card: what it does, data and
            licence, limits, how to use.
        metrics: Dict, as `write_metrics` returns it.
    """
    figures = _figures(metrics)
    # Lines that are indented are code: only empty ones are cut off.
    trimmed = {heading: text.strip("\n") for heading, text in sections.items()}
    *first, last = [f"## {heading}\n\n{text}\n" for heading, text in trimmed.items()]
    write_text(Path(folder) / "README.md", "\n".join([f"# {title}\n", *first, figures, last]))


def show_scores(scores, baselines):
    """Prints a line for the model and for each baseline.

    Args:
        scores: Dict, name of a figure on the test split to number; the first is the main one.
        baselines: Dict, name of a baseline to such a dict, or to the number by the first.

    >>> show_scores({"accuracy": 0.875, "log_loss": 0.3}, {"majority": 0.5})
    test accuracy 0.8750  log_loss 0.3000  this model
    test accuracy 0.5000  majority
    """
    main = next(iter(scores))
    for name, figures in {"this model": scores, **baselines}.items():
        figures = figures if isinstance(figures, dict) else {main: figures}
        print("test", "  ".join(f"{f} {value:.4f}" for f, value in figures.items()), "", name)


def plot_history(history, png, *, metric="accuracy"):
    """Draws loss and `metric` over the epochs, for training and validation.

    Args:
        history: Path of the `history.csv` to read.
        png: Path of the picture to write.
        metric: String, the name of a column.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = read_history(history)
    epochs = [row["epoch"] + 1 for row in rows]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", metric), strict=True):
        for column, label in ((name, "training"), (f"val_{name}", "validation")):
            if any(column in row for row in rows):
                values = [row.get(column, math.nan) for row in rows]
                axes.plot(epochs, values, "o-", label=label)
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(png, dpi=120)


def _figures(metrics):
    """The measured part of a model card."""
    main_score = next(iter(metrics["scores"]))
    rows = [(f"**this model**, {name}", value) for name, value in metrics["scores"].items()]
    rows += [(f"{name}, {main_score}", value) for name, value in metrics["baselines"].items()]
    lines = [
        "## Figures\n",
        f"On the test split of {metrics['data']}, seed {metrics['seed']}.\n",
        _table(("", "score"), [(name, f"{value:.4f}") for name, value in rows]),
    ]
    if metrics["exports"]:
        columns = ("bytes", "milliseconds", "agreement")
        rows = [
            (f"`{name}`", *(_number(export.get(column)) for column in columns))
            for name, export in metrics["exports"].items()
        ]
        lines.append(_table(("file", *columns), rows))
    host = metrics["machine"]
    on = ", ".join([host["cpu"], f"{host['cores']} cores", *host["accelerators"]])
    used = ", ".join(f"{name} {version}" for name, version in metrics["versions"].items())
    lines.append(
        f"{metrics['parameters']:,} parameters, trained for {metrics['epochs']} epochs in "
        f"{metrics['minutes']:.1f} minutes on {on}; {used}; {metrics['date'][:10]}.\n\n"
        f"```\n{metrics['command']}\n```\n"
    )
    return "\n".join(lines)


def _table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value):
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _plain(value):
    """A number of NumPy, or a path, as JSON has them."""
    return value.item() if hasattr(value, "item") else str(value)


def _command():
    main_spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = ["python", "-m", main_spec.name] if main_spec else ["python", sys.argv[0]]
    return shlex.join([*program, *sys.argv[1:]])
