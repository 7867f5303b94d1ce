"""Pointer-generator: a decoder that writes words of its vocabulary and copies those of its source.

        P(w) = p_gen P_vocab(w) + (1 - p_gen) sum_{i: w_i = w} a_i

p_gen is a sigmoid of the decoder's output and input, a_i the attention weight of source word w_i.

A model reads `source` `(B, S)`, `target` `(B, T)`, which begins with `START`, and `labels`
`(B, T)`, all words of a `recipes.text.copyable.Copyable`, and gives a dict of `log_likelihood`
`(B, T)` of the labels and `copied` `(B, T, S)`, the share of each label's probability that is
copied from each word of the source. By name it has these layers:

- `words`: `keras.layers.ReversibleEmbedding`, table of the known words and output layer; `scale`
  multiplies its vectors.
- `encoder`, of these vectors `(B, S, D)` and the mask `(B, S)`, and a decoder, both else as in
  `recipes.parts.seq2seq`; beside blocks `copy`, an attention from their output to the memory, whose
  weights are a. What the encoder gives passes layers that do nothing, `keras.layers.Identity`, of
  the names in its dict.
- `gate`: p_gen. A model without it only generates, and has no `copy`.

Reference: See, Liu & Manning, 2017, https://arxiv.org/abs/1704.04368, eq. 8 and 9. There p_gen is
of the context, the state and the input; here the output of the decoder stands for the first two.
"""

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import keras_attention as ka
from recipes.data.batches import pad
from recipes.parts import seq2seq
from recipes.text.copyable import END, PAD, START, UNKNOWN

_TINY = 1e-12


@keras.saving.register_keras_serializable(package="recipes")
class CopyLikelihood(keras.layers.Layer):
    """The log-likelihood of labels, and what of it is copied from each word of the source."""

    def call(self, logits, source, labels, gate=None, weights=None):
        """The two outputs.

        Args:
            logits: `(B, T, W)`, of the known words.
            source, labels: int32 `(B, S)` and `(B, T)`.
            gate: `(B, T, 1)`, p_gen, and
            weights: `(B, T, S)`, attention to the source; without both, words are only generated.
        """
        is_known = ops.less(labels, logits.shape[-1])
        index = ops.expand_dims(ops.where(is_known, labels, UNKNOWN), -1)  # (B, T, 1)
        log_p = ops.take_along_axis(logits, index, axis=-1)[..., 0] - ops.logsumexp(logits, axis=-1)
        same = ops.equal(ops.expand_dims(source, 1), ops.expand_dims(labels, -1))  # (B, T, S)
        same = ops.cast(same, logits.dtype)
        if gate is None:
            return ops.where(is_known, log_p, np.log(_TINY)), ops.zeros_like(same)
        generated = ops.where(is_known, ops.exp(log_p) * gate[..., 0], 0.0)  # (B, T)
        copied = (1.0 - gate) * weights * same  # (B, T, S)
        total = generated + ops.sum(copied, axis=-1) + _TINY
        return ops.log(total), copied / ops.expand_dims(total, -1)


