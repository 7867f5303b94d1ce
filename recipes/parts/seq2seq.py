"""Sequence to sequence: batches, the search for what to write, its states, and the exports.

A model reads `source` ids `(B, S)` and `target` ids `(B, T)`, which begin with `START`, and gives
logits `(B, T, V)` of each next piece. By name it has these layers:

- `encoder`: a model from source ids to a dict of `memory` `(B, S, D)`, `mask` `(B, S)` and, for a
  recurrent decoder, `first`, its first state.
- `pieces`: `keras.layers.ReversibleEmbedding`, table of the written pieces and output layer, and
  `scale`, which multiplies its vectors.
- either `decoder`: `ka.AttentionDecoder`; or `target_positions`, `decoder_block_1` and so on,
  `ka.TransformerDecoderBlock`s, and `decoder_norm`.
"""

import functools

import numpy as np
import tensorflow as tf
from keras import ops

import keras_attention as ka
from recipes.data.batches import PairBatches, longer_sides, pad, widths
from recipes.kit import exports
from recipes.kit.errors import UserError
from recipes.text import detokenize
from recipes.text.languages import END, PAD, START, UNKNOWN

EXACT = ("tflite", "tflite_float16", "saved_model")  # int8 is as good, but words it differently


def make_batches(config, ids, *, epoch=0):
    """Batches to train and to validate on, of the pairs that are short enough."""
    pairs = {}
    for part in ("train", "validation"):
        ended = [[np.append(row, END).astype("int32") for row in rows] for rows in ids[part]]
        fits = [max(map(len, pair)) <= config.max_pieces for pair in zip(*ended, strict=True)]
        if not any(fits):
            raise UserError(
                f"Expected pairs to {'train' if part == 'train' else 'validate'} of at most "
                f"--max-pieces {config.max_pieces} pieces. Received: none"
            )
        if not all(fits):
            left = len(fits) - sum(fits)
            print(f"{left:,} {part} pairs of more than {config.max_pieces} pieces are left out")
        pairs[part] = [
            [row for row, is_short in zip(rows, fits, strict=True) if is_short] for rows in ended
        ]
    # XLA compiles each width, which some batches alone would not pay for.
    batches = len(pairs["train"][0]) // config.batch_size
    common_widths = widths(longer_sides(*pairs["train"]), count=min(8, max(1, batches // 16)))
    return {
        part: PairBatches(
            *pairs[part],
            min(config.batch_size, len(pairs["train"][0])),
            start=START,
            widths=common_widths,
            shuffle_seed=config.seed if part == "train" else None,
            epoch=epoch,
        )
        for part in pairs
    }


def decoding(model, max_length):
    """Takes a trained model apart, for a search.

    Args:
        model: A sequence-to-sequence model, as above.
        max_length: Integer, the most pieces that are to be decoded.

    Returns:
        The functions `start(source) -> state` and `step(token, state) -> logits, state`, for ids
        `(B, S)` with their end and tokens `(B,)`.
    """
    encoder, pieces, scale = map(model.get_layer, ("encoder", "pieces", "scale"))
    begin, decode = decoder_steps(model, max_length)
    # Nothing that is written holds these. The number is one that 16 bits can hold.
    barred = np.zeros(pieces.input_dim, "float32")
    barred[[PAD, UNKNOWN, START]] = -3e4

    def start(source):
        return begin(encoder(source, training=False))

    def step(token, state):
        output, _, state = decode(scale(pieces(token)), state)
        return ops.cast(pieces(output, reverse=True), "float32") + barred, state

    return start, step


def decoder_steps(model, max_length):
    """The decoder of a trained model, step by step.

    Args:
        model: A model with a `decoder`, or with `target_positions`, blocks and `decoder_norm`.
        max_length: Integer, the most steps.

    Returns:
        The functions `begin(encoded) -> state`, for the dict that the encoder returned, and
        `step(x, state) -> output, weights, state`, for the vectors of the tokens before, `(B, D)`:
        the output `(B, D)` and the attention weights `(B, S)`, which blocks do not give (`None`).
    """
    if "decoder" in [layer.name for layer in model.layers]:
        decoder = model.get_layer("decoder")

        def begin(encoded):
            return decoder.initial_state(encoded["memory"], encoded["mask"], encoded["first"])

        return begin, decoder.step

    blocks = [layer for layer in model.layers if layer.name.startswith("decoder_block")]
    positions, norm = map(model.get_layer, ("target_positions", "decoder_norm"))

    def begin(encoded):
        memory, mask = encoded["memory"], encoded["mask"]
        batch = ops.shape(memory)[0]
        caches = [block.initial_cache(batch, max_length, memory, mask) for block in blocks]
        return {"caches": caches, "index": ops.zeros((), "int32")}

    def step(x, state):
        index, caches = state["index"], []
        x = positions(ops.expand_dims(x, 1), start_index=index)  # (B, 1, D)
        for block, cache in zip(blocks, state["caches"], strict=True):
            x, cache = block.step(x, cache, index)
            caches.append(cache)
        return norm(x)[:, 0], None, {"caches": caches, "index": index + 1}

    return begin, step


def search(model, ids, *, max_length, beams, length_penalty=0.0):
    """The best text that a search finds: ids `(B, max_length)` without their end.

    Args:
        model: A sequence-to-sequence model, as above.
        ids: int32 `(B, S)`, pieces of texts, padded at the end. Beyond `max_length` nothing is
            read; where there is no piece nothing is written.
        max_length: Integer, the most pieces that are written.
        beams: Integer, how many hypotheses are kept; 1 for greedy search.
        length_penalty: As in `ka.beam_search`.
    """
    ids = ids[:, :max_length]
    lengths = ops.sum(ops.cast(ops.not_equal(ids, PAD), "int32"), axis=1, keepdims=True)  # (B, 1)
    ids = ops.pad(ids, [[0, 0], [0, 1]])
    positions = ops.expand_dims(ops.arange(ops.shape(ids)[1], dtype="int32"), 0)
    ids = ops.where(ops.equal(positions, lengths), END, ids)
    start, step = decoding(model, max_length)
    if beams == 1:
        tokens, _, _ = ka.greedy_search(step, START, start(ids), max_length, END)
    else:
        tokens, _, _ = ka.beam_search(
            step,
            START,
            start(ids),
            max_length,
            END,
            num_beams=beams,
            length_penalty=length_penalty,
        )
        tokens = tokens[:, 0]
    is_text = ops.logical_and(ops.not_equal(tokens, END), lengths > 0)
    return ops.where(is_text, tokens, PAD)


def searcher(beams, max_length, length_penalty):
    """A function of a model that returns its search, compiled once: ids to ids, as in `search`."""
    return compiled(
        functools.partial(search, max_length=max_length, beams=beams, length_penalty=length_penalty)
    )


def compiled(search):
    """A function of a model that returns a search with it, compiled once: ids to ids.

    Args:
        search: Function of a model and ids `(B, S)`.
    """

    @functools.cache
    def compiled_with(model):
        # Nothing here is Python that AutoGraph would have to rewrite, which takes it seconds.
        traced = tf.function(functools.partial(search, model), autograph=False)
        return traced.get_concrete_function(tf.TensorSpec((None, None), tf.int32))

    # An export traces it anew: what was compiled for use here may go in blocks.
    return lambda model: (
        functools.partial(search, model) if tf.inside_function() else compiled_with(model)
    )


def generate(run, ids, rows=32):
    """What a search writes for many texts, a list of id arrays, `rows` of like length at a time.

    Args:
        run: What a `searcher` returned for a model.
        ids: List of int32 arrays.
        rows: Integer.
    """
    written = [None] * len(ids)
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    for first in range(0, len(order), rows):
        part = order[first : first + rows]
        rows_of_part = [ids[row] for row in part]
        width = max(1, *map(len, rows_of_part))
        words = run(tf.constant(pad(rows_of_part, width))).numpy()
        for row, row_ids in zip(part, words, strict=True):
            written[row] = row_ids[row_ids != PAD]
    return written


def mean_everywhere(memory, mask):
    """Each step replaced by the mean of all: attention to them sees one vector."""
    counts = ops.expand_dims(ops.cast(mask, memory.dtype), -1)  # (B, S, 1)
    number = ops.maximum(ops.sum(counts, axis=1, keepdims=True), 1.0)
    mean = ops.sum(memory * counts, axis=1, keepdims=True) / number  # (B, 1, D)
    return mean + ops.zeros_like(memory)


def export(model, folder, languages, *, searches, texts, ids, max_pieces, name):
    """Writes all forms.

    Args:
        model: A sequence-to-sequence model, as above.
        folder: Path.
        languages: `recipes.text.languages.Languages`.
        searches: Two `searcher`s: with a beam, and greedy.
        texts: List of strings on which the forms are compared.
        ids: The same, as ids.
        max_pieces: Integer, the most pieces that are read and written.
        name: String, of the output with the text that is written.

    Returns:
        As `kit.exports.export`.
    """
    joiner = detokenize.TextJoiner(languages.target, languages.spacing, max_pieces)
    reader = languages.readers[0]

    def from_text(compiled):
        def read(model, text):
            ids = reader.tokenize(text).to_tensor()
            is_read = tf.cast(tf.not_equal(ids[:, :max_pieces], PAD), tf.int32)
            return {
                name: joiner(compiled(model)(ids)),
                "pieces_read": tf.reduce_sum(is_read, axis=1),
            }

        return read

    def from_ids(compiled):
        return lambda model, ids: {"ids": compiled(model)(ids)}

    beam, greedy = searches
    return export_searches(
        model, folder, from_text={"text": from_text(beam), "text_greedy": from_text(greedy)},
        from_ids=from_ids(greedy), texts=texts, ids=ids, resources=[reader, joiner.detokenizer],
        decision=name, files=languages.files(),
    )  # fmt: skip


def export_searches(
    model, folder, *, from_text, from_ids, texts, ids, resources, decision, files
):  # fmt: skip
    """Writes all forms, each with signatures for texts and one for ids.

    Args:
        model, folder: As for `kit.exports.export`.
        from_text: Dict from the name of a signature, such as `text` or `text_greedy`, to a function
            of a model and texts to a dict of tensors.
        from_ids: Function of a model and ids to a dict of `ids` that are written.
        texts, ids: What the forms are compared on: list of strings, and the same as ids.
        resources: List of what holds tables that the functions of texts use.
        decision: String, the output of texts that is compared.
        files: As for `kit.exports.export`.

    Returns:
        As `kit.exports.export`.
    """
    texts = tf.data.Dataset.from_tensor_slices(texts).batch(1)
    text = {"text": ((None,), "string")}
    common = {"resources": resources, "text": True, "decision": decision}
    return exports.export(
        model,
        folder,
        formats=list(exports.FORMS),
        signatures=[
            *(ka.Signature(name, read, text, texts, **common) for name, read in from_text.items()),
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
        files=files,
        timed={name.replace("text", "milliseconds"): name for name in from_text},
    )


def _whole_rows(outputs):
    """A text agrees as a whole or not at all."""
    return np.array([row.tobytes() for row in outputs["ids"]], dtype=object)
