"""The maps of a recognizer: the next token without some steps of a sound."""

import numpy as np
import pytest

import keras_attention as ka
from recipes import speech_recognition as recipe
from recipes.data.speech import Split
from recipes.maps import utterances
from recipes.parts import log_mel
from recipes.text.transcripts import START
from tests.recipes.parts.test_listener import WORDS, model_of, speech_of


class Noise:
    """Sounds whose names are their lengths in samples."""

    def read(self, names, rate):
        for name in names:
            yield np.random.default_rng(int(name)).normal(0, 0.3, int(name)).astype("float32")


SPLIT = Split(["500", "910"], ["do re mi", "fa sol do re"], source=Noise())
CONFIG = recipe.Config(explained=9)


@pytest.fixture(scope="module", params=["location", "monotonic"])
def model(request):
    return model_of(attention=request.param)


@pytest.fixture(scope="module")
def maps(model):
    (maps,) = utterances.maps_of(CONFIG, model, SPLIT, speech_of())
    return maps


@pytest.fixture(scope="module")
def frames():
    waveforms = SPLIT.waveforms(speech_of().sample_rate)
    return [x.astype("float32") for x in log_mel.frames_of(speech_of().log_mel(), waveforms)]


def inputs_of(sound, frames):
    tokens = np.array([[START, *sound.written]], "int32")
    return {"frames": frames[None], "length": np.array([len(frames)], "int32"), "tokens": tokens}


def next_token(model, sound, frames):
    logits = np.array(model(inputs_of(sound, frames)))[0, -1]
    return np.exp(logits - np.logaddexp.reduce(logits))


def test_the_decision_is_the_next_token_of_the_true_text(model, maps, frames):
    for row, sound, own, text, heading in zip(
        maps.predict(maps.inputs), maps.inputs, frames, SPLIT.texts, maps.headings, strict=True
    ):
        np.testing.assert_allclose(row, next_token(model, sound, own), atol=1e-5)
        ids = speech_of().transcripts.encode(text)
        assert len(sound.written) < len(ids)
        assert sound.written.tolist() == ids[: len(sound.written)].tolist()
        *written, best = (WORDS[number] for number in (*sound.written, row.argmax()))
        assert heading.split() == [*written, f"[{best}]"]


def test_steps_that_are_removed_get_the_mean_around_their_middle(model, maps, frames):
    keep = np.ones(maps.weights.shape, bool)
    keep[:, 0] = keep[:, 2] = False
    keep[0, 6] = False  # the last of the first sound, of 26 frames
    removed = maps.options["remove"](maps.inputs, keep)
    places = [[0, 1, 6, 7, 8, 9, 22, 23, 24, 25], [0, 1, 6, 7, 8, 9]]
    for row, sound, own, gone in zip(maps.predict(removed), removed, frames, places, strict=True):
        expected = own.copy()
        expected[gone] = own.mean()
        np.testing.assert_allclose(sound.frames, expected, atol=1e-5)
        np.testing.assert_allclose(row, next_token(model, sound, expected), atol=1e-5)


def test_weights_are_those_of_the_drawn_step(model, maps, frames):
    mask = maps.options["mask"]
    assert mask.sum(axis=1).tolist() == [7, 12] == [len(row) for row in maps.shown]
    for row, sound, own in zip(maps.weights, maps.inputs, frames, strict=True):
        weights = ka.attention_maps(model, inputs_of(sound, own))["decoder"][0, -1]
        np.testing.assert_allclose(row[: len(weights)], weights, atol=1e-5)
    assert maps.shown[0][:2] == ["0.02s", "0.06s"]  # hops are of 10 milliseconds, windows of 32


def test_without_attention_or_examples_there_is_no_map(model):
    for options in ({"attention": "none"}, {"explained": 0}):
        config = recipe.Config(**{"explained": 9, **options})
        assert utterances.maps_of(config, model, SPLIT, speech_of()) == []
