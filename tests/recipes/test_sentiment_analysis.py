"""The sentiment recipe, as its users run it."""

import functools
import io
import json
import re
import shutil
import zipfile

import numpy as np
import pytest

from recipes import sentiment_analysis as recipe
from recipes.data.toy import reviews as toy_reviews
from recipes.text import classifier, wordpiece
from tests.recipes.command import call_recipe, one_line
from tests.recipes.contract import RecipeContract

ANSI = re.compile("\x1b\\[[0-9;]*m")


run = functools.partial(call_recipe, recipe)


GOOD = "text,label\n" + "".join(f"it is good {i},yes\nit is bad {i},no\n" for i in range(20))


@pytest.fixture
def finished(toy_run):
    return toy_run


@pytest.fixture
def read(toy_run):
    return classifier.Reader.load(toy_run, recipe.NAME, "model.tflite")


class TestContract(RecipeContract):
    recipe = recipe
    files = ("labels.txt", "vocabulary.txt", "model_full_int8.tflite")
    card = ("tf-idf", "grammar", "mean pooling")
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
    bad_flags = ((["--dropout", "nan"], "--dropout must be at least"),)
    tfds = ("imdb_reviews", "imdb_review")
    quick = "--no-baselines --limit 200 --epochs 2 --parity-texts 4".split()
    asked = ("It was good.",)
    broken = ("model.tflite", "metrics.json", "vocabulary.txt", "labels.txt")
    toy = {
        "scores": {"accuracy": 0.999, "log_loss": 0.0037},
        "baselines": {"tf-idf, logistic regression": 0.945, "mean pooling": 0.996},
        "epochs": 5,
        "parameters": 107432,
    }


def test_accuracy_is_above_the_baselines(toy_run):
    metrics = json.loads((toy_run / "metrics.json").read_text())
    assert metrics["scores"]["accuracy"] >= 0.97
    assert set(metrics["baselines"]) == {"tf-idf, logistic regression", "mean pooling"}
    for accuracy in metrics["baselines"].values():
        assert 0.8 < accuracy < metrics["scores"]["accuracy"]


def test_largest_weight_falls_on_a_deciding_word(read):
    _, _, reviews = toy_reviews.splits()
    hits = []
    for review in reviews[:250]:
        _, _, outputs = read(review.text)
        spans, weights = read.words(review.text, outputs["weights"])
        start, end = spans[int(np.argmax(weights))]
        hits.append(any(start < stop and begin < end for begin, stop in review.deciding))
    assert np.mean(hits) >= 0.95


def test_evidence_sums_to_the_decision_and_weights_to_one(toy_run):
    import keras

    model = keras.models.load_model(toy_run / "model.keras")
    tokenizer = wordpiece.fast_tokenizer((toy_run / "vocabulary.txt").read_text().split("\n")[:-1])
    (ids,) = wordpiece.tokenize(tokenizer, ["The plot was never dull, but the music was dreadful."])
    outputs = {name: np.array(value) for name, value in model(ids[None]).items()}
    np.testing.assert_allclose(outputs["weights"].sum(), 1, rtol=1e-5)
    logits = outputs["evidence"].sum(1) + np.array(model.get_layer("bias").bias)
    softmax = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(outputs["probability"], softmax, atol=1e-5)
    # What is said of a piece does not depend on how far the batch is padded.
    padded = model(np.pad(ids, (0, 7))[None])
    np.testing.assert_allclose(padded["probability"], outputs["probability"], atol=1e-5)
    np.testing.assert_allclose(padded["weights"][:, : len(ids)], outputs["weights"], atol=1e-5)
    np.testing.assert_array_equal(padded["weights"][:, len(ids) :], 0)


def test_attention_maps_reads_the_trained_model(toy_run):
    import keras

    import keras_attention as ka

    model = keras.models.load_model(toy_run / "model.keras")
    weights = ka.attention_maps(model, np.array([[5, 6, 7]], "int32"))["attention"]
    assert weights.shape == (1, 9)


