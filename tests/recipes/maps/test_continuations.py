"""The maps of a language model: what is read without some tokens, and where the last one looked."""

import dataclasses

import numpy as np
import pytest

import keras_attention as ka
from recipes import language_modeling as recipe
from recipes.kit import flags
from recipes.maps import continuations
from recipes.text.tokens import BORDER, Characters
from tests.recipes.parts.test_language_model import LENGTH, logits, made

KNOWN = Characters.learn(["a cow", "n"])  # with the marks as many as the model knows
DOCUMENTS = [KNOWN.encode(text) for text in ("a cow", "owa woc", "c")]


def maps_of(model, **options):
    config = recipe.Config(context=LENGTH, explained=99, **options)
    (maps,) = continuations.maps_of(flags.settle(config, 100), model, DOCUMENTS, KNOWN)
    return maps


@pytest.fixture(scope="module", params=["transformer", "recurrent"])
def maps(request):
    """The model, and its maps."""
    model = made(request.param)
    return model, maps_of(model, architecture=request.param)


def test_contexts_are_all_places_of_which_the_next_token_is_known(maps):
    _, maps = maps
    rows = [ids.tolist() for ids, _ in maps.inputs]
    whole = [[BORDER, *document.tolist()] for document in DOCUMENTS]
    assert rows == [row[:end] for row in whole for end in range(2, len(row))]
    # The last token is in the heading, with what the model writes after it.
    assert maps.shown[-1] == ["(border)", *"owa␣w"]
    assert maps.headings[-1].startswith("o [")


def test_without_the_first_tokens_is_as_if_the_text_began_later(maps):
    """Rotary positions are relative; and nothing that is removed is read."""
    model, maps = maps
    contexts = [(ids, _) for ids, _ in maps.inputs if len(ids) > 4]
    keep = np.arange(maps.weights.shape[1])[None] >= np.full((len(contexts), 1), 3)
    found = maps.predict(maps.options["remove"](contexts, keep))
    for row, (ids, _) in zip(found, contexts, strict=True):
        expected = logits(model, ids[None, 3:])[0, -1]
        np.testing.assert_allclose(np.log(row), expected - np.logaddexp.reduce(expected), atol=1e-4)
    alone = maps.predict(maps.options["remove"](contexts, np.zeros_like(keep)))
    for row, (ids, _) in zip(alone, contexts, strict=True):
        expected = logits(model, ids[None, -1:])[0, -1]
        np.testing.assert_allclose(np.log(row), expected - np.logaddexp.reduce(expected), atol=1e-4)


def test_a_recurrent_network_reads_on_without_a_token():
    model = made("recurrent")
    maps = maps_of(model, architecture="recurrent")
    ids, _ = maps.inputs[-1]
    keep = np.ones((1, maps.weights.shape[1]), bool)
    keep[0, 2] = False
    (found,) = maps.predict(maps.options["remove"](maps.inputs[-1:], keep))
    expected = logits(model, np.delete(ids, 2)[None])[0, -1]
    np.testing.assert_allclose(np.log(found), expected - np.logaddexp.reduce(expected), atol=1e-4)


def test_weights_are_those_of_the_last_token_over_the_ones_before(maps):
    model, maps = maps
    ids, _ = maps.inputs[-1]
    given = {"tokens": ids[None], "segment_ids": np.zeros_like(ids[None])}
    heads = list(ka.attention_maps(model, given).values())[-1][0]  # (H, T, T)
    np.testing.assert_allclose(
        maps.weights[-1, : len(ids) - 1], sum(head[-1, :-1] for head in heads) / 3, atol=1e-6
    )
    assert maps.options["mask"].sum(axis=1).tolist() == [len(ids) - 1 for ids, _ in maps.inputs]


def test_no_examples_and_short_contexts():
    model = made()
    config = flags.settle(recipe.Config(context=8, explained=0), 100)
    assert continuations.maps_of(config, model, DOCUMENTS, KNOWN) == []
    config = dataclasses.replace(config, explained=3, context=3)
    (maps,) = continuations.maps_of(config, model, DOCUMENTS, KNOWN)
    assert len(maps.inputs) == 3 and max(len(ids) for ids, _ in maps.inputs) == 3
