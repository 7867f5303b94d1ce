"""The tagging recipe, as its users run it."""

import functools
import io
import json
import zipfile

import numpy as np
import pytest

from recipes import tagging as recipe
from recipes.data import tagged
from recipes.data.toy import commands
from recipes.parts import tagged_texts, tagger
from recipes.text import token_features
from tests.recipes.command import call_recipe, one_line
from tests.recipes.contract import RecipeContract

GOOD = "tokens,tags,intent\n" + "fly to Oslo,O O B-city,flight\nwhat fare,O O,fare\n" * 6
TEXT = "Leaving by train please cancel the order for Mina Sula on friday"

run = functools.partial(call_recipe, recipe)


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """Folder of a finished run on the toy commands."""
    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    settings = {"epochs": 5, "batch_size": 16, "units": 32, "embedding_size": 16, "dropout": 0.2}
    settings |= {"learning_rate": 0.02, "parity_sentences": 20, "baselines": False}
    settings |= {"explained": 40}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tagger, "WIDTHS", 2)  # each is compiled anew
        recipe.train(recipe.Config(data="toy", output=output, **settings))
    return output


@pytest.fixture
def one_width(monkeypatch):
    """One compilation a model: what a training of a few sentences takes is compiling."""
    monkeypatch.setattr(tagger, "WIDTHS", 1)


@pytest.fixture
def finished(toy_run):
    return toy_run


@pytest.fixture(scope="module")
def read(toy_run):
    return tagged_texts.Reader.load(toy_run, recipe.NAME, "model.tflite")


class TestContract(RecipeContract):
    recipe = recipe
    units = ("token",)
    files = tagged_texts.FILES
    card = ("seqeval", "grammar", "features.txt")
    bad_data = (
        ({}, "train"),
        ({"train.csv": GOOD}, "test"),
        ({"train.csv": "", "test.csv": GOOD}, r"train\.csv"),
        ({"train.csv": GOOD + "fly now,O,flight\n", "test.csv": GOOD}, r"train\.csv:14: .*a tag"),
        ({"train.csv": GOOD + "fly,X,flight\n", "test.csv": GOOD}, r"train\.csv:14: .*'X'"),
        ({"train.csv": "tokens,tags\nfly,O\n", "test.csv": GOOD}, r"train\.csv:1: .*'intent'"),
        ({"train.conll": "Oslo B-LOC\n", "test.conll": "Bern B-LOC\n"}, "--tasks slots"),
    )
    bad_flags = (
        (["--tasks", "slots", "--tags-column", "tokens"], "different columns"),
        (["--encoder", "transformer", "--heads", "3"], "--heads must divide twice --units"),
        (["--unknown", "nan"], "--unknown must be at least 0.0"),
        (["--slot-weight", "0"], "--slot-weight must be at least 0.001"),
    )
    tfds = ("conll2003", "conll203", "--tasks", "slots", "--tags-column", "ner")
    quick = (
        "--explained 0 --no-baselines --limit 60 --epochs 1 --tasks intent --units 8 "
        "--encoder transformer --heads 2 --blocks 1 --parity-sentences 2"
    ).split()
    asked = ("leaving now",)
    broken = ("model.tflite", "metrics.json", *tagged_texts.FILES)
    toy = {
        "scores": dict.fromkeys(("slot_f1", "slot_precision", "slot_recall"), 1.0)
        | dict.fromkeys(("intent_accuracy", "sentence_accuracy"), 1.0),
        "epochs": 5,
        "parameters": 83931,
    }


def test_scores_are_above_those_of_simple_models(toy_run):
    metrics = json.loads((toy_run / "metrics.json").read_text())
    scores = metrics["scores"]
    assert next(iter(scores)) == "slot_f1" and "sentence_accuracy" in scores
    assert scores["slot_f1"] > 0.97 and scores["intent_accuracy"] > 0.97
    data = tagged.load("toy", seed=0)
    answers = recipe.without_network(recipe.Config(), data)
    simple = {name: tagger.measure(data.test, *given) for name, given in answers.items()}
    frequent, linear = simple["most frequent tag and intent"], simple["linear models"]
    assert frequent["slot_f1"] < linear["slot_f1"] < 0.9  # no window reaches the first word
    assert frequent["intent_accuracy"] < 0.5
    types = metrics["details"]["types"]
    assert set(types) == {
        f"{way}_{what}" for way in ("arrival", "departure") for what in ("city", "day")
    } | {"person"}


def test_attention_finds_the_words_that_decide(read):
    """The verb tells the intent. (What the first word tells of a day a GRU may carry itself.)"""
    rows = commands.splits()[2][:150]
    found = [read(row.tokens.split()).intent_weights.argmax() == row.deciding for row in rows]
    assert np.mean(found) >= 0.95


