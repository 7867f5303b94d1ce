"""Encoders of texts before attention pools them: a GRU, a CNN, a transformer, or a pretrained one.

    word pieces -> embedding -> encoder -> attention pooling -> dense layer -> probabilities

- `gru`: a bidirectional GRU. Over the words of each sentence, and then over the sentences, it is
  the hierarchical attention network of Yang et al., 2016, https://aclanthology.org/N16-1174.
- `cnn`: a convolution over five word pieces, pooled by `ka.ConvAttentionPooling` (Er et al., 2016,
  https://doi.org/10.1016/j.ins.2016.08.084).
- `transformer`: a block of self-attention with rotary positions, each piece over its neighbours.
- a folder: a pretrained transformer, see `recipes.parts.pretrained`.
"""

import dataclasses

import keras
from keras import layers, ops

import keras_attention as ka
from recipes.data.batches import DocumentBatches, PaddedBatches, widths
from recipes.kit.errors import UserError
from recipes.parts import pretrained
from recipes.parts.equal_weights import EqualScore
from recipes.parts.split_sentences import SplitSentences
from recipes.text import classifier, sentences, wordpiece

WIDTHS = 8  # that batches are padded to: XLA compiles anew for each
KERNEL, WINDOW, HEADS = 5, 32, 4


def build_model(config, texts, pooling="attention"):
    """A classifier of texts: to train, and to use; both share all weights.

    Args:
        config: A config that extends `classifier.EncoderConfig`.
        texts: `Texts`.
        pooling: `"attention"`, or `"mean"` for the same network with equal weights.

    Returns:
        The model to train, from what `texts.training_batches` gives to probabilities `(B, C)`. The
        model to use: ids `(B, T)` to a dict of `probability` `(B, C)` and `weights` `(B, T)`, which
        sum to one over the pieces.
    """
    score = "tanh_dot" if pooling == "attention" else EqualScore()
    embed, limit = _embedding(config, texts)
    if config.encoder == "cnn":
        encode = None
        pool = ka.ConvAttentionPooling(2 * config.units, KERNEL, score=score, name="attention")
    else:
        encode = _encoder(config, "encoder")
        pool = ka.AttentionPooling(score=score, name="attention")
    head = _head(config, texts.num_classes)

    def classify(x, known):
        if encode is not None:
            x = encode(x, mask=known)
        pooled, weights = pool(x, mask=known, return_attention_scores=True)
        return head(pooled), weights

    ids = keras.Input((None,), dtype="int32", name="ids")
    kept = ids if limit is None else ids[:, :limit]
    known = ops.not_equal(kept, 0)
    x = embed(kept)
    probability, weights = classify(x, known)
    weights = ops.cast(weights, "float32")
    if limit is not None:  # what lies beyond has no weight
        weights = ops.concatenate([weights, ops.cast(ids[:, limit:] * 0, "float32")], axis=1)
    use = keras.Model(ids, {"probability": probability, "weights": weights}, name="classifier")
    if texts.features is None:
        return keras.Model(ids, probability), use
    features = keras.Input((None, x.shape[-1]), name="features")
    probability, _ = classify(features, ops.not_equal(ids, 0))
    return keras.Model({"ids": ids, "features": features}, probability), use


