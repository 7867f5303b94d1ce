"""Language models: one step after another, figures of a text, what is written, and the exports.

A model reads `tokens` and `segment_ids` `(B, T)`, a document's number at each of its tokens, and
gives logits `(B, T, V)` of each next token. By name it has these layers:

- `embed`: `keras.layers.ReversibleEmbedding`, table of the tokens and output layer, and `scale`,
  which multiplies its vectors; perhaps `positions`, which adds to them.
- either `block_1` and so on, `ka.TransformerDecoderBlock`s without a memory; or `read`, a
  `ka.ExportableRNN` of a `ResettingCell`, `attention`, a `ka.MultiHeadAttention` of its states, and
  `combine`.
- `norm`.
"""

import math

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import keras_attention as ka
from recipes.data.batches import pad
from recipes.kit import exports
from recipes.text.tokens import BORDER, FILE, PAD, UNKNOWN

ALIKE = 8  # the first tokens that are written, which a form should write too
# Of the next tokens, and of the first that are written: two may be nearly as probable.
AGREEMENTS = {"tflite_float16": 0.9, "tflite_int8": None}


@keras.saving.register_keras_serializable(package="recipes")
class ResettingCell(keras.layers.Layer):
    """A recurrent cell that forgets where a sequence begins, as the last feature of its input says.

    So a row may hold several documents, one after another.

    Args:
        cell: A Keras cell.

    Call arguments:
        inputs: Float tensor `(B, D + 1)`; the last feature is 1 where a sequence begins, else 0.
        states: The cell's states.
        training: Whether the cell applies its dropout.

    Returns:
        As the cell.
    """

    def __init__(self, cell, **kwargs):
        super().__init__(**kwargs)
        self.cell, self.state_size, self.output_size = cell, cell.state_size, cell.output_size

    def build(self, inputs_shape):
        if not self.cell.built:  # a loaded one is
            self.cell.build((*inputs_shape[:-1], inputs_shape[-1] - 1))
        self.built = True

    def call(self, inputs, states, training=False):
        kept = 1.0 - inputs[:, -1:]
        states = keras.tree.map_structure(lambda state: state * kept, states)
        return self.cell(inputs[:, :-1], states, training=training)

    def get_initial_state(self, batch_size=None):
        return self.cell.get_initial_state(batch_size=batch_size)

    def get_config(self):
        return {**super().get_config(), "cell": keras.saving.serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "cell": keras.saving.deserialize_keras_object(config["cell"])})


def begins(segment_ids):
    """1 where a segment begins, else 0: float32 `(B, T, 1)`."""
    changed = ops.not_equal(segment_ids[:, 1:], segment_ids[:, :-1])
    changed = ops.concatenate([ops.ones_like(segment_ids[:, :1], dtype="bool"), changed], axis=1)
    return ops.expand_dims(ops.cast(changed, "float32"), -1)


class Stepper:
    """A trained model that reads further tokens and remembers those before.

    The state is a flat dict of tensors whose first axis is the batch: `index` `(B,)`, how many
    steps have been read, the same for all rows; `padding` `(B,)`, how many of them, at the left,
    are padding; and what the layers keep: `key_1`, `value_1`, `mask_1` and so on, caches of M
    steps, and `states` of the recurrent one. All zeros before the first step.

    Args:
        model: A language model, as above.
        length: Integer M, the most steps.
    """

    def __init__(self, model, length):
        layers = {layer.name: layer for layer in model.layers}
        self.length = length
        self.embed, self.scale, self.norm = (layers[n] for n in ("embed", "scale", "norm"))
        self.positions, self.read = layers.get("positions"), layers.get("read")
        self.combine, self.attention = layers.get("combine"), layers.get("attention")
        self.blocks = [layer for name, layer in layers.items() if name.startswith("block_")]

    def first_state(self, batch):
        """The state before the first step."""
        state = {name: ops.zeros((batch,), "int32") for name in ("index", "padding")}
        if self.read is not None:
            state["states"] = ops.zeros((batch, self.read.cell.state_size))
            caches = [self.attention.initial_cache(batch, self.length)]
        else:
            caches = [block.initial_cache(batch, self.length)["inputs"] for block in self.blocks]
        return {**state, **_named(caches)}

    def __call__(self, tokens, state):
        """Logits `(B, T, V)` for tokens `(B, T)`, and the next state; `PAD` may stand at the left
        of the first.
        """
        index, mask = state["index"][0], ops.not_equal(tokens, PAD)
        padded = ops.sum(ops.cast(ops.logical_not(mask), "int32"), axis=1)
        new = {"padding": state["padding"] + padded}
        x = self.scale(self.embed(tokens))  # (B, T, D)
        if self.positions is not None:
            x = self.positions(x, start_index=index - new["padding"])
        caches = []
        if self.read is not None:
            no_border = ops.concatenate([x, ops.zeros_like(x[:, :, :1])], axis=-1)
            x, new["states"] = self.read(no_border, initial_state=[state["states"]], mask=mask)
            past, cache = self.attention.step(x, _cache(state, 1), index, mask)
            caches.append(cache)
            x = self.combine(ops.concatenate([x, past], axis=-1))
        for number, block in enumerate(self.blocks, start=1):
            x, cache = block.step(x, {"inputs": _cache(state, number)}, index, mask)
            caches.append(cache["inputs"])
        logits = ops.cast(self.embed(self.norm(x), reverse=True), "float32")
        new["index"] = state["index"] + ops.shape(tokens)[1]
        return logits, {**new, **_named(caches)}

    def write(self, search, ids):
        """What a search writes after prompts.

        Args:
            search: Function `(step, start_token, state, max_length, end_token) -> tokens, ...`, as
                `ka.greedy_search`.
            ids: int32 `(B, T)`, padded at the left with 0. Of a prompt the last half of the context
                is read.

        Returns:
            int32 `(B, M / 2)`, 0 after the end of a document.
        """
        count = self.length // 2
        ids = ids[:, -(self.length - count) :]
        # All but the last are read at once; padding before them, as no kernel reads nothing.
        before = ops.pad(ids, [[0, 0], [1, 0]])[:, :-1]
        _, state = self(before, self.first_state(ops.shape(ids)[0]))

        def step(token, state):
            logits, state = self(ops.expand_dims(token, 1), state)
            return logits[:, -1] + _barred(logits.shape[-1]), state

        return search(step, ids[:, -1], state, count, BORDER)[0]


