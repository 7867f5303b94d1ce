"""Sentences as pages split them, against the recipes' own rule."""

import numpy as np

from recipes.text import sentences
from tests.recipes.web.node import in_node

SPLIT = """
import {markParagraphs, splitSentences} from "./sentences.js";
made = {
  marked: given.texts.map(markParagraphs),
  split: given.rows.map((ids) => splitSentences(ids, given.kinds, given.most)),
};
"""
TEXTS = ["a\n\nb", "a\n \t\r\n\n\nb", "\n\n", "a\nb", ""]


def test_sentences_are_those_of_the_recipes(tmp_path):
    vocabulary = "[PAD] [UNK] . ! ? 。 ¶ pi is 3 31 e g so é".split()
    kinds = sentences.kinds_of(vocabulary)
    rng = np.random.default_rng(0)
    rows = [rng.integers(1, len(vocabulary), rng.integers(0, 40)).tolist() for _ in range(200)]
    given = {"texts": TEXTS, "rows": rows, "kinds": "".join(map(str, kinds)), "most": 7}
    made = in_node(tmp_path, SPLIT, given)
    assert made["marked"] == [sentences.mark_paragraphs(text) for text in TEXTS]
    assert made["split"] == [sentences.split(row, kinds, 7) for row in rows]
