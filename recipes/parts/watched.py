"""What a classifier says of clips: in words, as JSON with weights, or drawn.

watch = Watcher.load(folder, NAME, "model.tflite")
seen = watch(path)                                 # list of `Watched`: label, weights, frames
answer(config, NAME, FORMS)                        # of a `PredictConfig` of the recipe
"""

import dataclasses
import json

import numpy as np

from recipes.data import motions, tables, videos
from recipes.kit import exports, run_folder
from recipes.kit.errors import UserError, writing
from recipes.parts.clips import FILE, Facts

FORMATS = ("text", "jsonl")
SHOWN = 12  # frames of a picture


@dataclasses.dataclass(frozen=True)
class Watched:
    """A clip and what the model says of it.

    Attributes:
        name: String.
        frames: Array `(T, N)`, or of pictures uint8 `(T, size, size, 3)`.
        probabilities: Array `(C,)`.
        weights: Array `(T,)`.
    """

    name: str
    frames: np.ndarray
    probabilities: np.ndarray
    weights: np.ndarray


@dataclasses.dataclass(frozen=True)
class Watcher:
    """An exported classifier.

    Attributes:
        facts: `recipes.parts.clips.Facts`.
        run: Function of `frames` to a dict of arrays.
        frames_column: String, the column of the frames in a jsonl file.
    """

    facts: Facts
    run: object
    frames_column: str = "frames"

    @classmethod
    def load(cls, folder, recipe, file, frames_column="frames"):
        """Loads the form in `file` of a run folder."""
        run_folder.find_run(folder, recipe=recipe, files=[file, FILE])
        facts = Facts.load(folder)
        return cls(facts, exports.runner(folder / file, "frames"), frames_column)

    def __call__(self, path):
        """A list of `Watched`, one for each clip in a file."""
        found = []
        for name, frames in self._read(path):
            outputs = self.run(frames=frames[None].astype("float32"))
            found.append(Watched(name, frames, outputs["probability"][0], outputs["weights"][0]))
        return found

    def _read(self, path):
        """Yields the name and the frames of each clip."""
        most, is_pictures = self.facts.max_frames, self.facts.is_pictures
        is_table = tables.is_table(path, ("json", "jsonl"))
        if is_pictures == is_table:
            wanted = "a video or a folder of images" if is_pictures else "a json or jsonl file"
            raise UserError(f"Expected {wanted}, as in training. Received: {path}")
        if not path.exists():
            raise UserError(f"Cannot read {path}: there is no such file or folder")
        if is_pictures:
            try:
                frames = videos.read(path, most, self.facts.size)
            except (ValueError, OSError) as error:
                raise UserError(f"Cannot read {path}: {error}") from error
            if not frames:
                raise UserError(f"Cannot read {path}: expected images in the folder, not all black")
            yield str(path), np.stack(frames)
            return
        for name, value in self._values(path):
            clip = motions.clip_of(value, name)
            if clip.shape[1] != self.facts.size:
                raise UserError(
                    f"{name}: expected {self.facts.size} numbers in a frame. "
                    f"Received: {clip.shape[1]}"
                )
            yield name, clip[videos.evenly(len(clip), most)]

    def _values(self, path):
        """Pairs of a name and a JSON value that should be a clip."""
        if tables.is_table(path, ("jsonl",)):
            rows = tables.read(path, {self.frames_column: "json"})
            return [(f"{path}:{line}", value) for line, value in rows]
        try:
            value = json.loads(tables.read_text(path))
        except ValueError as error:
            raise UserError(f"{path}: expected JSON: {error}") from None
        if isinstance(value, dict):
            if self.frames_column not in value:
                raise UserError(f"{path}: expected a list of frames as {self.frames_column!r}")
            value = value[self.frames_column]
        return [(str(path), value)]


def answer(config, recipe, forms):
    """Prints the action of each clip, and draws the weights of its frames."""
    watch = Watcher.load(config.folder, recipe, forms[config.form], config.frames_column)
    if not config.clips:
        raise UserError("Expected one clip or more. Received none")
    labels = watch.facts.labels
    found = [one for path in config.clips for one in watch(path)]
    if config.png and len(found) > 1:
        raise UserError(f"--png draws a single clip. Received: {len(found)}")
    for one in found:
        best = int(one.probabilities.argmax())
        if config.format == "jsonl":
            row = {
                "clip": one.name,
                "label": labels[best],
                "probabilities": {
                    label: round(float(p), 6)
                    for label, p in zip(labels, one.probabilities, strict=True)
                },
                "weights": [round(float(weight), 6) for weight in one.weights],
            }
            print(json.dumps(row, ensure_ascii=False), flush=True)
        else:
            start = f"{one.name}: " if len(found) > 1 else ""
            print(f"{start}{labels[best]} {one.probabilities[best]:.3f}", flush=True)
    if config.png:
        title = f"{labels[best]} {one.probabilities[best]:.3f}"
        with writing("--png", config.png):
            figure(one, watch.facts, title).savefig(config.png, dpi=120)