def build_documents_model(config, texts, pooling="attention"):
    """A classifier of documents, as `build_model`, by attention over words and sentences.

    Args:
        config: A config with `max_words`, which extends `classifier.EncoderConfig`.
        texts: `Documents`.
        pooling: As for `build_model`.

    Returns:
        The model to train: ids `(B, N, W)` in sentences to probabilities `(B, C)`. The model to
        use: ids `(B, T)` to a dict of `probability` `(B, C)`; `sentences` `(B, N)`, weights that
        sum to one; `words` `(B, N, W)`, weights that sum to one in each sentence; and `grid`
        `(B, N, W)`, the ids in sentences.
    """
    embed, _ = _embedding(config, texts)
    of_words = None if texts.pretrained else _encoder(config, "word_encoder")
    attention = ka.HierarchicalAttention(
        word_encoder=of_words,
        sentence_encoder=_encoder(config, "sentence_encoder"),
        score="tanh_dot" if pooling == "attention" else EqualScore(),
        name="attention",
    )
    head = _head(config, texts.num_classes)

    def classify(grid):
        pooled, weights = attention(
            embed(grid), mask=ops.not_equal(grid, 0), return_attention_scores=True
        )
        return head(pooled), weights

    grid = keras.Input((None, config.max_words), dtype="int32", name="ids")
    training = keras.Model(grid, classify(grid)[0])

    split = SplitSentences(len(texts.vocabulary), config.max_words, name="split")
    ids = keras.Input((None,), dtype="int32", name="ids")
    grid = split(ids)[:, :, : config.max_words]
    probability, weights = classify(grid)
    weights = {level: ops.cast(x, "float32") for level, x in weights.items()}
    use = keras.Model(ids, {"probability": probability, **weights, "grid": grid}, name="classifier")
    split.kinds.assign(sentences.kinds_of(texts.vocabulary))
    return training, use


def _embedding(config, texts):
    """From ids `(..., T)` to vectors `(..., T, E)`; and how many ids it takes, if not any number.

    Whole pieces are hidden in training: else the network knows each training text by heart.
    """
    if texts.pretrained:
        encoder = texts.load_encoder()
        encoder.fine_tune(config.fine_tune)
        return encoder, encoder.limit
    embed = layers.Embedding(len(texts.vocabulary), 2 * config.units, name="pieces")
    hide = layers.Dropout(
        config.context_dropout, noise_shape=(None, None, 1), seed=config.seed + 1, name="hide"
    )

    def vectors(ids):
        if len(ids.shape) == 2:
            return hide(embed(ids))
        flat = layers.Reshape((-1,))(ids)
        return layers.Reshape((-1, ids.shape[-1], 2 * config.units))(hide(embed(flat)))

    return vectors, None


def _encoder(config, name):
    """A layer from steps `(B, T, E)` to features `(B, T, 2 * units)`."""
    size = 2 * config.units
    if config.encoder == "cnn":
        return layers.Conv1D(size, KERNEL, padding="same", activation="relu", name=name)
    if config.encoder == "transformer":
        attention = ka.MultiHeadAttention(
            HEADS, size // HEADS, window=WINDOW, position=ka.RotaryPositionEmbedding()
        )
        return ka.TransformerEncoderBlock(
            2 * size, attention=attention, dropout=0.1, seed=config.seed + 2, name=name
        )
    if config.encoder == "gru" or name == "sentence_encoder":
        # Not `layers.GRU`, which TFLite takes for one size of batch alone.
        one_way = ka.ExportableRNN(layers.GRUCell(config.units), return_sequences=True)
        return layers.Bidirectional(one_way, name=name)
    return None  # pretrained: it has encoded them


def _head(config, num_classes):
    """From a text's vector to the probabilities of its classes."""
    drop = layers.Dropout(config.dropout, seed=config.seed + 3, name="dropout")
    dense = layers.Dense(num_classes, dtype="float32", name="logits")
    to_probability = layers.Softmax(name="probability", dtype="float32")
    return lambda pooled: to_probability(dense(drop(pooled)))


