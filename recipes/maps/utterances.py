"""Attention maps of a recognizer of speech, to be tested; see `kit.explaining`.

The decision is the next token after those of the true text, at a step drawn for each sound. What is
removed are steps of the sound, four frames each: they get the mean of all numbers of the sound's
frames, as the spans that SpecAugment masks in training.
"""

import dataclasses

import numpy as np

from recipes.data import speech as speech_data
from recipes.kit import explaining, flags, run_folder
from recipes.maps.arrays import softmax, width_of
from recipes.text.transcripts import START

_BATCH = 32
_STEP = 64  # lengths that frames are padded to are multiples of it


def write(config, recipe, config_class):
    """Tests the maps of a trained recognizer, writes a page; arguments as in `explaining.write`."""

    def of_folder(folder, settings):
        data = flags.call(speech_data.SpeechReader, settings).load(settings.data)
        from recipes.parts import listener

        speech = listener.Speech.load(folder)
        return maps_of(settings, run_folder.load_model(folder), data.test, speech)

    explaining.write(config, recipe, config_class, of_folder)


def maps_of(config, model, split, speech):
    """The maps of `config.explained` test sounds: of their steps, of 40 milliseconds.

    Args:
        config: A `recipes.speech_recognition.Config`.
        model: A recognizer, as `parts.listener` describes it.
        split: `recipes.data.speech.Split`.
        speech: `recipes.parts.listener.Speech`.

    Returns:
        List of `explaining.Maps`, empty for a model without attention.
    """
    import keras_attention as ka

    rows = explaining.chosen(config.explained, len(split))
    if not len(rows) or config.attention == "none":
        return []
    sounds = _Sound.read(split.take(rows), speech)
    tokens = 1 + max(len(sound.written) for sound in sounds)

    def predict(sounds):
        logits = model.predict_on_batch(_inputs(sounds, tokens))  # (B, L, V)
        return softmax(logits[np.arange(len(sounds)), [len(sound.written) for sound in sounds]])

    def remove(sounds, keep):
        return [sound.kept(row) for sound, row in zip(sounds, keep, strict=True)]

    rows, best = [], []
    for start in range(0, len(sounds), _BATCH):
        batch = sounds[start : start + _BATCH]
        best += predict(batch).argmax(axis=1).tolist()
        weights = ka.attention_maps(model, _inputs(batch, tokens))["decoder"]  # (B, L, S)
        for sound, of_sound in zip(batch, weights, strict=True):
            rows.append(of_sound[len(sound.written), : sound.steps])
    weights, mask = explaining.of_parts(rows)
    names, separator = speech.transcripts.names, speech.transcripts.separator
    return [
        explaining.Maps(
            predict,
            sounds,
            weights,
            "step",
            [[f"{speech.seconds(n):.2f}s" for n in range(sound.steps)] for sound in sounds],
            [
                separator.join([*(names[n] for n in sound.written), f"[{names[number]}]"])
                for sound, number in zip(sounds, best, strict=True)
            ],
            {"remove": remove, "mask": mask, "batch_size": _BATCH},
            ", the next token of the true text at a step drawn for each",
        )
    ]


@dataclasses.dataclass(frozen=True)
class _Sound:
    """A sound and the beginning of what is said in it.

    Attributes:
        frames: float32 array `(T, bands)`.
        written: int32 array, the tokens that are written before the step.
    """

    frames: np.ndarray
    written: np.ndarray

    @classmethod
    def read(cls, split, speech):
        """The sounds of a split."""
        from recipes.parts import log_mel

        rng = np.random.default_rng(explaining.SEED)
        frames = log_mel.frames_of(speech.log_mel(), split.waveforms(speech.sample_rate))
        sounds = []
        for one, text in zip(frames, split.texts, strict=True):
            ids = speech.transcripts.encode(text)
            written = ids[: rng.integers(0, max(1, len(ids)))]
            sounds.append(cls(one.astype("float32"), written))
        return sounds

    @property
    def steps(self):
        """Integer, the steps that the recognizer attends to."""
        from recipes.parts import listener

        return listener.steps_of(len(self.frames))

    def kept(self, keep):
        """The same with the mean in place of the steps for which `keep` is False."""
        from recipes.parts import listener

        # Step s is of the frames around 4 s.
        nearest = (np.arange(len(self.frames)) + listener.STRIDE // 2) // listener.STRIDE
        is_left = keep[np.minimum(nearest, self.steps - 1)]
        frames = np.where(is_left[:, None], self.frames, self.frames.mean())
        return dataclasses.replace(self, frames=frames)


def _inputs(sounds, tokens):
    """What the model takes; `tokens` are those of the longest text, with the start."""
    from recipes.data.batches import pad
    from recipes.parts.speech_batches import pad_frames

    frames = [sound.frames for sound in sounds]
    frames, length = pad_frames(frames, width_of(frames, _STEP))
    given = pad([[START, *sound.written] for sound in sounds], tokens)
    return {"frames": frames, "length": length, "tokens": given}