def figure(watched, facts, title):
    """A strip of frames, and below it how much each frame of the clip counted.

    Args:
        watched: `Watched`.
        facts: `recipes.parts.clips.Facts`.
        title: String.

    Returns:
        A matplotlib figure.
    """
    from matplotlib.figure import Figure

    count, best = len(watched.weights), int(watched.weights.argmax())
    rows = videos.evenly(count, SHOWN)
    rows[int(np.abs(np.array(rows) - best).argmin())] = best  # the one that counted most
    strip = Figure(figsize=(1.1 * len(rows), 2.6), layout="constrained")
    pictures, bars = strip.subfigures(2, 1, height_ratios=(1.5, 1.0))
    for axes, row in zip(np.ravel(pictures.subplots(1, len(rows))), rows, strict=True):
        _draw_frame(axes, watched.frames, row, facts)
        axes.set_title(str(row + 1), fontsize=8, color="#b04000" if row == best else "black")
    axes = bars.subplots()
    axes.bar(np.arange(1, count + 1), watched.weights, color="#3a7ca5")
    axes.set_xlim(0.4, count + 0.6)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("frame")
    axes.set_ylabel("weight")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    strip.suptitle(title, fontsize=10)
    return strip


def _draw_frame(axes, frames, row, facts):
    axes.set_axis_off()
    if facts.is_pictures:
        axes.imshow(frames[row])
    elif facts.joints:
        x = frames[row].reshape(-1, 2)
        x = x - x.mean(0)
        for bone in facts.bones:
            axes.plot(*x[bone].T, color="#333333", linewidth=1.5)
        axes.plot(*x.T, "o", color="#3a7ca5", markersize=2)
        all_ = frames.reshape(len(frames), -1, 2)
        reach = 1.1 * np.abs(all_ - all_.mean(1, keepdims=True)).max()
        axes.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal")  # y is downwards
    else:
        axes.plot(frames[row], color="#333333", linewidth=1)


def card(config, data, table):
    """The words of the model card, for the recipe's `Config`, data and a table of classes."""
    pictures = data.is_pictures
    takes = "`(B, T, size, size, 3)`, from 0 to 255" if pictures else "`(B, T, N)`"
    limits = (
        "Every clip gets one of these classes, even if it shows none of them. The model was "
        "trained on one kind of camera and of people, and is less accurate on others. A weight "
        "shows how much a frame counts in the average, not why; the features of each frame depend "
        "on its neighbours too. Do not use it to decide about people, or to watch them without "
        "their knowledge."
    )
    return {
        "What it does": (
            f"Classifies a clip into one of these actions: {', '.join(data.labels)}. It also "
            "returns the weight of each frame; the weights of a clip sum to one."
        ),
        "Limits": limits,
        "Classes": (
            "How many clips of each class there are, and the scores of each class on the test "
            "split:\n\n"
            f"{table}"
        ),
        "How to use": (
            "    python -m recipes.action_recognition predict FOLDER clip.json --png seen.png\n\n"
            f"All files have one signature, `frames`: it takes float32 {takes}, T and B of any "
            "size, and returns `probability` `(B, C)` and `weights` `(B, T)`. Frames of zeros are "
            f"ignored: pad shorter clips with them. `{FILE}` has the labels in order, and the "
            "largest number of frames in training; it is also inside each TFLite file, which is a "
            "zip archive too."
        ),
    }


def export(model, folder, data, seen, facts, count):
    """Writes all forms of a classifier, with one signature, `frames`.

    Args:
        model: The model to use.
        folder: Path.
        data: `recipes.data.motions.LabelledClips`, of whose test clips the forms are compared.
        seen: `recipes.parts.clips.Seen`.
        facts: `recipes.parts.clips.Facts`, which are attached.
        count: Integer, how many clips are compared, at most.

    Returns:
        As `kit.exports.export`.
    """
    import tensorflow as tf

    import keras_attention as ka

    shape = model.input_shape[1:]

    def rows():
        for clip, given in zip(seen.clips["test"][:count], data.test.clips, strict=False):
            if facts.is_pictures:
                given = (
                    given(facts.max_frames, facts.size)
                    if callable(given)
                    else videos.read(given, facts.max_frames, facts.size)
                )
                clip = np.stack(given)
            yield {"frames": clip[None].astype("float32")}

    spec = tf.TensorSpec((1, *shape), tf.float32)
    signature = ka.Signature(
        "frames",
        lambda model, frames: model(frames, training=False),
        {"frames": ((None, *shape), "float32")},
        tf.data.Dataset.from_generator(rows, output_signature={"frames": spec}),
        decision=lambda outputs: outputs["probability"].argmax(-1),
    )
    return exports.export(
        model,
        folder,
        formats=list(exports.FORMS),
        signatures=[signature],
        files={FILE: facts.lines},
    )
