"""Speech recognition: what is said in a sound, and where in it each word was heard.

Trains a model that listens to a sound and writes its text, and exports it as a SavedModel and as
TFLite files that take a waveform. `predict` writes what is said in wav files, when each word was
said, and a picture of it.

Model (listen, attend and spell). A sound becomes log-mel frames, one every 10 milliseconds, within
the model. Two convolutions leave a quarter of the steps; a bidirectional GRU reads them. A GRU
writes words, or with `--tokens characters` letters, and attends to the steps for each. `--attention
location` sees where it looked before (location-sensitive); `content` looks for what is alike, and
may lose its place where the same word comes twice; `monotonic` only moves forward, in training
softly, else from stop to stop. With `--direction forward` it can then write while it reads:
`predict --stream`. What is kept is a moving average of the weights.

Figures: word and character error rates, as the package jiwer has them.

Data: "toy" (words of tones; generated, offline); a folder with train.csv and test.csv, and perhaps
dev.csv and long.csv (also tsv, jsonl, gzip; columns audio and text), or with one table with a
column split too, beside a folder or zip of wav files; or a set of TensorFlow Datasets with sounds
and texts, such as "tfds:speech_commands". A split `long` is measured too: longer utterances than
those to train with.

    python -m recipes.speech_recognition train --data toy
    python -m recipes.speech_recognition train --data FOLDER --unseen-speaker theo
    python -m recipes.speech_recognition predict saved_models/speech_recognition a.wav --png a.png
    python -m recipes.speech_recognition explain saved_models/speech_recognition

Score: word error rate 0.0029 on joined digits of the Free Spoken Digit Dataset after seven minutes
on two cores (without attention 0.0928; a linear classifier of frames: 0.3521).

References: Chan et al., 2016 (listen, attend and spell), https://arxiv.org/abs/1508.01211;
Chorowski et al., 2015 (location-sensitive), https://arxiv.org/abs/1506.07503; Raffel et al., 2017
(monotonic), https://arxiv.org/abs/1704.00784. GRUs in place of LSTMs, and convolutions in place of
the pyramid.
"""

import dataclasses
import sys
from pathlib import Path

from recipes.baselines import frame_classifier
from recipes.data import speech as speech_data
from recipes.kit import explaining, fitting, flags, records
from recipes.kit.explaining import ExplainConfig
from recipes.kit.exports import FORMS
from recipes.kit.flags import TrainConfig, default, option
from recipes.kit.running import Run
from recipes.maps import utterances
from recipes.parts import heard
from recipes.text import error_rates
from recipes.text.transcripts import PAD, SEPARATORS

NAME = "speech_recognition"
ATTENTIONS = ("location", "monotonic", "content", "none")


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """What `train` can be told."""

    # Data.
    output: Path = default(Path("saved_models") / NAME)
    audio_column: str | None = option(
        None, "column of the wav file, or of several to be joined (default: audio, path, file or "
        "files)",
    )  # fmt: skip
    text_column: str | None = option(
        None, "column of the text (default: text, sentence, transcript, digits or label)"
    )
    speaker_column: str = option("speaker", "column of the speaker, for --unseen-speaker")
    unseen_speaker: str | None = option(
        None, "train without this speaker, and test on this one alone"
    )
    validation_fraction: float = option(
        0.1, "share of the training utterances to validate on, without a file for it", low=0.01,
        high=0.5,
    )  # fmt: skip
    sample_rate: int = option(
        8000, "samples per second; sounds are resampled", low=2000, high=96_000
    )
    bands: int = option(40, "mel bands of a frame", low=8, high=128)
    tokens: str = option(
        "words", "what is written: words of the training texts, or characters",
        choices=tuple(SEPARATORS),
    )  # fmt: skip
    max_tokens: int = option(
        200, "tokens of a text with its end, at most; of a short sound fewer", low=4, high=2000
    )
    # Network.
    attention: str = option("location", "how the decoder attends", choices=ATTENTIONS)
    direction: str = option(
        "both", "directions in which the encoder reads", choices=("both", "forward")
    )
    filters: int = option(32, "filters of each convolution", low=1)
    units: int = option(128, "GRU units, of the encoder per direction", low=4)
    layers: int = option(1, "GRU layers of the encoder", low=1, high=8)
    dropout: float = option(0.3, "dropout rate", low=0.0, high=0.9)
    monotonic_noise: float = option(
        1.0, "monotonic attention: noise that makes its probabilities decided", low=0.0, high=10.0
    )
    # Training.
    label_smoothing: float = option(
        0.1, "share of each label that goes to all tokens alike", low=0.0, high=0.9
    )
    time_masks: int = option(2, "SpecAugment: spans of frames that are masked", low=0)
    time_mask: int = option(10, "SpecAugment: frames of a span, at most", low=1)
    band_masks: int = option(2, "SpecAugment: groups of bands that are masked", low=0)
    band_mask: int = option(6, "SpecAugment: bands of a group, at most", low=1)
    speed: float = option(0.1, "share by which time is stretched, at most", low=0.0, high=0.5)
    warp: float = option(
        0.1, "share by which frequencies are stretched, at most", low=0.0, high=0.5
    )
    epochs: int = default(15)
    patience: int = default(10)
    batch_size: int = default(32)
    learning_rate: float = default(0.003)
    # Search, and what is written.
    beams: int = option(4, "hypotheses in the beam search", low=1, high=64)
    length_penalty: float = option(
        1.0, "exponent by which the search favours long texts", low=0.0, high=5.0
    )
    baselines: bool = option(
        True, "train a classifier of frames and the same model without attention, to compare"
    )
    parity_utterances: int = option(100, "test utterances on which the exports are compared", low=1)
    explained: int = option(50, explaining.HELP, low=0)


