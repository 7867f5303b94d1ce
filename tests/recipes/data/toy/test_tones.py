"""The toy sounds: each word is where its segment says, and nothing tells the next word."""

import numpy as np
import pytest

from recipes.data.toy import tones


@pytest.fixture(scope="module")
def splits():
    return tones.splits(train=60, validation=10, test=20, long=10)


def test_sizes_and_lengths(splits):
    assert [len(split) for split in splits] == [60, 10, 20, 10]
    *short, long = ([len(row.text.split()) for row in split] for split in splits)
    assert max(map(max, short)) == 5 < 8 <= min(long)
    assert len({row.name for split in splits for row in split}) == 100


def test_a_word_sounds_in_its_segment_alone(splits):
    for row in splits[0][:20]:
        assert len(row.segments) == len(row.text.split())
        silent = row.samples.copy()
        for start, end in row.segments:
            assert np.abs(row.samples[start:end]).max() > 0.1
            silent[start:end] = 0
        assert np.abs(silent).max() < 0.06
        ends = [place for segment in row.segments for place in segment]
        assert ends == sorted(ends) and ends[-1] <= len(row.samples)


def test_the_frequencies_are_those_of_the_word(splits):
    for row in splits[0][:20]:
        for word, (start, end) in zip(row.text.split(), row.segments, strict=True):
            for part, frequency in ((0, tones.WORDS[word][0]), (-1, tones.WORDS[word][-1])):
                quarter = np.array_split(row.samples[start:end], 4)[part]
                spectrum = np.abs(np.fft.rfft(quarter, tones.RATE))  # a Hertz apart
                assert spectrum.argmax() == pytest.approx(frequency, rel=0.35)


def test_the_same_seed_gives_the_same(splits):
    again = tones.generate(90, seed=0)
    assert [row.text for row in again[:60]] == [row.text for row in splits[0]]
    np.testing.assert_array_equal(again[0].samples, splits[0][0].samples)
