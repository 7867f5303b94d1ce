"""Which words two texts share, and how rare they are."""

import keras
from keras import ops

K1, B = 1.2, 0.75
NUM_FEATURES = 10  # of a pair
STEP_FEATURES = 3  # of a step


@keras.saving.register_keras_serializable(package="recipes.shared_words")
class SharedWords(keras.layers.Layer):
    """Shared words: features of a pair of texts, and of the steps of each, from their ids alone.

    Of the pair: how many of the query's words the document has, their sum and their share by
    inverse document frequency (idf), the same for the document's words, runs of two words that both
    have, both lengths, and BM25. Of each step: whether the other text has its word, the same times
    its idf, and its idf. Numbers are scaled to about one. Ids 0 and 1, padding and unknown, are
    never shared.

    Args:
        vocabulary_size: Integer V. `set_statistics` says how frequent the words are.

    Call arguments:
        query, document: int32 `(B, T)` and `(B, S)`.

    Returns:
        Features of the pair `(B, 10)`, of the query's steps `(B, T, 3)` and of the document's
        `(B, S, 3)`.

    Reference:
        Yih et al., 2013, section 4.1 (word matching as features), https://aclanthology.org/P13-1171
    """

    def __init__(self, vocabulary_size, **kwargs):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size

    def build(self, *shapes):
        weight = {"trainable": False, "initializer": "ones"}
        self.idf = self.add_weight(shape=(self.vocabulary_size,), name="idf", **weight)
        self.mean_length = self.add_weight(shape=(), name="mean_length", **weight)

    def set_statistics(self, idf, mean_length):
        """Sets the idf of each word, `(V,)`, and the mean number of words in a document."""
        self.idf.assign(idf)
        self.mean_length.assign(mean_length)

    def call(self, query, document):
        known = [ops.cast(ids > 0, self.compute_dtype) for ids in (query, document)]
        idf = ops.cast(self.idf, self.compute_dtype)
        query_idf, document_idf = (
            ops.take(idf, ids, axis=0) * mask
            for ids, mask in zip((query, document), known, strict=True)
        )
        same = ops.equal(ops.expand_dims(query, 2), ops.expand_dims(document, 1))
        same = ops.logical_and(same, ops.expand_dims(query > 1, 2))
        same = ops.cast(same, self.compute_dtype)  # (B, T, S)
        in_document, in_query = ops.max(same, axis=2), ops.max(same, axis=1)  # (B, T), (B, S)
        runs = same[:, :-1, :-1] * same[:, 1:, 1:]
        query_length, document_length = (ops.sum(mask, axis=1) for mask in known)

        frequency = ops.sum(same, axis=2)  # (B, T)
        length = 1 - B + B * document_length / ops.cast(self.mean_length, self.compute_dtype)
        saturated = frequency * (K1 + 1) / (frequency + K1 * ops.expand_dims(length, 1))

        def total(x):
            return ops.sum(x, axis=1)

        shared, shared_back = total(in_document * query_idf), total(in_query * document_idf)
        pair = [
            total(in_document) / 5,
            total(in_document) / (query_length + 1e-6),
            shared / 10,
            shared / (total(query_idf) + 1e-6),
            shared_back / 20,
            shared_back / (total(document_idf) + 1e-6),
            ops.sum(runs, axis=(1, 2)) / 3,
            ops.log1p(query_length) - 2,
            ops.log1p(document_length) - 3,
            total(query_idf * saturated) / 10,
        ]
        steps = [
            ops.stack([flag, flag * idf / 8, idf / 8], axis=-1)
            for flag, idf in ((in_document, query_idf), (in_query, document_idf))
        ]
        return ops.stack(pair, axis=-1), *steps

    def compute_output_spec(self, query, document):
        return tuple(
            keras.KerasTensor(shape, self.compute_dtype)
            for shape in (
                (query.shape[0], NUM_FEATURES),
                (*query.shape, STEP_FEATURES),
                (*document.shape, STEP_FEATURES),
            )
        )

    def get_config(self):
        return {**super().get_config(), "vocabulary_size": self.vocabulary_size}
