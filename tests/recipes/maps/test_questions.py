"""The maps of a reader of passages: where answers begin without some words of the question."""

import dataclasses

import numpy as np
import pytest

from recipes import question_answering as recipe
from recipes.data.reading import Split
from recipes.kit import flags
from recipes.maps import questions
from recipes.text import offsets

TOKENS = offsets.Pieces("[PAD] [UNK] ida leo b ##uilt a boat who it ? .".split())
SPLIT = Split(
    questions=["Who built a boat?", "Leo built?"],
    contexts=["Ida built a boat. Leo built it.", "Leo built a boat."],
    answers=[(("Ida", 0),), (("Leo", 0),)],
    titles=["", ""],
)
CONFIG = flags.settle(recipe.Config(tokens="pieces", metric="words", units=8, explained=9), 2)


@pytest.fixture(scope="module")
def models():
    """The model to train, which gives the logits, and the model to use."""
    training, model = recipe.build_model(CONFIG, len(TOKENS.names))
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.5 * rng.normal(size=weight.shape))
    return training, model


@pytest.fixture(scope="module")
def maps(models):
    (maps,) = questions.maps_of(CONFIG, models[1], SPLIT, TOKENS)
    return maps


def starts(training, question, context):
    logits = np.array(training({"question": question[None], "context": context[None]})["start"][0])
    return np.exp(logits - np.logaddexp.reduce(logits))


def test_parts_are_words_and_the_decision_is_where_the_answer_begins(models, maps):
    assert maps.unit == "word" and maps.file == "explanation_words.html"
    shown = [[text[start:end] for start, end in spans] for text, spans in maps.shown]
    assert shown == [["Who", "built", "a", "boat", "?"], ["Leo", "built", "?"]]
    found = maps.predict(maps.inputs)
    for row, text, passage in zip(found, SPLIT.questions, SPLIT.contexts, strict=True):
        question, context = TOKENS.encode(text)[0], TOKENS.encode(passage)[0]
        np.testing.assert_allclose(
            row[: len(context)], starts(models[0], question, context), atol=1e-5
        )
        assert not row[len(context) :].any()


def test_words_that_are_removed_are_padding_at_their_places(models, maps):
    keep = np.array([[True, False, True, True, True], [False, True, True, False, False]])
    found = maps.predict(maps.options["remove"](maps.inputs, keep))
    question, _ = TOKENS.encode("Who built a boat?")
    question[1:3] = 0  # a word of two pieces
    expected = starts(models[0], question, TOKENS.encode(SPLIT.contexts[0])[0])
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    nothing = maps.predict(maps.options["remove"](maps.inputs, np.zeros_like(keep)))
    np.testing.assert_allclose(nothing.sum(axis=1), 1, atol=1e-5)


def test_weights_are_those_of_the_step_where_the_answer_begins(models, maps):
    inputs = [TOKENS.encode(text)[0][None] for text in (SPLIT.questions[0], SPLIT.contexts[0])]
    outputs = models[1](dict(zip(("question", "context"), inputs, strict=True)))
    start = starts(models[0], *(ids[0] for ids in inputs)).argmax()
    who, start_of, end_of, *others = np.array(outputs["weights"])[0, start]
    np.testing.assert_allclose(maps.weights[0], [who, start_of + end_of, *others], atol=1e-5)
    assert maps.options["mask"].tolist() == [[True] * 5, [True] * 3 + [False] * 2]


def test_of_characters_each_is_a_part_and_long_texts_are_cut():
    tokens = offsets.Characters.learn([*SPLIT.contexts, *SPLIT.questions])
    config = dataclasses.replace(CONFIG, tokens="characters", max_question=3, max_context=5)
    _, model = recipe.build_model(config, len(tokens.names))
    (maps,) = questions.maps_of(config, model, SPLIT, tokens)
    assert maps.unit == "character" and maps.weights.shape == (2, 3)
    assert maps.predict(maps.inputs).shape == (2, 5)


def test_a_passage_that_does_not_look_at_the_question_has_no_map(models):
    for options in ({"context_to_question": False}, {"explained": 0}):
        config = dataclasses.replace(CONFIG, **options)
        assert questions.maps_of(config, models[1], SPLIT, TOKENS) == []
