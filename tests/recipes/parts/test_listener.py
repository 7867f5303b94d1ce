"""The recognizer's parts: its front, its search, and where it listened, with weights at random."""

import dataclasses

import numpy as np
import pytest

from tests.backend import needs_tensorflow

pytestmark = needs_tensorflow

RNG = np.random.default_rng(0)
WORDS = ["[PAD]", "[START]", "[END]", "[UNK]", "do", "re", "mi", "fa"]
BANDS = 12


def model_of(**options):
    import keras

    from recipes import speech_recognition

    keras.utils.set_random_seed(1)
    config = speech_recognition.Config(units=16, filters=3, bands=BANDS, **options)
    statistics = np.zeros(BANDS), np.ones(BANDS)
    model = speech_recognition.build_model(config, len(WORDS), statistics, config.attention)
    for variable in model.trainable_variables:  # of which something comes
        variable.assign(RNG.normal(0, 0.5, variable.shape))
    head = model.get_layer("head")
    head.bias.assign(head.bias - 3.0 * (np.arange(len(WORDS)) == 2))  # the end comes late
    return model


def speech_of(**changes):
    from recipes.parts import listener
    from recipes.text.transcripts import Transcripts

    facts = {"sample_rate": 2000, "bands": BANDS, "window": 64, "hop": 20}
    facts |= {"tokens_per_100_steps": 50, "max_tokens": 40, **changes}
    return listener.Speech(Transcripts(WORDS, " "), **facts)


@pytest.fixture(scope="module")
def model():
    return model_of()


def searched(model, speech, beams):
    """The search as one graph: frames `(B, T, bands)` and lengths to a dict of arrays."""
    import tensorflow as tf

    from recipes.parts import listener

    specs = tf.TensorSpec((None, None, BANDS)), tf.TensorSpec((None,), tf.int32)
    run = tf.function(
        lambda frames, length: listener.search(model, frames, length, speech=speech, beams=beams),
        input_signature=specs,
        autograph=False,
    )
    return lambda frames, length: {name: x.numpy() for name, x in run(frames, length).items()}


def frames_of(*lengths):
    return [RNG.normal(0, 1, (length, BANDS)).astype("float32") for length in lengths]


def test_the_front_quarters_the_steps_and_sees_no_padding():
    from recipes.parts import listener

    front = listener.ConvolutionalFront(3, 8, np.ones(BANDS), np.full(BANDS, 4.0))
    for length in (1, 6, 7, 8, 9, 40):
        (alone,) = frames_of(length)
        x, mask = front(alone[None], np.array([length]))
        assert x.shape == (1, listener.steps_of(length), 8) and np.all(mask)
        padded = np.concatenate([alone, np.full((7, BANDS), np.nan, "float32")])
        y, mask = front(padded[None], np.array([length]))
        assert np.sum(mask) == x.shape[1]
        np.testing.assert_allclose(y[0, : x.shape[1]], x[0], atol=1e-5)
        spec = front.compute_output_spec(np.zeros((1, length, BANDS)), np.zeros(1))
        assert [tuple(one.shape) for one in spec] == [x.shape, x.shape[:2]]


def test_a_step_of_the_front_reaches_three_frames_to_each_side():
    from recipes.parts import listener

    front = listener.ConvolutionalFront(3, 8, np.zeros(BANDS), np.ones(BANDS))
    (frames,) = frames_of(40)
    before = np.array(front(frames[None], np.array([40]))[0])
    reached = []
    for frame in range(40):
        changed = frames.copy()
        changed[frame] += 5
        after = np.array(front(changed[None], np.array([40]))[0])
        reached += [frame] * bool(np.abs(after - before)[0, 4].max() > 1e-6)
    assert reached and min(reached) >= 13 and max(reached) <= 19


def test_what_is_written_does_not_depend_on_what_is_beside_it(model):
    from recipes.parts.speech_batches import pad_frames

    some = frames_of(30, 81, 52, 4)
    search = searched(model, speech_of(), beams=3)
    frames, lengths = pad_frames(some, 90)
    together = search(frames, lengths)
    assert len({tuple(row) for row in together["ids"]}) > 1
    for row, one in enumerate(some):
        alone = search(one[None], [len(one)])
        ids, weights = alone["ids"][0], alone["weights"][0]
        np.testing.assert_array_equal(together["ids"][row, : len(ids)], ids)
        assert not together["ids"][row, len(ids) :].any()
        beside = together["weights"][row, : len(ids), : weights.shape[1]]
        np.testing.assert_allclose(beside, weights, atol=1e-5)
        np.testing.assert_allclose(weights.sum(1), ids > 0, atol=1e-5)
    nothing = search(frames[[1, 0]], [0, 30])
    assert not nothing["ids"][0].any() and not nothing["weights"][0].any()
    np.testing.assert_array_equal(nothing["ids"][1], together["ids"][0])


def test_a_longer_sound_may_have_a_longer_text(model):
    head = model.get_layer("head")
    before = head.get_weights()
    speech = speech_of(tokens_per_100_steps=25, max_tokens=8)
    search = searched(model, speech, beams=2)
    try:
        # It never ends by itself.
        head.set_weights([0 * before[0], -50.0 * (np.arange(len(WORDS)) == 2)])
        for frames, most in ((8, 3), (32, 4), (64, 6), (400, 8)):
            (one,) = frames_of(frames)
            ids = search(one[None], [frames])["ids"][0]
            assert len(ids) == most == speech.most_tokens(frames)
            assert (ids > 3).sum() == most - 1  # and the end, which is not shown
    finally:
        head.set_weights(before)


def test_texts_come_back_in_order(model):
    from recipes.parts import listener

    speech, some = speech_of(), frames_of(60, 8, 41, 100, 33)
    transcribe = listener.transcriber(model, speech, rows=2)
    assert [transcribe([one])[0] for one in some] == transcribe(some)


def test_speech_is_saved_and_what_is_broken_is_told(tmp_path):
    from recipes.kit.errors import UserError
    from recipes.parts import listener

    speech = speech_of()
    (tmp_path / listener.FILE).write_text(speech.dumps())
    loaded = listener.Speech.load(tmp_path)
    assert loaded.dumps() == speech.dumps()
    assert dataclasses.astuple(loaded)[1:] == dataclasses.astuple(speech)[1:]
    assert speech.seconds(2) == pytest.approx((8 * 20 + 32) / 2000)
    for content in ("", "[]", '{"tokens": ["a"]}', '{"tokens": [], "separator": "", "x": 1}'):
        (tmp_path / listener.FILE).write_text(content)
        with pytest.raises(UserError, match=r"Cannot load .*speech\.json"):
            listener.Speech.load(tmp_path)
