"""The question answering recipe, as its users run it."""

import functools
import io
import json
import re

import numpy as np
import pytest

from recipes import question_answering as recipe
from recipes.data import reading
from recipes.data.toy import facts
from recipes.kit import exports
from recipes.parts import answered, passages
from tests.recipes.command import call_recipe, one_line
from tests.recipes.contract import RecipeContract

HEADER = "context,question,answer,start\n"
GOOD = HEADER + "".join(
    f'"Ida built a boat in {year}.",when did she build it ?,{year},20\n'
    for year in range(1900, 1906)
)
CONTEXT = "Ida toured a mill in Riga on friday . Olga purchased a lamp on monday in Lyon ."
QUESTION = "where did Olga buy something ?"

# What the toy facts need, in a few seconds.
SETTINGS = {"epochs": 3, "parity_questions": 5, "baselines": False, "explained": 20}

run = functools.partial(call_recipe, recipe)


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """Folder of a finished run on the toy facts."""
    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    recipe.train(recipe.Config(data="toy", output=output, **SETTINGS))
    return output


@pytest.fixture
def finished(toy_run):
    return toy_run


@pytest.fixture(scope="module")
def read(toy_run):
    return answered.Reader.load(toy_run, recipe.NAME, "model.tflite")


class TestContract(RecipeContract):
    recipe = recipe
    units = ("word",)
    files = ("vocabulary.txt",)
    card = ("exact_match", "paraphrase", "vocabulary.txt", "looked_at")
    bad_data = (
        ({}, "train"),
        ({"train.csv": GOOD}, "test"),
        ({"train.csv": "", "test.csv": GOOD}, r"train\.csv"),
        ({"train.csv": GOOD + "Ida,who ?,Leo,0\n", "test.csv": GOOD}, r"train\.csv:8: .*'Leo'"),
        ({"train.csv": "question,answer,start\na,b,0\n", "test.csv": GOOD}, "context"),
        ({"train.json": '{"data": 3}', "test.csv": GOOD}, r"train\.json: expected SQuAD's layout"),
    )
    bad_flags = (
        (["--heads", "3"], "--heads must divide --units into heads of an even size"),
        (["--max-context", "20"], "--max-answer must be smaller than --max-context"),
        (["--context-column", "answer"], "different columns"),
        (["--dropout", "nan"], "--dropout must be at least 0.0"),
    )
    tfds = ("squad", "squat")
    quick = (
        "--no-baselines --limit 12 --epochs 1 --units 8 --encoder-blocks 1 --model-blocks 1 "
        "--self-attention 1 --tokens characters --max-context 64 --parity-questions 2 --explained 0"
    ).split()
    asked = (QUESTION, "--context", CONTEXT)
    broken = ("model.tflite", "metrics.json", "vocabulary.txt")
    toy = {"scores": {"exact_match": 1.0, "f1": 1.0}}


def test_scores_are_above_those_of_simple_models(toy_run):
    scores = json.loads((toy_run / "metrics.json").read_text())["scores"]
    assert scores["exact_match"] > 0.9 and scores["f1"] >= scores["exact_match"]


def test_attention_finds_the_word_that_means_the_same_and_the_sentence(read):
    """The deed attends to its paraphrase, and only the right sentence to both person and deed."""
    rows, words, sentences = facts.splits()[2][:90], [], []
    for row in rows:
        said = read(row.question, row.context)
        asked, told = row.matching
        ends = [match.end() for match in re.finditer(r" \.", row.context)]
        of_word = np.searchsorted(ends, [start for start, _ in said.spans], side="right")
        position = next(
            number
            for number, (start, end) in enumerate(said.spans)
            if of_word[number] == row.sentence and row.context[start:end] == told
        )
        words.append(said.asked[said.weights[position].argmax()] == asked)
        columns = [said.asked.index(asked), said.asked.index(asked) - 1]  # the deed and the person
        found = [
            said.weights[of_word == number][:, columns].max(0).sum() for number in range(len(ends))
        ]
        sentences.append(np.argmax(found) == row.sentence)
    assert np.mean(words) >= 0.9
    assert np.mean(sentences) >= 0.9


def test_where_the_answer_begins_depends_on_more_words_than_it_looked_at(toy_run):
    """What is asked for, the person and the deed decide; others look at these two, see above."""
    metrics = json.loads((toy_run / "metrics.json").read_text())
    found = metrics["details"]["explanation"]["word"]
    of_attention, of_random, best = (
        found["figures"][name]["aopc"] for name in ("attention", "random", "leave-one-out")
    )
    assert best > of_random + 0.08  # the test tells words that decide from others
    assert of_attention < (of_random + best) / 2
    assert found["verdict"] != "yes"