def _barred(size):
    """What no document holds is never written. The number is one that 16 bits can hold."""
    barred = np.zeros(size, "float32")
    barred[[PAD, UNKNOWN]] = -3e4
    return barred


def _named(caches):
    return {
        f"{name}_{number}": x
        for number, cache in enumerate(caches, start=1)
        for name, x in cache.items()
    }


def _cache(state, number):
    return {name: state[f"{name}_{number}"] for name in ("key", "value", "mask")}


class _GivenSeed(keras.random.SeedGenerator):
    """The seed of one call, a tensor."""

    def __init__(self, seed):
        self._given = ops.cast(ops.stack([seed, 0]), "uint32")
        self._initial_seed = 0

    def next(self, ordered=True):
        return self._given


def sampler(temperature, seed):
    """A search that draws each token, for a temperature `(B,)` and a seed `(B,)`, whose first
    counts.
    """

    def search(step, token, state, max_length, end_token):
        def warmed(token, state):
            logits, state = step(token, state)
            return logits / ops.expand_dims(ops.maximum(temperature, 1e-3), -1), state

        given = _GivenSeed(seed[0])
        return ka.sample(warmed, token, state, max_length, end_token, seed=given)

    return search


def nats(model, documents, length, rows=32):
    """Minus the log-likelihood of all tokens of some documents, in nats.

    A window of `length` tokens slides over each document, a quarter of its length at a time, and
    those tokens are counted that no window before has counted. So each is predicted from three
    quarters of a window or more before it, or from the beginning of its document on.

    Args:
        model: A language model, as above.
        documents: List of int32 arrays.
        length: Integer, the tokens of a window.
        rows: Integer, windows at a time.
    """
    stride, windows = max(1, length // 4), []
    for document in documents:
        given, labels = np.insert(document[:-1], 0, BORDER), document
        counted = 0
        while counted < len(labels):
            end = min(len(labels), max(length, counted + stride))
            start = max(0, end - length)
            hidden = np.zeros(counted - start, "int32")  # counted before
            windows.append((given[start:end], np.concatenate([hidden, labels[counted:end]])))
            counted = end

    @tf.function(input_signature=[tf.TensorSpec((None, length), tf.int32)] * 2)
    def of_windows(tokens, labels):
        given = {"tokens": tokens, "segment_ids": tf.zeros_like(tokens)}
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels, tf.cast(model(given, training=False), tf.float32)
        )
        return tf.reduce_sum(tf.where(labels != PAD, losses, 0.0))

    total = 0.0
    for first in range(0, len(windows), rows):
        columns = zip(*windows[first : first + rows], strict=True)
        total += float(of_windows(*(pad(column, length) for column in columns)))
    return total


def figures(split, ids, total):
    """What a loss in nats is a character, in bits, and as perplexities of a token and of a word.

    Args:
        split: `recipes.data.corpora.Split`.
        ids: List of arrays, the tokens of its documents.
        total: Number, the loss of all tokens in nats.
    """
    return {
        "nats": total / split.characters,
        "bits": total / split.characters / math.log(2),
        "perplexity": math.exp(total / sum(map(len, ids))),
        "word_perplexity": math.exp(min(700.0, total / max(1, split.words))),
    }


