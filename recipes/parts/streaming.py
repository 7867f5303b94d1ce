"""Speech that is written while it is heard, by monotonic attention and an encoder that reads
forward: what is written depends on what has been heard alone.

stream = load(folder)
for token, seconds in stream.hear(chunk): ...          # as often as there are samples
for token, seconds in stream.finish(): ...

Each step of the memory is computed once, from the frames that reach it. A token is written when the
attention stops at a step that has come; while it would go on to the end, more is waited for. So the
tokens are those that the exported model finds greedily in the whole sound.
"""

import functools
import json

import numpy as np
import tensorflow as tf
from keras import ops

from recipes.kit.errors import cannot_load
from recipes.parts import listener
from recipes.parts.listener import STRIDE
from recipes.text.transcripts import END, START


def load(folder):
    """The `Stream` of a run folder; `UserError` if it cannot be read."""
    import keras

    path = folder / "model.keras"
    try:
        model = keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise cannot_load(path, error) from error
    return Stream(model, listener.Speech.load(folder))


class Stream:
    """A recognizer that is given a sound in parts.

    Args:
        model: As `listener` describes it, with an encoder that reads forward and monotonic
            attention in its median or hard form.
        speech: `listener.Speech`.
    """

    def __init__(self, model, speech):
        self.speech = speech
        self._decoder, self._step = model.get_layer("decoder"), listener.decoding(model)
        layers = model.get_layer("encoder").layers
        self._front = next(x for x in layers if isinstance(x, listener.ConvolutionalFront))
        self._cells = [x.cell for x in layers if x.name.startswith("read_")]
        self._log_mel = speech.log_mel()
        self.begin()

    def begin(self):
        """Forgets all that was heard."""
        self._samples = np.zeros(0, "float32")
        self._memory = np.zeros((0, self._cells[-1].units), "float32")
        self._states = [ops.zeros((1, cell.units)) for cell in self._cells]
        self._token, self._decoding, self._written, self._is_over = START, None, 0, False

    def hear(self, samples):
        """Yields pairs of a token that was recognized and its time in seconds."""
        self._samples = np.concatenate([self._samples, samples])
        whole = max(0, (len(self._samples) - self._log_mel.window) // self._log_mel.hop + 1)
        self._read(whole // STRIDE, whole)  # a step needs the three frames behind its own
        yield from self._write(is_end=False)

    def finish(self):
        """Yields the last tokens, and begins anew."""
        count = self._log_mel.count(len(self._samples)) if len(self._samples) else 0
        self._read(listener.steps_of(count), count)
        yield from self._write(is_end=True)
        self.begin()

    def _read(self, steps, frames):
        """Appends to the memory, up to so many steps, of so many frames."""
        done = len(self._memory)
        if steps <= done:
            return
        # From a step before, of which the front would pad what stands before it.
        first = max(0, done - 1) * STRIDE
        last = min(frames, steps * STRIDE)
        hop, window = self._log_mel.hop, self._log_mel.window
        samples = self._samples[first * hop : (last - 1) * hop + window]
        samples = np.pad(samples, (0, (last - 1 - first) * hop + window - len(samples)))
        seen = self._log_mel(samples[None])[:, : last - first]
        x, _ = self._front(seen, np.array([last - first], "int32"))
        for step in range(done - first // STRIDE, x.shape[1]):
            output = x[:, step]
            for number, cell in enumerate(self._cells):
                output, (self._states[number],) = cell(output, [self._states[number]])
            self._memory = np.concatenate([self._memory, ops.convert_to_numpy(output)])

    def _write(self, is_end):
        frames = self._log_mel.count(len(self._samples))
        while not self._is_over and len(self._memory):
            left = self.speech.most_tokens(frames) - self._written
            if not is_end and left <= 1:
                return  # as many as so short a sound may have: it may become longer
            state = self._state(left)
            logits, after, weights = self._step(tf.constant([self._token]), state)
            if not is_end and float(ops.sum(weights)) < 0.5:
                return  # it goes on to the end: more may come
            token = int(ops.argmax(logits[0]))
            self._token, self._decoding = token, after["decoder"]
            self._written += 1
            self._is_over = token == END
            if not self._is_over:
                (name,) = self.speech.transcripts.tokens([token])
                is_heard = float(ops.sum(weights)) > 0.5
                where = self.speech.seconds(int(ops.argmax(weights[0]))) if is_heard else None
                yield name, where

    def _state(self, left):
        """The decoder's state, over the memory that there is now."""
        decoding = self._decoder.initial_state(self._memory[None])
        if self._decoding is not None:
            before = self._decoding["attention"]["weights"]
            more = len(self._memory) - before.shape[1]
            attention = {"weights": ops.pad(before, [[0, 0], [0, more]])}
            decoding = {**self._decoding, "memory": decoding["memory"], "attention": attention}
        return {"decoder": decoding, "left": tf.constant([left])}


def show(stream, path, samples, format):
    """Prints the tokens of a sound while it is read, a tenth of a second after the other.

    Args:
        stream: `Stream`.
        path: Path, the name of the sound.
        samples: float32 array.
        format: `"text"`, one line of all tokens, or `"jsonl"`, a line of JSON for each token.
    """
    chunk = stream.speech.sample_rate // 10
    parts = [samples[start : start + chunk] for start in range(0, len(samples), chunk)]
    calls = [functools.partial(stream.hear, part) for part in parts] + [stream.finish]
    separator = ""
    for number, call in enumerate(calls):
        for token, seconds in call():
            if format == "jsonl":
                heard = min(len(samples), (number + 1) * chunk) / stream.speech.sample_rate
                time = None if seconds is None else round(seconds, 3)
                row = {"audio": str(path), "token": token, "time": time, "written": round(heard, 3)}
                print(json.dumps(row, ensure_ascii=False), flush=True)
            else:
                print(separator + token, end="", flush=True)
                separator = stream.speech.transcripts.separator
    if format == "text":
        print(flush=True)
