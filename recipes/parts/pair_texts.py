"""Queries and candidates as ids, and what the training texts tell of their words.

texts = read(config, data)             # `config` of the recipe, `data` as `candidates.load` gives
batches = texts.batches(config, "train", shuffle_seed=0)
figures = texts.measure(config, model, "validation")
"""

import dataclasses

import numpy as np

from recipes.baselines import matching
from recipes.data.batches import CandidateBatches
from recipes.text import vectors, wordpiece


@dataclasses.dataclass(frozen=True)
class Texts:
    """What a model of pairs reads.

    Attributes:
        vocabulary: List of V word pieces.
        vectors: Float array `(V, E)`, learned from the training texts.
        idf: Float array `(V,)`, the inverse document frequency of each piece.
        mean_length: Float, pieces in a training candidate.
        rows: Dict from the name of a part to the `candidates.Split` of what can be ranked.
        ids: Dict from the name of a part to the ids of its queries and of its documents.
    """

    vocabulary: list
    vectors: np.ndarray
    idf: np.ndarray
    mean_length: float
    rows: dict
    ids: dict

    def batches(self, config, part, **options):
        """The batches of a part, whole queries."""
        return CandidateBatches(
            *self.ids[part],
            self.rows[part],
            config.batch_size,
            max_steps=config.max_steps,
            with_position=config.position,
            **options,
        )

    def measure(self, config, model, part):
        """The figures of a model, from a batch's inputs to a dict with `score`, on a part."""
        scores = self.batches(config, part).scores(lambda x: model.predict_on_batch(x)["score"])
        return matching.measure(scores, self.rows[part], seed=config.seed)


def read(config, data):
    """The `Texts` of a data set; words are learned from all training texts.

    Queries without a right candidate teach nothing about ranking, but their texts about words.
    """
    documents = data.train.documents
    texts = [*documents, *dict.fromkeys(data.train.queries)]
    vocabulary = wordpiece.learn_vocabulary(texts, config.vocabulary_size)
    tokenizer = wordpiece.fast_tokenizer(vocabulary)
    ids, size = wordpiece.tokenize(tokenizer, texts), len(vocabulary)
    rows = {
        part: split.answerable(with_wrong=part == "train") for part, split in data.splits.items()
    }
    return Texts(
        vocabulary,
        vectors.cooccurrence_vectors(ids, size, config.vector_size, seed=config.seed),
        vectors.idf(ids[: len(documents)], size),
        float(np.mean([len(row) for row in ids[: len(documents)]])),
        rows,
        {
            part: [wordpiece.tokenize(tokenizer, x) for x in (split.queries, split.documents)]
            for part, split in rows.items()
        },
    )
