"""What the searches are tested on: a table with a memory of two tokens, and a small decoder."""

import keras
import numpy as np
from keras import ops

import keras_attention as ka
from tests.backend import BACKEND, to_numpy

ROWS, WORDS, STEPS, MEMORY = 3, 4, 5, 6  # B, V, L, S
END = 3


def compiled(function):
    """The function under XLA."""
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, jit_compile=True)


class Table:
    """The next token depends on the row and the two tokens before, and so do the weights.

    `step` and `state` are for the searches; `log_p` and `weights` are the same for one row, in
    NumPy, for what the searches are compared with.
    """

    def __init__(self, seed=0, rows=ROWS, words=WORDS, scale=1.5):
        rng = np.random.default_rng(seed)
        self.rows, self.words = rows, words
        self.logits = scale * rng.normal(size=(words, words, words)).astype("float32")
        self.bias = rng.normal(size=(rows, words)).astype("float32")
        self.mask = np.arange(MEMORY) < rng.integers(2, MEMORY + 1, (rows, 1))
        raw = np.exp(2 * rng.normal(size=(rows, words, MEMORY))) * self.mask[:, None]
        self.attention = (raw / raw.sum(-1, keepdims=True)).astype("float32")
        self.start = rng.integers(0, words - 1, rows).astype("int32")

    @property
    def state(self):
        """Nested, with a scalar, a `None`, and tensors that the step leaves as they are."""
        fixed = (self.bias, {"attention": self.attention, "none": None})
        return {"before": np.zeros(self.rows, "int32"), "fixed": fixed, "count": 0}

    def step(self, token, state):
        bias, fixed = state["fixed"]
        table = ops.reshape(self.logits, (-1, self.words))
        logits = ops.take(table, state["before"] * self.words + token, axis=0) + bias
        asked = ops.expand_dims(ops.one_hot(token, self.words), -1)
        weights = ops.sum(fixed["attention"] * asked, axis=1)  # (rows, S)
        state = {"before": token, "fixed": state["fixed"], "count": state["count"] + 1}
        return logits, state, weights

    def log_p(self, row, prefix):
        before, token = ([0, self.start[row], *prefix])[-2:]
        logits = (self.logits[before, token] + self.bias[row]).astype("float64")
        return logits - np.log(np.exp(logits).sum())

    def weights(self, row, prefix):
        return self.attention[row, [self.start[row], *prefix][-1]].astype("float64")


class Decoder(keras.Model):
    """A GRU that attends to its memory; `step` for the searches."""

    def __init__(self, words=7, units=5):
        super().__init__()
        self.embedding = keras.layers.Embedding(words, units, embeddings_initializer="normal")
        self.cell = keras.layers.GRUCell(units)
        self.attention = ka.ContentAttention(score="bilinear")
        self.logits = keras.layers.Dense(words)
        self.generator = keras.random.SeedGenerator(3)
        self.units = units
        self(np.zeros((1, 2, units), "float32"), np.ones((1, 2), "bool"))  # builds the layers
        rng = np.random.default_rng(0)
        for weight in self.trainable_weights:
            weight.assign(rng.normal(size=weight.shape))
        self.logits.bias.assign([0, 0, -1, *[0] * (words - 3)])  # token 2 ends, not at once

    def call(self, memory, mask):
        state = self.initial_state(memory, mask)
        return self.step(ops.zeros((ops.shape(memory)[0],), "int32"), state)[0]

    def initial_state(self, memory, mask):
        hidden = ops.max(ops.where(ops.expand_dims(mask, -1), memory, -9.0), axis=1)
        return {"cell": [hidden], "memory": (memory, mask), "step": ops.zeros((), "int32")}

    def step(self, token, state):
        memory, mask = state["memory"]
        output, cell = self.cell(self.embedding(token), state["cell"])
        context, weights = self.attention(
            ops.expand_dims(output, 1), memory, value_mask=mask, return_attention_scores=True
        )
        context = ops.reshape(context, ops.shape(output))
        weights = ops.reshape(weights, ops.shape(mask))
        logits = self.logits(ops.concatenate([output, context], axis=-1))
        state = {"cell": cell, "memory": state["memory"], "step": state["step"] + 1}
        return logits, state, weights


