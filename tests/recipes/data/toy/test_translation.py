"""The toy language: each word means one word, and all stands in reverse order."""

import collections

import pytest

from recipes.data.toy import translation as toy_translation


@pytest.fixture(scope="module")
def splits():
    return toy_translation.splits()


def words(sentence):
    assert sentence[0].isupper() and sentence.endswith(".")
    return sentence[:-1].lower().split()


def test_sizes_and_no_overlap(splits):
    assert [len(split) for split in splits] == [4000, 300, 500]
    sources = [pair.source for split in splits for pair in split]
    assert len(set(sources)) == len(sources)


def test_the_alignment_names_the_word_that_is_translated(splits):
    for split in splits:
        for pair in split:
            source, target = words(pair.source), words(pair.target)
            assert 3 <= len(source) == len(target) == len(pair.alignment) <= 7
            assert len(set(source)) == len(source)
            for word, place in zip(target, pair.alignment, strict=True):
                assert toy_translation.LEXICON[source[place]] == word
            assert list(pair.alignment) == list(range(len(source)))[::-1]


def test_no_word_means_two_and_all_are_about_as_frequent(splits):
    assert len(set(toy_translation.LEXICON.values())) == len(toy_translation.LEXICON) == 40
    counts = collections.Counter(word for pair in splits[0] for word in words(pair.source))
    assert set(counts) == set(toy_translation.LEXICON)
    assert max(counts.values()) < 1.5 * min(counts.values())


def test_same_seed_same_pairs():
    assert toy_translation.generate(50, seed=5) == toy_translation.generate(50, seed=5)
    assert toy_translation.generate(50, seed=5) != toy_translation.generate(50, seed=6)
