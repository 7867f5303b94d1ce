"""Metrics, the model card and the picture of the history."""

import json

import numpy as np
import pytest

from recipes.kit import records
from tests.recipes.kit.tiny_recipe import leave, start, write_metrics


def test_metrics(output):
    run = start(output)
    exports = {"model.tflite": {"bytes": 1_000, "milliseconds": 0.5, "agreement": 1.0}}
    metrics = write_metrics(run, scores={"accuracy": np.float32(0.5)}, exports=exports)
    assert json.loads((run.path / "metrics.json").read_text()) == metrics
    assert list(metrics) == [
        *("recipe", "data", "seed", "scores", "baselines", "minutes", "epochs", "parameters"),
        *("exports", "details", "settings", "machine", "versions", "date", "command"),
    ]
    assert metrics["scores"] == {"accuracy": 0.5}
    assert metrics["versions"].keys() >= {"python", "numpy"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_metrics(run, scores={"accuracy": float("nan")})
    assert json.loads((run.path / "metrics.json").read_text()) == metrics
    leave(run)


def test_model_card(output):
    run = start(output)
    exports = {"model.tflite": {"bytes": 12_345, "milliseconds": 0.5}}
    records.write_model_card(
        run.path,
        title="Tiny",
        sections={"What": "It guesses.", "Data": "Noise.", "Use": "Not at all."},
        metrics=write_metrics(run, exports=exports),
    )
    card = (run.path / "README.md").read_text()
    headings = [line for line in card.splitlines() if line.startswith("#")]
    assert headings == ["# Tiny", "## What", "## Data", "## Figures", "## Use"]
    assert "| **this model**, accuracy | 0.5000 |" in card
    assert "| tf-idf, accuracy | 0.4500 |" in card
    assert "| `model.tflite` | 12,345 | 0.5 |  |" in card
    leave(run)


def test_plot_history(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    (tmp_path / "history.csv").write_text(
        "epoch,accuracy,loss,val_accuracy,val_loss\n0,0.6,0.7,NA,NA\n1,0.8,0.4,0.7,0.5\n"
    )
    records.plot_history(tmp_path / "history.csv", tmp_path / "history.png")
    pixels = image.imread(tmp_path / "history.png")
    assert pixels.shape[:2] == (420, 1080)
    assert pixels.std() > 0.05  # something is drawn
