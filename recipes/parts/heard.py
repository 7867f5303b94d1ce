"""What a recognizer heard: as text, as a table that training reads, or as JSON with times.

hear = Hearing.load(folder, NAME, "model.tflite", "beam")
heard = hear(samples)                              # `Heard`: text, tokens, weights
answer(config, NAME, FORMS)                        # of a `PredictConfig` of the recipe
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from recipes.data import speech as sounds
from recipes.data import tables
from recipes.kit import exports, flags, run_folder
from recipes.kit.errors import UserError, writing
from recipes.kit.flags import argument, option

FORMATS = ("text", "tsv", "jsonl")
_SIGNATURES = {"beam": "audio", "greedy": "audio_greedy"}


def card(config):
    """The words of the model card, for the recipe's `Config`."""
    streams = config.attention == "monotonic" and config.direction == "forward"
    return {
        "What it does": (
            f"Writes the {config.tokens} that are said in a sound (attention: {config.attention}) "
            "and for each the `weights` with which it listened to the steps of the sound, of 40 "
            "milliseconds."
            + " It can write while it reads: `predict --stream`." * streams
            + "\n\n![Where each was heard](alignment.png)"
        ),
        "How it was measured": (
            "`word_error_rate` and `character_error_rate` are those of the package jiwer: the "
            "fewest substitutions, deletions and insertions over all utterances together, divided "
            "by the number of true words (characters). `sentence_error_rate` is the share of "
            "utterances with an error. Figures that begin with `long` are of the split of longer "
            f"utterances. The search had {config.beams} beams and a length penalty of "
            f"{config.length_penalty:g}."
        ),
        "Limits": (
            f"It knows the {config.tokens}, speakers and microphones of its training sounds, and "
            "writes something for any sound, also for noise. Nothing tells a certain text from a "
            "guess: nobody should act on a text that nobody has checked."
        ),
        "How to use": (
            "    python -m recipes.speech_recognition predict FOLDER a.wav\n\n"
            "`audio` takes samples in [-1, 1] as `audio` `(B, N)`, "
            f"{config.sample_rate:,} a second, and the `length` of each row in samples, and "
            "searches by beams; `audio_greedy` takes the best token at each step. Both give `ids` "
            "`(B, L)`, 0 behind the last, and `weights` `(B, L, S)`. `speech.json` has the token "
            "of each id and the length of a step; it is also inside each TFLite file, which is a "
            "zip archive too."
        ),
    }


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    audio: tuple[str, ...] = argument(
        "wav files to read; none: their paths, from the lines of standard input", nargs="*"
    )
    file: Path | None = option(None, "file with a path per line, or a csv, tsv or jsonl table")
    audio_column: str = option("audio", "column of the path in a table")
    search: str = option("beam", "how to search", choices=tuple(_SIGNATURES))
    format: str = option(
        "text", "how answers are written: tsv is what train reads, jsonl has times",
        choices=FORMATS,
    )  # fmt: skip
    stream: bool = option(
        False, "write tokens while the sound is read; for a model trained with --attention "
        "monotonic --direction forward",
    )  # fmt: skip
    png: Path | None = option(None, "also draw where each token was heard, for a single file")


@dataclasses.dataclass(frozen=True)
class Heard:
    """What was heard in a sound.

    Attributes:
        text: String.
        tokens: List of L strings.
        weights: Array `(L, S)`, where each token was heard.
        times: List of L numbers, seconds, or `None` for a token that was heard nowhere.
    """

    text: str
    tokens: list
    weights: np.ndarray
    times: list


@dataclasses.dataclass(frozen=True)
class Hearing:
    """An exported recognizer.

    Attributes:
        speech: `recipes.parts.listener.Speech`.
        run: Function of `audio` `(1, N)` and `length` `(1,)` to a dict of arrays.
    """

    speech: object
    run: object

    @classmethod
    def load(cls, folder, file, search):
        """Loads the form in `file` of a run folder, with a search by beam or greedily."""
        from recipes.parts import listener

        speech = listener.Speech.load(folder)
        return cls(speech, exports.runner(folder / file, _SIGNATURES[search]))

    def __call__(self, samples):
        """`Heard` of samples at the model's rate."""
        outputs = self.run(audio=samples[None], length=np.array([len(samples)], "int32"))
        ids, weights = outputs["ids"][0], outputs["weights"][0]
        return heard_of(self.speech, ids, weights)


def heard_of(speech, ids, weights):
    """`Heard` of ids `(L,)`, padded, and weights `(L, S)`."""
    is_token = ids > 0
    weights, tokens = weights[is_token], speech.transcripts.tokens(ids[is_token])
    times = [
        round(float(speech.seconds(row.argmax())), 3) if row.sum() > 0.5 else None
        for row in weights
    ]
    return Heard(speech.transcripts.decode(ids), tokens, weights, times)


def answer(config, recipe, forms):
    """Prints what is heard in each file that is given."""
    from recipes.parts.listener import FILE

    file = "model.keras" if config.stream else forms[config.form]
    metrics = run_folder.find_run(config.folder, recipe=recipe, files=[file, FILE])
    paths = given_paths(config)
    if config.png and len(paths) > 1:
        raise UserError(f"--png draws a single file. Received: {len(paths)}")
    if config.stream:
        if not metrics["details"].get("streams"):
            raise UserError(
                "--stream needs a model trained with --attention monotonic --direction forward. "
                f"Received: {config.folder}"
            )
        if config.png or config.format == "tsv":
            raise UserError("--stream writes --format text or jsonl, and no --png")
        from recipes.parts import streaming

        stream = streaming.load(config.folder)
        for path in paths:
            streaming.show(stream, path, _samples(path, stream.speech.sample_rate), config.format)
        return
    hear = Hearing.load(config.folder, file, config.search)
    if config.format == "tsv":
        print("audio", "text", sep="\t")
    for path in paths:
        samples = _samples(path, hear.speech.sample_rate)
        heard = hear(samples)
        print(_written(config, path, samples, heard, hear.speech, len(paths) > 1), flush=True)
        if config.png:
            _draw(config.png, samples, heard, hear.speech)


def given_paths(config):
    """The paths of the files to read, of a `PredictConfig`."""
    file = config.file
    if file and tables.is_table(file):
        if config.audio:
            raise UserError("Expected wav files or --file. Received both")
        rows = tables.read(file, {config.audio_column: "value"})
        paths = [(Path(name), file.parent / name) for _, name in rows]
        return [path if path.exists() else beside for path, beside in paths]
    lines = flags.given_or_read(config.audio, file, "paths of wav files")
    return [Path(line.strip()) for line in lines if line.strip()]


def _samples(path, rate):
    try:
        return sounds.decode(path.read_bytes(), rate)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _written(config, path, samples, heard, speech, is_one_of_many):
    if config.format == "jsonl":
        tokens = zip(heard.tokens, heard.times, strict=True)
        return json.dumps(
            {
                "audio": str(path),
                "seconds": round(len(samples) / speech.sample_rate, 3),
                "text": heard.text,
                "tokens": [{"token": token, "time": time} for token, time in tokens],
            },
            ensure_ascii=False,
        )
    if config.format == "tsv":
        return f"{path}\t{heard.text}"
    return f"{path}: {heard.text}" if is_one_of_many else heard.text


def _draw(png, samples, heard, speech):
    from recipes.parts import listener, log_mel

    (frames,) = log_mel.frames_of(speech.log_mel(), [samples])
    with writing("--png", png):
        listener.draw(frames, heard.tokens, heard.weights, speech, png)