class CachedDecoder(keras.Model):
    """A transformer block with a cache of the steps before."""

    def __init__(self, words=7, units=6, max_length=8):
        super().__init__()
        self.embedding = keras.layers.Embedding(words, units, embeddings_initializer="normal")
        heads = ka.MultiHeadAttention(2, 4, position=ka.RotaryPositionEmbedding())
        self.block = ka.TransformerDecoderBlock(9, 2, attention=heads)
        self.logits = keras.layers.Dense(words)
        self.max_length = max_length
        self.block(np.zeros((1, 2, units)), np.zeros((1, 2, 5)))
        self(np.zeros((1, 2, 5), "float32"), np.ones((1, 2), "bool"))
        rng = np.random.default_rng(0)
        for weight in self.trainable_weights:
            weight.assign(rng.normal(size=weight.shape))
        self.logits.bias.assign([0, 0, -1, *[0] * (words - 3)])

    call = Decoder.call

    def initial_state(self, memory, mask):
        cache = self.block.initial_cache(ops.shape(memory)[0], self.max_length, memory, mask)
        return {"cache": cache, "index": ops.zeros((), "int32")}

    def step(self, token, state):
        x = ops.expand_dims(self.embedding(token), 1)
        x, weights, cache = self.block.step(
            x, state["cache"], state["index"], return_attention_scores=True
        )
        weights = ops.mean(weights["memory"], axis=(1, 2))  # (B, S)
        logits = self.logits(ops.reshape(x, (-1, x.shape[-1])))
        return logits, {"cache": cache, "index": state["index"] + 1}, weights


def memories(rows, steps=MEMORY, units=5, seed=1):
    """A memory `(rows, steps, units)` and its mask."""
    rng = np.random.default_rng(seed)
    mask = np.arange(steps) < rng.integers(1, steps + 1, (rows, 1))
    return {"memory": rng.normal(size=(rows, steps, units)).astype("float32"), "mask": mask}


def greedy(model, memory, mask):
    state = model.initial_state(memory, mask)
    tokens, scores, lengths = ka.greedy_search(model.step, 1, state, 8, end_token=2)
    return {"tokens": tokens, "scores": scores, "lengths": lengths}


def beam(model, memory, mask):
    tokens, scores, lengths = ka.beam_search(
        model.step,
        1,
        model.initial_state(memory, mask),
        max_length=8,
        end_token=2,
        num_beams=3,
        n_best=2,
        length_penalty=0.8,
        coverage_penalty=0.3,
        memory_mask=mask,
    )
    return {"tokens": tokens, "scores": scores, "lengths": lengths}


def blocked(model, memory, mask):
    state = model.initial_state(memory, mask)
    tokens, scores, lengths = ka.beam_search(
        *(model.step, 1, state, 8, 2), num_beams=3, no_repeat_ngram_size=2
    )
    return {"tokens": tokens, "scores": scores, "lengths": lengths}


def sampled(model, memory, mask):
    state = model.initial_state(memory, mask)
    tokens, scores, lengths = ka.sample(
        model.step, 1, state, 8, end_token=2, temperature=3.0, top_k=5, seed=model.generator
    )
    return {"tokens": tokens, "scores": scores, "lengths": lengths}


def check(got, expected):
    """Compares the outcome of a search with lists, by row and rank, of (score, tokens)."""
    tokens, scores, lengths = to_numpy(got)
    for row, hypotheses in enumerate(expected):
        for rank, (score, written) in enumerate(hypotheses):
            n = len(written)
            assert tokens[row, rank, :n].tolist() == list(written)
            assert lengths[row, rank] == n
            assert scores[row, rank] == np.float32(score) or abs(scores[row, rank] - score) < 1e-4
            assert (tokens[row, rank, n:] == PAD).all()
        assert (scores[row, len(hypotheses) :] == -np.inf).all()
        assert (lengths[row, len(hypotheses) :] == 0).all()
        assert (tokens[row, len(hypotheses) :] == PAD).all()


PAD = -1
