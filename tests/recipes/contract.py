"""What every recipe does. A recipe's tests subclass `RecipeContract` and name what is its own.

The finished run that most points look at is the fixture `finished` of the recipe's test file.
"""

import errno
import json
import os
import shutil
import time

import pytest

from recipes.kit import explaining, flags, records
from recipes.kit.explaining import ExplainConfig
from tests.recipes.command import call_recipe, one_line

# The files of every run folder.
FILES = (
    "README.md history.csv history.png metrics.json model.keras model.tflite model_float16.tflite "
    "model_int8.tflite parity.json saved_model"
).split()
BAD_FLAGS = [
    (["--data", "nowhere"], "There is no folder nowhere"),
    (["--epochs", "0"], "--epochs must be at least 1. Received: 0"),
    (["--learning-rate", "nan"], "--learning-rate must be at least 1e-06. Received: nan"),
    (["--averaging", "1"], "--averaging must be at most 0.9999. Received: 1.0"),
]


class RecipeContract:
    """The points of the contract, as tests.

    Attributes:
        recipe: Module of the recipe.
        files: List of the names in its run folder beyond `FILES`.
        card: List of what its model card names.
        licence: What the card tells of the licence of the data of `finished`.
        agreement: Dict, form to the least share of equal decisions.
        bad_data: List of a dict, name of a file to its content, and what the one line matches.
        bad_flags: List of flags, and what the one line matches.
        tfds: The name of a set of TensorFlow Datasets, one that is misspelled, and the flags that
            name its columns.
        quick: List of the flags of a training of a few seconds, with one export.
        asked: List of what `predict` is given after the folder.
        broken: List of the files without which `predict` does not work.
        units: List of what parts of an input are called, whose weights are tested (`explaining`).
        toy: Dict of what `metrics.json` holds of the finished run, by name (those that are left out
            may be anything): `scores` and
            `baselines` within what another processor's rounding changes, `parameters` and `epochs`
            exactly.
    """

    files = ()
    card = ()
    licence = "Apache-2.0"  # of toy data
    agreement = ()
    bad_data = ()
    bad_flags = ()
    quick = ()
    toy = ()

    units = ()

    def run(self, *arguments):
        explain = getattr(self.recipe, "explain", None)
        commands = {"explain": (ExplainConfig, explain)} if explain else {}
        return call_recipe(self.recipe, *arguments, **commands)

    # ---------------------------------------------------------------------------- command line

    @pytest.mark.parametrize("command", ["train", "predict"])
    def test_help_names_every_flag_with_its_meaning(self, command, capfd):
        assert self.run(command, "--help") == 0
        shown = "".join(capfd.readouterr().out.split())  # lines may break at hyphens
        config = {"train": self.recipe.Config, "predict": self.recipe.PredictConfig}[command]
        for field, metadata in flags.options(config):
            name = field.name if "positional" in metadata else flags.flag(field)
            assert name in shown
            assert "".join(metadata["help"].split()) in shown
        assert self.run("--help") == 0
        assert f"python -m recipes.{self.recipe.NAME} train --data toy" in capfd.readouterr().out

    def test_unknown_flag(self, capfd):
        assert self.run("train", "--epoch", "3") == 2
        assert "unrecognized arguments: --epoch" in capfd.readouterr().err

    def test_bad_flags_are_one_line(self, tmp_path, capfd):
        for bad, pattern in [*BAD_FLAGS, *self.bad_flags]:
            assert self.run("train", *bad, "--output", tmp_path / "out") == 2
            one_line(capfd, pattern)
            assert not list(tmp_path.iterdir())

    # ------------------------------------------------------------------------------------ data

    def test_bad_data_is_one_line_and_nothing_is_left(self, tmp_path, capfd):
        for number, (files, pattern) in enumerate(self.bad_data):
            data = tmp_path / f"data{number}"
            data.mkdir()
            for name, content in files.items():
                (data / name).parent.mkdir(exist_ok=True)
                content = content if isinstance(content, bytes) else content.encode()
                (data / name).write_bytes(content)
            before = sorted(path.name for path in tmp_path.iterdir())
            assert self.run("train", "--data", data, "--output", tmp_path / "out") == 2, files
            one_line(capfd, pattern)
            assert sorted(path.name for path in tmp_path.iterdir()) == before

    def test_tfds_without_network_answers_in_seconds(self, tmp_path, capfd, monkeypatch):
        monkeypatch.setattr("recipes.data.tfds.is_reachable", lambda *args, **kwargs: False)
        name, misspelled, *columns = self.tfds
        where = ["--data-dir", tmp_path / "empty", "--output", tmp_path / "out", *columns]
        start = time.monotonic()
        assert self.run("train", "--data", f"tfds:{name}", *where) == 2
        assert time.monotonic() - start < 30
        one_line(capfd, f"{name}.*network|network.*{name}")
        assert self.run("train", "--data", f"tfds:{misspelled}", *where) == 2
        one_line(capfd, name.split("/")[0])

    def test_a_folder_that_is_not_ours_is_not_touched(self, tmp_path, capfd):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.txt").write_text("mine")
        assert self.run("train", "--output", tmp_path / "out") == 2
        one_line(capfd, "holds files that no recipe wrote and is left alone")
        assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"

    # ---------------------------------------------------------------------------- finished run

    def test_run_folder_is_complete(self, finished):
        files = [*FILES, *self.files, *(f"explanation_{unit}s.html" for unit in self.units)]
        assert sorted(path.name for path in finished.iterdir()) == sorted(files)
        assert [path.name for path in finished.parent.iterdir()] == [finished.name]
        for path in finished.glob("*.png"):
            assert path.read_bytes()[:4] == b"\x89PNG"

    def test_card_tells_what_it_is(self, finished):
        card = (finished / "README.md").read_text()
        headings = ("What it does", "Data and licence", "Limits", "Figures", "How to use")
        for heading in headings:
            assert f"\n## {heading}\n" in card
        assert card.index("## Figures") < card.index("## How to use")
        for part in (*self.card, "model_int8.tflite", self.licence):
            assert part in card

    def test_every_export_agrees_with_the_model(self, finished):
        figures = json.loads((finished / "metrics.json").read_text())["exports"]
        assert set(figures) == {self.recipe.FORMS[form] for form in self.recipe.FORMS}
        for form, file in self.recipe.FORMS.items():
            assert figures[file]["bytes"] > 0 and figures[file]["milliseconds"] > 0
            assert figures[file]["agreement"] >= dict(self.agreement).get(form, 0.98), form

    def test_same_seed_same_metrics(self, finished):
        """What this run gave before the recipes were moved to their kit, and ever since."""
        metrics = json.loads((finished / "metrics.json").read_text())
        # Another processor rounds otherwise. BLEU and ROUGE are out of 100.
        is_percent = any(kind in name for name in metrics["scores"] for kind in ("BLEU", "ROUGE"))
        tolerance = 4 if is_percent else 0.02
        for name, expected in dict(self.toy).items():
            if isinstance(expected, dict):
                found = metrics[name]
                assert set(found) == set(expected)
                for figure, value in expected.items():
                    assert found[figure] == pytest.approx(value, abs=tolerance), figure
            else:
                assert metrics[name] == expected, name

    # --------------------------------------------------------------------------------- explain

    def test_the_card_tells_whether_the_maps_are_true(self, finished):
        card = (finished / "README.md").read_text()
        assert (f"\n## {explaining.HEADING}\n" in card) == bool(self.units)
        details = json.loads((finished / "metrics.json").read_text())["details"]
        found = details.get("explanation", {})
        assert set(found) == set(self.units)
        for unit, report in found.items():
            assert report["sentence"] in card
            assert report["sentence"] in (finished / f"explanation_{unit}s.html").read_text()
            assert {"attention", "random", "uniform", "leave-one-out"} <= set(report["figures"])

    def test_explain_tests_the_maps_again(self, finished, tmp_path, capfd):
        if not self.units:
            assert not hasattr(self.recipe, "explain")
            return
        command = ["explain", finished, "--examples", 10, "--shown", 2, "--output"]
        assert self.run(*command, tmp_path / "pages") == 0
        captured = capfd.readouterr()
        pages = sorted((tmp_path / "pages").iterdir())
        assert [page.name for page in pages] == [
            f"explanation_{unit}s.html" for unit in sorted(self.units)
        ]
        for page in pages:
            assert f"Wrote {page}" in captured.out
            assert page.read_text().count("<h3>") == 2
        (tmp_path / "file").write_text("mine")
        assert self.run(*command, tmp_path / "file") == 2
        one_line(capfd, "Cannot write --output")
        assert self.run("explain", finished, "--data", "nowhere") == 2
        one_line(capfd, "There is no folder nowhere")
        assert self.run("explain", tmp_path / "none") == 2
        one_line(capfd, "There is none")

    # --------------------------------------------------------------------------------- predict

    def test_predict_with_a_broken_folder(self, finished, tmp_path, capfd):
        for number, name in enumerate(self.broken):
            folder = tmp_path / f"run{number}"  # which does not hold the name
            shutil.copytree(finished, folder, copy_function=os.link)
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
            assert self.run("predict", folder, *self.asked) == 2
            one_line(capfd, f"has no {name}")
            (folder / name).write_bytes(b"\xff\x00 not what it was")
            assert self.run("predict", folder, *self.asked) == 2
            one_line(capfd, f"Cannot load .*{folder.name}|{name} names nothing readable")

    def test_predict_with_a_wrong_folder(self, tmp_path, capfd):
        assert self.run("predict", tmp_path / "none", *self.asked) == 2
        one_line(capfd, "Expected the folder of a trained model. There is none")
        for name in [*FILES, *self.files]:
            (tmp_path / name).touch()
        (tmp_path / "metrics.json").write_text('{"recipe": "another_recipe"}')
        assert self.run("predict", tmp_path, *self.asked) == 2
        one_line(capfd, "names another_recipe")

    # ------------------------------------------------------------------------- cut short, disk

    @pytest.mark.filterwarnings("ignore:Even though the `tf.config")
    def test_a_full_disk_leaves_nothing_half_written_and_the_run_goes_on(
        self, tmp_path, capfd, monkeypatch, eagerly
    ):
        def full(*args, **kwargs):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("recipes.kit.exports.export", lambda *args, **kwargs: {})
        command = ["train", *self.quick, "--output", tmp_path / "out"]
        with monkeypatch.context() as patch:
            patch.setattr(records, "write_metrics", full)  # after training, in the middle
            assert self.run(*command) == 2
        one_line(capfd, "disk is full")
        assert not (tmp_path / "out").exists()
        assert self.run(*command) == 0
        assert "Resuming after the end of training" in capfd.readouterr().out
        assert (tmp_path / "out" / "metrics.json").exists()
        assert not list(tmp_path.glob(".*"))
