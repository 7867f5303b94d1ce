"""The text matching recipe, as its users run it."""

import functools
import io
import json

import numpy as np
import pytest

from recipes import text_matching as recipe
from recipes.data.toy import questions
from recipes.kit import exports
from recipes.parts import ranked
from tests.recipes.command import call_recipe, one_line
from tests.recipes.contract import RecipeContract

# What makes the toy questions easy in a few seconds.
SETTINGS = {"epochs": 3, "dropout": 0.1, "parity_queries": 10, "baselines": False}
SETTINGS |= {"explained": 20}
GOOD = "question,answer,label\n" + "".join(
    f"who ? {n},Anna .,1\nwho ? {n},in May .,0\n" for n in range(20)
)
QUESTION = "who did Olga praise ?"
LINES = ["Olga toured Boris .", "Olga commended in May .", "", "Olga commended Boris ."]

run = functools.partial(call_recipe, recipe)


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """Folder of a finished run on the toy questions."""
    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    recipe.train(recipe.Config(data="toy", output=output, **SETTINGS))
    return output


@pytest.fixture
def finished(toy_run):
    return toy_run


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(LINES) + "\n")
    return path


class TestContract(RecipeContract):
    recipe = recipe
    units = ("word",)
    files = ("vocabulary.txt",)
    card = ("BM25", "random", "never in the order of the file")
    agreement = {"tflite_int8": 0.8}
    bad_data = (
        ({}, r"train"),
        ({"train.csv": GOOD}, r"test"),
        ({"train.csv": "text,label\na,1\n", "test.csv": GOOD}, r"train\.csv:1.*'question'.*'text'"),
        ({"train.csv": GOOD + "a,b,maybe\n", "test.csv": GOOD}, r"train\.csv:42.*'maybe'"),
        ({"train.csv": GOOD + "a,b\n", "test.csv": GOOD}, r"train\.csv:42.*3 fields"),
        ({"train.csv": GOOD, "test.csv": GOOD.replace(",1", ",0")}, r"test\.csv.*a right and a"),
    )
    bad_flags = (
        (["--query-column", "a", "--document-column", "a"], "Expected different columns"),
        (["--max-steps", "1"], "--max-steps must be at least 4"),
        (["--architecture", "encoder", "--position"], "an encoder reads texts alone"),
        (["--dropout", "nan"], "--dropout must be at least"),
    )
    tfds = ("glue/qnli", "glu/qnli", "--document-column", "sentence", "--right-label", "entailment")
    quick = (
        "--explained 0 --no-baselines --limit 40 --epochs 1 --units 8 --vector-size 8 "
        "--parity-queries 2"
    ).split()
    asked = (QUESTION, "--file", __file__)
    broken = ("model.tflite", "metrics.json", "vocabulary.txt")
    toy = {
        "scores": {"map": 0.997, "mrr": 0.997, "ndcg@10": 0.9975},
        "baselines": {
            "logistic regression on shared words": 0.4258, "BM25": 0.3499, "random": 0.4301,
        },
        "epochs": 3,
        "parameters": 135569,
    }  # fmt: skip


def test_scores_are_above_the_baselines(toy_run):
    metrics = json.loads((toy_run / "metrics.json").read_text())
    assert set(metrics["scores"]) == {"map", "mrr", "ndcg@10"}
    assert metrics["scores"]["map"] > 0.85
    assert set(metrics["baselines"]) == {
        "logistic regression on shared words",
        "BM25",
        "random",
    }
    # Shared words do not decide: they are in all candidates.
    for value in metrics["baselines"].values():
        assert 0.3 < value < 0.6


def test_the_alignment_finds_the_words_that_mean_the_same(toy_run):
    rank = ranked.Ranker.load(toy_run, "model.tflite")
    _, _, test = questions.splits()
    hits = []
    for pair in test[:240]:
        if pair.label:
            (match,) = rank(pair.query, [pair.document])
            asked, told = pair.matching
            hits.append({word: other for word, other, _ in match.words}[told] == asked)
    assert len(hits) == 40
    assert np.mean(hits) >= 0.9


def test_every_form_ranks_alike(toy_run, lines, capfd):
    for form in recipe.FORMS:
        assert run("predict", toy_run, QUESTION, "--file", lines, "--form", form, "--top", 1) == 0
        (shown,) = capfd.readouterr().out.splitlines()
        assert shown.startswith(" 1. ") and shown.endswith("Olga commended Boris .")


