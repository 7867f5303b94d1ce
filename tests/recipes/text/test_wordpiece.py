"""Word pieces: the short tokenizer against tensorflow-text's."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from recipes.text import wordpiece

ROOT = Path(__file__).parents[3]
SENTENCES = [
    "It wasn't good — not at all!  Café Münster, 3.50€ (naïve).",
    "Ich heiße Straße. ΣΊΣΥΦΟΣ ﬁne  ½ Ⅳ",
    "日本語 テスト 한국어 עברית العربية हिन्दी",
    "zero\u200bwidth soft\u00adhyphen tab\tline\nend",
    "emoji 😀👍🏽 x\u0301y",
    "",
    "   ",
    "a" * 150,
    "ж" * 51 + " " + "ж" * 50,  # the limit of a word is 100 bytes
    "x\U0002cea1y x\U0002cec0y x\U0001d173y x\U0001bca0y",
]
RANGES = [(32, 126)] * 8 + [
    (0xA0, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x600, 0x6FF), (0x900, 0x97F),
    (0x3040, 0x30FF), (0x4E00, 0x4EFF), (0xAC00, 0xAC80), (0x2000, 0x206F), (0x20A0, 0x20BF),
    (0x1F600, 0x1F640), (0xFF00, 0xFFEF), (0x2100, 0x214F), (1, 31),
]  # fmt: skip


def _random_texts(count):
    rng = random.Random(0)
    for _ in range(count):
        length = rng.randint(1, 60)
        characters = (chr(rng.randint(*rng.choice(RANGES))) for _ in range(length))
        yield "".join(c if rng.random() < 0.8 else " " for c in characters)


@pytest.mark.parametrize("cased", [False, True])
def test_short_tokenizer_gives_the_fast_ones_ids(cased):
    texts = SENTENCES + list(_random_texts(500))
    vocabulary = wordpiece.learn_vocabulary(texts, 1500, cased=cased, special=["[END]"])
    assert vocabulary[:3] == [wordpiece.PADDING, wordpiece.UNKNOWN, "[END]"]
    fast = wordpiece.tokenize(wordpiece.fast_tokenizer(vocabulary, cased=cased), texts, batch=100)
    assert len(fast) == len(texts)
    index = {piece: number for number, piece in enumerate(vocabulary)}
    different = [
        text
        for text, ids in zip(texts, fast, strict=True)
        if wordpiece.encode(index, text, cased=cased) != ids.tolist()
    ]
    assert not different


def test_the_same_texts_give_the_same_vocabulary_in_every_process():
    texts = list(_random_texts(300))
    code = (
        "from tests.recipes.text.test_wordpiece import _random_texts; "
        "from recipes.text import wordpiece; "
        "print(ascii(wordpiece.learn_vocabulary(list(_random_texts(300)), 900)))"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout
        for _ in range(3)
    ]
    assert found == [f"{wordpiece.learn_vocabulary(texts, 900)!a}\n"] * 3


def test_word_weights_join_pieces_and_count_characters():
    vocabulary = [wordpiece.PADDING, wordpiece.UNKNOWN, "very", "go", "##od", "!"]
    text = "Véry  good!"
    spans, weights = wordpiece.word_weights(
        wordpiece.fast_tokenizer(vocabulary), vocabulary, text, [0.1, 0.2, 0.3, 0.4, 0.0]
    )
    assert [text[start:end] for start, end in spans] == ["Véry", "good", "!"]
    assert weights == [0.1, 0.5, 0.4]