class LikelihoodPerplexity(keras.metrics.Mean):
    """Perplexity of labels, for log-likelihoods in place of predictions."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(-y_pred, sample_weight=is_counted(y_true))

    def result(self):
        return ops.exp(super().result())


def negative_log_likelihood(labels, log_likelihood):
    """The loss: the mean over the labels that count."""
    counted = is_counted(labels)
    return ops.sum(-log_likelihood * counted) / ops.maximum(ops.sum(counted), 1.0)


def is_counted(labels):
    """Which labels are learned: not padding, nor words that are neither known nor in the source."""
    return ops.cast(ops.logical_and(labels != PAD, labels != UNKNOWN), "float32")


def known_words(words, known):
    """Words as they are embedded: those that can only be copied are the unknown one."""
    return ops.where(ops.less(words, known), words, UNKNOWN)


def encode(model, source):
    """What the encoder of a model makes of words `(B, S)`: a dict of tensors."""
    words, scale, encoder = map(model.get_layer, ("words", "scale", "encoder"))
    vectors = scale(words(known_words(source, words.input_dim)))  # (B, S, D)
    encoded = encoder([vectors, ops.not_equal(source, PAD)], training=False)
    # Without the masks that Keras attaches: `mask` is among them.
    return {part: tf.identity(x) for part, x in encoded.items()}


def decoding(model, size, max_length):
    """Takes a trained model apart, for a search.

    Args:
        model: As above.
        size: Integer, known words and those that can be copied.
        max_length: Integer, words to write at most.

    Returns:
        The functions `start(source, encoded) -> state`, for words `(B, S)` and what `encode` made
        of them, and `step(token, state) -> log P, state`, for tokens `(B,)`.
    """
    layers = {layer.name: layer for layer in model.layers}
    words, scale, gate, copy = map(layers.get, ("words", "scale", "gate", "copy"))
    begin, decode = seq2seq.decoder_steps(model, max_length)
    known = words.input_dim
    can_be_written = np.ones(size, "float32")
    can_be_written[[PAD, UNKNOWN, START]] = 0.0

    def start(source, encoded):
        state = {"source": source, "decoder": begin(encoded)}
        return state | ({"memory": encoded["memory"], "mask": encoded["mask"]} if copy else {})

    def step(token, state):
        x = scale(words(known_words(token, known)))  # (B, D)
        output, weights, decoder = decode(x, state["decoder"])
        p = ops.softmax(ops.cast(words(output, reverse=True), "float32"))
        p = ops.pad(p, [[0, 0], [0, size - known]])  # (B, size)
        if copy:
            memory, mask = state["memory"], state["mask"]
            query = ops.expand_dims(output, 1)
            _, weights = copy(query, memory, value_mask=mask, return_attention_scores=True)
            weights = weights[:, 0]  # (B, S)
        if gate:
            p_gen = gate(ops.concatenate([output, x], axis=-1))  # (B, 1)
            weights = (1.0 - p_gen) * ops.cast(weights, "float32")
            p = p_gen * p + _at_words(weights, state["source"], size)
        return ops.log(p * can_be_written + _TINY), {**state, "decoder": decoder}

    return start, step


def _at_words(weights, source, size):
    """The weights `(B, S)` of source words, those of equal words added, as `(B, size)`."""
    batch = ops.shape(source)[0]
    first = ops.expand_dims(ops.arange(batch, dtype="int32"), -1) * size
    flat = ops.scatter(
        ops.reshape(first + source, (-1, 1)), ops.reshape(weights, (-1,)), (batch * size,)
    )
    return ops.reshape(flat, (-1, size))


def search(model, source, encoded=None, *, size, max_length, beams, length_penalty, ngrams):
    """The best summary that a search finds: words `(B, max_length)` without their end.

    Args:
        model: As above.
        source: int32 `(B, S)`, words of documents, padded at the end.
        encoded: What `encode` made of them, if it did.
        size: Integer, known words and those that can be copied.
        max_length: Integer, words to write at most.
        beams: Integer, how many hypotheses are kept.
        length_penalty: As in `ka.beam_search`.
        ngrams: Integer, n-grams of so many words are written once only; 0: as often as it comes.
    """
    start, step = decoding(model, size, max_length)
    state = start(source, encoded or encode(model, source))
    tokens, _, _ = ka.beam_search(
        step, START, state, max_length, END, num_beams=beams,
        length_penalty=length_penalty, no_repeat_ngram_size=ngrams,
    )  # fmt: skip
    tokens = tokens[:, 0]
    has_words = ops.any(ops.not_equal(source, PAD), axis=1, keepdims=True)
    return ops.where(ops.logical_and(ops.not_equal(tokens, END), has_words), tokens, PAD)


def trace(model, source, written, encoded=None):
    """What was copied: the share of each written word's probability from each source word.

    Args:
        model: As above.
        source, written: int32 `(B, S)` and `(B, T)`.
        encoded: What `encode` made of the source, if it did.

    Returns:
        float32 `(B, T, S)`.
    """
    source, written = map(ops.convert_to_tensor, (source, written))
    encoded = encoded or encode(model, source)
    target = ops.pad(written[:, :-1], [[0, 0], [1, 0]], constant_values=START)
    # The model from its encoder on.
    inputs = [*map(model.input.get, ("source", "target", "labels"))]
    inputs += [model.get_layer(part).output for part in encoded]
    decoder = keras.Function(inputs, model.output["copied"])
    copied = decoder([source, target, written, *encoded.values()])
    return copied * ops.cast(ops.expand_dims(written != PAD, -1), copied.dtype)


def shares_copied(model, sources, written, known):
    """Percent of the written words that are copied, and of those that only copying can write.

    A word is copied if more than half of its probability is.

    Args:
        model: As above.
        sources, written: Lists of int32 arrays.
        known: Integer, the known words.

    Returns:
        Dict of `copied_words` and `copied_unknown_words`.
    """
    signature = [tf.TensorSpec((None, None), tf.int32)] * 2
    traced = tf.function(functools.partial(trace, model), signature, autograph=False)
    copied = 0
    for first in range(0, len(sources), 32):
        rows = [part[first : first + 32] for part in (sources, written)]
        given = [tf.constant(pad(part, max([1, *map(len, part)]))) for part in rows]
        copied += int((traced(*given).numpy().sum(-1) > 0.5).sum())
    words = np.concatenate([np.zeros(0, "int32"), *written])
    count = max(1, len(words))
    return {
        "copied_words": 100 * copied / count,
        "copied_unknown_words": 100 * int((words >= known).sum()) / count,
    }
