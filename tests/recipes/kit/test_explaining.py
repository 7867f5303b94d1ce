"""The command `explain` where there is nothing to explain; the rest is in the recipes' contract."""

import dataclasses
import json

import numpy as np
import pytest

from recipes.kit import explaining
from recipes.kit.errors import UserError
from recipes.kit.flags import TrainConfig


def explain(folder, metrics):
    (folder / "metrics.json").write_text(json.dumps({"recipe": "x", **metrics}))
    (folder / "model.keras").touch()
    config = explaining.ExplainConfig(folder=folder)
    explaining.write(config, "x", Config, lambda folder, settings: [])


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    explained: int = 100


def test_a_run_of_before_there_were_settings(tmp_path):
    with pytest.raises(UserError, match="was trained before there was `explain`"):
        explain(tmp_path, {})


def test_a_model_without_weights(tmp_path):
    with pytest.raises(UserError, match="has no attention weights to test"):
        explain(tmp_path, {"settings": {"data": "toy"}})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "model.keras"]


def test_examples_are_drawn_without_looking_at_them():
    numbers = explaining.chosen(10, 1000)
    assert len(set(numbers)) == 10 and (np.diff(numbers) > 0).all()
    assert numbers.tolist() == explaining.chosen(10, 1000).tolist()
    assert explaining.chosen(10, 4).tolist() == [0, 1, 2, 3]
