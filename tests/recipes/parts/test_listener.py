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
    return model


def speech_of(**changes):
    from recipes.parts import listener
    from recipes.text.transcripts import Transcripts

    facts = {"sample_rate": 2000, "bands": BANDS, "window": 64, "hop": 20}
    facts |= {"tokens_per_step": 0.5, "max_tokens": 40, **changes}
    return listener.Speech(Transcripts(WORDS, " "), **facts)


@pytest.fixture(scope="module")
def model():
    return model_of()


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
    import tensorflow as tf

    from recipes.parts import listener
    from recipes.parts.speech_batches import pad_frames

    speech, some = speech_of(), frames_of(30, 81, 52, 4)
    together = listener.search(
        model, *map(tf.constant, pad_frames(some, 90)), speech=speech, beams=3
    )
    assert together["ids"].numpy().any()
    for row, one in enumerate(some):
        alone = listener.search(
            model, tf.constant(one[None]), tf.constant([len(one)]), speech=speech, beams=3
        )
        ids, weights = (alone[name].numpy()[0] for name in ("ids", "weights"))
        np.testing.assert_array_equal(together["ids"].numpy()[row, : len(ids)], ids)
        assert not together["ids"].numpy()[row, len(ids) :].any()
        np.testing.assert_allclose(
            together["weights"].numpy()[row, : len(ids), : weights.shape[1]], weights, atol=1e-5
        )
        np.testing.assert_allclose(weights.sum(1), ids > 0, atol=1e-5)


@pytest.mark.parametrize("beams", [1, 2])
def test_a_long_sound_may_have_a_longer_text(model, beams):
    import tensorflow as tf

    from recipes.parts import listener

    head = model.get_layer("head")
    kernel, bias = head.get_weights()
    bias = bias - 50.0 * (np.arange(len(WORDS)) == 2)  # it never ends by itself
    speech = speech_of(tokens_per_step=0.25, max_tokens=8)
    try:
        head.set_weights([0 * kernel, bias])
        for frames, most in ((8, 3), (32, 4), (64, 6), (400, 8)):
            (one,) = frames_of(frames)
            found = listener.search(
                model, tf.constant(one[None]), tf.constant([frames]), speech=speech, beams=beams
            )
            ids = found["ids"].numpy()[0]
            assert len(ids) == most == speech.most_tokens(frames)
            # The last is the end, where the sound's length allows no more.
            assert (ids > 3).sum() == (most if most == 8 else most - 1)
    finally:
        head.set_weights([kernel, bias + 50.0 * (np.arange(len(WORDS)) == 2)])


def test_nothing_is_written_of_nothing(model):
    import tensorflow as tf

    from recipes.parts import listener

    found = listener.search(
        model, tf.zeros((2, 8, BANDS)), tf.constant([0, 8]), speech=speech_of(), beams=1
    )
    assert not found["ids"].numpy()[0].any()
    assert not found["weights"].numpy()[0].any()


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


# ------------------------------------------------------------------------------- streaming


@pytest.fixture(scope="module")
def monotonic():
    model = model_of(attention="monotonic", direction="forward", layers=2)
    model.get_layer("decoder").attention.offset.assign(-0.5)
    return model


def test_a_stream_writes_what_the_whole_sound_gives(monotonic):
    from recipes.parts import listener, log_mel, streaming

    speech = speech_of()
    stream = streaming.Stream(monotonic, speech)
    transcribe = listener.transcriber(monotonic, speech)
    early = words = 0
    for count in (30, 1999, 3217):
        samples = RNG.normal(0, 0.2, count).astype("float32")
        written = []
        for chunk in np.array_split(samples, 13):
            written += stream.hear(chunk)
        early += len(written)
        written += stream.finish()
        words += len(written)
        (whole,) = transcribe(log_mel.frames_of(speech.log_mel(), [samples]))
        assert " ".join(token for token, _ in written) == whole
        times = [time for _, time in written if time is not None]
        assert times == sorted(times)  # it only moves forward
    assert 0 < early <= words