@dataclasses.dataclass(frozen=True)
class PredictConfig(heard.PredictConfig):
    """What `predict` can be told."""

    form: str = option("tflite", "which export to use", choices=tuple(FORMS))


def build_model(config, vocabulary_size, statistics, attention):
    """The recognizer, as `parts.listener` describes it.

    Args:
        config: A `Config`.
        vocabulary_size: Integer V.
        statistics: Pair of arrays, mean and variance of each band in the training frames.
        attention: String, one of `ATTENTIONS`.

    Returns:
        A model of `frames` `(B, T, bands)`, their `length` `(B,)` and `tokens` `(B, L)` to logits
        `(B, L, V)` of each next token.
    """
    import keras
    from keras import layers

    import keras_attention as ka
    from recipes.parts import listener
    from recipes.parts.equal_weights import EqualScore

    def drop(x, number):
        return layers.Dropout(config.dropout, seed=config.seed + number)(x)

    sound = {
        "frames": keras.Input((None, config.bands), name="frames"),
        "length": keras.Input((), dtype="int32", name="length"),
    }
    front = listener.ConvolutionalFront(config.filters, config.units, *statistics, name="front")
    x, mask = front(sound["frames"], sound["length"])  # (B, S, units), (B, S)
    for number in range(1, config.layers + 1):
        read = ka.ExportableRNN(
            layers.GRUCell(config.units), return_sequences=True, name=f"read_{number}"
        )
        if config.direction == "both":
            read = layers.Bidirectional(read, name=f"read_{number}")
        x = read(drop(x, number), mask=mask)
    encoder = keras.Model(sound, {"memory": x, "mask": mask}, name="encoder")
    encoded = encoder(sound)

    units = config.units
    attend = {
        "location": lambda: ka.LocationSensitiveAttention(units, filters=16, kernel_size=15),
        "monotonic": lambda: ka.MonotonicAttention(
            units, form="median", noise=config.monotonic_noise, seed=config.seed
        ),
        "content": lambda: ka.ContentAttention(ka.AdditiveScore(units)),
        "none": lambda: ka.ContentAttention(EqualScore()),
    }[attention]
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    y = layers.Embedding(vocabulary_size, units, name="embed")(tokens)  # (B, L, units)
    decoder = ka.AttentionDecoder(layers.GRUCell(units), attend(), name="decoder")
    y = decoder(drop(y, 0), drop(encoded["memory"], 100), memory_mask=encoded["mask"])
    logits = layers.Dense(vocabulary_size, dtype="float32", name="head")(drop(y, 101))
    return keras.Model({**sound, "tokens": tokens}, logits, name=NAME)


