"""Pointer-generator: a decoder that writes words of its vocabulary and copies those of its source.

        P(w) = p_gen P_vocab(w) + (1 - p_gen) sum_{i: w_i = w} a_i

p_gen is a sigmoid of the decoder's output and input, a_i the attention weight of source word w_i.

A model reads `source` `(B, S)`, `target` `(B, T)`, which begins with `START`, and `labels`
`(B, T)`, all words of a `recipes.text.copyable.Copyable`, and gives a dict of `log_likelihood`
`(B, T)` of the labels and `copied` `(B, T, S)`, the share of each label's probability that is
copied from each word of the source. By name it has these layers:

- `words`: `keras.layers.ReversibleEmbedding`, table of the known words and output layer; `scale`
  multiplies its vectors.
- `encoder`: a model from source words to a dict of `memory` `(B, S, D)`, `mask` `(B, S)` and, for
  a recurrent decoder, `first`, its first state.
- either `decoder`: `ka.AttentionDecoder`; or `target_positions`, `decoder_block_1` and so on,
  `decoder_norm`, and `copy`, an attention to the memory.
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
from recipes.data.batches import SummaryBatches, pad, widths
from recipes.kit import exports
from recipes.text import detokenize
from recipes.text.copyable import END, PAD, PIECES, START, UNKNOWN

EXACT = ("tflite", "tflite_float16", "saved_model")  # int8 is as good, but words it differently
_TINY = 1e-12


@keras.saving.register_keras_serializable(package="recipes")
class CopyLikelihood(keras.layers.Layer):
    """The log-likelihood of labels, and what of it is copied from each word of the source.

    Args:
        copies: Boolean; without, words are only generated.
    """

    def __init__(self, copies=True, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.copies = copies

    def call(self, logits, source, labels, gate=None, weights=None):
        """The two outputs.

        Args:
            logits: `(B, T, W)`, of the known words.
            source, labels: int32 `(B, S)` and `(B, T)`.
            gate: `(B, T, 1)`, p_gen, and
            weights: `(B, T, S)`, attention to the source, if it copies.
        """
        known = logits.shape[-1]
        is_known = ops.less(labels, known)
        index = ops.expand_dims(ops.where(is_known, labels, UNKNOWN), -1)  # (B, T, 1)
        log_p = ops.take_along_axis(logits, index, axis=-1)[..., 0] - ops.logsumexp(logits, axis=-1)
        same = ops.equal(ops.expand_dims(source, 1), ops.expand_dims(labels, -1))  # (B, T, S)
        same = ops.cast(same, "float32")
        if not self.copies:
            return ops.where(is_known, log_p, np.log(_TINY)), ops.zeros_like(same)
        generated = ops.where(is_known, ops.exp(log_p) * gate[..., 0], 0.0)  # (B, T)
        copied = (1.0 - gate) * weights * same
        total = generated + ops.sum(copied, axis=-1) + _TINY
        return ops.log(total), copied / ops.expand_dims(total, -1)

    def get_config(self):
        return {**super().get_config(), "copies": self.copies}


@keras.saving.register_keras_serializable(package="recipes")
class LikelihoodPerplexity(keras.metrics.Mean):
    """Perplexity of labels, for log-likelihoods in place of predictions."""

    def __init__(self, name="perplexity", dtype=None):
        super().__init__(name, dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(-y_pred, sample_weight=is_counted(y_true))

    def result(self):
        return ops.exp(super().result())

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


def is_counted(labels):
    """Which labels are learned: not padding, nor words that are neither known nor in the source."""
    return ops.cast(ops.logical_and(labels != PAD, labels != UNKNOWN), "float32")


@keras.saving.register_keras_serializable(package="recipes")
def negative_log_likelihood(labels, log_likelihood):
    """The loss: the mean over the labels that count."""
    counted = is_counted(labels)
    return ops.sum(-log_likelihood * counted) / ops.maximum(ops.sum(counted), 1.0)


def known_words(words, known):
    """Words as they are embedded: those that can only be copied are the unknown one."""
    return ops.where(ops.less(words, known), words, UNKNOWN)


def make_batches(config, sources, targets, rows, *, epoch=0):
    """Batches to train and to validate on.

    Args:
        config: A `Config` of the recipe.
        sources, targets, rows: Dicts from `train` and `validation` to word arrays of sources, of
            targets, and for each target the number of its source.
    """
    ended = {
        part: [np.append(row, END)[: config.max_summary].astype("int32") for row in targets[part]]
        for part in ("train", "validation")
    }
    train = [sources["train"][row] for row in rows["train"]]
    # XLA compiles each shape, which some batches alone would not pay for.
    many = len(train) // config.batch_size > 100
    shapes = [
        (s, t)
        for s in widths([max(1, len(row)) for row in train], count=4 if many else 1)
        for t in widths([len(row) for row in ended["train"]], count=2 if many else 1)
    ]
    return {
        part: SummaryBatches(
            [sources[part][row] for row in rows[part]],
            ended[part],
            min(config.batch_size, len(train)),
            start=START,
            shapes=shapes,
            shuffle_seed=config.seed if part == "train" else None,
            epoch=epoch,
        )
        for part in ended
    }


def decoding(model, size, max_length):
    """Takes a trained model apart, for a search.

    Args:
        model: As above.
        size: Integer, known words and those that can be copied.
        max_length: Integer, words to write at most.

    Returns:
        The functions `start(source) -> state` and `step(token, state) -> logits, state`, for words
        `(B, S)` and tokens `(B,)`.
    """
    encoder, words, scale = map(model.get_layer, ("encoder", "words", "scale"))
    names = [layer.name for layer in model.layers]
    copies = "gate" in names
    gate = model.get_layer("gate") if copies else None
    known = words.input_dim
    written = np.ones(size, "float32")
    written[[PAD, UNKNOWN, START]] = 0.0  # nothing that is written holds these

    def finish(output, x, weights, source):
        """Log of the mixture `(B, size)`."""
        logits = ops.cast(words(output, reverse=True), "float32")
        generated = ops.softmax(logits)
        if not copies:
            probability = ops.pad(generated, [[0, 0], [0, size - known]])
            return ops.log(probability * written + _TINY)
        p_gen = ops.cast(gate(ops.concatenate([output, x], axis=-1)), "float32")  # (B, 1)
        generated = ops.pad(p_gen * generated, [[0, 0], [0, size - known]])
        rows = ops.expand_dims(ops.arange(ops.shape(source)[0], dtype="int32"), -1) * size
        copied = ops.scatter(
            ops.reshape(rows + source, (-1, 1)),
            ops.reshape((1.0 - p_gen) * ops.cast(weights, "float32"), (-1,)),
            (ops.shape(source)[0] * size,),
        )
        copied = ops.reshape(copied, ops.shape(generated))
        return ops.log((generated + copied) * written + _TINY)

    if "decoder" in names:
        decoder = model.get_layer("decoder")

        def start(source):
            encoded = encoder(source, training=False)
            state = decoder.initial_state(encoded["memory"], encoded["mask"], encoded["first"])
            return {"source": source, "decoder": state}

        def step(token, state):
            x = scale(words(known_words(token, known)))  # (B, D)
            output, weights, inner = decoder.step(x, state["decoder"])
            logits = finish(output, x, weights, state["source"])
            return logits, {"source": state["source"], "decoder": inner}

        return start, step

    blocks = [layer for layer in model.layers if layer.name.startswith("decoder_block")]
    positions, norm = map(model.get_layer, ("target_positions", "decoder_norm"))
    copy = model.get_layer("copy") if copies else None

    def start(source):
        encoded = encoder(source, training=False)
        memory, mask = encoded["memory"], encoded["mask"]
        batch = ops.shape(source)[0]
        caches = [block.initial_cache(batch, max_length, memory, mask) for block in blocks]
        index = ops.zeros((), "int32")
        return {"source": source, **encoded, "caches": caches, "index": index}

    def step(token, state):
        index, caches = state["index"], []
        given = scale(words(ops.expand_dims(known_words(token, known), 1)))  # (B, 1, D)
        x = positions(given, start_index=index)
        for block, cache in zip(blocks, state["caches"], strict=True):
            x, cache = block.step(x, cache, index)
            caches.append(cache)
        output, weights = norm(x), None
        if copies:
            _, weights = copy(
                output, state["memory"], value_mask=state["mask"], return_attention_scores=True
            )
            weights = weights[:, 0]
        logits = finish(output[:, 0], given[:, 0], weights, state["source"])
        return logits, {**state, "caches": caches, "index": index + 1}

    return start, step


def search(model, source, *, size, max_length, beams, length_penalty, ngrams):
    """The best summary that a search finds: words `(B, max_length)` without their end.

    Args:
        model: As above.
        source: int32 `(B, S)`, words of documents, padded at the end.
        size: Integer, known words and those that can be copied.
        max_length: Integer, words to write at most.
        beams: Integer, how many hypotheses are kept.
        length_penalty: As in `ka.beam_search`.
        ngrams: Integer, n-grams of so many words are written once only; 0: as often as it comes.
    """
    start, step = decoding(model, size, max_length)
    tokens, _, _ = ka.beam_search(
        step,
        START,
        start(source),
        max_length,
        END,
        num_beams=beams,
        length_penalty=length_penalty,
        no_repeat_ngram_size=ngrams,
    )
    tokens = tokens[:, 0]
    has_words = ops.any(ops.not_equal(source, PAD), axis=1, keepdims=True)
    return ops.where(ops.logical_and(ops.not_equal(tokens, END), has_words), tokens, PAD)


def searcher(**options):
    """A function of a model that returns its search, compiled once: words to words, as `search`."""

    def of(model):
        return functools.partial(search, model, **options)

    @functools.cache
    def compiled(model):
        # Nothing here is Python that AutoGraph would have to rewrite, which takes it seconds.
        traced = tf.function(of(model), autograph=False)
        return traced.get_concrete_function(tf.TensorSpec((None, None), tf.int32))

    # An export traces it anew: what was compiled for use here may go in blocks.
    return lambda model: of(model) if tf.inside_function() else compiled(model)


def trace(model, source, written):
    """What was copied: the share of each written word's probability from each source word.

    Args:
        model: As above.
        source, written: int32 `(B, S)` and `(B, T)`.

    Returns:
        float32 `(B, T, S)`.
    """
    source, written = map(ops.convert_to_tensor, (source, written))
    target = ops.pad(written[:, :-1], [[0, 0], [1, 0]], constant_values=START)
    given = {"source": source, "target": target, "labels": written}
    copied = model(given, training=False)["copied"]
    return copied * ops.cast(ops.expand_dims(written != PAD, -1), copied.dtype)


def generate(run, sources, rows=32):
    """What a search writes for many documents, `rows` of like length at a time.

    Args:
        run: What a `searcher` returned for a model.
        sources: List of int32 arrays.
        rows: Integer.
    """
    written = [None] * len(sources)
    order = sorted(range(len(sources)), key=lambda row: len(sources[row]))
    for first in range(0, len(order), rows):
        part = order[first : first + rows]
        width = max([1, *(len(sources[row]) for row in part)])
        words = run(tf.constant(pad([sources[row] for row in part], width))).numpy()
        for row, found in zip(part, words, strict=True):
            written[row] = found[found != PAD]
    return written


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
    traced = tf.function(functools.partial(trace, model), autograph=False, reduce_retracing=True)
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


def share_repeating(written, n=3):
    """The share of summaries with an n-gram that stands there twice.

    >>> share_repeating([[1, 2, 3, 1, 2, 3], [1, 2, 3, 4], [1, 1]])
    0.3333333333333333
    """
    grams = [list(zip(*(row[i:] for i in range(n)), strict=False)) for row in written]
    return float(np.mean([len(set(row)) < len(row) for row in grams])) if grams else 0.0


def export(model, folder, known, *, searches, texts, ids, max_summary):
    """Writes all forms.

    Args:
        model: As above.
        folder: Path.
        known: `Copyable`.
        searches: Two `searcher`s: with a beam, and greedy.
        texts: List of strings on which the forms are compared.
        ids: The same, as ids of word pieces.
        max_summary: Integer, the most words that are written.

    Returns:
        As `kit.exports.export`.
    """
    joiner = detokenize.TextJoiner(known.vocabulary, known.spacing, max_summary * PIECES)

    def summarized(search):
        def run(model, ids):
            words, pieces = known.read(ids)
            written = search(model)(words)
            shares = trace(model, words, written)  # (B, L, S)
            best = tf.math.top_k(shares, 1)[1][..., 0]
            copied = tf.reduce_sum(shares, axis=-1)
            return {
                "ids": known.spell(written, pieces),
                "words": written,
                "position": tf.where(copied > 0, best, -1),
                "copied": copied,
            }

        return run

    def from_text(search):
        run = summarized(search)

        def read(model, text):
            ids = known.tokenizer.tokenize(text).to_tensor()
            outputs = run(model, tf.pad(ids, [[0, 0], [0, 1]]))  # a text may be empty
            return {"summary": joiner(outputs.pop("ids")), **outputs}

        return exports.compiled(read)

    beam, greedy = searches
    texts = tf.data.Dataset.from_tensor_slices(texts).batch(1)
    text = {"text": ((None,), "string")}
    common = {
        "resources": [known.tokenizer, joiner.detokenizer], "text": True, "decision": "summary",
    }  # fmt: skip
    from_ids = exports.compiled(summarized(greedy))
    return exports.export(
        model,
        folder,
        formats=list(exports.FORMS),
        signatures=[
            ka.Signature("text", from_text(beam), text, texts, **common),
            ka.Signature("text_greedy", from_text(greedy), text, texts, **common),
            ka.Signature(
                "ids",
                from_ids,
                {"ids": ((None, None), "int32")},
                exports.one_by_one(ids),
                decision=_whole_rows,
            ),
        ],
        bounds={
            form: {"difference": None, "agreement": 0.98 if form in EXACT else 0.5}
            for form in (*exports.FORMS, "float32_rebuild")
        },
        files=known.files(),
        timed={"milliseconds": "text", "milliseconds_greedy": "text_greedy"},
    )


def _whole_rows(outputs):
    """A summary agrees as a whole or not at all."""
    return np.array([row.tobytes() for row in outputs["ids"]], dtype=object)
