"""The toy letters: the label follows from the marked sentences, and from nothing else."""

import collections
import re

import pytest

from recipes.data.toy import documents as toy_documents

SUBJECT = {word: label for label, words in toy_documents.SUBJECT_WORDS.items() for word in words}
DECOY = re.compile("dream|novel|television")


@pytest.fixture(scope="module")
def splits():
    return toy_documents.splits()


@pytest.fixture(scope="module")
def letters(splits):
    return [letter for split in splits for letter in split]


def inside(span, spans):
    return any(start <= span[0] and span[1] <= end for start, end in spans)


def test_sizes_and_no_overlap(splits, letters):
    assert [len(split) for split in splits] == [3000, 400, 600]
    assert len({letter.text for letter in letters}) == len(letters)


def test_no_word_belongs_to_two_subjects():
    assert len(SUBJECT) == sum(map(len, toy_documents.SUBJECT_WORDS.values()))
    assert not set(SUBJECT) & set(toy_documents.LABELS)


def test_words_of_the_subject_stand_in_its_sentences_and_others_in_decoys(letters):
    for letter in letters:
        assert 1 <= len(letter.deciding_sentences) <= 3
        assert all(SUBJECT[word] == letter.label for word in letter.deciding_words)
        assert all(inside(span, letter.deciding_sentences) for span in letter.deciding)
        for match in re.finditer(r"\w+", letter.text):
            subject = SUBJECT.get(match[0])
            assert subject is None or (subject == letter.label) == (match.span() in letter.deciding)


def test_decoys_look_like_the_sentences_but_for_their_frame(letters):
    for letter in letters:
        for start, end in letter.deciding_sentences:
            assert not DECOY.search(letter.text[start:end]), letter
            assert letter.text[end - 1] in ".!" and letter.text[start].isupper()
    decoys = [
        sentence
        for letter in letters
        for sentence in re.split(r"(?<=[.!?])\s", letter.text)
        if set(re.findall(r"\w+", sentence)) & set(SUBJECT) and DECOY.search(sentence)
    ]
    assert len(decoys) > 0.6 * len(letters)
    filler = [sentence for sentence in toy_documents._FILLER if DECOY.search(sentence)]
    assert len(filler) >= 5  # the frames' words alone tell nothing


def test_labels_are_balanced_and_words_equally_frequent(letters):
    labels = collections.Counter(letter.label for letter in letters)
    assert max(labels.values()) - min(labels.values()) <= 1
    words = collections.Counter(word for letter in letters for word in letter.deciding_words)
    assert set(words) == set(SUBJECT)
    assert max(words.values()) < 1.6 * min(words.values())


def test_headings_are_paragraphs_and_filler_has_full_stops_that_end_nothing(letters):
    assert all("\n\n" in letter.text for letter in letters)
    for part in (".50", "p.m.", "e.g."):
        assert any(part in letter.text for letter in letters)


def test_same_seed_same_letters():
    assert toy_documents.generate(50, seed=5) == toy_documents.generate(50, seed=5)
    assert toy_documents.generate(50, seed=5) != toy_documents.generate(50, seed=6)
