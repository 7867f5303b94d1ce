"""Documents as n-grams in sentences: what the document classifier learns from, and its context."""

import dataclasses

import numpy as np
from keras import layers, ops

from recipes.data.batches import DocumentBatches
from recipes.parts import ngrams
from recipes.text import sentences, wordpiece


@dataclasses.dataclass(frozen=True)
class Documents:
    """What the data becomes on its way into the model.

    Attributes:
        vocabulary: List of word pieces.
        ids: Dict of split to a list of int32 arrays, the ids of each text.
        documents: Dict of split to a list of lists of lists: each text's sentences of ids.
        shares: float32 array, what each training text counts in the counts of n-grams.
        keys: int32 `(K,)`, the n-grams.
        counts: float32 `(K, C)`, the sum of shares of each class's texts that have each.
        idf: float32 `(K,)`, their inverse document frequencies.
    """

    vocabulary: list
    ids: dict
    documents: dict
    shares: np.ndarray
    keys: np.ndarray
    counts: np.ndarray
    idf: np.ndarray

    def training_batches(self, config, data, epoch=0):
        """Batches of the training split: shuffled, cut, each text with its own class and share."""
        documents = [document[: config.max_sentences] for document in self.documents["train"]]
        return DocumentBatches(
            documents, data.train.labels, config.batch_size, max_words=config.max_words,
            shares=self.shares, shuffle_seed=config.seed, names_own_class=True, epoch=epoch,
        )  # fmt: skip

    def batches(self, config, data, part):
        """Batches of the split `part`, to measure on."""
        labels = data.splits[part].labels
        return DocumentBatches(
            self.documents[part], labels, config.batch_size, max_words=config.max_words
        )


def read(config, data):
    """Learns word pieces, splits texts into sentences, and counts n-grams."""
    # The marks that end sentences are pieces, whether or not a training text has them.
    vocabulary = wordpiece.learn_vocabulary(
        [*data.train.texts, f". ! ? {sentences.PARAGRAPH}"],
        config.vocabulary_size,
    )
    kinds = sentences.kinds_of(vocabulary)
    ids = wordpiece.tokenize_splits(wordpiece.fast_tokenizer(vocabulary), data)
    documents = {
        part: [sentences.split(text, kinds, config.max_words) for text in texts]
        for part, texts in ids.items()
    }
    # Long texts have many n-grams: each text counts as much as any other, by its length as vector.
    shares = np.array([max(1, len(text)) ** -0.5 for text in ids["train"]], np.float32)
    separated = [_with_zeros(document) for document in documents["train"]]

    def count(shares=None):
        return ngrams.select(
            separated,
            data.train.labels,
            vocabulary_size=len(vocabulary),
            num_classes=len(data.labels),
            order=config.order,
            min_texts=config.min_texts,
            shares=shares,
        )

    texts_with = count()[1].sum(1)
    keys, counts = count(shares)
    idf = np.log((1 + len(data.train)) / (1 + texts_with)) + 1
    print(f"{len(vocabulary):,} word pieces, {len(keys):,} n-grams of up to {config.order}")
    return Documents(vocabulary, ids, documents, shares, keys, counts, idf)


def _with_zeros(document):
    """The ids of a document with a 0 behind each sentence, which no n-gram spans."""
    return np.array([number for sentence in document for number in [*sentence, 0]] or [0], np.int32)


def context(config, vocabulary_size, width):
    """A function from ids to what the context adds to the scores of n-grams and of sentences."""
    size = config.embedding_size
    embedding = layers.Embedding(vocabulary_size, size, name="pieces")
    rate = config.context_dropout
    dropouts = [layers.Dropout(rate, seed=config.seed + i) for i in range(3)]
    # Whole pieces are hidden: else the network knows each training text by heart.
    hide = layers.Dropout(rate, noise_shape=(None, None, 1), seed=config.seed + 3)
    # Nothing at first: the scores begin as those of the evidence.
    word_mixer = layers.Conv1D(size, 5, padding="same", activation="relu", name="word_context")
    word_score = layers.Dense(config.order, kernel_initializer="zeros", name="word_score")
    mixer = layers.Conv1D(size, 3, padding="same", activation="relu", name="sentence_context")
    sentence_score = layers.Dense(1, kernel_initializer="zeros", name="sentence_score")

    def add(flat):
        known = ops.expand_dims(flat > 0, -1)  # (B, N (W + GAP), 1)
        x = embedding(flat)
        x = hide(x * ops.cast(known, x.dtype))  # a convolution sees no padding
        x = dropouts[0](word_mixer(x))
        of_words = layers.Reshape((-1, width * config.order), dtype="float32")(word_score(x))
        # A sentence is the mean of its pieces.
        count = ops.cast(layers.Reshape((-1, width, 1))(known), x.dtype)  # (B, N, W + GAP, 1)
        x = layers.Reshape((-1, width, size))(x) * count
        x = ops.sum(x, axis=2) / ops.maximum(ops.sum(count, axis=2), 1)
        x = dropouts[2](mixer(dropouts[1](x)))
        of_sentences = layers.Reshape((-1,), dtype="float32")(sentence_score(x))
        return of_words, of_sentences

    return add
