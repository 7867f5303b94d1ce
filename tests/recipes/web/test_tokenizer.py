"""The tokenizer of pages against the recipes' own."""
# ruff: noqa: RUF001  (the texts are full of letters that look like others)

import functools
import random
import sys
import unicodedata

import pytest

from recipes.text import wordpiece
from tests.recipes.web.node import in_node

ENCODE = """
import {Tokenizer} from "./tokenizer.js";
const tokenizer = new Tokenizer(given.pieces, given.characters);
made = given.texts.map((text) => tokenizer.encodeWords(text));
"""
TRICKY = [
    "It wasn't good — not at all!  Café Münster, 3.50€ (naïve).",
    "Ich heiße STRASSE Straße ẞ. ΣΊΣΥΦΟΣ ﬁne ½ Ⅳ İstanbul ısı Ǆ ŉ ΐ ſt ᾳ ᾼ ά\u0345 Ꭰꭰ",
    "日本語 テスト 한국어 עברית العربية हिन्दी ไทย 𠀀𬺰x豈丽 ﷺ ㈱ ㍿",
    "zero\u200bwidth soft\u00adhyphen tab\tline\nend\u2028\u2029\x85 a\u0600b \ufeffbom x\u2060y",
    "emoji 😀👍🏽 👩\u200d👩\u200d👧 🇩🇪 x\u0301y ａｂｃ！ 𝒜 a<\u0338b !\u0301c",
    # What no Unicode knows, or only newer ones: a browser's is not Python's.
    "a\u0378b \U0001fadfx \U0001e6c0y \U000105c0z \u2fffa \U0001cd00b \U0002ebf0c \U000323b0d",
    "a\U000e0080b a\ufff0b a\u2065b a\U0001d173b",
    ". . .… #hash ##tag [PAD] [UNK] a_b a-b a+b=c~d|e^f`g$h",
    "ᄀ가각\u1160 \u302e가\u302f ｶﾞ ガ が",
    "",
    "   \u00ad ",
    "\u0301\u0302",
    "a" * 100 + " " + "a" * 101,
    "ж" * 50 + " " + "ж" * 51,
    "ก" * 33 + " " + "ก" * 34,
]


_characters = functools.cache(lambda cased: wordpiece.characters(cased=cased))


def random_texts(count):
    """Texts of any characters, some of them unassigned, with spaces and letters among them."""
    rng = random.Random(0)
    numbers = [
        number
        for number in [*range(0x20, 0x33500), *range(0xE0000, 0xE0200)]
        if unicodedata.category(chr(number)) not in ("Co", "Cs")
    ]
    # Half of all characters are ideographs and syllables: other letters have a part of their own.
    small = [number for number in numbers if number < 0x3000 or 0xA000 <= number < 0xAC00]
    for _ in range(count):
        parts = [" ab.", *[chr(rng.choice(rng.choice((numbers, small)))) for _ in range(30)]]
        yield "".join(rng.choice(rng.choice(parts)) for _ in range(rng.randint(1, 40)))


@pytest.mark.parametrize("cased", [False, True])
def test_ids_are_those_of_the_recipes(cased, tmp_path):
    texts = [*TRICKY, *random_texts(500)]
    # A piece of its own for three letters in four: the others make their words unknown.
    letters = sorted(
        {letter for text in texts for word in wordpiece._words(text, cased) for letter in word}
    )
    rng = random.Random(1)
    letters = [letter for letter in letters if letter in "abAB.,!?" or rng.random() < 0.75]
    pieces = [
        "[PAD]",
        "[UNK]",
        *letters,
        *(f"##{letter}" for letter in letters),
        "ab",
        "##ba",
        "日",
    ]
    assert wordpiece.is_cased(pieces) == cased
    given = {"pieces": pieces, "characters": _characters(cased), "texts": texts}
    made = in_node(tmp_path, ENCODE, given)
    index = {piece: number for number, piece in enumerate(pieces)}
    unknown = 0
    for text, words in zip(texts, made, strict=True):
        expected = wordpiece.encode(index, text, cased=cased)
        assert [number for word in words for number in word["ids"]] == expected, ascii(text)
        unknown += expected.count(1)
        # Spans count JavaScript's 16-bit units, go forward, and meet where one character is two.
        units = text.encode("utf-16-le", "surrogatepass")
        edges = [edge for word in words for edge in (word["start"], word["end"])]
        assert all(word["start"] < word["end"] <= len(units) // 2 for word in words)
        assert edges[::2] == sorted(edges[::2]) and edges[1::2] == sorted(edges[1::2])
    assert 100 < unknown < 5000


def test_spans_are_those_of_the_words_with_their_accents(tmp_path):
    text = "😀 Véry  go\u0301od\u0301! x"
    pieces = ["[PAD]", "[UNK]", "very", "good", "!", "x"]
    given = {"pieces": pieces, "characters": _characters(False), "texts": [text]}
    ((*words,),) = in_node(tmp_path, ENCODE, given)
    units = text.encode("utf-16-le")
    cut = [units[2 * w["start"] : 2 * w["end"]].decode("utf-16-le") for w in words]
    assert cut == ["😀", "Véry", "go\u0301od\u0301", "!", "x"]
    assert [w["ids"] for w in words] == [[1], [2], [3], [4], [5]]


def test_the_table_says_of_every_character_what_becomes_of_it():
    table = _characters(False)
    assert table["becomes"]["Å"] == "a" and table["becomes"]["ß"] == "ss"
    assert table["becomes"]["¾"] == "3⁄4" and table["becomes"]["㈱"] == " ( 株 ) "
    assert "a" not in table["becomes"]

    def kinds(character):
        number = ord(character)
        return [
            kind
            for kind in ("alone", "space", "dropped", "syllables")
            for first, last in zip(table[kind][::2], table[kind][1::2], strict=True)
            if first <= number <= last
        ]

    assert kinds("!") == kinds("日") == ["alone"]
    assert kinds("\n") == ["space"] and kinds("\u0301") == kinds("\u00ad") == ["dropped"]
    assert kinds("각") == ["syllables"] and kinds("a") == kinds(chr(sys.maxunicode)) == []
