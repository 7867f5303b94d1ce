"""A recognizer that listens, attends and spells: its front, its search, where it listened, exports.

frames -> convolutions, a quarter of the steps -> recurrent encoder -> attention decoder -> tokens

A model reads `frames` `(B, T, bands)`, the `length` of each row in frames and `tokens` `(B, L)`,
which begin with `START`, and gives logits `(B, L, V)` of each next token. By name it has the layers
`encoder` (a model from frames and length to a dict of `memory` `(B, S, D)` and `mask` `(B, S)`),
`embed`, `decoder` (`ka.AttentionDecoder`) and `head`.
"""

import dataclasses
import json
import math

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

import keras_attention as ka
from recipes.kit import exports
from recipes.kit.errors import cannot_load
from recipes.parts import log_mel
from recipes.parts.speech_batches import pad_frames
from recipes.text.transcripts import END, PAD, START, UNKNOWN, Transcripts, learn

FILE = "speech.json"
STRIDE = 4  # frames from one step of the memory to the next


@keras.saving.register_keras_serializable(package="recipes")
class ConvolutionalFront(layers.Layer):
    """Frames to a quarter as many steps, by two convolutions over time and bands.

    Step s is of the frames `4 s - 3` to `4 s + 3`. What is behind a row's length changes nothing.

    Args:
        filters: Integer, of each convolution.
        units: Integer, the size of a step.
        mean, variance: Lists of floats, those of each band, by which frames are normalized.
    """

    def __init__(self, filters, units, mean, variance, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.units = filters, units
        self.mean, self.variance = list(map(float, mean)), list(map(float, variance))
        self._mean = np.array(self.mean, "float32")
        self._scale = 1 / np.sqrt(np.array(self.variance, "float32") + 1e-6)
        self.convolutions = [
            layers.Conv2D(
                filters, 3, strides=2, activation="relu", dtype=self.dtype_policy, name=f"conv_{n}"
            )
            for n in (1, 2)
        ]
        self.dense = layers.Dense(units, activation="relu", dtype=self.dtype_policy, name="dense")

    def build(self, frames_shape, length_shape):
        bands = frames_shape[-1]
        for convolution, channels in zip(self.convolutions, (1, self.filters), strict=True):
            convolution.build((None, None, bands + 2, channels))
            bands = -(-bands // 2)
        self.dense.build((None, None, bands * self.filters))
        self.built = True

    def call(self, frames, length):
        x = (ops.cast(frames, self.compute_dtype) - self._mean) * self._scale
        x = ops.expand_dims(x, -1)  # (B, T, bands, 1)
        for convolution in self.convolutions:
            mask = _of_length(length, x)  # (B, T)
            x = ops.where(ops.expand_dims(ops.expand_dims(mask, -1), -1), x, ops.zeros_like(x))
            # Padded by hand: "same" pads at the left or not as the length is odd or even.
            x = convolution(ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]))
            length = (length + 1) // 2
        x = ops.reshape(x, (*ops.shape(x)[:2], x.shape[2] * x.shape[3]))
        return self.dense(x), _of_length(length, x)  # (B, S, units), (B, S)

    def compute_output_spec(self, frames, length):
        batch, time = frames.shape[:2]
        steps = None if time is None else steps_of(time)
        x = keras.KerasTensor((batch, steps, self.units), self.compute_dtype)
        return x, keras.KerasTensor((batch, steps), "bool")

    def get_config(self):
        own = {"filters": self.filters, "units": self.units}
        return {**super().get_config(), **own, "mean": self.mean, "variance": self.variance}


def _of_length(length, x):
    """Which steps of `x` `(B, T, ...)` are within each row's length, `(B, T)`."""
    steps = ops.arange(ops.shape(x)[1], dtype="int32")
    return ops.expand_dims(steps, 0) < ops.expand_dims(ops.cast(length, "int32"), 1)


def steps_of(frames):
    """How many steps of memory so many frames make."""
    return (frames + STRIDE - 1) // STRIDE


