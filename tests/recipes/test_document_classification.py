"""The document recipe, as its users run it."""

import functools
import json
import re

import numpy as np
import pytest

from recipes import document_classification as recipe
from recipes.data.toy import documents as toy_documents
from recipes.kit import exports
from recipes.text import classifier, hierarchy, sentences, web_page, wordpiece
from tests.recipes import browser
from tests.recipes.command import call_recipe, one_line
from tests.recipes.text_contract import TextContract

LETTER = (
    "To my sister\n\nLast night I dreamed that the horse stood beside the saddle. The kettle by "
    "the blue wall was older than the oven! The bus costs 2.50 and leaves at 3 p.m. from here."
)


run = functools.partial(call_recipe, recipe)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a finished run on part of the toy letters."""
    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    recipe.train(
        recipe.Config(
            output=output,
            limit=1200,
            epochs=3,
            averaging=0.9,
            max_words=24,
            parity_texts=40,
            explained=20,
        )
    )
    return output


@pytest.fixture(scope="module")
def read(finished):
    reader = classifier.Reader.load(finished, recipe.NAME, "model.tflite")
    return lambda text: hierarchy.answer(reader, text)


class TestContract(TextContract):
    recipe = recipe
    units = ("word", "sentence")
    card = ("tf-idf", "grammar", "mean pooling")
    agreement = {"tflite_int8": 0.95, "tflite": 1.0, "saved_model": 1.0, "tflite_float16": 1.0}
    bad_flags = ((["--max-words", "2"], "--max-words must be at least 4. Received: 2"),)
    tfds = ("ag_news_subset", "ag_news")
    quick = (
        "--explained 0 --no-baselines --limit 60 --epochs 1 --parity-texts 2 --max-words 24".split()
    )
    text = "The kettle by the blue wall was older than the oven."
    weights = ("sentences",)
    toy = {
        "scores": {"accuracy": 0.9983, "log_loss": 0.0066, "macro_f1": 0.9983},
        "baselines": {
            "most frequent label": 0.2,
            "tf-idf, linear SVM": 0.8433,
            "mean pooling at both levels": 0.9267,
        },
        "epochs": 3,
        "parameters": 47777,
    }


def test_accuracy_is_above_the_baselines(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["scores"]["accuracy"] >= 0.96
    baselines = metrics["baselines"]
    assert baselines.pop("most frequent label") == pytest.approx(0.2)  # five labels
    assert set(baselines) == {"tf-idf, linear SVM", "mean pooling at both levels"}
    for accuracy in baselines.values():
        assert 0.75 < accuracy < metrics["scores"]["accuracy"] - 0.02


def test_exact_exports_give_the_models_numbers(finished):
    forms = json.loads((finished / "parity.json").read_text())["forms"]
    for form in ("tflite", "saved_model"):
        for figures in forms[form]["signatures"].values():
            assert figures["difference"] < 1e-4


def test_largest_weights_fall_on_what_decides(read):
    _, _, letters = toy_documents.splits()
    sentence_hits, word_hits = [], []
    for letter in letters[:120]:
        answer = read(letter.text)
        for hits, spans, weights, deciding in (
            (sentence_hits, *answer.sentences, letter.deciding_sentences),
            (word_hits, *answer.words, letter.deciding),
        ):
            start, end = spans[int(np.argmax(weights))]
            hits.append(any(start < stop and begin < end for begin, stop in deciding))
    assert np.mean(sentence_hits) >= 0.95
    assert np.mean(word_hits) >= 0.95


def test_what_was_only_dreamed_counts_less(read):
    for frame in ("Last night I dreamed that {}.", "{}, as I read in a novel."):
        text = "The kettle stood beside the oven for 3 days. " + frame.format(
            "The horse stood beside the saddle for 3 days"
        )
        _, (plain, framed) = read(text).sentences
        assert framed < 0.5 * plain
        assert read(text).label == "kitchen"


def test_sentences_are_those_of_the_rule_and_weights_sum_to_one(read):
    answer = read(LETTER)
    assert [LETTER[start:end].strip() for start, end in answer.sentences[0]] == [
        "To my sister",
        "Last night I dreamed that the horse stood beside the saddle.",
        "The kettle by the blue wall was older than the oven!",
        "The bus costs 2.50 and leaves at 3 p.m. from here.",
    ]
    assert answer.label == "kitchen"
    assert answer.sentence_labels[1:3] == ["stable", "kitchen"]
    np.testing.assert_allclose(sum(answer.sentences[1]), 1, rtol=1e-5)
    np.testing.assert_allclose(sum(answer.words[1]), 1, rtol=1e-5)
    words = [LETTER[start:end] for start, end in answer.words[0]]
    assert words[:5] == ["To", "my", "sister", LETTER[13], "Last"]  # a mark at the empty line


@pytest.fixture(scope="module")
def model(finished):
    import keras

    return keras.models.load_model(finished / "model.keras")


def _ids(finished, *texts):
    tokenizer = wordpiece.fast_tokenizer((finished / "vocabulary.txt").read_text().split("\n")[:-1])
    return wordpiece.tokenize(tokenizer, [sentences.mark_paragraphs(text) for text in texts])


def test_evidence_sums_to_the_decision_and_padding_is_invisible(finished, model):
    (ids,) = _ids(finished, LETTER)
    outputs = {name: np.array(value) for name, value in model(ids[None]).items()}
    np.testing.assert_allclose(outputs["sentences"].sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(outputs["words"].sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(outputs["grid"][outputs["grid"] > 0], ids)
    assert not outputs["words"][outputs["grid"] == 0].any()
    logits = outputs["evidence"].sum(1) + np.array(model.get_layer("bias").bias)
    softmax = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(outputs["probability"], softmax, atol=1e-5)
    padded = model(np.pad(ids, (0, 30))[None])
    for name in ("probability", "sentences", "words"):
        np.testing.assert_allclose(padded[name], outputs[name], atol=1e-5)


def test_a_document_stands_alone_in_its_batch(finished, model):
    texts = _ids(finished, LETTER, "The rose.", "", "Zzz zzz")
    ids = np.zeros((4, max(map(len, texts))), "int32")
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    together = model(ids)
    for index in (0, 1):
        alone = model(texts[index][None])
        np.testing.assert_allclose(
            together["probability"][index], alone["probability"][0], atol=1e-5
        )
    # Nothing known: the labels' frequencies, and no weight on anything.
    np.testing.assert_array_equal(np.array(together["words"])[2:], 0)
    np.testing.assert_array_equal(np.array(together["sentences"])[2:], 0)
    np.testing.assert_allclose(together["probability"][2], together["probability"][3], rtol=1e-5)
    assert np.isfinite(np.array(together["probability"])).all()


def test_both_levels_are_pooled_by_the_librarys_layer(finished, model):
    import keras_attention as ka

    assert isinstance(model.get_layer("attention"), ka.HierarchicalAttention)
    (ids,) = _ids(finished, LETTER)
    maps = ka.attention_maps(model, ids[None])
    outputs = model(ids[None])
    np.testing.assert_allclose(maps["attention/sentences"], outputs["sentences"], atol=1e-6)
    # A share of an n-gram is spread over its pieces: the sum over the sentence stays.
    sums = maps["attention/words"].sum(-1)
    np.testing.assert_allclose(sums, np.array(outputs["words"]).sum(-1), atol=1e-5)


def test_a_phone_that_splits_the_ids_itself_finds_the_same_sentences(finished, model):
    (ids,) = _ids(finished, LETTER)
    pieces = (finished / "vocabulary.txt").read_text().split("\n")[:-1]
    expected = sentences.split(ids, sentences.kinds_of(pieces), max_words=24)
    grid = np.array(model(ids[None])["grid"])[0]
    assert [row[row > 0].tolist() for row in grid] == expected


def test_the_hierarchy_over_another_encoder(tmp_path, capfd, monkeypatch):
    folder, two = tmp_path / "out", ("saved_model", "tflite")  # the others alike
    monkeypatch.setattr(exports, "FORMS", {form: recipe.FORMS[form] for form in two})
    flags = [*TestContract.quick, "--encoder", "transformer", "--explained", "10"]
    assert run("train", *flags, "--output", folder) == 0
    card = (folder / "README.md").read_text()
    assert "| sentences by |" in card and "gradients" not in card
    capfd.readouterr()
    for form in two:
        assert run("predict", folder, "--form", form, LETTER) == 0
        out = capfd.readouterr().out
        assert re.search(r"^  0\.\d\d  The kettle by the blue wall", out, re.MULTILINE)
    assert "by self-attention" in (folder / "README.md").read_text()


# ------------------------------------------------------------------------------------ predict


def test_predict_names_the_sentences_that_count(finished, capfd):
    assert run("predict", finished, LETTER) == 0
    out = capfd.readouterr().out
    assert out.startswith("kitchen ")
    assert re.search(r"^  0\.\d\d  kitchen: The kettle by the blue wall", out, re.MULTILINE)
    assert re.search(r"\[0\.\d\d\] The(\(0\.\d+\))? kettle", out)


def test_predict_reads_a_file_as_one_document(finished, tmp_path, capfd):
    (tmp_path / "letter.txt").write_text("The <b>rose</b> by the pond.\n\nThe tulip.\n")
    page = tmp_path / "page.html"
    assert run("predict", finished, "--file", tmp_path / "letter.txt", "--html", page) == 0
    assert [line for line in capfd.readouterr().out.splitlines() if line.startswith("garden ")]
    assert page.read_text().count("<h2>") == 1 and "sentence 0." in page.read_text()


def test_predict_without_a_document(finished, tmp_path, capfd):
    assert run("predict", finished, "--file", tmp_path / "none.txt") == 2
    one_line(capfd, "none.txt")
    (tmp_path / "empty.txt").write_text(" \n")
    assert run("predict", finished, "--file", tmp_path / "empty.txt") == 2
    one_line(capfd, "Expected documents")


@pytest.mark.slow
def test_the_page_says_in_a_browser_what_predict_says(finished, read, tmp_path):
    runtime, _ = browser.needed()
    command = ["web", finished, LETTER, "--output", tmp_path / "page", "--runtime", runtime]
    web = (web_page.DocumentsWebConfig, recipe.web)
    assert run(*command, "--length", 6, web=web) == 0
    with browser.open_page(tmp_path / "page") as page:
        too_long = "The horse by the xylophone and the kettle " * 8  # for a sentence
        for text in (LETTER, "The rose by the pond. " * 3, too_long):
            answer = read(text)
            label, probability, marks = browser.read_text(page, text)
            assert (label, probability) == (
                answer.label,
                pytest.approx(answer.probability, abs=6e-4),
            )
            # Words are marked with their share and that of their sentence, gaps with the latter.
            words = [
                (part, *map(float, title.split(", sentence ")))
                for part, title in marks
                if not title.startswith("sentence ")
            ]
            spans, weights = answer.words
            assert [part for part, *_ in words] == [text[start:end] for start, end in spans]
            np.testing.assert_allclose([w for _, w, _ in words], weights, rtol=6e-3, atol=1e-6)
            own = [
                weight
                for start, _ in spans
                for (first, last), weight in zip(*answer.sentences, strict=True)
                if first <= start < last
            ]
            np.testing.assert_allclose([w for *_, w in words], own, rtol=6e-3, atol=1e-6)
        browser.read_text(page, "The rose by the pond. " * 7)
        assert "6 words and signs, was not read" in page.locator("#unread").inner_text()
