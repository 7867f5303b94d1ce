"""The language modelling recipe, as its users run it."""

import functools
import io
import json

import numpy as np
import pytest

from recipes import language_modeling as recipe
from recipes.data.toy import echoes
from recipes.kit import exports
from recipes.parts import language_model
from recipes.text import tokens
from tests.recipes.command import call_recipe, one_line
from tests.recipes.contract import RecipeContract

TEST = [echo.text for echo in echoes.splits()[2]]
# What is given of a text, and what must follow: more than the context holds.
GIVEN, REST = TEST[0][:15], TEST[0][15:]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a finished run on toy data."""
    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    sizes = {"layers": 1, "size": 32, "heads": 2, "context": 32}
    recipe.train(recipe.Config(output=output, epochs=2, parity_texts=6, explained=20, **sizes))
    return output


call = functools.partial(call_recipe, recipe)


@pytest.fixture
def finished(run):
    return run


class TestContract(RecipeContract):
    recipe = recipe
    units = ("token",)
    files = ("attention.png", tokens.FILE)
    card = ("Kneser-Ney", "mean of the steps before", "from 24 to 32 before it", "repeats")
    agreement = {"tflite_int8": 0.9}
    bad_data = (
        ({}, "train.txt and valid.txt or test.txt"),
        ({"train.txt": "To be"}, "Found: train.txt"),
        (
            {"train.txt": "To be", "valid.txt": ""},
            r"valid\.txt: expected a text. Received an",
        ),
        ({"train.txt": b"To be\ncaf\xe9", "valid.txt": "a"}, r"train\.txt:2: expected UTF-8"),
        ({"train.txt.gz": b"\x1f\x8b no", "valid.txt": "a"}, r"train\.txt\.gz: the gzip file is"),
        ({"train.csv": "words\na\n", "test.txt": "a"}, r"train\.csv:1: .*'text'.*'words'"),
        ({"train.csv": "text\na\n", "train.txt": "a", "test.txt": "a"}, "Received both"),
    )
    bad_flags = (
        (["--heads", "5", "--size", "48"], "--heads must divide --size into heads of an even"),
        (["--context", "4"], "--context must be at least 8. Received: 4"),
    )
    tfds = ("tiny_shakespeare", "tiny_shakespear")
    quick = (
        "--limit 3000 --epochs 1 --layers 1 --size 12 --context 16 --parity-texts 2 --no-baselines "
        "--explained 0"
    ).split()
    asked = ("abc",)
    broken = ("model.tflite", "metrics.json", tokens.FILE)
    toy = {"epochs": 2, "parameters": 13280}

    # Its figures are measured by a function of TensorFlow, which is given arrays.
    def test_a_full_disk_leaves_nothing_half_written_and_the_run_goes_on(
        self, tmp_path, capfd, monkeypatch
    ):
        super().test_a_full_disk_leaves_nothing_half_written_and_the_run_goes_on(
            tmp_path, capfd, monkeypatch, eagerly=None
        )


def test_attention_knows_what_comes_again_and_the_others_guess(run):
    metrics = json.loads((run / "metrics.json").read_text())
    scores, (grams, mean) = metrics["scores"], metrics["baselines"].values()
    assert echoes.NATS < scores["nats"] < echoes.NATS + 0.1
    assert min(grams, mean) > 1.5
    assert scores["bits"] == pytest.approx(scores["nats"] / np.log(2))
    assert scores["perplexity"] == pytest.approx(np.exp(scores["nats"]))  # tokens are characters
    per_word = echoes.WIDTH + 1  # a word and the end of its line
    assert np.log(scores["word_perplexity"]) == pytest.approx(per_word * scores["nats"])


def test_it_looks_at_the_character_that_comes_again(run):
    import keras

    model = keras.models.load_model(run / "model.keras", compile=False)
    known, hits = tokens.load(run), []
    for text in TEST[:6]:
        ids = np.insert(known.encode(text[:31]), 0, tokens.BORDER)
        heads = language_model.maps(model, ids)  # (H, T, T)
        rows = np.arange(echoes.DISTANCE, len(ids))
        # Each row predicts the next token, which stands one after that of the line before.
        hits.append((heads[:, rows].argmax(-1) == rows - echoes.DISTANCE + 1).mean(-1))
    assert np.mean(hits, axis=0).max() > 0.9


def test_the_map_explains_what_comes_again(run):
    metrics = json.loads((run / "metrics.json").read_text())
    found = metrics["details"]["explanation"]["token"]
    assert found["verdict"] == "yes"
    assert found["examples"] == 20


# ------------------------------------------------------------------------------------ predict


@pytest.mark.parametrize("form", recipe.FORMS)
def test_predict_continues_a_text(run, form, capfd):
    flags = ["--length", len(REST), "--temperature", 0, "--form", form]
    assert call("predict", run, GIVEN, *flags) == 0
    assert capfd.readouterr().out == GIVEN + REST + "\n"


def test_draws_depend_on_the_seed(run, capfd):
    found = []
    for seed in (1, 1, 2):
        assert call("predict", run, "", "--length", 12, "--temperature", 1, "--seed", seed) == 0
        found.append(capfd.readouterr().out)
    assert found[0] == found[1] != found[2]
    assert set(found[0].strip()) <= set(echoes.LETTERS)


def test_predict_answers_many_texts_in_a_table(run, tmp_path, capfd, monkeypatch):
    table = tmp_path / "texts.jsonl"
    table.write_text("".join(json.dumps({"body": text}) + "\n" for text in (GIVEN, "")))
    flags = ["--length", len(REST), "--temperature", 0]
    command = ["predict", run, *flags, "--file", table, "--text-column", "body", "--format"]
    assert call(*command, "jsonl") == 0
    first, second = map(json.loads, capfd.readouterr().out.splitlines())
    assert first == {"text": GIVEN, "continuation": REST}
    assert second["text"] == "" and second["continuation"]
    assert call(*command, "tsv") == 0
    header, line, _ = capfd.readouterr().out.splitlines()
    assert header == "text\tcontinuation"
    assert line == f"{GIVEN}\t{REST}".replace("\n", r"\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("abc\nXYZ\n"))
    assert call("predict", run, "--length", 2) == 0
    outputs = capfd.readouterr()
    assert outputs.out.startswith("abc") and "\n\nXYZ" in outputs.out
    assert "Note: 3 of the text's characters are unknown" in outputs.err
    assert call("predict", run, "--file", tmp_path / "none.csv") == 2
    one_line(capfd, "none.csv")


def test_the_files_write_in_one_call(run):
    known = tokens.load(run)
    ids = np.insert(known.encode(GIVEN), 0, tokens.BORDER)[None].astype("int32")
    for file in ("model.tflite", "saved_model"):
        generate = exports.runner(run / file, "generate")
        assert known.decode(generate(ids=ids)["ids"][0]) == REST[:16]
        padded = np.stack(
            [np.pad(ids[0, :14], [2, 0]), ids[0]]
        )  # at the left, which changes nothing
        alone, beside = generate(ids=ids[:, :14])["ids"][0], generate(ids=padded)["ids"][0]
        np.testing.assert_array_equal(alone, beside)
    sample = exports.runner(run / "saved_model", "sample")
    start = np.array([[tokens.BORDER]] * 2, "int32")

    def drawn(temperature, seed):
        given = {"temperature": np.float32([temperature] * 2), "seed": np.int32([seed] * 2)}
        return sample(ids=start, **given)["ids"]

    np.testing.assert_array_equal(drawn(1.0, 3), drawn(1.0, 3))
    assert (drawn(1.0, 3) != drawn(1.0, 4)).any()
    assert (drawn(1.0, 3)[0] != drawn(1.0, 3)[1]).any()
    cold = drawn(0.0, 3)
    np.testing.assert_array_equal(cold[0], cold[1])


# ------------------------------------------------------------------------------- other networks


def test_pieces_by_a_recurrent_network_for_some_seconds(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(exports, "FORMS", {"saved_model": "saved_model", "tflite": "model.tflite"})
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.txt").write_text("To be, or not to be: that is the question.\n" * 40)
    (data / "valid.txt").write_text("To be ø, that is not the question.\n" * 4)
    flags = (
        "--architecture recurrent --tokens pieces --vocabulary-size 280 --minutes 0.01 --size 12"
    )
    flags += " --heads 2 --context 16 --window 5 --parity-texts 2 --no-baselines --explained 10"
    output = tmp_path / "out"
    assert call("train", "--data", data, "--output", output, *flags.split()) == 0
    out = capfd.readouterr().out
    assert "the figures are of the validation text" in out and "277 different pieces" in out
    scores = json.loads((output / "metrics.json").read_text())["scores"]
    assert scores["perplexity"] > np.exp(scores["nats"])  # a piece has several characters
    assert (output / "explanation_tokens.html").exists()
    assert call("predict", output, "To be ø", "--length", 5) == 0
    assert capfd.readouterr().out.startswith("To be ø")