@dataclasses.dataclass(frozen=True)
class Texts:
    """What the data becomes on its way into an encoder.

    Attributes:
        vocabulary: List of word pieces.
        ids: Dict of split to a list of int32 arrays, the ids of each text.
        num_classes: Integer C.
        pretrained: Path of a pretrained encoder, or `None`.
        features: Dict of split to a list of arrays, what a frozen encoder says of each text, or
            `None`.
    """

    vocabulary: list
    ids: dict
    num_classes: int
    pretrained: str | None = None
    features: dict | None = None

    def load_encoder(self):
        """The pretrained encoder, with its own weights each time."""
        return pretrained.load(self.pretrained)[0]

    def training_batches(self, config, data, epoch=0):
        """Batches of the training split: shuffled, and each text cut."""
        rows = [row[: self._most(config)] for row in self._rows["train"]]
        return self._batches(config, data, "train", rows, shuffle_seed=config.seed, epoch=epoch)

    def batches(self, config, data, part):
        """Batches of the split `part`, to measure on."""
        return self._batches(config, data, part, self._rows[part])

    @property
    def _rows(self):
        return self.ids

    def _most(self, config):
        return config.max_pieces

    def _batches(self, config, data, part, ids, **options):
        lengths = [max(1, len(text)) for text in ids]
        options |= {"widths": widths(lengths, WIDTHS), "names_own_class": None}
        labels, size = data.splits[part].labels, config.batch_size
        if self.features is None:
            return PaddedBatches(ids, labels, size, **options)
        features = self.features[part]
        ids = [text[: len(x)] for text, x in zip(ids, features, strict=True)]
        return pretrained.FeatureBatches(ids, labels, size, features=features, **options)


@dataclasses.dataclass(frozen=True)
class Documents(Texts):
    """The same for documents.

    Attributes:
        documents: Dict of split to a list of lists of lists: each text's sentences of ids.
    """

    documents: dict = dataclasses.field(default_factory=dict)

    @property
    def _rows(self):
        return self.documents

    def _most(self, config):
        return config.max_sentences

    def _batches(self, config, data, part, documents, **options):
        lengths = [max(1, len(document)) for document in documents]
        return DocumentBatches(
            documents,
            data.splits[part].labels,
            config.batch_size,
            max_words=config.max_words,
            gap=0,
            names_own_class=None,
            widths=widths(lengths, WIDTHS),
            **options,
        )


def read(config, data):
    """`Texts`: learns word pieces, or takes those of the pretrained encoder."""
    vocabulary, encoder = _vocabulary(config, data.train.texts)
    ids = wordpiece.tokenize_splits(wordpiece.tokenizer_of(vocabulary), data)
    folder = config.encoder if encoder else None
    features = None
    if encoder and not config.fine_tune:
        print("Encoding the texts, which takes longer than to train what follows.", flush=True)
        features = {
            part: pretrained.cached(
                encoder,
                [text[: _most(config, part, encoder.limit)] for text in texts],
            )
            for part, texts in ids.items()
        }
    return Texts(vocabulary, ids, len(data.labels), folder, features)


def read_documents(config, data):
    """`Documents`: the same, in sentences."""
    # The marks that end sentences are pieces, whether or not a training text has them.
    marks = f". ! ? {sentences.PARAGRAPH}"
    vocabulary, encoder = _vocabulary(config, [*data.train.texts, marks])
    if encoder and config.max_words > encoder.limit:
        raise UserError(
            f"--max-words must be at most {encoder.limit}, what the encoder reads. "
            f"Received: {config.max_words}"
        )
    ids = wordpiece.tokenize_splits(wordpiece.tokenizer_of(vocabulary), data)
    kinds = sentences.kinds_of(vocabulary)
    documents = {
        part: [sentences.split(text, kinds, config.max_words) for text in texts]
        for part, texts in ids.items()
    }
    folder = config.encoder if encoder else None
    return Documents(vocabulary, ids, len(data.labels), folder, documents=documents)


def _vocabulary(config, texts):
    """Word pieces, and the pretrained encoder that they belong to or `None`."""
    if config.encoder not in classifier.ENCODERS:
        encoder, vocabulary = pretrained.load(config.encoder)
    else:
        encoder, vocabulary = None, wordpiece.learn_vocabulary(texts, config.vocabulary_size)
    print(f"{len(vocabulary):,} word pieces")
    return vocabulary, encoder


def _most(config, part, limit):
    """How many pieces of a text are read."""
    return min(limit, config.max_pieces) if part == "train" else limit
