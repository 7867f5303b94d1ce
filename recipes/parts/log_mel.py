"""Log-mel frames of sounds, computed in the graph: what a recognizer of speech reads."""

import itertools
import math

import keras
import numpy as np
from keras import layers, ops

_AT_ONCE = 32  # sounds
_FLOOR = 1e-6  # added to energies, whose logarithm is taken
# TFLite's int8 form rounds the factors of a product with a matrix of as many numbers or more to 8
# bits: of the energies of a frame little but the strongest would be left.
_QUANTIZED = 1024


@keras.saving.register_keras_serializable(package="recipes")
class LogMel(layers.Layer):
    """Samples `(B, N)` to the logarithms of energies in mel bands, `(B, 1 + N // hop, bands)`.

    Frame t is of the `window` samples from `t * hop` on, with zeros behind the last one: a sound
    has the same frames whatever it is padded with zeros to.

    Args:
        rate: Integer, samples per second.
        bands: Integer.
        window, hop: Integers, samples of a frame, a power of two, and from the start of one to that
            of the next.
    """

    def __init__(self, rate, bands, window, hop, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.bands, self.window, self.hop = rate, bands, window, hop
        self._parts = _parts(
            np.array(
                layers.MelSpectrogram(fft_length=window).linear_to_mel_weight_matrix(
                    bands, 1 + window // 2, rate, lower_edge_hertz=60.0, upper_edge_hertz=rate / 2
                )
            )
        )

    def call(self, samples):
        samples = ops.pad(samples, [[0, 0], [0, self.window]])
        real, imaginary = ops.stft(samples, self.window, self.hop, self.window, center=False)
        energy = ops.square(real) + ops.square(imaginary)  # (B, T, bins)
        bands = [ops.matmul(energy[..., bins], part) for bins, part in self._parts]
        return ops.log(ops.concatenate(bands, axis=-1) + _FLOOR)  # (B, T, bands)

    def count(self, samples):
        """The number of frames of so many samples: an integer, or a tensor of integers."""
        return 1 + samples // self.hop

    def compute_output_shape(self, shape):
        batch, samples = shape
        return batch, samples if samples is None else self.count(samples), self.bands

    def get_config(self):
        own = {"rate": self.rate, "bands": self.bands, "window": self.window, "hop": self.hop}
        return {**super().get_config(), **own}


def _parts(mel):
    """A matrix `(bins, bands)` as pairs: a slice of the bins, and what some bands take of these.

    >>> mel = np.eye(2000, 3)
    >>> [(bins, part.shape) for bins, part in _parts(mel)]
    [(slice(0, 3, None), (3, 3))]
    """
    parts, first = [], 0
    for end in range(1, mel.shape[1] + 1):
        wider = _used(mel[:, first : end + 1])
        if end == mel.shape[1] or (wider.stop - wider.start) * (end + 1 - first) >= _QUANTIZED:
            bins = _used(mel[:, first:end])
            parts.append((bins, mel[bins, first:end]))
            first = end
    return parts


def _used(mel):
    """The slice of the bins of which some band takes something."""
    bins = np.flatnonzero(mel.any(axis=1))
    return slice(int(bins[0]), int(bins[-1]) + 1) if len(bins) else slice(0, 1)


def of(config):
    """The layer for a config's `sample_rate` and `bands`: 25 milliseconds or more, every 10."""
    rate = config.sample_rate
    window = 2 ** math.ceil(math.log2(0.025 * rate))
    return LogMel(rate, config.bands, window, round(0.010 * rate), name="log_mel")


def frames_of(layer, waveforms):
    """A list of float16 arrays `(T, bands)`, the frames of each sound.

    Args:
        layer: `LogMel`.
        waveforms: Iterable of float32 arrays.
    """
    frames, some = [], []
    for samples in itertools.chain(waveforms, [None]):
        if samples is not None:
            some.append(samples)
        if some and (samples is None or len(some) == _AT_ONCE):
            longest = max(map(len, some))
            padded = np.stack([np.pad(one, (0, longest - len(one))) for one in some])
            for one, row in zip(some, ops.convert_to_numpy(layer(padded)), strict=True):
                frames.append(row[: layer.count(len(one))].astype("float16"))
            some = []
    return frames


def statistics(frames):
    """Mean and variance of each band over all frames of a list, float arrays `(bands,)`."""
    count = sum(map(len, frames))
    mean = sum(one.sum(0, dtype="float64") for one in frames) / count
    squares = sum(np.square(one, dtype="float64").sum(0) for one in frames) / count
    return mean, np.maximum(squares - mean**2, 0.0)
