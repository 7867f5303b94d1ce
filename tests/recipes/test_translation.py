"""The translation recipe, as its users run it."""

import functools
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from recipes import translation as recipe
from recipes.data import pairs
from recipes.data.toy import translation as toy_translation
from recipes.kit import exports
from recipes.parts import alignment, seq2seq
from recipes.text import detokenize, languages, wordpiece
from tests.recipes.command import call_recipe, one_line
from tests.recipes.contract import RecipeContract

ROOT = Path(__file__).parents[2]
TEST = toy_translation.splits()[2]

ROWS = "de,en\n" + "".join(f"das ist gut {i},this is good {i}\n" for i in range(20))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a finished run on toy data."""
    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    recipe.train(
        recipe.Config(
            output=output, epochs=3, max_pieces=16, beams=3, parity_texts=10, explained=10
        )
    )
    return output


call = functools.partial(call_recipe, recipe)


@pytest.fixture
def finished(run):
    return run


class TestContract(RecipeContract):
    recipe = recipe
    units = ("word",)
    files = ("alignment.png", *languages.FILES)
    card = ("one vector", "nrefs:1", "reverse")
    agreement = {"tflite_int8": 0.8}
    bad_data = (
        ({}, "train"),
        ({"train.csv": ROWS, "test.csv": ROWS.replace("de,en", "en,de")}, r"test\.csv.*swapped"),
        ({"train.csv": ROWS + "allein\n", "test.csv": ROWS}, r"train\.csv:22"),
        (
            {"train.csv": ROWS, "test.csv": "de,en\ngut,\n"},
            r"test\.csv:2: expected a sentence in 'en'",
        ),
    )
    bad_flags = (
        (["--heads", "7", "--architecture", "transformer"], "--heads must divide --units"),
        (["--dropout", "nan"], "--dropout must be at least"),
    )
    tfds = ("ted_hrlr_translate/pt_to_en", "ted_hrlr_translat/pt_to_en", "--source", "pt")
    quick = (
        "--limit 60 --epochs 1 --units 16 --max-pieces 8 --beams 2 --parity-texts 2 --no-baselines "
        "--explained 0"
    ).split()
    asked = ("text",)
    broken = ("model.tflite", "metrics.json", *languages.FILES)
    toy = {
        "scores": {"BLEU": 99.7961, "BLEU, greedy": 99.7961},
        "baselines": {
            "word for word (IBM model 1)": 0.1128,
            "most alike training sentence": 10.878,
            "the same, the sentence as one vector": 17.8057,
        },
        "epochs": 3,
        "parameters": 160000,
    }


def test_attention_translates_and_one_vector_does_not(run):
    metrics = json.loads((run / "metrics.json").read_text())
    baselines = metrics["baselines"]
    assert metrics["scores"]["BLEU"] > 95
    assert baselines["the same, the sentence as one vector"] < metrics["scores"]["BLEU"] - 30
    assert baselines["word for word (IBM model 1)"] < 10  # all words right, in the wrong order
    assert baselines["most alike training sentence"] < 30
    assert metrics["details"]["bleu"].startswith("nrefs:1|case:mixed|")


def test_it_looks_at_the_word_that_it_translates(run):
    import keras

    model = keras.models.load_model(run / "model.keras")
    sides = recipe.Languages.load(run)
    hits = []
    for pair in TEST[:12]:
        weights, words, source_words = alignment.alignment(model, pair.source, pair.target, sides)
        assert " ".join(words) == pair.target.replace(".", " . (end)")
        assert " ".join(source_words) == pair.source.replace(".", " . (end)")
        np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-4)
        count = len(pair.alignment)
        hits += list(weights[:count].argmax(1) == np.array(pair.alignment))
    assert np.mean(hits) > 0.95


def test_a_translation_does_not_depend_on_what_is_beside_it(run):
    import keras

    search = seq2seq.searcher(3, 16, 1.0)(keras.models.load_model(run / "model.keras"))
    ids, _ = recipe.Languages.load(run).ids(pairs.Split([pair.source for pair in TEST[:12]], []))
    together = seq2seq.generate(search, ids)
    alone = [seq2seq.generate(search, [row])[0] for row in ids[:4]]
    for one, other in zip(alone, together, strict=False):
        np.testing.assert_array_equal(one, other)
    assert [len(row) for row in seq2seq.generate(search, [ids[0][:0], ids[0]])] == [
        0,
        len(together[0]),
    ]


def test_ids_signature_runs_without_text_operators_and_with_its_own_vocabularies(run):
    from ai_edge_litert.interpreter import Interpreter

    path = run / "model.tflite"
    with zipfile.ZipFile(path) as archive:
        source, target, spacing = (archive.read(name).decode() for name in languages.FILES)
    numbers = {piece: number for number, piece in enumerate(source.split("\n"))}
    pieces = target.split("\n")
    ids = np.array([wordpiece.encode(numbers, TEST[0].source, cased=True)], "int32")
    found = Interpreter(model_path=str(path)).get_signature_runner("ids")(ids=ids)["ids"][0]
    text = detokenize.Spacing.loads(spacing).to_text([pieces[n] for n in found[found > 0]])
    run_text = exports.runner(path, "text_greedy", operators=wordpiece.operators())
    outputs = run_text(text=np.array([TEST[0].source.encode()]))
    assert text == outputs["translation"][0].decode() == TEST[0].target


# ------------------------------------------------------------------------------------ predict


@pytest.mark.parametrize("form", recipe.FORMS)
def test_predict_translates(run, form, capfd):
    texts = [pair.source for pair in TEST[:5]]
    assert call("predict", run, *texts, "", "--form", form) == 0
    found = capfd.readouterr().out.split("\n")[:-1]
    wanted = [pair.target for pair in TEST[:5]]
    assert sum(a == b for a, b in zip(found, wanted, strict=False)) >= 4
    assert len(found) == 6 and found[5] == ""


def test_predict_reads_standard_input_and_searches_greedily(run, capfd, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{TEST[0].source}\n\n{TEST[1].source}\n"))
    assert call("predict", run, "--search", "greedy") == 0
    assert capfd.readouterr().out == f"{TEST[0].target}\n\n{TEST[1].target}\n"


def test_predict_draws_where_it_looked(run, tmp_path, capfd):
    png = tmp_path / "why.png"
    # In a process of its own, which has not imported the layers yet.
    command = [sys.executable, "-m", "recipes.translation", "predict", run, TEST[0].source]
    done = subprocess.run([*command, "--png", png], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{TEST[0].target}\n"), done.stderr
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert call("predict", run, "a", "b", "--png", png) == 2
    one_line(capfd, "--png draws a single text. Received: 2")
    assert call("predict", run, TEST[0].source, "--png", tmp_path / "no" / "why.png") == 2
    one_line(capfd, "Cannot write --png")


def test_predict_notes_the_wrong_language_unknown_letters_and_what_is_cut(run, capfd):
    assert call("predict", run, "Five green dogs see the red house under a tree.") == 0
    assert "Note: this looks like the language to translate into" in capfd.readouterr().err
    assert call("predict", run, "Заяц.") == 0
    assert "of the text's word pieces are unknown" in capfd.readouterr().err
    assert call("predict", run, " ".join(pair.source for pair in TEST[:6])) == 0
    assert "only the first 16 of the text's" in capfd.readouterr().err
    assert call("predict", run, TEST[0].source) == 0
    assert "Note" not in capfd.readouterr().err


# ------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        (("--source", "cs"), r"train\.csv:1: .*'cs'.*'de', 'en'"),
        (("--target", "de"), "Expected two languages"),
    ],
)
def test_wrong_languages_are_one_line(tmp_path, capfd, flags, pattern):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "test"):
        (data / f"{name}.csv").write_text(ROWS)
    assert call("train", "--data", data, "--output", tmp_path / "out", *flags) == 2
    one_line(capfd, pattern)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


# -------------------------------------------------------------------------------- transformer


def test_the_transformer_trains_and_exports(tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "FORMS", {"tflite": "model.tflite"})
    flags = "--architecture transformer --layers 1 --units 16 --feedforward 16 --epochs 1".split()
    flags += "--limit 60 --max-pieces 12 --beams 2 --parity-texts 2 --explained 0".split()
    flags.append("--no-baselines")
    output = tmp_path / "out"
    assert call("train", *flags, "--output", output) == 0
    assert (output / "model.tflite").exists() and (output / "alignment.png").exists()
    assert call("predict", output, TEST[0].source, "--png", tmp_path / "a.png") == 0