@dataclasses.dataclass(frozen=True)
class Speech:
    """What is known of sounds and texts beside the model's weights; `speech.json` holds it.

    Attributes:
        transcripts: `recipes.text.transcripts.Transcripts`.
        sample_rate, bands, window, hop: As of `log_mel.LogMel`.
        tokens_per_100_steps: Integer, tokens per 100 steps of memory, at most. (A fraction would be
            rounded in a float16 file, which then might write one token less or more.)
        max_tokens: Integer, tokens with the end, at most, however long the sound is.
    """

    transcripts: Transcripts
    sample_rate: int
    bands: int
    window: int
    hop: int
    tokens_per_100_steps: int
    max_tokens: int

    def log_mel(self):
        """The layer that makes frames."""
        return log_mel.LogMel(self.sample_rate, self.bands, self.window, self.hop, name="log_mel")

    def most_tokens(self, frames):
        """The most tokens, with the end, of so many frames: an integer, or a tensor."""
        count = 2 + (steps_of(frames) * self.tokens_per_100_steps + 99) // 100
        if isinstance(count, int):
            return min(self.max_tokens, count)
        return tf.minimum(count, self.max_tokens)

    def seconds(self, step):
        """The time in the sound, in seconds, of the middle of a step of memory."""
        return (STRIDE * step * self.hop + self.window / 2) / self.sample_rate

    def dumps(self):
        """The content of the file: a line of JSON."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)[1:]}
        names = {"tokens": self.transcripts.names, "separator": self.transcripts.separator}
        return json.dumps({**names, **own}, ensure_ascii=False)

    @classmethod
    def load(cls, folder):
        """Reads the file of a run folder.

        Raises:
            UserError: If it cannot be read.
        """
        path = folder / FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            names = content.pop("tokens"), content.pop("separator")
            return cls(Transcripts(*names), **content)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise cannot_load(path, error) from error


def read(config, data):
    """Frames and texts of a recipe's data.

    Args:
        config: A `Config` of the recipe.
        data: `recipes.data.speech.Utterances`.

    Returns:
        The `Transcripts` of the training texts; and dicts from the name of a split to a list of
        frames `(T, bands)`, and to a list of the tokens of the texts, without start and end.
    """
    known, layer = learn(config.tokens, data.train.texts), log_mel.of(config)
    frames, ids = {}, {}
    for part, split in data.splits.items():
        frames[part] = log_mel.frames_of(layer, split.waveforms(config.sample_rate))
        ids[part] = [known.encode(text) for text in split.texts]
    hours = sum(map(len, frames["train"])) / 360_000
    print(f"{len(known):,} different {config.tokens}; {hours:.2f} hours to train with")
    return known, frames, ids


def speech_of(config, transcripts, frames, ids):
    """`Speech` for a recipe's config and its training frames and ids."""
    layer = log_mel.of(config)
    rates = [(1 + len(row)) / steps_of(len(one)) for one, row in zip(frames, ids, strict=True)]
    return Speech(
        transcripts, layer.rate, layer.bands, layer.window, layer.hop,
        # Who speaks faster than anybody in training is still written in full.
        tokens_per_100_steps=math.ceil(125 * max(rates)), max_tokens=config.max_tokens,
    )  # fmt: skip


# --------------------------------------------------------------------------------- search


def decoding(model):
    """The step of a search: token `(B,)` and state to logits `(B, V)`, the state and weights.

    The state is a dict of `decoder` and `left`, how many tokens may still be written, `(B,)`.
    """
    embed, decoder, head = map(model.get_layer, ("embed", "decoder", "head"))
    # Nothing that is written holds these. The number is one that 16 bits can hold.
    barred = np.zeros(head.units, "float32")
    barred[[PAD, START, UNKNOWN]] = -3e4
    only_end = np.full(head.units, -3e4, "float32")
    only_end[END] = 0.0

    def step(token, state):
        output, weights, after = decoder.step(embed(token), state["decoder"])
        is_over = ops.expand_dims(ops.cast(state["left"] <= 1, "float32"), 1)
        logits = ops.cast(head(output), "float32") + barred + is_over * only_end
        return logits, {"decoder": after, "left": state["left"] - 1}, weights

    return step


