"""The translation recipe, as its users run it."""

import functools
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from recipes import translation as recipe
from recipes.data.toy import translation as toy_translation
from recipes.kit import exports, fitting
from recipes.text import detokenize, wordpiece
from tests.recipes.command import call_recipe, one_line

ROOT = Path(__file__).parent.parent.parent
TEST = toy_translation.splits()[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a finished run on toy data."""
    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    recipe.train(recipe.Config(output=output, epochs=3, max_pieces=16, beams=3, parity_texts=40))
    return output


call = functools.partial(call_recipe, recipe)


# ----------------------------------------------------------------------------- a finished run


def test_run_folder_is_complete(run):
    assert sorted(path.name for path in run.iterdir()) == sorted(
        "README.md alignment.png history.csv history.png metrics.json model.keras model.tflite "
        "model_float16.tflite model_int8.tflite parity.json saved_model source_vocabulary.txt "
        "spacing.txt target_vocabulary.txt".split()
    )
    assert not list(run.parent.glob(".*"))


def test_attention_translates_and_one_vector_does_not(run):
    metrics = json.loads((run / "metrics.json").read_text())
    baselines = metrics["baselines"]
    assert metrics["scores"]["BLEU"] > 95
    assert baselines["the same, the sentence as one vector"] < metrics["scores"]["BLEU"] - 30
    assert baselines["word for word (IBM model 1)"] < 10  # all words right, in the wrong order
    assert baselines["most alike training sentence"] < 30
    assert metrics["details"]["bleu"].startswith("nrefs:1|case:mixed|")
    for form, name in recipe.FORMS.items():
        export = metrics["exports"][name]
        assert export["bytes"] > 0 and export["milliseconds"] > 0
        assert export["agreement"] >= (0.98 if form in recipe.EXACT else 0.8)


def test_it_looks_at_the_word_that_it_translates(run):
    import keras

    model = keras.models.load_model(run / "model.keras")
    languages = recipe.Languages.load(run)
    hits = []
    for pair in TEST[:12]:
        weights, words, source_words = recipe.alignment(model, pair.source, pair.target, languages)
        assert " ".join(words) == pair.target.replace(".", " . (end)")
        assert " ".join(source_words) == pair.source.replace(".", " . (end)")
        np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-4)
        count = len(pair.alignment)
        hits += list(weights[:count].argmax(1) == np.array(pair.alignment))
    assert np.mean(hits) > 0.95


def test_a_translation_does_not_depend_on_what_is_beside_it(run):
    import keras

    config = recipe.Config(max_pieces=16, beams=3)
    search = recipe.searcher(config, 3)(keras.models.load_model(run / "model.keras"))
    ids, _ = recipe.Languages.load(run).ids(
        recipe.translation_data.Split([pair.source for pair in TEST[:12]], [])
    )
    together = recipe.translate(search, ids)
    alone = [recipe.translate(search, [row])[0] for row in ids[:4]]
    for one, other in zip(alone, together, strict=False):
        np.testing.assert_array_equal(one, other)
    assert [len(row) for row in recipe.translate(search, [ids[0][:0], ids[0]])] == [
        0,
        len(together[0]),
    ]


def test_ids_signature_runs_without_text_operators_and_with_its_own_vocabularies(run):
    from ai_edge_litert.interpreter import Interpreter

    path = run / "model.tflite"
    with zipfile.ZipFile(path) as archive:
        source, target, spacing = (archive.read(name).decode() for name in recipe.FILES)
    numbers = {piece: number for number, piece in enumerate(source.split("\n"))}
    pieces = target.split("\n")
    ids = np.array([wordpiece.encode(numbers, TEST[0].source, cased=True)], "int32")
    found = Interpreter(model_path=str(path)).get_signature_runner("ids")(ids=ids)["ids"][0]
    text = detokenize.Spacing.loads(spacing).to_text([pieces[n] for n in found[found > 0]])
    run_text = exports.text_runner(path, "text_greedy")
    assert text == run_text([TEST[0].source])["translation"][0].decode() == TEST[0].target


def test_model_card_and_pictures(run):
    card = (run / "README.md").read_text()
    for part in (
        "## Limits",
        "## Figures",
        "one vector",
        "model_int8.tflite",
        "nrefs:1",
        "reverse",
    ):
        assert part in card
    for name in ("history.png", "alignment.png"):
        assert (run / name).read_bytes()[:4] == b"\x89PNG"


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
    assert capfd.readouterr().out == f"{TEST[0].target}\n{TEST[1].target}\n"


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

ROWS = "de,en\n" + "".join(f"das ist gut {i},this is good {i}\n" for i in range(20))


def write(folder, **files):
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.csv").write_text(content)
    return folder


@pytest.mark.parametrize(
    ("files", "flags", "pattern"),
    [
        ({}, (), "train"),
        ({"train": ROWS, "test": ROWS}, ("--source", "cs"), r"train\.csv:1: .*'cs'.*'de', 'en'"),
        ({"train": ROWS, "test": ROWS}, ("--target", "de"), "Expected two languages"),
        ({"train": ROWS, "test": ROWS.replace("de,en", "en,de")}, (), r"test\.csv.*swapped"),
        ({"train": ROWS + "allein\n", "test": ROWS}, (), r"train\.csv:22"),
        ({"train": ROWS, "test": "de,en\ngut,\n"}, (), r"test\.csv:2: expected a sentence in 'en'"),
        ({"train": ROWS, "test": ROWS}, ("--max-pieces", "8"), None),
        ({"train": ROWS, "test": ROWS}, ("--heads", "7", "--architecture", "transformer"), "heads"),
        ({"train": ROWS, "test": ROWS}, ("--dropout", "nan"), "--dropout must be at least"),
    ],
)
def test_bad_data_is_one_line_and_nothing_is_left(
    tmp_path, capfd, files, flags, pattern, monkeypatch
):
    data = write(tmp_path / "data", **files)
    if pattern is None:
        pattern = "--max-pieces 3"
        monkeypatch.setattr("recipes.kit.flags.settle", lambda config, examples: _short(config))
    assert call("train", "--data", data, "--output", tmp_path / "out", *flags) == 2
    one_line(capfd, pattern)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def _short(config):
    return recipe.dataclasses.replace(config, max_pieces=3, vocabulary_size=100, batch_size=4)


@pytest.mark.parametrize("broken", ["model.tflite", "metrics.json", "source_vocabulary.txt"])
def test_predict_with_a_broken_folder(run, tmp_path, capfd, broken):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("metrics.json", "model.tflite", *recipe.FILES):
        shutil.copy(run / name, folder)
    (folder / broken).write_bytes(b"\xff\x00 not what it was")
    assert call("predict", folder, "text") == 2
    one_line(capfd, "run")
    (folder / broken).unlink()
    assert call("predict", folder, "text") == 2
    one_line(capfd, f"{broken}|metrics")


# -------------------------------------------------------------------------------- transformer


def test_the_transformer_trains_resumes_and_exports(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(recipe, "FORMS", {"tflite": "model.tflite"})
    flags = "--architecture transformer --layers 1 --units 16 --feedforward 16 --epochs 1".split()
    flags += "--limit 60 --max-pieces 12 --beams 2 --parity-texts 6 --no-baselines".split()
    output = tmp_path / "out"

    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "load_best_weights", interrupt)  # the first thing after training
        assert call("train", *flags, "--output", output) == 130
    assert not output.exists()
    assert call("train", *flags, "--output", output) == 0
    assert "Resuming after the end of training" in capfd.readouterr().out
    assert (output / "model.tflite").exists() and (output / "alignment.png").exists()
    assert call("predict", output, TEST[0].source, "--png", tmp_path / "a.png") == 0
