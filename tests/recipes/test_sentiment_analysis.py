"""The sentiment recipe, as its users run it."""

import errno
import functools
import io
import json
import os
import re
import time
import zipfile

import numpy as np
import pytest

from recipes import sentiment_analysis as recipe
from recipes.data.toy import reviews as toy_reviews
from recipes.kit import exports, records
from recipes.text import wordpiece
from tests.recipes.command import call_recipe, one_line

ANSI = re.compile("\x1b\\[[0-9;]*m")


run = functools.partial(call_recipe, recipe)


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.csv").write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
    return folder


GOOD = "text,label\n" + "".join(f"it is good {i},yes\nit is bad {i},no\n" for i in range(20))


# ----------------------------------------------------------------------------- a finished run


def test_run_folder_is_complete(toy_run):
    assert sorted(path.name for path in toy_run.iterdir()) == sorted(
        "README.md history.csv history.png labels.txt metrics.json model.keras model.tflite "
        "model_float16.tflite model_full_int8.tflite model_int8.tflite parity.json saved_model "
        "vocabulary.txt".split()
    )
    assert not list(toy_run.parent.glob(".*"))


def test_accuracy_is_above_the_baselines(toy_run):
    metrics = json.loads((toy_run / "metrics.json").read_text())
    assert metrics["scores"]["accuracy"] >= 0.97
    assert set(metrics["baselines"]) == {"tf-idf, logistic regression", "mean pooling"}
    for accuracy in metrics["baselines"].values():
        assert 0.8 < accuracy < metrics["scores"]["accuracy"]
    for form in recipe.FORMS.values():
        export = metrics["exports"][form]
        assert export["bytes"] > 0 and export["milliseconds"] > 0 and export["agreement"] >= 0.98


def test_largest_weight_falls_on_a_deciding_word(toy_run):
    read = recipe._reader(recipe.PredictConfig(folder=toy_run))
    _, _, reviews = toy_reviews.splits()
    hits = []
    for review in reviews[:250]:
        _, _, spans, weights = read(review.text)
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


def test_ids_signature_runs_without_text_operators_and_reads_its_own_vocabulary(toy_run):
    from ai_edge_litert.interpreter import Interpreter

    path = toy_run / "model.tflite"
    with zipfile.ZipFile(path) as archive:
        pieces = archive.read("vocabulary.txt").decode().split("\n")
        labels = archive.read("labels.txt").decode().split("\n")
    index = {piece: number for number, piece in enumerate(pieces)}
    ids = np.array([wordpiece.encode(index, "The soup was not good.")], "int32")
    outputs = Interpreter(model_path=str(path)).get_signature_runner("ids")(ids=ids)
    assert labels[outputs["probability"][0].argmax()] == "negative"
    read = recipe._reader(recipe.PredictConfig(folder=toy_run))
    label, probability, _, _ = read("The soup was not good.")
    assert label == "negative"
    np.testing.assert_allclose(probability, outputs["probability"].max(), rtol=1e-5)


def test_model_card_and_picture(toy_run):
    card = (toy_run / "README.md").read_text()
    for part in ("## Limits", "## Figures", "tf-idf", "model_int8.tflite", "grammar"):
        assert part in card
    assert (toy_run / "history.png").read_bytes()[:4] == b"\x89PNG"


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


@pytest.mark.parametrize(
    ("files", "pattern"),
    [
        ({}, r"train"),
        ({"train": GOOD}, r"test"),
        ({"train": "words,label\na,b\n", "test": GOOD}, r"train\.csv.*text.*words"),
        ({"train": "", "test": GOOD}, r"train\.csv"),
        ({"train": GOOD, "test": "text,label\nfine,maybe\n"}, r"test\.csv:2.*maybe"),
        ({"train": GOOD + "only a text\n", "test": GOOD}, r"train\.csv:42"),
        ({"train": GOOD.encode() + b"caf\xe9,yes\n", "test": GOOD}, r"train\.csv:42.*UTF-8"),
    ],
    ids=["empty folder", "no test file", "column", "empty", "label", "fields", "encoding"],
)
def test_bad_data_is_one_line_and_nothing_is_left(tmp_path, capfd, files, pattern):
    data = write(tmp_path / "data", **files)
    assert run("train", "--data", data, "--output", tmp_path / "out") == 2
    one_line(capfd, pattern)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--data", "tfds:imdb_review"], "imdb_reviews"),
        (["--epochs", "0"], "--epochs must be at least 1. Received: 0"),
        (["--dropout", "nan"], "--dropout must be at least"),
    ],
)
def test_bad_flags_are_one_line(tmp_path, capfd, flags, pattern):
    assert run("train", *flags, "--output", tmp_path / "out") == 2
    one_line(capfd, pattern)
    assert not list(tmp_path.iterdir())


def test_unknown_flag(tmp_path, capfd):
    assert run("train", "--epoch", "3") == 2
    assert "unrecognized arguments: --epoch" in capfd.readouterr().err


def test_tfds_without_network_answers_in_seconds(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("recipes.data.tfds.is_reachable", lambda *args, **kwargs: False)
    start = time.monotonic()
    source = ["--data", "tfds:imdb_reviews", "--data-dir", tmp_path / "empty"]
    assert run("train", *source, "--output", tmp_path / "out") == 2
    assert time.monotonic() - start < 30
    one_line(capfd, "imdb_reviews.*network|network.*imdb_reviews")


def test_a_folder_that_is_not_ours_is_not_touched(tmp_path, capfd):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert run("train", "--output", tmp_path / "out") == 2
    one_line(capfd, "out")
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("broken", ["model.tflite", "metrics.json", "vocabulary.txt"])
def test_predict_with_a_broken_folder(toy_run, tmp_path, capfd, broken):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(toy_run, folder)
    (folder / broken).write_bytes(b"\xff\x00 not what it was")
    assert run("predict", folder, "text") == 2
    one_line(capfd, "run")
    (folder / broken).unlink()
    assert run("predict", folder, "text") == 2
    one_line(capfd, f"{broken}|metrics")


def test_predict_with_a_broken_saved_model(toy_run, tmp_path, capfd):
    import shutil

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


SMALL = "--no-baselines --limit 200 --epochs 2 --parity-texts 4".split()


def test_a_full_disk_leaves_nothing_half_written(tmp_path, capfd, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(exports, "export_classifier", lambda *args, **kwargs: {})
    with monkeypatch.context() as patch:
        patch.setattr(records, "write_metrics", full)  # after training, in the middle of writing
        assert run("train", *SMALL, "--output", tmp_path / "out") == 2
    one_line(capfd, "disk is full")
    assert not (tmp_path / "out").exists()
    assert run("train", *SMALL, "--output", tmp_path / "out") == 0  # goes on after training
    assert "Resuming after the end of training" in capfd.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