def compile_model(config, model, batches):
    """Loss, optimizer and metrics."""
    import keras

    import keras_attention as ka

    rate = fitting.warmup_cosine(config.learning_rate, config.epochs * len(batches))
    momentum = fitting.momentum(config.averaging, batches)
    model.compile(
        keras.optimizers.Adam(rate, global_clipnorm=1.0, use_ema=True, ema_momentum=momentum),
        ka.SequenceCrossentropy(config.label_smoothing, ignore_class=PAD, from_logits=True),
        metrics=[ka.TokenAccuracy(ignore_class=PAD, name="accuracy")],
        jit_compile=False,  # XLA would compile each width anew
    )


def train(config):
    """Train a recognizer, measure it beside its baselines, and export it."""
    # First: wrong data shows at once, before the seconds that TensorFlow takes to load.
    data = flags.call(speech_data.SpeechReader, config).load(config.data)
    import keras

    from recipes.parts import listener, log_mel
    from recipes.parts.speech_batches import Augmentation, SpeechBatches

    with Run(config, NAME) as run:
        config = run.begin(config, data)
        known, frames, ids = listener.read(config, data)
        statistics = log_mel.statistics(frames["train"])
        speech = listener.speech_of(config, known, frames["train"], ids["train"])
        augmentation = flags.call(Augmentation, config)

        def fit(attention, name=None):
            """Trains a model: that of the run, or with a name one to compare with."""
            keras.utils.set_random_seed(config.seed)
            batches = SpeechBatches(
                frames["train"], ids["train"], config.batch_size, augmentation=augmentation,
                shuffle_seed=config.seed, epoch=0 if name else run.epochs_done,
            )  # fmt: skip
            model = build_model(config, len(known), statistics, attention)
            compile_model(config, model, batches)
            transcribe = listener.transcriber(model, speech)

            def validate(epoch, logs):
                said = error_rates.measure(data.validation.texts, transcribe(frames["validation"]))
                logs["val_word_error_rate"] = said["word_error_rate"]

            watch = keras.callbacks.LambdaCallback(on_epoch_end=validate)
            watch = fitting.with_averaged_weights(watch)
            if name is None:
                run.fit(model, batches, monitor="val_word_error_rate", mode="min", callbacks=watch)
            else:
                run.fit_baseline(name, model, batches, callbacks=watch)
            # To be used, and saved without what the optimizer remembers.
            return keras.Model(model.input, model.output, name=NAME), transcribe

        tested = {part: data.splits[part].texts for part in data.tested}

        def write(transcribe):
            """Figures and counts of errors of what is written of each tested part."""
            return error_rates.by_part(tested, {part: transcribe(frames[part]) for part in tested})

        search = {"beams": config.beams, "length_penalty": config.length_penalty}
        model, greedy = fit(config.attention)
        scores, errors = write(listener.transcriber(model, speech, **search))
        details = {"errors": errors, "greedy": write(greedy)[0]}
        details["streams"] = config.attention == "monotonic" and config.direction == "forward"
        baselines = {}
        if config.baselines:
            for name, found in frame_classifier.baselines(data, known, frames, ids).items():
                baselines[name] = error_rates.by_part(tested, found)[0]
            if config.attention != "none":
                name = "the same, mean of all steps"
                alone, _ = fit("none", name)
                baselines[name] = write(listener.transcriber(alone, speech, **search))[0]
        records.show_scores(scores, baselines)

        rows = range(min(config.parity_utterances, len(data.test)))
        waveforms = list(data.test.take(rows).waveforms(config.sample_rate))
        forms = listener.export(model, run.path, speech, waveforms, **search)
        listener.draw_first(model, speech, frames["test"], run.path / "alignment.png")
        run.publish(
            model, data, title="Speech recognition", scores=scores, baselines=baselines,
            exports=forms, card=card(config), plot="word_error_rate", details=details,
            maps=utterances.maps_of(config, model, data.test, speech),
        )  # fmt: skip


def card(config):
    """The words of the model card."""
    return heard.card(config)


def predict(config):
    """Write what is said in sounds, and when."""
    heard.answer(config, NAME, FORMS)


def explain(config):
    """Test whether the weights of a trained model explain what it writes next, and write a page."""
    utterances.write(config, NAME, Config)


if __name__ == "__main__":
    commands = {"train": (Config, train), "predict": (PredictConfig, predict)}
    sys.exit(flags.command_line(__doc__, **commands, explain=(ExplainConfig, explain)))