@pytest.mark.parametrize("form", recipe.FORMS)
def test_every_form_tells_intent_and_slots(toy_run, form, capfd, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert run("predict", toy_run, "--form", form, TEXT, "") == 0
    first, *slots, last = capfd.readouterr().out.splitlines()
    assert first.startswith("cancel ") and "cancel(" in first
    assert [line.split() for line in slots] == [
        ["person", "Mina", "Sula"], ["departure_day", "friday"],
    ]  # fmt: skip
    assert last.split()[0] in commands.VERBS  # nothing to read, yet an answer


def test_a_table_of_texts_is_answered_row_by_row(toy_run, tmp_path, capfd):
    table = tmp_path / "texts.csv"
    table.write_text(f"id,body\n1,{TEXT}\n2,\n")
    command = ["predict", toy_run, "--file", table, "--text-column", "body", "--format"]
    assert run(*command, "jsonl") == 0
    answer, empty = map(json.loads, capfd.readouterr().out.splitlines())
    assert answer["intent"] == "cancel" and answer["probability"] > 0.9
    assert answer["tokens"] == TEXT.split() and empty["tokens"] == []
    day = answer["spans"][1]
    assert (day["type"], TEXT[day["start"] : day["end"]]) == ("departure_day", "friday")
    assert answer["tokens"][np.argmax(answer["weights"])] == "cancel"
    assert sum(answer["weights"]) == pytest.approx(1, abs=1e-4)
    assert sum(day["weights"]) == pytest.approx(1, abs=1e-4)
    assert run(*command, "tsv") == 0
    header, row, _ = (line.split("\t") for line in capfd.readouterr().out.splitlines())
    assert header == ["tokens", "tags", "intent", "probability"]
    assert row[:3] == [" ".join(answer["tokens"]), " ".join(answer["tags"]), "cancel"]


def test_texts_that_are_tokens_already_are_cut_at_spaces_alone(toy_run, capfd, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("drop it (now)\n"))
    assert run("predict", toy_run, "--tokenized", "--format", "jsonl") == 0
    assert json.loads(capfd.readouterr().out)["tokens"] == ["drop", "it", "(now)"]
    assert run("predict", toy_run, "--format", "jsonl", "drop it (now)") == 0
    assert json.loads(capfd.readouterr().out)["tokens"] == ["drop", "it", "(", "now", ")"]


def test_a_phone_needs_the_file_alone(toy_run, read):
    from ai_edge_litert.interpreter import Interpreter

    path = toy_run / "model.tflite"
    with zipfile.ZipFile(path) as archive:
        features, tags, intents = (
            archive.read(name).decode().split("\n") for name in tagged_texts.FILES
        )
    words, _ = token_features.split(TEXT, token_features.known_words(features))
    rows = [
        token_features.encode(token_features.index_of(features), one) for one in (words, words[:3])
    ]
    ids = np.stack([rows[0], np.pad(rows[1], ((0, len(words) - 3), (0, 0)))])  # any batch
    outputs = Interpreter(model_path=str(path)).get_signature_runner("ids")(ids=ids)
    said = read(words)
    assert [tags[best] for best in outputs["tag_probability"][0].argmax(-1)] == said.tags
    assert intents[outputs["intent_probability"][0].argmax()] == said.intent
    np.testing.assert_allclose(outputs["intent_weights"][1].sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(outputs["intent_weights"][1, 3:], 0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
def test_models_of_one_task_and_one_without_attention_stand_beside(
    tmp_path, monkeypatch, capfd, eagerly
):
    monkeypatch.setattr("recipes.kit.exports.export", lambda *args, **kwargs: {})
    settings = (
        "--explained 0 --limit 24 --epochs 1 --units 4 --embedding-size 4 --encoder transformer "
        "--heads 2 --blocks 1 --single-tasks"
    )
    assert run("train", *settings.split(), "--output", tmp_path / "out") == 0
    assert "slots alone:" in capfd.readouterr().out
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert set(metrics["baselines"]) == {
        "most frequent tag and intent", "linear models", "the same without attention",
        "a model for each task",
    }  # fmt: skip


def test_a_model_of_one_task_predicts(tmp_path, monkeypatch, capfd, one_width):
    monkeypatch.setattr("recipes.kit.exports.FORMS", {"tflite": "model.tflite"})
    assert run("train", *TestContract.quick, "--output", tmp_path / "out") == 0
    capfd.readouterr()
    assert run("predict", tmp_path / "out", "--format", "jsonl", TEXT) == 0
    answer = json.loads(capfd.readouterr().out)
    assert "tags" not in answer and answer["intent"] in commands.VERBS
    assert run("predict", tmp_path / "out", "--file", tmp_path / "none.txt") == 2
    one_line(capfd, "none.txt")
