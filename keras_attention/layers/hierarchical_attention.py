"""Hierarchical attention: words to sentences, sentences to a document."""

import inspect
from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.functional import masks
from keras_attention.layers.base import AttentionLayer
from keras_attention.recurrent.exportable_rnn import ExportableRNN
from keras_attention.scores.score import Score
from keras_attention.types import LayerOptions, Normalizer, Outputs, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class HierarchicalAttention(AttentionLayer):
    """Hierarchical attention: pools words into sentences, then sentences into a document.

        h_it = word_encoder(x_i)_t;    a_it = normalizer(score(q_w, h_it));  s_i = sum_t a_it h_it
        h_i = sentence_encoder(s)_i;   a_i = normalizer(score(q_s, h_i));    v = sum_i a_i h_i

    for the words t of each sentence i; the queries q_w and q_s are learned. Costs O(B N W) memory
    for the weights, besides that of the encoders. If single words decide, use no encoder: the
    weights then show these words more sharply, as a recurrent encoder mixes a word with its
    neighbours.

    Masking: see the layer contract (docs/contract.md). A sentence whose words are all masked is
    masked itself; a document whose sentences are all masked gives zeros. The output has no steps
    and no mask.

    Args:
        units: Positive integer, the size of each direction of the GRUs; not used by encoders of
            your own.
        embedding: `None` for inputs of word vectors, or a layer from token ids to vectors, such as
            `keras.layers.Embedding(..., mask_zero=True)`, whose padding mask is used.
        word_encoder: `"gru"` for a bidirectional GRU that exports to TFLite, `None` for no encoder,
            or a layer from `(batch, steps, features)` to the same with any number of features; it
            gets the mask if its `call` takes one.
        sentence_encoder: The same for sentences.
        score: As in `ContentAttention`; words and sentences each have their own.
        normalizer, dropout, seed: As in `ContentAttention`.

    Call arguments:
        inputs: Float tensor `(B, N, W, D)`, the vectors of W words in each of N sentences, or with
            an embedding token ids `(B, N, W)`.
        mask, inputs_mask: Boolean `(B, N, W)`, or `(B, N)` for whole sentences; otherwise as in the
            contract.
        return_attention_scores, training: As in the contract.

    Returns:
        The document vector `(B, E)`, E features of the sentence encoder (`2 * units` by default);
        with `return_attention_scores` also a dict of the weights: `"words"` `(B, N, W)`, each
        sentence summing to one, and `"sentences"` `(B, N)`, each document summing to one.

    Raises:
        ValueError: If a name is unknown or a number out of range; if `embedding` or an encoder is
            not a layer, or does not return `(batch, steps, features)`; if the inputs do not have
            the axes described; if a mask has a float dtype or another shape.

    Example:
        >>> ids = keras.ops.array([[[3, 4, 5, 0], [6, 7, 0, 0], [0, 0, 0, 0]]])
        >>> embedding = keras.layers.Embedding(9, 8, mask_zero=True)
        >>> layer = ka.HierarchicalAttention(units=6, embedding=embedding)
        >>> document, weights = layer(ids, return_attention_scores=True)
        >>> document.shape == (1, 12), weights["words"].shape == (1, 3, 4)
        (True, True)
        >>> print(keras.ops.convert_to_numpy(weights["sentences"]).round(1))
        [[0.5 0.5 0. ]]

    Reference:
        Yang et al., 2016, eq. 1 to 10, https://aclanthology.org/N16-1174
        As in the paper, with Keras' GRU (its gate z is the paper's 1 - z).
    """

    def __init__(
        self,
        units: int = 50,
        embedding: keras.layers.Layer | None = None,
        word_encoder: str | keras.layers.Layer | None = "gru",
        sentence_encoder: str | keras.layers.Layer | None = "gru",
        score: str | Score = "tanh_dot",
        normalizer: Normalizer = "softmax",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(score=score, normalizer=normalizer, dropout=dropout, seed=seed, **kwargs)
        self.units = checks.positive_integer("units", units)
        self.embedding = _layer("embedding", embedding)
        self.word_encoder = self._encoder("word_encoder", word_encoder)
        self.sentence_encoder = self._encoder("sentence_encoder", sentence_encoder)
        self.sentence_score = type(self.score).from_config(
            self.score.get_config() | {"name": "sentence_score", "trainable": True}
        )

    def build(self, inputs_shape):
        if self.embedding is None and (len(inputs_shape) != 4 or inputs_shape[-1] is None):
            raise ValueError(
                "`inputs` must have the shape (batch, sentences, words, features) with a known "
                "number of features, or come as token ids with an `embedding`. "
                f"Received: inputs_shape={tuple(inputs_shape)}, embedding=None"
            )
        if self.embedding is not None and len(inputs_shape) != 3:
            raise ValueError(
                "`inputs` of an `embedding` must have the shape (batch, sentences, words). "
                f"Received: inputs_shape={tuple(inputs_shape)}"
            )
        if self.embedding is None:
            size = inputs_shape[-1]
        else:
            ids = keras.KerasTensor((None, None), dtype="int32")
            size = _features("embedding", self.embedding, ids)
        size = self._encoded_size("word_encoder", size)
        self.word_query = self._build_pooling("word_query", self.score, size)
        size = self._encoded_size("sentence_encoder", size)
        self.sentence_query = self._build_pooling("sentence_query", self.sentence_score, size)
        self.built = True

    def call(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        inputs_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Outputs:
        """Pools the words of each document into one vector.

        Arguments not listed here: see the layer contract (docs/contract.md).

        Args:
            inputs: Float tensor `(B, N, W, D)` of word vectors, or with an embedding token ids
                `(B, N, W)`.
            mask, inputs_mask: Boolean `(B, N, W)`, or `(B, N)` for whole sentences.

        Returns:
            The document vectors `(B, E)`; with `return_attention_scores` a tuple of them and the
            weights, a dict of `"words"` `(B, N, W)` and `"sentences"` `(B, N)`.
        """
        mask = masks.combine(
            _of_words("mask", mask, inputs), _of_words("inputs_mask", inputs_mask, inputs)
        )
        if self.embedding is None:
            words = self.floats(inputs)
        else:
            words = self.embedding(inputs)
            mask = masks.combine(mask, self.embedding.compute_mask(inputs, None))
        batch, sentences, length, _ = ops.shape(words)
        if mask is None and not (isinstance(length, int) and length):  # sentences without words
            mask = ops.ones((batch, sentences, length), "bool")
        words = masks.blank(words, mask)  # (B, N, W, D)
        # One row per sentence: `TimeDistributed` would lose the mask.
        words = ops.reshape(words, (batch * sentences, length, words.shape[-1]))
        rows_mask = None if mask is None else ops.reshape(mask, (batch * sentences, length))
        words = _encode(self.word_encoder, words, rows_mask)
        vectors, word_weights = self._pool(words, rows_mask, self.word_query, self.score, training)
        word_weights = ops.reshape(word_weights, (batch, sentences, length))

        vectors = ops.reshape(vectors, (batch, sentences, words.shape[-1]))  # (B, N, E)
        mask = masks.not_empty(mask)  # (B, N)
        vectors = _encode(self.sentence_encoder, vectors, mask)
        document, sentence_weights = self._pool(
            vectors, mask, self.sentence_query, self.sentence_score, training
        )
        if not return_attention_scores:
            return document
        return document, {"words": word_weights, "sentences": sentence_weights}

    def compute_mask(self, *args, **kwargs):
        return None  # the output has no steps

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "embedding": keras.saving.serialize_keras_object(self.embedding),
            "word_encoder": keras.saving.serialize_keras_object(self.word_encoder),
            "sentence_encoder": keras.saving.serialize_keras_object(self.sentence_encoder),
        }

    def _encoder(self, name, encoder):
        if encoder != "gru":
            return _layer(name, encoder, '`"gru"`, ')
        cell = keras.layers.GRUCell(self.units, dtype=self.dtype_policy)
        forward = ExportableRNN(cell, return_sequences=True, dtype=self.dtype_policy)
        return keras.layers.Bidirectional(forward, dtype=self.dtype_policy, name=name)

    def _encoded_size(self, name, size):
        encoder = getattr(self, name)
        if encoder is None:
            return size
        steps = keras.KerasTensor((None, None, size), dtype=self.compute_dtype)
        return _features(name, encoder, steps)

    def _build_pooling(self, name, score, size):
        """Builds the score for `size` features; returns the learned query."""
        query_size = score.query_size(size)
        if not score.built:  # a loaded score comes built
            score.build((None, None, query_size), (None, None, size))
        return self.add_weight(name=name, shape=(1, query_size), initializer="glorot_uniform")

    def _pool(self, steps, mask, query, score, training):
        """The average `(B, E)` of steps `(B, S, E)`, and the weights `(B, S)`."""
        query = ops.expand_dims(ops.cast(query, steps.dtype), 0)  # (1, 1, E)
        allowed = masks.attention(query, steps, value_mask=mask)
        steps = masks.blank(steps, mask)
        pooled, weights = self._attend(query, steps, steps, allowed, score, training)
        return ops.squeeze(pooled, 1), ops.squeeze(weights, 1)


def _layer(name, layer, also=""):
    if isinstance(layer, dict):
        layer = keras.saving.deserialize_keras_object(layer)
    if layer is not None and not isinstance(layer, keras.layers.Layer):
        raise ValueError(f"`{name}` must be {also}`None` or a layer. Received: {name}={layer!r}")
    return layer


def _features(name, layer, steps):
    """The number of output features of a layer, which is built by this call."""
    shape = layer(steps).shape
    if len(shape) != 3 or shape[-1] is None:
        raise ValueError(
            f"`{name}` must keep the steps and have a known number of features: (batch, steps, "
            f"features). Received: a layer from {tuple(steps.shape)} to {tuple(shape)}"
        )
    return shape[-1]


def _of_words(name, mask, inputs):
    """The mask as one of words: `(B, N, W)`."""
    if mask is None:
        return None
    words = inputs if len(inputs.shape) == 3 else inputs[..., 0]
    checks.mask_of_words(name, mask, words)
    mask = mask if len(mask.shape) == 3 else ops.expand_dims(mask, -1)
    return masks.combine(mask, ops.ones_like(words, dtype="bool"))


def _encode(encoder, steps, mask):
    if encoder is None:
        return steps
    takes_mask = "mask" in inspect.signature(encoder.call).parameters
    return encoder(steps, mask=mask) if takes_mask else encoder(steps)
