"""The sentiment recipe, as its users run it."""

import functools
import json
import re

import numpy as np
import pytest

from recipes import sentiment_analysis as recipe
from recipes.data.toy import reviews as toy_reviews
from recipes.text import classifier, web_page, wordpiece
from tests.recipes import browser
from tests.recipes.command import call_recipe
from tests.recipes.parts import tiny_presets
from tests.recipes.text_contract import TextContract
from tests.recipes.web import test_tokenizer

ANSI = re.compile("\x1b\\[[0-9;]*m")


run = functools.partial(call_recipe, recipe)


@pytest.fixture
def finished(toy_run):
    return toy_run


@pytest.fixture
def read(toy_run):
    return classifier.Reader.load(toy_run, recipe.NAME, "model.tflite")


class TestContract(TextContract):
    recipe = recipe
    units = ("word",)
    files = ("labels.txt", "vocabulary.txt", "model_full_int8.tflite")
    card = ("tf-idf", "grammar", "mean pooling")
    bad_flags = (
        (["--dropout", "nan"], "--dropout must be at least"),
        (
            ["--encoder", "lstm"],
            "--encoder must be ngrams, gru, cnn, .*or a folder. Received: lstm",
        ),
        (["--encoder", "recipes"], "Cannot read the encoder in --encoder .*recipes"),
        (["--fine-tune", "--encoder", "cnn"], "--fine-tune needs a pretrained encoder"),
        (["--full-int8", "--encoder", "gru"], "--full-int8 cannot hold the loop"),
    )
    tfds = ("imdb_reviews", "imdb_review")
    quick = "--explained 0 --no-baselines --limit 200 --epochs 2 --parity-texts 4".split()
    text = "The staff was never boring."
    toy = {
        "scores": {"accuracy": 0.999, "log_loss": 0.0037, "macro_f1": 0.999},
        "baselines": {
            "most frequent label": 0.5,
            "tf-idf, logistic regression": 0.945,
            "mean pooling": 0.996,
        },
        "epochs": 5,
        "parameters": 107432,
    }


def test_accuracy_is_above_the_baselines(toy_run):
    metrics = json.loads((toy_run / "metrics.json").read_text())
    assert metrics["scores"]["accuracy"] >= 0.97
    baselines = metrics["baselines"]
    assert baselines.pop("most frequent label") == pytest.approx(0.5, abs=0.05)
    assert set(baselines) == {"tf-idf, logistic regression", "mean pooling"}
    for accuracy in baselines.values():
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


def test_evidence_sums_to_the_decision(toy_run):
    import keras

    model = keras.models.load_model(toy_run / "model.keras")
    tokenizer = wordpiece.fast_tokenizer((toy_run / "vocabulary.txt").read_text().split("\n")[:-1])
    (ids,) = wordpiece.tokenize(tokenizer, ["The plot was never dull, but the music was dreadful."])
    outputs = {name: np.array(value) for name, value in model(ids[None]).items()}
    logits = outputs["evidence"].sum(1) + np.array(model.get_layer("bias").bias)
    softmax = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(outputs["probability"], softmax, atol=1e-5)


def test_attention_maps_reads_the_trained_model(toy_run):
    import keras

    import keras_attention as ka

    model = keras.models.load_model(toy_run / "model.keras")
    weights = ka.attention_maps(model, np.array([[5, 6, 7]], "int32"))["attention"]
    assert weights.shape == (1, 9)


