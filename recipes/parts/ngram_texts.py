"""Texts as n-grams: what the sentiment classifier learns from."""

import dataclasses

import numpy as np

from recipes.data.batches import PaddedBatches
from recipes.parts import ngrams
from recipes.text import wordpiece


@dataclasses.dataclass(frozen=True)
class Texts:
    """What the data becomes on its way into the model.

    Attributes:
        vocabulary: List of word pieces.
        ids: Dict of split to a list of int32 arrays, the ids of each text.
        keys: int32 `(K,)`, the n-grams.
        counts: float32 `(K, C)`, in how many texts of each class each occurs.
    """

    vocabulary: list
    ids: dict
    keys: np.ndarray
    counts: np.ndarray

    def training_batches(self, config, data, epoch=0):
        """Batches of the training split: shuffled, cut, and each text with its own class."""
        ids = [text[: config.max_pieces] for text in self.ids["train"]]
        return PaddedBatches(
            ids, data.train.labels, config.batch_size,
            shuffle_seed=config.seed, names_own_class=True, epoch=epoch,
        )  # fmt: skip

    def batches(self, config, data, part):
        """Batches of the split `part`, to measure on."""
        return PaddedBatches(self.ids[part], data.splits[part].labels, config.batch_size)


def read(config, data):
    """Learns word pieces and counts n-grams."""
    vocabulary = wordpiece.learn_vocabulary(data.train.texts, config.vocabulary_size)
    ids = wordpiece.tokenize_splits(wordpiece.fast_tokenizer(vocabulary), data)
    keys, counts = ngrams.select(
        ids["train"], data.train.labels,
        vocabulary_size=len(vocabulary), num_classes=len(data.labels),
        order=config.order, min_texts=config.min_texts,
    )  # fmt: skip
    print(f"{len(vocabulary):,} word pieces, {len(keys):,} n-grams of up to {config.order}")
    return Texts(vocabulary, ids, keys, counts)