def protocol(length, tokens):
    """How the figures are computed, in words, for a context of `length` tokens of this kind."""
    return (
        "`nats` is the mean negative log-likelihood of a character of the test text, `bits` the "
        f"same in bits; `perplexity` is of one of the {tokens}, `word_perplexity` of a word. A "
        f"window of {length} {tokens} slides over each document, a quarter of its length at a "
        f"time, so that each is predicted from {length - length // 4} to {length} before it, or "
        "from the beginning of its document on. The end of a document is not counted. The n-grams "
        "are measured on the same tokens."
    )


def prompts(documents, length, count):
    """At most `count` parts of documents, of 2 to `length` tokens, from all over them."""
    whole = [np.insert(document, 0, BORDER).astype("int32") for document in documents]
    some = [ids[at : at + length] for ids in whole for at in range(0, len(ids), length)]
    some = [ids for ids in some if len(ids) > 1]
    return some[:: -(-len(some) // count)]


def maps(model, ids):
    """The attention weights of each head of each layer, for one text: `(heads, T, T)`."""
    given = {"tokens": ids[None], "segment_ids": np.zeros_like(ids[None])}
    return np.concatenate([weights[0] for weights in ka.attention_maps(model, given).values()])


def figure(model, tokens, text):
    """The picture of the head that looks back furthest: tokens of a text down the side."""
    ids = np.insert(tokens.encode(text), 0, BORDER).astype("int32")
    distance = np.arange(len(ids))[:, None] - np.arange(len(ids))
    heads = maps(model, ids)
    furthest = heads[(heads * distance).sum((1, 2)).argmax()]
    shown = names(tokens, ids)
    return ka.plot_alignment(furthest, shown, shown)


def names(tokens, ids):
    """Each of some tokens as a string that can be seen."""
    shown = {"\n": "\N{RETURN SYMBOL}", " ": "\N{OPEN BOX}", "": "(border)"}
    return [shown.get(name, name) for name in (tokens.decode([number]) for number in ids)]


def export(model, folder, tokens, prompts, length):
    """Writes all forms of a language model.

    Args:
        model: A language model, as above.
        folder: Path.
        tokens: `recipes.text.tokens.Characters` or `Pieces`.
        prompts: List of int32 arrays, on which the forms are compared.
        length: Integer, the context.

    Returns:
        As `kit.exports.export`.
    """

    def step(model, tokens, **state):
        logits, state = Stepper(model, length)(tokens, state)
        return {"logits": logits, **state}

    def generate(model, ids):
        return {"ids": Stepper(model, length).write(ka.greedy_search, ids)}

    def sample(model, ids, temperature, seed):
        return {"ids": Stepper(model, length).write(sampler(temperature, seed), ids)}

    stepper = Stepper(model, length)
    empty = _arrays(stepper.first_state(batch=1))
    state = {name: ((None, *x.shape[1:]), x.dtype.name) for name, x in empty.items()}
    calls = []
    for row in prompts:  # a whole prompt, and one more token
        calls.append({"tokens": row[None, :length], **empty})
        if len(row) > 1:
            _, after = stepper(row[None, : length - 1], empty)
            calls.insert(0, {"tokens": row[None, -1:], **_arrays(after)})
    drawn = [
        {"ids": row[None], "temperature": np.float32([0.8]), "seed": np.int32([number])}
        for number, row in enumerate(prompts)
    ]
    ids = {"ids": ((None, None), "int32")}
    numbers = {"temperature": ((None,), "float32"), "seed": ((None,), "int32")}
    reads = ka.Signature(
        "step", step, {"tokens": ((None, None), "int32"), **state}, _dataset(calls)
    )
    writes, draws = (
        ka.Signature(
            function.__name__, exports.compiled(function), inputs, samples, decision=_first_written
        )
        for function, inputs, samples in (
            (generate, ids, exports.one_by_one(prompts)),
            (sample, {**ids, **numbers}, _dataset(drawn)),
        )
    )
    shared = {
        "files": {FILE: [tokens.dumps()]},
        "timed": {"milliseconds": "step", "milliseconds_generate": "generate"},
        "bounds": {
            form: {"difference": None, "agreement": AGREEMENTS.get(form, 0.98)}
            for form in exports.FORMS
        },
    }
    # TFLite has no random operators: there the host draws from the logits of `step`.
    of_server = exports.export(
        model, folder, formats=["saved_model"], signatures=[reads, writes, draws], **shared
    )
    others = [form for form in exports.FORMS if form != "saved_model"]
    of_phones = exports.export(
        model, folder, formats=others, signatures=[reads, writes], adds=True, **shared
    )
    return {**of_phones, **of_server}


def _arrays(state):
    return {name: np.array(x) for name, x in state.items()}


def _dataset(rows):
    """A `tf.data.Dataset` of dicts of arrays, each a batch of one, of any lengths."""
    spec = {
        name: tf.TensorSpec([1, *[None] * (x.ndim - 1)], x.dtype) for name, x in rows[0].items()
    }
    return tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=spec)


def _first_written(outputs):
    """The first tokens that are written."""
    return outputs["ids"][:, :ALIKE]
