"""The maps of a summarizer: the next word, also a copied one, without some words of a document."""

import dataclasses

import numpy as np
import pytest

import keras_attention as ka
from recipes import summarization as recipe
from recipes.data.summaries import Split
from recipes.kit import flags
from recipes.maps import summaries
from recipes.text import detokenize
from recipes.text.copyable import START, Copyable

PIECES = "[PAD] [UNK] [START] [END] . saw A ##d ##n ##o".split()
KNOWN = Copyable(PIECES, detokenize.Spacing.learn(["Ado saw."]), max_words=9)
SPLIT = Split(
    documents=["Ado saw Ann. Ann saw. ", "", "Aon saw Ado."],
    summaries=[("Ann saw.", "Ado saw."), ("A.",), ("Ado saw Aon.",)],
)


def made(architecture):
    """The settings and a model to use, with weights that are no longer those of the start."""
    config = recipe.Config(
        architecture=architecture, units=8, heads=2, layers=1, feedforward=8, max_document=9,
        explained=9,
    )  # fmt: skip
    config = flags.settle(config, 10)
    _, model = recipe.build_model(config, KNOWN.known)
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.5 * rng.normal(size=weight.shape))
    return config, model


@pytest.fixture(scope="module", params=["recurrent", "transformer"])
def maps(request):
    """The model, and its maps."""
    config, model = made(request.param)
    (maps,) = summaries.maps_of(config, model, SPLIT, KNOWN)
    return model, maps


def likelihoods(model, source, written):
    """What the model itself says of each word that may come next, `(V,)`."""
    rows = KNOWN.size
    target = np.tile([START, *written], (rows, 1))
    labels = np.zeros_like(target)
    labels[:, -1] = np.arange(rows)
    given = {"source": np.tile(source, (rows, 1)), "target": target, "labels": labels}
    outputs = model({name: x.astype("int32") for name, x in given.items()})
    return np.exp(np.array(outputs["log_likelihood"])[:, -1])


def test_probabilities_are_those_of_the_known_words_and_of_the_copied(maps):
    model, maps = maps
    found = maps.predict(maps.inputs)
    for row, one in zip(found, maps.inputs, strict=True):
        expected = likelihoods(model, one.source, one.written)[: len(row)]
        np.testing.assert_allclose(row, expected, atol=1e-5)
        assert row.sum() == pytest.approx(1, abs=1e-4)
        assert row[KNOWN.known :].max() > 0  # of "Ado" and "Ann", which no vocabulary has


def test_without_words_the_rest_is_the_document(maps):
    model, maps = maps
    keep = np.ones(maps.weights.shape, bool)
    keep[:, [0, 2]] = False
    removed = maps.options["remove"](maps.inputs, keep)
    for row, one, whole in zip(maps.predict(removed), removed, maps.inputs, strict=True):
        source = np.delete(whole.source, [0, 2])
        assert one.source.tolist() == source.tolist()
        expected = likelihoods(model, source, whole.written)[: len(row)]
        np.testing.assert_allclose(row, expected, atol=1e-5)
    nothing = maps.predict(maps.options["remove"](maps.inputs, np.zeros_like(keep)))
    assert np.isfinite(nothing).all() and not nothing[:, KNOWN.known :].any()


def test_weights_are_those_that_copy(maps):
    model, maps = maps
    for row, one in zip(maps.weights, maps.inputs, strict=True):
        target = np.array([[START, *one.written]], "int32")
        given = {"source": one.source[None], "target": target, "labels": np.zeros_like(target)}
        of_layer = ka.attention_maps(model, given)
        weights = of_layer.get("copy", of_layer.get("decoder"))[0, -1]
        np.testing.assert_allclose(row[: len(one.source)], weights, atol=1e-5)


def test_words_are_shown_and_what_is_written_next(maps):
    _, maps = maps
    shown = [[text[start:end] for start, end in spans] for text, spans in maps.shown]
    assert shown == ["Ado saw Ann . Ann saw .".split(), "Aon saw Ado .".split()]  # not the empty
    for heading, one in zip(maps.headings, maps.inputs, strict=True):
        written = KNOWN.names(one.written, one.names)
        assert heading.startswith(f"{' '.join(written)} [") and heading.endswith("]")


def test_a_long_document_is_cut_and_no_example_gives_no_map(monkeypatch):
    monkeypatch.setattr(summaries, "WORDS", 2)
    config, model = made("recurrent")
    (maps,) = summaries.maps_of(config, model, SPLIT, KNOWN)
    assert maps.weights.shape == (2, 2) and maps.shown[0] == ("Ado saw", [(0, 3), (4, 7)])
    assert maps.predict(maps.inputs).shape[0] == 2
    config = dataclasses.replace(config, explained=0)
    assert summaries.maps_of(config, model, SPLIT, KNOWN) == []
