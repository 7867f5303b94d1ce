"""Log-mel frames: where a tone lies, and that padding changes nothing."""

import keras
import numpy as np
import pytest

from recipes.parts import log_mel
from tests.backend import needs_tensorflow

RATE = 8000
RNG = np.random.default_rng(0)


def layer():
    return log_mel.LogMel(RATE, bands=20, window=256, hop=80)


def frames(samples):
    return keras.ops.convert_to_numpy(layer()(np.atleast_2d(samples).astype("float32")))


def test_a_tone_is_in_the_band_of_its_frequency_while_it_lasts():
    times = np.arange(RATE) / RATE
    tone = np.sin(2 * np.pi * 1000 * times) * (times > 0.5)
    (found,) = frames(tone)
    assert found.shape == (101, 20)
    mels = 1127 * np.log1p(np.array([60, 4000]) / 700)
    centres = 700 * np.expm1(np.linspace(*mels, 22)[1:-1] / 1127)  # in Hertz
    loud = found[58:96]
    assert (loud.argmax(1) == np.abs(centres - 1000).argmin()).all()
    np.testing.assert_allclose(found[:46], np.log(1e-6), atol=1e-3)


def test_frames_are_those_of_the_definition():
    samples = RNG.normal(0, 0.1, 900).astype("float32")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    part = np.pad(samples, (0, 256))[80 * 9 : 80 * 9 + 256] * window
    energy = np.abs(np.fft.rfft(part, 256)) ** 2
    mel = 1127 * np.log1p(np.arange(129) * RATE / 256 / 700)[:, None]  # of each bin
    edges = np.linspace(*(1127 * np.log1p(np.array([60, 4000]) / 700)), 22)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((mel - left) / (centre - left), (right - mel) / (right - centre))
    bands = energy @ np.maximum(triangles, 0)
    np.testing.assert_allclose(frames(samples)[0, 9], np.log(bands + 1e-6), atol=1e-3)


@pytest.mark.parametrize(("rate", "bands", "window"), [(8000, 40, 256), (48_000, 128, 2048)])
def test_no_product_is_with_a_matrix_that_int8_rounds(rate, bands, window):
    parts = log_mel.LogMel(rate, bands, window, rate // 100)._parts
    assert sum(part.shape[1] for _, part in parts) == bands
    assert max(part.size for _, part in parts) < 1024


def test_a_sound_has_its_frames_whatever_stands_beside_it():
    short, long = RNG.normal(0, 0.1, 500), RNG.normal(0, 0.1, 1777)
    alone = [frames(one)[0] for one in (short, long)]
    together = log_mel.frames_of(layer(), [x.astype("float32") for x in (short, long)])
    assert [len(x) for x in together] == [1 + 500 // 80, 1 + 1777 // 80] == [len(x) for x in alone]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-2)  # kept in 16 bits
    (one_sample,) = log_mel.frames_of(layer(), [np.ones(1, "float32")])
    assert one_sample.shape == (1, 20)


def test_statistics():
    seen = [RNG.normal(3, 2, (n, 4)).astype("float16") for n in (5, 9)]
    mean, variance = log_mel.statistics(seen)
    together = np.concatenate(seen).astype("float64")
    np.testing.assert_allclose(mean, together.mean(0))
    np.testing.assert_allclose(variance, together.var(0))


@needs_tensorflow
def test_the_layer_is_saved_with_its_settings(tmp_path):
    inputs = keras.Input((None,))
    model = keras.Model(inputs, layer()(inputs))
    assert model.output_shape == (None, None, 20)
    model.save(tmp_path / "a.keras")
    samples = RNG.normal(0, 1, (1, 640)).astype("float32")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    np.testing.assert_array_equal(loaded(samples), model(samples))