def test_a_negation_turns_the_word_behind_it(toy_run, capfd, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert run("predict", toy_run, TestContract.text, "The soup was not good.") == 0
    first, second = capfd.readouterr().out.splitlines()
    assert first.startswith("positive ") and re.search(r"never\(\S+ boring\(", first)
    assert second.startswith("negative ")


@pytest.mark.parametrize("encoder", ["gru", "pretrained"])
def test_other_encoders_are_trained_exported_and_read(encoder, tmp_path, capfd, monkeypatch):
    two = ("saved_model", "tflite")  # the others alike
    monkeypatch.setattr(recipe, "FORMS", {form: recipe.FORMS[form] for form in two})
    if encoder == "pretrained":
        tiny_presets.save_bert(tmp_path / "tiny")
        encoder = tmp_path / "tiny"
    folder = tmp_path / "out"
    flags = [*TestContract.quick, "--encoder", encoder, "--explained", 10, "--output", folder]
    of_ids_alone = encoder == "gru"
    flags += ["--no-text-signature"] * of_ids_alone
    assert run("train", *flags) == 0
    assert "word pieces" in capfd.readouterr().out
    card = (folder / "README.md").read_text()
    assert "a bidirectional GRU" in card or "a pretrained transformer" in card
    assert ("| integrated gradients |" in card) == ("a bidirectional GRU" in card)
    assert "| leave-one-out |" in card
    forms = json.loads((folder / "parity.json").read_text())["forms"]
    for form in ("saved_model", "tflite"):
        has_text = form == "saved_model" or not of_ids_alone
        assert set(forms[form]["signatures"]) == {"ids", *["text"] * has_text}
    assert ("no signatures of raw text" in card) == of_ids_alone
    for form in two:
        assert run("predict", folder, "--form", form, "--format", "jsonl", "It was good.") == 0
        answer = json.loads(capfd.readouterr().out)
        assert [word for word, _ in answer["words"]] == ["It", "was", "good", "."]
        assert sum(weight for _, weight in answer["words"]) == pytest.approx(1, abs=1e-4)
    assert run("predict", folder, "") == 0  # an empty text is one, too


# ------------------------------------------------------------------------------- in a browser

TOKENIZE = """async (texts) => {
    const {Tokenizer} = await import("./tokenizer.js");
    const {file, lines} = await import("./page.js");
    const characters = await (await file("characters.json")).json();
    const tokenizer = new Tokenizer(await lines("vocabulary.txt"), characters);
    return texts.map((text) => tokenizer.encodeWords(text).flatMap((word) => word.ids));
}"""


@pytest.mark.slow
def test_the_page_says_in_a_browser_what_predict_says(toy_run, read, tmp_path):
    runtime, _ = browser.needed()
    text = "The soup was cold, but the staff <b>was never boring</b>!"
    index = {piece: number for number, piece in enumerate(read.vocabulary)}
    length = 4 * len(wordpiece.encode(index, TestContract.text))
    command = ["web", toy_run, TestContract.text, "--output", tmp_path / "page"]
    command += ["--runtime", runtime, "--length", length]
    assert run(*command, web=(web_page.WebConfig, recipe.web)) == 0
    with browser.open_page(tmp_path / "page") as page:
        browser.wait_for_text(page, TestContract.text)  # the example is read at once
        assert page.locator("#examples button").all_inner_texts() == [TestContract.text]
        for one in (text, TestContract.text, "Zzz zzz 😀"):
            label, probability, outputs = read(one)
            spans, weights = read.words(one, outputs["weights"])
            found = browser.read_text(page, one)
            assert found[:2] == (label, pytest.approx(probability, abs=6e-4))
            assert [part for part, _ in found[2]] == [one[start:end] for start, end in spans]
            shown = [float(weight) for _, weight in found[2]]
            np.testing.assert_allclose(shown, weights, rtol=6e-3, atol=1e-6)
            assert page.locator("#unread").inner_text() == ""
        # What is too long is read as far as it goes, and the page says so.
        first = f"{TestContract.text} " * 4
        _, probability, outputs = read(first)
        spans, _ = read.words(first, outputs["weights"])
        found = browser.read_text(page, first * 2)
        assert found[1] == pytest.approx(probability, abs=6e-4) and len(found[2]) == len(spans)
        unread = (
            f"The grey rest, {len(spans)} words and signs, was not read: this page reads {length}"
        )
        assert unread in page.locator("#unread").inner_text()
        assert "".join(page.locator("#words .unread").all_text_contents()) == first
        # The browser's Unicode is none of Python's versions.
        texts = [*test_tokenizer.TRICKY, *test_tokenizer.random_texts(500)]
        expected = [wordpiece.encode(index, text) for text in texts]
        assert page.evaluate(TOKENIZE, texts) == expected