@pytest.mark.parametrize("format", ["tsv", "jsonl"])
def test_answers_as_tables(toy_run, lines, capfd, monkeypatch, format):
    monkeypatch.setattr("sys.stdin", io.StringIO(lines.read_text()))
    assert run("predict", toy_run, QUESTION, "--format", format) == 0
    rows = capfd.readouterr().out.splitlines()
    if format == "tsv":
        assert rows.pop(0).split("\t") == ["query", "rank", "line", "score", "text"]
        found = [(int(row.split("\t")[2]), row.split("\t")[-1]) for row in rows]
    else:
        (answer,) = map(json.loads, rows)
        assert answer["query"] == QUESTION
        words = answer["matches"][0]["words"]
        assert [word for word, _, _ in words] == ["Olga", "commended", "Boris", "."]
        assert all(0 < weight <= 1.001 for _, _, weight in words)
        found = [(match["line"], match["text"]) for match in answer["matches"]]
    assert found[0] == (4, LINES[3])
    assert sorted(found) == [(n, line) for n, line in enumerate(LINES, start=1) if line]


def test_a_table_of_many_queries(toy_run, tmp_path, capfd):
    table = tmp_path / "pairs.csv"
    rows = [(QUESTION, line) for line in LINES if line] + [("when did Leo lose a mill ?", LINES[0])]
    table.write_text("query,document\n" + "".join(f"{q},{d}\n" for q, d in rows))
    assert run("predict", toy_run, "--file", table, "--format", "jsonl") == 0
    answers = [json.loads(row) for row in capfd.readouterr().out.splitlines()]
    assert [len(answer["matches"]) for answer in answers] == [3, 1]
    assert answers[0]["matches"][0]["line"] == 4  # of the file
    assert run("predict", toy_run, QUESTION, "--file", table, "--top", 2) == 0
    assert len(capfd.readouterr().out.splitlines()) == 2


def test_queries_of_standard_input(toy_run, lines, capfd, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{QUESTION}\n\nwho did Olga visit ?\n"))
    assert run("predict", toy_run, "--file", lines, "--top", 1, "--format", "tsv") == 0
    _, *rows = capfd.readouterr().out.splitlines()
    assert [int(row.split("\t")[2]) for row in rows] == [4, 1]


def test_what_predict_cannot_read_is_one_line(toy_run, lines, tmp_path, capfd):
    for arguments, pattern in [
        ([], "Expected a query, or texts to rank"),
        (["who", "did", "--file", lines], "Expected one query, in quotes"),
        ([" ", "--file", lines], "Received an empty one"),
        ([QUESTION, "--file", tmp_path / "none.txt"], "none.txt"),
    ]:
        assert run("predict", toy_run, *arguments) == 2
        one_line(capfd, pattern)


def test_a_long_text_is_cut_and_an_empty_one_is_read(toy_run):
    rank = ranked.Ranker.load(toy_run, "model.tflite")
    long, empty = rank("boat " * 200, ["Olga " * 300, ""])
    assert np.isfinite([long.score, empty.score]).all()


def test_abcnn_and_its_convolution_alone(tmp_path, lines, capfd, monkeypatch):
    monkeypatch.setattr(exports, "FORMS", {"tflite": "model.tflite"})
    options = "--architecture abcnn --no-overlap --baselines --no-text-signature".split()
    assert run("train", *TestContract.quick, *options, "--output", tmp_path / "out") == 0
    assert run("predict", tmp_path / "out", QUESTION, "--file", lines) == 0
    assert len(capfd.readouterr().out.splitlines()[-3:]) == 3
    card = (tmp_path / "out" / "README.md").read_text()
    assert "The model does not know a candidate's position" in card
    assert "the same without attention" in card and "no signatures of raw text" in card


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
def test_a_model_may_know_positions(tmp_path, monkeypatch, eagerly):
    monkeypatch.setattr(exports, "export", lambda *args, **kwargs: {})
    options = "--architecture decomposable --loss pairwise --position".split()
    assert run("train", *TestContract.quick, *options, "--output", tmp_path / "out") == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "The model knows a candidate's position" in card
    assert "regression on shared words and position" in card


def test_an_encoder_finds_the_best_of_many_texts(tmp_path, lines, capfd, monkeypatch):
    monkeypatch.setattr(exports, "FORMS", {"tflite": "model.tflite"})
    options = ["--architecture", "encoder", "--no-text-signature", "--output", tmp_path / "out"]
    assert run("train", *TestContract.quick, *options) == 0
    capfd.readouterr()
    assert run("predict", tmp_path / "out", QUESTION, "--file", lines, "--format", "jsonl") == 0
    matches = json.loads(capfd.readouterr().out)["matches"]
    assert sorted(match["line"] for match in matches) == [1, 2, 4]
    scores = [match["score"] for match in matches]
    assert scores == sorted(scores, reverse=True) and max(map(abs, scores)) <= 1.00001
    for match in matches:
        assert " ".join(word for word, _ in match["words"]) == match["text"]
        assert sum(weight for _, weight in match["words"]) == pytest.approx(1, abs=1e-3)