@pytest.mark.parametrize("form", recipe.FORMS)
def test_every_form_marks_the_answer(toy_run, form, capfd, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert run("predict", toy_run, "--form", form, QUESTION, "--context", CONTEXT) == 0
    first, passage = capfd.readouterr().out.splitlines()
    assert re.fullmatch(r"Lyon  [01]\.\d{3}", first)
    assert "[Lyon" in passage and "(" in passage  # the weights of what was looked at
    assert re.sub(r"\(\d\.\d+\)|[\[\]]", "", passage).strip() == CONTEXT


def test_a_table_of_questions(toy_run, tmp_path, capfd):
    table = tmp_path / "questions.jsonl"
    rows = [(QUESTION, CONTEXT), ("what did Ida visit ?", CONTEXT)]
    table.write_text("".join(json.dumps({"q": q, "context": c}) + "\n" for q, c in rows))
    command = ["predict", toy_run, "--file", table, "--question-column", "q", "--format"]
    assert run(*command, "jsonl") == 0
    where, what = map(json.loads, capfd.readouterr().out.splitlines())
    assert (where["answer"], where["start"]) == ("Lyon", CONTEXT.index("Lyon"))
    assert what["answer"] == "mill" and 0 < what["probability"] <= 1
    assert [word["word"] for word in where["words"]] == CONTEXT.split()
    assert sum(word["looked_at"] for word in where["words"]) == pytest.approx(1, abs=1e-3)
    assert {word["asked"] for word in where["words"]} <= {*QUESTION.split()}
    assert run(*command, "tsv") == 0
    header, first, _ = capfd.readouterr().out.splitlines()
    assert header.split("\t") == ["question", "answer", "start", "probability"]
    assert first.split("\t")[:3] == [QUESTION, "Lyon", str(CONTEXT.index("Lyon"))]


def test_questions_of_standard_input_about_a_file(toy_run, tmp_path, capfd, monkeypatch):
    (tmp_path / "passage.txt").write_text(CONTEXT)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{QUESTION}\n\nwhen did Ida visit something ?\n"))
    assert run("predict", toy_run, "--file", tmp_path / "passage.txt", "--format", "tsv") == 0
    answers = [row.split("\t")[1] for row in capfd.readouterr().out.splitlines()[1:]]
    assert answers == ["Lyon", "friday"]


def test_a_long_passage_is_read_in_windows(read):
    before = " ".join(f"Leo repaired a tower in Riga on {day} ." for day in ["sunday"] * 130)
    context = f"{before} {CONTEXT}"
    assert len(read.tokens.encode(context)[0]) > read.sizes["max_context"]
    said = read(QUESTION, context)
    assert context[said.start : said.end] == said.answer == "Lyon"
    assert len(said.looked_at) == len(said.spans) == len(context.split())


def test_what_predict_cannot_read_is_one_line(toy_run, tmp_path, capfd):
    (tmp_path / "table.csv").write_text("question,context\nwho ?, \n")
    for arguments, pattern in [
        ([QUESTION], "Expected a passage in --context or in --file. Received none"),
        ([QUESTION, "--context", CONTEXT, "--file", tmp_path / "none.txt"], "Received both"),
        ([QUESTION, "--file", tmp_path / "none.txt"], "none.txt"),
        ([QUESTION, "--file", tmp_path / "table.csv"], "a table of them"),
        (["--file", tmp_path / "table.csv"], r"table\.csv:2: expected a question and a passage"),
        ([" ", "--context", CONTEXT], "Expected a question and a passage"),
    ]:
        assert run("predict", toy_run, *arguments) == 2
        one_line(capfd, pattern)


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
def test_without_attention_means_are_read(tmp_path, monkeypatch, capfd, eagerly):
    monkeypatch.setattr(exports, "export", lambda *args, **kwargs: {})
    options = "--no-context-to-question --no-question-to-context --matches 0 --tokens pieces"
    options += " --self-attention 1 --metric jaquad --baselines"
    command = ["train", *TestContract.quick, *options.split(), "--output", tmp_path / "out"]
    assert run(*command) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "nowhere: it reads means" in card and "as JaQuAD's script does" in card
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    of_other = metrics["details"]["baseline_scores"]["the same without attention"]
    assert of_other == metrics["scores"]  # the same network, seed and batches


def test_scripts_without_spaces_are_read_as_characters(tmp_path):
    rows = [
        {"context": f"手塚治虫は{year}年に生まれた。", "question": "いつ生まれた?",
         "answer": f"{year}年", "start": 5}
        for year in range(1900, 1912)
    ]  # fmt: skip
    for name in ("train", "test"):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    data = reading.load(str(tmp_path), seed=0)
    small = {"units": 8, "encoder_blocks": 1, "model_blocks": 1}
    config = answered.settle(recipe.Config(**small), data)
    assert (config.tokens, config.metric) == ("characters", "characters")
    texts = passages.read(config, data)
    _, model = recipe.build_model(config, len(texts.tokens.names))
    sizes = {name: getattr(config, name) for name in answered.SIZES}
    read = answered.Reader(texts.tokens, sizes, lambda **inputs: model(inputs, training=False))
    context = rows[0]["context"]
    said = read("いつ?", context)
    assert said.answer and said.answer == context[said.start : said.end]
    assert [context[start:end] for start, end in said.spans] == [*context]
    assert said.asked == [*"いつ?"] and said.weights.shape == (len(context), 3)
