"""What every recipe that classifies texts does, beside `contract.RecipeContract`."""

import io
import json
import re
import shutil
import sys

import numpy as np
import pytest

from recipes.text import classifier, wordpiece
from tests.recipes.command import one_line
from tests.recipes.contract import RecipeContract

GOOD = "text,label\n" + "".join(f"It is good. {i},yes\nIt is bad. {i},no\n" for i in range(20))
ANSI = re.compile("\x1b\\[[0-9;]*m")


class TextContract(RecipeContract):
    """The points of the contract for texts, as tests; attributes as of `RecipeContract`.

    Attributes:
        text: A text that the finished model labels with certainty, of one sentence.
        weights: Names of the outputs that sum to one over a text.
    """

    files = ("labels.txt", "vocabulary.txt")
    broken = ("model.tflite", "metrics.json", "vocabulary.txt", "labels.txt")
    bad_data = (
        ({}, r"train"),
        ({"train.csv": GOOD}, r"test"),
        ({"train.csv": "words,label\na,b\n", "test.csv": GOOD}, r"train\.csv.*text.*words"),
        ({"train.csv": "", "test.csv": GOOD}, r"train\.csv"),
        ({"train.csv": GOOD, "test.csv": "text,label\nfine,maybe\n"}, r"test\.csv:2.*maybe"),
        ({"train.csv": GOOD + "only a text\n", "test.csv": GOOD}, r"train\.csv:42"),
        (
            {"train.csv": GOOD.encode() + b"caf\xe9,yes\n", "test.csv": GOOD},
            r"train\.csv:42.*UTF-8",
        ),
    )
    asked = ("It was good.",)
    weights = ("weights",)

    def label(self, finished):
        """The label of the text."""
        return classifier.Reader.load(finished, self.recipe.NAME, "model.tflite")(self.text)[0]

    def test_without_tensorflow_text_nothing_is_written(self, tmp_path, capfd, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorflow_text", None)  # an import of it fails
        assert self.run("train", *self.quick, "--output", tmp_path / "out") == 2
        one_line(capfd, "This recipe needs tensorflow-text: pip install")
        assert not list(tmp_path.iterdir())

    def test_scores_are_above_the_baselines(self, finished):
        metrics = json.loads((finished / "metrics.json").read_text())
        accuracy = metrics["scores"]["accuracy"]
        assert set(metrics["scores"]) >= {"accuracy", "log_loss"}
        assert metrics["baselines"]
        assert all(0 < value <= accuracy for value in metrics["baselines"].values())

    def test_every_form_names_the_label_and_shades_the_words(self, finished, capfd, monkeypatch):
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("FORCE_COLOR", "1")
        for form in self.recipe.FORMS:
            assert self.run("predict", finished, "--form", form, self.text, "") == 0
            out = capfd.readouterr().out
            plain = ANSI.sub("", out)
            assert re.match(rf"{self.label(finished)} (0\.\d\d\d|1\.000)\s", plain)
            assert self.text in plain and len(ANSI.findall(out)) >= 2
            last = [line for line in plain.splitlines() if line.strip()][-1]
            assert re.match(r"\S+ [01]\.\d\d\d\s*$", last)  # nothing to read, yet an answer

    def test_without_colours_the_weights_are_written(self, finished, capfd, monkeypatch):
        monkeypatch.delenv("FORCE_COLOR", raising=False)
        assert self.run("predict", finished, self.text) == 0
        out = capfd.readouterr().out  # a file: no terminal
        assert "\x1b" not in out
        marked = [float(weight) for weight in re.findall(r"\((-?\d\.\d\d+)\)", out)]
        assert marked and 0.2 < max(map(abs, marked)) <= 1
        assert self.text in re.sub(r"\(-?\d\.\d\d+\)|\[\d\.\d\d+\] ", "", out)

    def test_predict_reads_a_file_or_standard_input_and_writes_a_page(
        self, finished, tmp_path, capfd, monkeypatch
    ):
        page, marked = tmp_path / "page.html", f"<b>{self.text}</b>"
        (tmp_path / "text.txt").write_text(marked + "\n")
        assert self.run("predict", finished, "--file", tmp_path / "text.txt", "--html", page) == 0
        from_file = capfd.readouterr().out
        assert from_file.startswith(self.label(finished))
        assert "<mark" in page.read_text() and "<b>" not in page.read_text()
        monkeypatch.setattr("sys.stdin", io.StringIO(marked + "\n"))
        assert self.run("predict", finished) == 0
        assert capfd.readouterr().out == from_file
        wrong = tmp_path / "no" / "page.html"
        assert self.run("predict", finished, self.text, "--html", wrong) == 2
        one_line(capfd, "Cannot write --html .*page.html")
        assert self.run("predict", finished, "--file", tmp_path / "none.txt") == 2
        one_line(capfd, "none.txt")

    @pytest.mark.parametrize("format", ["tsv", "jsonl"])
    def test_predict_answers_each_row_of_a_table_with_all_probabilities(
        self, finished, tmp_path, capfd, format
    ):
        rows = [self.text, "", f"Line\u2028ends. {self.text}"]
        table = tmp_path / "texts.jsonl"
        table.write_text("".join(json.dumps({"head": "", "body": row}) + "\n" for row in rows))
        command = ["predict", finished, "--file", table, "--format", format]
        assert self.run(*command, "--text-column", "head,body") == 0
        lines = capfd.readouterr().out.removesuffix("\n").split("\n")
        labels = (finished / "labels.txt").read_text().split("\n")[:-1]
        if format == "tsv":
            assert lines.pop(0).split("\t") == ["label", "probability", *labels]
            answers = [line.split("\t") for line in lines]
            answers = [(label, *map(float, numbers)) for label, *numbers in answers]
        else:
            answers = [json.loads(line) for line in lines]
            words = answers[0]["words"]
            assert "".join(word for word, _ in words) in self.text.replace(" ", "")
            assert abs(sum(weight for _, weight in words) - 1) < 1e-4
            answers = [
                (answer["label"], answer["probability"], *map(answer["probabilities"].get, labels))
                for answer in answers
            ]
        assert len(answers) == len(rows)
        for label, probability, *probabilities in answers:
            assert sum(probabilities) == pytest.approx(1, abs=1e-4)
            assert probability == max(probabilities) == probabilities[labels.index(label)]
        assert answers[0][0] == self.label(finished)
        assert self.run(*command) == 2
        one_line(capfd, "texts.jsonl:1: expected a column named 'text'. Found: 'head', 'body'")

    def test_predict_with_a_broken_saved_model(self, finished, tmp_path, capfd):
        folder = tmp_path / "run"
        shutil.copytree(finished, folder)
        (folder / "saved_model" / "saved_model.pb").write_bytes(b"rubbish")
        assert self.run("predict", folder, "text", "--form", "saved_model") == 2
        one_line(capfd, "saved_model")

    def test_weights_sum_to_one_and_padding_changes_nothing(self, finished):
        import keras

        model = keras.models.load_model(finished / "model.keras")
        vocabulary = (finished / "vocabulary.txt").read_text().split("\n")[:-1]
        (ids,) = wordpiece.tokenize(wordpiece.fast_tokenizer(vocabulary), [self.text])
        outputs, padded = (
            {name: np.array(value) for name, value in model(x[None]).items()}
            for x in (ids, np.pad(ids, (0, 7)))
        )
        np.testing.assert_allclose(padded["probability"], outputs["probability"], atol=1e-5)
        for name in self.weights:
            np.testing.assert_allclose(outputs[name].sum(), 1, rtol=1e-5)
            np.testing.assert_allclose(padded[name].sum(), 1, rtol=1e-5)
            short = padded[name][tuple(map(slice, outputs[name].shape))]
            np.testing.assert_allclose(short, outputs[name], atol=1e-5)

    def test_ids_run_without_text_operators_and_with_the_vocabulary_in_the_file(self, finished):
        from zipfile import ZipFile

        from ai_edge_litert.interpreter import Interpreter

        path = finished / "model.tflite"
        with ZipFile(path) as archive:
            pieces, labels = (archive.read(name).decode().split("\n") for name in classifier.FILES)
        index = {piece: number for number, piece in enumerate(pieces)}
        ids = np.array([wordpiece.encode(index, self.text)], "int32")
        outputs = Interpreter(model_path=str(path)).get_signature_runner("ids")(ids=ids)
        read = classifier.Reader.load(finished, self.recipe.NAME, "model.tflite")
        label, probability, _ = read(self.text)
        assert labels[outputs["probability"][0].argmax()] == label
        np.testing.assert_allclose(probability, outputs["probability"].max(), rtol=1e-5)
