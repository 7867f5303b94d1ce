"""Speech that is written while it is heard: what the whole sound gives, and before its end."""

import numpy as np
import pytest

from tests.backend import needs_tensorflow
from tests.recipes.parts.test_listener import model_of, speech_of

pytestmark = needs_tensorflow

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def monotonic():
    model = model_of(attention="monotonic", direction="forward", layers=2)
    attention = model.get_layer("decoder").attention
    attention.gain.assign(3.0)  # so that it stops at some steps and goes on at others
    attention.offset.assign(0.0)
    return model


def test_a_stream_writes_what_the_whole_sound_gives(monotonic):
    from recipes.parts import listener, log_mel, streaming

    speech = speech_of()
    stream = streaming.Stream(monotonic, speech)
    transcribe = listener.transcriber(monotonic, speech)
    early = words = 0
    for count in (30, 1999):
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