def search(model, frames, length, *, speech, beams, length_penalty=0.0):
    """What is said in frames, and where each token was heard.

    Args:
        model: A recognizer, as above.
        frames: float32 `(B, T, bands)`.
        length: int32 `(B,)`, frames of each row.
        speech: `Speech`.
        beams: Integer, how many hypotheses are kept; 1 for greedy search.
        length_penalty: As in `ka.beam_search`.

    Returns:
        Dict of `ids` int32 `(B, L)`, with L by the number of frames, 0 behind the last token; and
        `weights` `(B, L, S)`, of each token over the steps of the memory.
    """
    encoded = model.get_layer("encoder")({"frames": frames, "length": length}, training=False)
    decoder = model.get_layer("decoder")
    state = {
        "decoder": decoder.initial_state(encoded["memory"], encoded["mask"]),
        "left": speech.most_tokens(length),
    }
    step, most = decoding(model), speech.max_tokens
    if beams == 1:
        tokens, _, _ = ka.greedy_search(step, START, state, most, END)
    else:
        tokens, _, _ = ka.beam_search(
            step, START, state, most, END, num_beams=beams, length_penalty=length_penalty
        )
        tokens = tokens[:, 0]
    tokens = tokens[:, : speech.most_tokens(tf.shape(frames)[1])]
    is_text = ops.logical_and(ops.not_equal(tokens, END), ops.expand_dims(length > 0, 1))
    tokens = ops.where(is_text, tokens, PAD)
    return {"ids": tokens, "weights": weights_of(model, encoded, tokens)}


def weights_of(model, encoded, tokens):
    """The attention weights `(B, L, S)` with which given tokens `(B, L)` are written."""
    start = ops.full_like(tokens[:, :1], START)
    given = ops.concatenate([start, tokens[:, :-1]], axis=1)
    _, weights = model.get_layer("decoder")(
        model.get_layer("embed")(given),
        encoded["memory"],
        inputs_mask=ops.not_equal(tokens, PAD),
        memory_mask=encoded["mask"],
        return_attention_scores=True,
        training=False,
    )
    return ops.cast(weights, "float32")


def transcriber(model, speech, *, beams=1, length_penalty=0.0, rows=32):
    """A function from a list of frames to a list of texts; the search is compiled once."""

    def run(frames, length):
        options = {"beams": beams, "length_penalty": length_penalty}
        return search(model, frames, length, speech=speech, **options)["ids"]

    # Nothing here is Python that AutoGraph would have to rewrite, which takes it seconds.
    specs = tf.TensorSpec((None, None, speech.bands)), tf.TensorSpec((None,), tf.int32)
    compiled = tf.function(run, input_signature=specs, autograph=False)

    def transcribe(frames):
        texts = [None] * len(frames)
        order = sorted(range(len(frames)), key=lambda row: len(frames[row]))
        for first in range(0, len(order), rows):
            part = order[first : first + rows]
            longest = max(len(frames[row]) for row in part)
            for row, ids in zip(
                part, compiled(*pad_frames([frames[row] for row in part], longest)).numpy(),
                strict=True,
            ):  # fmt: skip
                texts[row] = speech.transcripts.decode(ids)
        return texts

    return transcribe


# -------------------------------------------------------------------------------- exports


