"""A run from its data to its finished folder."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from recipes.data.dataset import Dataset
from recipes.kit.errors import UserError
from recipes.kit.flags import TrainConfig, size_dependent
from recipes.kit.running import Run
from tests.recipes.kit.tiny_recipe import files


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    epochs: int | None = size_dependent(50, 2)


class Noise(Dataset):
    examples, fingerprint = 64, "noise"
    splits = {"train": range(64), "test": range(32)}

    def __str__(self):
        return "noise: 64 rows"


DATA = Noise(
    train=[],
    validation=[],
    test=[],
    name="noise",
    description="Drawn.",
    licence="None.",
    notes=["small"],
)


def model():
    layers = [keras.Input((8,)), keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential(layers)
    optimizer = keras.optimizers.Adam(0.02, use_ema=True, ema_momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        return rng.normal(size=(16, 8)), rng.integers(0, 2, size=16)


def train(output, fail=False):
    config = Config(output=output, patience=5)
    with Run(config, "noise_recipe") as run:
        config = run.begin(config, DATA)
        net = model()
        run.fit(net, Batches(), Batches(), monitor="val_loss", mode="min")
        if fail:
            raise KeyboardInterrupt
        run.fit_baseline("the same", model(), Batches(), Batches())
        run.publish(
            net,
            DATA,
            title="Noise",
            scores={"accuracy": 0.5, "log_loss": 0.7},
            baselines={"coin": {"accuracy": 0.4, "log_loss": 0.69}, "majority": 0.3},
            exports={},
            card={"What it does": "Guesses.", "Limits": "All.", "How to use": "Not."},
        )


def test_from_data_to_the_finished_folder(output, capsys):
    with pytest.raises(KeyboardInterrupt):
        train(output, fail=True)
    train(output)
    shown = capsys.readouterr().out
    assert "noise: 64 rows" in shown and "Resuming after the end of training" in shown
    assert "the same:" in shown
    assert files(output) == [
        *("README.md", "history.csv", "history.png", "metrics.json", "model.keras"),
    ]
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["epochs"] == 2  # what few examples get
    assert metrics["parameters"] == 18
    assert metrics["baselines"] == {"coin": 0.4, "majority": 0.3}
    assert metrics["details"]["examples"] == {"train": 64, "test": 32}
    assert metrics["details"]["baseline_scores"]["coin"]["log_loss"] == 0.69
    card = (output / "README.md").read_text()
    headings = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert headings == ["What it does", "Data and licence", "Limits", "Figures", "How to use"]
    assert "Drawn.\n\nNone.\n\nnoise: 64 / 32 rows to train, " in card and "Note: small." in card
    assert "compile=False)` needs `import keras_attention` before it, in a checkout" in card
    # The weights are those of the best epoch, averaged.
    saved = keras.models.load_model(output / "model.keras")
    best = min(
        float(row.split(",")[-1]) for row in (output / "history.csv").read_text().split()[1:]
    )
    assert saved.evaluate(Batches(), verbose=0)[0] == pytest.approx(best, rel=1e-4)


def test_several_processes_need_the_command(output):
    config = Config(output=output, processes=2)
    with pytest.raises(UserError, match="by a recipe's command"), Run(config, "noise") as run:
        run.begin(config, DATA)
    assert not output.parent.exists()
