"""Words that can be generated or copied: numbered, spelled and named alike in graph and Python."""

import numpy as np
import pytest

from recipes.kit.errors import UserError
from recipes.text import copyable, detokenize, wordpiece
from recipes.text.copyable import PAD, PIECES, UNKNOWN, Copyable
from tests.backend import needs_tensorflow

pytestmark = needs_tensorflow

PIECES_OF = "[PAD] [UNK] [START] [END] #Person1# # Person1 a met saw . Ada Z ##u ##vi ##zu".split()
SPACING = detokenize.Spacing({".": (True, False, True, False)})


@pytest.fixture(scope="module")
def words():
    return Copyable(PIECES_OF, SPACING, max_words=6)


def read(words, *texts):
    import tensorflow as tf

    return [x.numpy() for x in words.read(words.tokenizer.tokenize(tf.constant(texts)).to_tensor())]


def test_known_words_have_their_number_and_others_their_first_position(words):
    assert words.known == 13 and words.size == 19
    (first, second), pieces = read(words, "Ada met Zuvi. Zuvi", "Zu saw Zuzu .")
    assert first.tolist() == [11, 8, 13 + 2, 10, 13 + 2]
    assert second.tolist() == [13, 9, 13 + 2, 10, PAD]  # Zu is another word than Zuzu
    assert pieces.shape == (2, 5, PIECES)
    assert [PIECES_OF[n] for n in pieces[0, 2] if n] == ["Z", "##u", "##vi"]


def test_what_is_between_marks_is_one_word(words):
    (found,), pieces = read(words, "#Person1# met # Person1 a")
    # With spaces or without: the tokenizer does not tell.
    assert found.tolist() == [4, 8, 5, 6, 7]
    assert PIECES_OF[pieces[0, 0, 0]] == "#"


def test_what_is_beyond_the_last_word_is_not_read(words):
    (found,), pieces = read(words, "a a a a a Zuvi Zuvi Zuvi")
    assert found.tolist() == [7, 7, 7, 7, 7, 13 + 5] and pieces.shape == (1, 6, PIECES)


def test_unknown_letters_can_be_neither_generated_nor_copied(words):
    (found,), _ = read(words, "a Q Zuvi")
    assert found.tolist() == [7, UNKNOWN, 13 + 2]


def test_an_empty_text_has_a_step_of_padding(words):
    import tensorflow as tf

    found, pieces = words.read(tf.zeros((2, 0), tf.int32))
    assert found.numpy().tolist() == [[PAD], [PAD]] and pieces.shape == (2, 1, PIECES)


def test_long_words_are_read_in_part():
    letters = ["[PAD]", "[UNK]", "[START]", "[END]", "a", "##a"]
    words = Copyable(letters, SPACING, max_words=4)
    (found,), pieces = read(words, "a" * 20 + " a")
    assert found.tolist() == [words.known, 4]
    assert pieces[0].tolist() == [[4] + [5] * (PIECES - 1), [4] + [0] * (PIECES - 1)]


def test_graph_and_python_spell_alike(words):
    import tensorflow as tf

    texts = ["Ada met Zuvi.", "#Person1# saw Zuzu."]
    _, pieces = read(words, *texts)
    written = np.array([[15, 8, 11, 10, 0], [4, 9, 15, 10, 0]], "int32")
    ids = words.spell(tf.constant(written), tf.constant(pieces))
    joined = detokenize.TextJoiner(PIECES_OF, SPACING, 5 * PIECES)(ids).numpy()
    expected = ["Zuvi met Ada.", "#Person1# saw Zuzu."]
    assert [text.decode() for text in joined] == expected
    in_python = [words.text(row[row > 0], p) for row, p in zip(written, pieces, strict=True)]
    assert in_python == expected


def test_targets_point_into_their_source(words):
    sources, pieces = words.sources(["Ada met Zuvi.", "Zuzu met Zuvi."])
    assert [len(row) for row in sources] == [4, 4] == [len(row) for row in pieces]
    targets = words.targets(["Zuvi met Zuzu", "Zuvi met Zuzu", "Zuvi"], [0, 1, 1], pieces)
    assert [row.tolist() for row in targets] == [[15, 8, UNKNOWN], [15, 8, 13], [15]]


def test_words_are_named_by_the_text(words):
    text = "  Zuvi saw #Person1#."
    spans = words.spans(text)
    source = [text[a:b] for a, b in spans]
    assert source == ["Zuvi", "saw", "#Person1#", "."]
    assert words.names([13, 9, 4], source) == ["Zuvi", "saw", "#Person1#"]
    assert words.spans("") == []


@pytest.mark.parametrize("cased", [True, False])
def test_frequent_marked_words_are_learned(cased):
    documents = ["#Person1# met #Ada# ."] * 120 + ["#Seldom# spoke ."]
    words = Copyable.learn(documents, ["#Person1# spoke."], 200, 9, cased=cased)
    marked = [p for p in words.vocabulary if p[0] == p[-1] == "#" and p[1:-1].isalnum()]
    assert sorted(marked) == (["#Ada#", "#Person1#"] if cased else ["#ada#", "#person1#"])
    (found,), _ = read(words, "#Person1# met #Ada#")
    assert [words.vocabulary[n] for n in found] == [marked[0], "met", marked[1]]


def test_files_hold_all(words, tmp_path):
    for name, lines in words.files().items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    loaded = Copyable.load(tmp_path, 6)
    text = "Ada met #Person1# Zuvi ."
    np.testing.assert_array_equal(read(loaded, text)[0], read(words, text)[0])
    assert loaded.spacing == words.spacing
    (tmp_path / copyable.FILES[0]).unlink()
    with pytest.raises(UserError, match="Cannot load .*vocabulary.txt"):
        Copyable.load(tmp_path, 6)


def test_a_phone_cuts_into_the_same_pieces(words):
    index = {piece: number for number, piece in enumerate(PIECES_OF)}
    text = "#Person1# met Zuvi."
    (ids,) = wordpiece.tokenize(words.tokenizer, [text])
    assert wordpiece.encode(index, text, cased=True) == ids.tolist()