def export(model, folder, speech, waveforms, *, beams, length_penalty):
    """Writes all forms, each with a search by beams and a greedy one.

    Args:
        model: A recognizer, as above.
        folder: Path.
        speech: `Speech`.
        waveforms: List of float32 arrays on which the forms are compared.
        beams, length_penalty: As for `search`.

    Returns:
        As `kit.exports.export`.
    """
    layer = speech.log_mel()

    def of_audio(beams):
        def read(model, audio, length):
            count = ops.where(length > 0, layer.count(length), 0)
            options = {"beams": beams, "length_penalty": length_penalty}
            return search(model, layer(audio), count, speech=speech, **options)

        return read

    inputs = {"audio": ((None, None), "float32"), "length": ((None,), "int32")}
    samples = _one_by_one(waveforms)
    # A token may change where two are as probable; then all after it do.
    exact, measured = ({"difference": None, "agreement": least} for least in (0.98, None))
    return exports.export(
        model,
        folder,
        formats=list(exports.FORMS),
        signatures=[
            ka.Signature(
                name, exports.compiled(function, inputs), inputs, samples, decision=_whole_rows
            )
            for name, function in (("audio", of_audio(beams)), ("audio_greedy", of_audio(1)))
        ],
        bounds={
            form: measured if form in ("tflite_int8", "float32_rebuild") else exact
            for form in (*exports.FORMS, "float32_rebuild")
        },
        files={FILE: [speech.dumps()]},
        timed={"milliseconds": "audio_greedy", "milliseconds_beam": "audio"},
    )


def _one_by_one(waveforms):
    """A dataset of sounds, each as a batch alone, with its length."""
    specs = {
        "audio": tf.TensorSpec((1, None), tf.float32),
        "length": tf.TensorSpec((1,), tf.int32),
    }
    return tf.data.Dataset.from_generator(
        lambda: ({"audio": x[None], "length": np.array([len(x)], "int32")} for x in waveforms),
        output_signature=specs,
    )


def _whole_rows(outputs):
    """A text agrees as a whole or not at all."""
    return np.array([row.tobytes() for row in outputs["ids"]], dtype=object)


# -------------------------------------------------------------------------------- picture


def draw_first(model, speech, frames, path):
    """Draws where each token was heard in the first of a list of frames."""
    one = frames[0].astype("float32")
    length = tf.constant([len(one)])
    outputs = search(model, tf.constant(one[None]), length, speech=speech, beams=1)
    ids = outputs["ids"].numpy()[0]
    weights = outputs["weights"].numpy()[0][ids > 0]
    draw(one, speech.transcripts.tokens(ids), weights, speech, path)


def draw(frames, tokens, weights, speech, path):
    """Draws where each token was heard, over the log-mel frames.

    Args:
        frames: Array `(T, bands)`.
        tokens: List of L strings.
        weights: Array `(L, S)`.
        speech: `Speech`.
        path: Path of the picture.
    """
    from matplotlib.figure import Figure

    tokens = ["␣" if token == " " else token for token in tokens]
    hop = speech.hop / speech.sample_rate
    first = (speech.window - speech.hop) / 2 / speech.sample_rate  # frames stand at their middles
    end = first + len(frames) * hop
    figure = Figure(figsize=(8, 3 + 0.25 * max(1, len(tokens))), layout="constrained")
    sound, attention = figure.subplots(2, 1, sharex=True, height_ratios=[8, max(3, len(tokens))])
    sound.imshow(
        np.asarray(frames, "float32").T, origin="lower", aspect="auto", cmap="magma",
        extent=(first, end, 0, speech.bands),
    )  # fmt: skip
    sound.set(ylabel="mel band")
    if tokens:
        half, steps = STRIDE * hop / 2, weights.shape[1]
        across = speech.seconds(0) - half, speech.seconds(steps - 1) + half
        attention.imshow(
            weights[: len(tokens)], aspect="auto", cmap="Blues", vmin=0, interpolation="nearest",
            extent=(*across, len(tokens) - 0.5, -0.5),
        )  # fmt: skip
        attention.set_yticks(range(len(tokens)), tokens)
    attention.set(xlabel="seconds", ylabel="written", xlim=(0, end))
    figure.savefig(path, dpi=120)