def test_ids_signature_runs_without_text_operators_and_reads_its_own_vocabulary(toy_run, read):
    from ai_edge_litert.interpreter import Interpreter

    path = toy_run / "model.tflite"
    with zipfile.ZipFile(path) as archive:
        pieces = archive.read("vocabulary.txt").decode().split("\n")
        labels = archive.read("labels.txt").decode().split("\n")
    index = {piece: number for number, piece in enumerate(pieces)}
    ids = np.array([wordpiece.encode(index, "The soup was not good.")], "int32")
    outputs = Interpreter(model_path=str(path)).get_signature_runner("ids")(ids=ids)
    assert labels[outputs["probability"][0].argmax()] == "negative"
    label, probability, _ = read("The soup was not good.")
    assert label == "negative"
    np.testing.assert_allclose(probability, outputs["probability"].max(), rtol=1e-5)


# ------------------------------------------------------------------------------------ predict


@pytest.mark.parametrize("form", recipe.FORMS)
def test_predict_shades_the_words(toy_run, form, capfd, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run("predict", toy_run, "The staff was never boring.", "", "--form", form) == 0
    lines = [line for line in capfd.readouterr().out.splitlines() if line]
    assert re.match(r"positive 0\.\d{3}  |positive 1\.000  ", lines[0])
    assert ANSI.sub("", lines[0]).endswith("The staff was never boring.")
    assert len(ANSI.findall(lines[0])) > 6
    assert re.match(r"(positive|negative) 0\.\d{3}  $", lines[1])  # nothing known, yet an answer


def test_predict_writes_weights_where_there_are_no_colours(toy_run, capfd, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    text = "The staff was never boring."
    assert run("predict", toy_run, text) == 0
    line = capfd.readouterr().out.strip()  # a file: no terminal
    heading, marked = line.split("  ")
    assert re.match(r"positive (0\.\d{3}|1\.000)$", heading)
    assert "\x1b" not in line
    weights = [float(weight) for weight in re.findall(r"\((-?\d\.\d\d+)\)", marked)]
    assert weights and max(map(abs, weights)) > 0.2
    assert re.search(r"never\(\S+ boring\(", marked)
    assert re.sub(r"\(-?\d\.\d\d+\)", "", marked) == text


def test_predict_reads_a_file_and_writes_html(toy_run, tmp_path, capfd):
    (tmp_path / "texts.txt").write_text("It was dreadful.\n\nIt was <b>superb</b>.\n")
    page = tmp_path / "page.html"
    assert run("predict", toy_run, "--file", tmp_path / "texts.txt", "--html", page) == 0
    labels = [line.split()[0] for line in capfd.readouterr().out.splitlines()]
    assert labels == ["negative", "positive"]
    assert "<mark" in page.read_text() and "<b>" not in page.read_text()


def test_predict_reads_standard_input(toy_run, monkeypatch, capfd):
    monkeypatch.setattr("sys.stdin", io.StringIO("It was not good.\n"))
    assert run("predict", toy_run) == 0
    assert capfd.readouterr().out.startswith("negative")


# ------------------------------------------------------------------------------------- errors


def test_predict_with_a_broken_saved_model(toy_run, tmp_path, capfd):
    folder = tmp_path / "run"
    shutil.copytree(toy_run, folder)
    (folder / "saved_model" / "saved_model.pb").write_bytes(b"rubbish")
    assert run("predict", folder, "text", "--form", "saved_model") == 2
    one_line(capfd, "saved_model")


def test_predict_without_a_text(toy_run, tmp_path, capfd):
    assert run("predict", tmp_path, "text") == 2
    one_line(capfd, "trained model")
    assert run("predict", toy_run, "--file", tmp_path / "none.txt") == 2
    one_line(capfd, "none.txt")
    assert run("predict", toy_run, "text", "--html", tmp_path / "no" / "page.html") == 2
    one_line(capfd, "page.html")
