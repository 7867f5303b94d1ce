"""The summarization recipe, as its users run it."""

import functools
import io
import json
import zipfile

import numpy as np
import pytest

from recipes import summarization as recipe
from recipes.data.toy import reports
from recipes.kit import exports
from recipes.text import copyable, detokenize, wordpiece
from tests.recipes.command import call_recipe, one_line
from tests.recipes.contract import RecipeContract

TEST = reports.splits()[2]
SETTINGS = {
    "limit": 1000, "epochs": 1, "batch_size": 16, "units": 32, "max_document": 24, "max_summary": 6,
    "beams": 2, "parity_texts": 6, "baselines": False, "explained": 20,
}  # fmt: skip
ROWS = "document,summary\n" + "".join(
    f"It rained {n} days. We left.,Rain {n}.\n" for n in range(20)
)

call = functools.partial(call_recipe, recipe)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a finished run on toy data."""
    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    recipe.train(recipe.Config(output=output, **SETTINGS))
    return output


@pytest.fixture
def finished(run):
    return run


class TestContract(RecipeContract):
    recipe = recipe
    units = ("word",)
    files = ("copied.png", *copyable.FILES)
    card = ("with coverage", "rouge-score", "could only be copied", "no 3 words in a row twice")
    agreement = {"tflite_int8": 0.8}
    bad_data = (
        ({}, "train"),
        ({"train.csv": ROWS}, "test"),
        (
            {"train.csv": ROWS, "test.csv": "text,summary\na,b\n"},
            r"test\.csv:1.*'document'.*'text'",
        ),
        ({"train.csv": ROWS + "alone\n", "test.csv": ROWS}, r"train\.csv:22"),
        (
            {"train.csv": ROWS, "test.csv": "document,summary\nA.,\n"},
            r"test\.csv:2: expected a sum",
        ),
    )
    bad_flags = (
        (["--heads", "7", "--architecture", "transformer"], "--heads must divide --units"),
        (["--coverage", "-1"], "--coverage must be at least 0"),
        (["--no-repeat-ngram", "-1"], "--no-repeat-ngram must be at least 0"),
        (["--compare-coverage", "--coverage", "0"], "needs a recurrent network with --coverage"),
        (["--compare-coverage", "--architecture", "transformer"], "needs a recurrent network"),
    )
    tfds = ("samsum", "samsun")
    quick = (
        "--architecture transformer --layers 1 --units 16 --feedforward 16 --limit 60 --epochs 1 "
        "--max-document 24 --max-summary 6 --beams 2 --parity-texts 2 --no-baselines "
        "--explained 0"
    ).split()
    asked = ("text",)
    broken = ("model.tflite", "metrics.json", *copyable.FILES)
    toy = {
        "scores": {
            kind + which: 100.0
            for which in ("", ", best reference")
            for kind in ("ROUGE-1", "ROUGE-2", "ROUGE-L")
        },
        "epochs": 1,
        "parameters": 21633,
    }


def test_copying_finds_what_no_vocabulary_holds(run):
    metrics = json.loads((run / "metrics.json").read_text())
    scores, baselines, details = (metrics[name] for name in ("scores", "baselines", "details"))
    assert scores["ROUGE-1"] > 95 and scores["ROUGE-L, best reference"] > 95
    assert max(baselines.values()) < 60
    # Two words of three, and of four with the full stop, are names.
    facts = details["copies_and_repeats"]["this model"]
    assert facts["copied_unknown_words"] == pytest.approx(50, abs=2)
    assert facts["copied_words"] >= facts["copied_unknown_words"] - 1
    assert facts["repeating_summaries"] == 0.0  # three words and a full stop


def test_the_map_explains_what_is_copied(run):
    """Without the name that is looked at another one is copied; random words seldom have it."""
    metrics = json.loads((run / "metrics.json").read_text())
    found = metrics["details"]["explanation"]["word"]
    assert found["verdict"] == "yes"
    figures = found["figures"]
    assert figures["attention"]["comprehensiveness"] > 2 * figures["random"]["comprehensiveness"]


@pytest.mark.parametrize("form", recipe.FORMS)
def test_predict_copies_from_the_marked_sentence(run, form, tmp_path, capfd):
    table = tmp_path / "reports.jsonl"
    rows = [{"document": report.document} for report in TEST[:6]]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert call("predict", run, "--form", form, "--file", table, "--format", "jsonl") == 0
    said = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    hits = [found["summary"] == report.summary for found, report in zip(said, TEST, strict=False)]
    assert len(hits) == 6 and sum(hits) >= 5
    for found, report in zip(said, TEST, strict=False):
        if found["summary"] != report.summary:
            continue
        names = [found["words"][n] for n in (0, 2)]
        assert tuple(name["position"] for name in names) == report.copied
        for name in names:
            assert name["copied"] > 0.99
            assert report.document[name["start"] : name["end"]] == name["word"]


def test_predict_reads_arguments_and_standard_input_and_writes_a_table(run, capfd, monkeypatch):
    documents = [report.document for report in TEST[:2]]
    assert call("predict", run, *documents, "", "--format", "tsv") == 0
    header, *lines = [line.split("\t") for line in capfd.readouterr().out.split("\n")[:-1]]
    assert header == ["document", "summary"]
    assert lines == [*([r.document, r.summary] for r in TEST[:2]), ["", ""]]
    monkeypatch.setattr("sys.stdin", io.StringIO(documents[0].replace(". ", ".\n") + "\n"))
    assert call("predict", run) == 0
    assert capfd.readouterr().out == TEST[0].summary + "\n"


def test_predict_draws_notes_and_refuses_in_one_line(run, tmp_path, capfd):
    png = tmp_path / "copied.png"
    text = TEST[0].document + " Then they all went home and slept until the next day came ."
    assert call("predict", run, text, "--png", png) == 0
    assert "Note: the last 9 words are not read" in capfd.readouterr().err
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert call("predict", run, "a", "b", "--png", png) == 2
    one_line(capfd, "--png draws a single document. Received: 2")
    (tmp_path / "t.csv").write_text("words\na\n")
    assert call("predict", run, "--file", tmp_path / "t.csv") == 2
    one_line(capfd, "expected a column named 'document'")


def test_ids_run_without_text_operators_and_with_the_files_inside(run):
    from ai_edge_litert.interpreter import Interpreter

    path = run / "model.tflite"
    with zipfile.ZipFile(path) as archive:
        vocabulary, spacing = (archive.read(name).decode() for name in copyable.FILES)
    pieces = vocabulary.split("\n")
    index = {piece: number for number, piece in enumerate(pieces)}
    ids = np.array([wordpiece.encode(index, TEST[0].document, cased=True)], "int32")
    outputs = Interpreter(model_path=str(path)).get_signature_runner("ids")(ids=ids)
    written = [pieces[n] for n in outputs["ids"][0] if n]
    assert detokenize.Spacing.loads(spacing).to_text(written) == TEST[0].summary


def test_the_transformer_trains_and_exports(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(exports, "FORMS", {"tflite": "model.tflite"})
    output = tmp_path / "out"
    assert call("train", *TestContract.quick, "--output", output) == 0
    assert "a transformer that copies" in (output / "README.md").read_text()
    capfd.readouterr()
    assert call("predict", output, TEST[0].document, "--format", "jsonl") == 0
    assert json.loads(capfd.readouterr().out)["document"] == TEST[0].document


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
def test_models_without_attention_and_without_coverage_stand_beside(tmp_path, monkeypatch, eagerly):
    monkeypatch.setattr(exports, "export", lambda *args, **kwargs: {})
    settings = (
        "--limit 20 --epochs 1 --units 8 --max-document 12 --max-summary 4 --beams 2 "
        "--compare-coverage --explained 0"
    )
    assert call("train", *settings.split(), "--output", tmp_path / "out") == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    twins = "the same without attention", "the same without coverage"
    assert set(metrics["baselines"]) == {"lead-3", "TextRank", *twins}
    facts = metrics["details"]["copies_and_repeats"]
    assert set(facts) == {"this model", twins[1]}
    assert facts["this model"].keys() == facts[twins[1]].keys()
