"""The folder of a run, written whole or not at all, and how a finished one is found."""

import contextlib
import dataclasses
import json
import os
import shutil
import time
from pathlib import Path

from recipes.kit.errors import UserError, cannot_load, says_disk_full

try:
    import fcntl
except ImportError:  # Windows: two runs into one folder are not noticed there
    fcntl = None

# Every finished run holds this file; it names the recipe and thereby marks the folder as ours.
METRICS = "metrics.json"


class RunFolder:
    """The folder of one run: complete or not there, and resumed after a kill.

    All work happens in the hidden folder `.NAME.partial` beside the output. `finish` puts the
    result in the output's place by renaming, and only then deletes the run that was there before.

        with RunFolder("saved_models/x", recipe="x") as run:   # refuses a folder that is not ours
            data = load(...)
            run.start(config, data=data.fingerprint)           # locks; finds what a killed run left
            if not run.is_trained:
                model.fit(..., epochs=config.epochs, callbacks=training_callbacks(run, ...))
            load_best_weights(model, run)
            ...                                                # write into run.path
            run.finish()

    Keras' callbacks write several files one after the other, and a kill can come between any two.
    So they write into `training/live`, and once an epoch is complete `commit` copies it aside and
    gives the copy its name in one rename. A resumed run throws `live` away and begins with that
    copy: weights, optimizer, history and best weights are then always of the same epoch. The copy
    costs as much disk again as the weights.

    Args:
        output: Path of the finished folder.
        recipe: String, the recipe's name; only folders of the same recipe are ever replaced.

    Attributes:
        path: Folder to write the result into.
        epochs_done: Integer, complete epochs of training found by `start` or committed since.
        is_trained: Boolean, whether training is complete, by number of epochs or early stopping.
    """

    def __init__(self, output, *, recipe):
        self.output = Path(output).expanduser().resolve()
        self.recipe = recipe
        if not self.output.name:
            raise UserError(f"A run needs a folder of its own. Received: {output}")
        self._partial = self.output.with_name(f".{self.output.name}.partial")
        self._previous = self.output.with_name(f".{self.output.name}.previous")
        self._training = self._partial / "training"
        self._live = self._training / "live"
        self._lock = None
        self._is_open = False
        self.path = self._partial / "result"
        self.epochs_done = 0
        self.is_trained = False
        self._earlier_seconds = 0.0

    def __enter__(self):
        self._check_output()  # before any work is done in vain
        return self

    def __exit__(self, error_type, error, traceback):
        if not self._is_open:
            return
        if self._snapshots():
            if error is not None:
                error.add_note(f"The same command resumes after epoch {self.epochs_done}.")
        else:
            shutil.rmtree(self._partial, ignore_errors=True)
            if error is not None:
                error.add_note("No epoch was complete: the same command starts afresh.")
        self._close()

    @property
    def history(self):
        """Path of the csv file with one row for each epoch."""
        return self._live / "history.csv"

    @property
    def best_weights(self):
        """Path of the weights after the best epoch, for `load_best_weights`."""
        return self._live / "best.weights.h5"

    @property
    def backup(self):
        """Path of the folder for `keras.callbacks.BackupAndRestore`."""
        return self._live / "backup"

    @property
    def random_states(self):
        """Path of the states of the model's seed generators."""
        return self._live / "random_states.npz"

    @property
    def minutes(self):
        """Float, minutes since `start`, and in earlier sessions up to their last whole epoch."""
        return (self._earlier_seconds + time.monotonic() - self._started) / 60

    def start(self, config, *, data):
        """Takes hold of the folder, and of the training that a killed run has left there.

        Args:
            config: The recipe's dataclass. Training is only resumed with the same settings.
            data: String, a fingerprint of the training data; the same holds for it.

        Raises:
            UserError: If another run is writing here or the folder cannot be written.
        """
        from keras_attention.machine import versions

        try:
            self._open()
        except OSError as error:
            if says_disk_full(error):
                raise
            raise UserError(f"Cannot write to {self.output}: {error.strerror}") from error
        self._started = time.monotonic()
        fingerprint = {
            "recipe": self.recipe,
            "config": _plain(dataclasses.asdict(config)),
            "data": data,
            "versions": versions(),
        }
        record = self._partial / "run.json"
        left = _read_json(record)
        if left != fingerprint:
            if left and self._snapshots():
                print(f"Starting afresh, not resuming: {_difference(left, fingerprint)}.")
            self._forget_training()
            write_text(record, json.dumps(fingerprint, indent=2))
        self._restore()
        # What a killed run had begun to export is written anew.
        _remove(self.path)
        self.path.mkdir()

    def commit(self, *, epochs_done, is_trained):
        """Makes what is in `live` the state to which a killed run returns."""
        state = {
            "epochs_done": epochs_done,
            "is_trained": is_trained,
            "seconds": 60 * self.minutes,
        }
        write_text(self._live / "state.json", json.dumps(state))
        copy, earlier = self._training / "copy", self._snapshots()
        shutil.copytree(self._live, copy)
        copy.rename(self._training / f"epoch-{epochs_done:05d}")
        for snapshot in earlier:
            _remove(snapshot)
        self.epochs_done, self.is_trained = epochs_done, is_trained

    def finish(self):
        """Puts the result in the output's place and prints where it is."""
        if not (self.path / METRICS).exists():
            raise RuntimeError(f"`write_metrics` must come before `finish`: no {METRICS}.")
        if self.history.exists():
            shutil.copy(self.history, self.path / "history.csv")
        self._check_output()  # hours may have passed
        if self.output.exists():
            self.output.rename(self._previous)
        # A kill here is repaired by the next `start` or `find_run`.
        self.path.rename(self.output)
        _remove(self._previous)
        self._forget_training()
        print(f"Wrote {self.output}")

    def _forget_training(self):
        # First a record that matches nothing: a kill in the deletion leaves nothing to resume.
        write_text(self._partial / "run.json", "{}")
        _remove(self._training)

    def _check_output(self):
        """Raises unless the output is free, empty or an earlier run of this recipe."""
        if not self.output.exists():
            return
        if not self.output.is_dir():
            raise UserError(f"Expected a folder for the output. Received a file: {self.output}")
        recipe = _read_json(self.output / METRICS).get("recipe")
        if recipe != self.recipe and any(self.output.iterdir()):
            what = f"a run of {recipe}" if recipe else "files that no recipe wrote"
            raise UserError(
                f"{self.output} holds {what} and is left alone. "
                "Choose another --output or empty the folder."
            )

    def _open(self):
        """Locks the hidden folder and repairs a swap that was cut short."""
        while not self._is_open:
            self._partial.mkdir(parents=True, exist_ok=True)
            foreign = {path.name for path in self._partial.iterdir()} - {
                "lock", "result", "run.json", "run.json.new", "training",
            }  # fmt: skip
            if foreign:
                raise UserError(f"{self._partial} holds files that no recipe wrote. Move it away.")
            self._is_open = self._acquire_lock()
        if self._previous.exists():
            if self.output.exists():
                _remove(self._previous)
            else:
                self._previous.rename(self.output)
        self._check_output()

    def _acquire_lock(self):
        """Returns whether we hold the folder; False if the run before removed it meanwhile."""
        if fcntl is None:
            return True
        path = self._partial / "lock"
        with contextlib.ExitStack() as closes:
            try:
                lock = closes.enter_context(path.open("w"))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                    return False
            except FileNotFoundError:
                return False
            except BlockingIOError:
                raise UserError(
                    f"Another run is writing to {self.output}. "
                    "Wait for it or choose another --output."
                ) from None
            closes.pop_all()  # the lock lasts until `_close`
        self._lock = lock
        return True

    def _close(self):
        if self._lock is not None:
            self._lock.close()
        self._lock, self._is_open = None, False

    def _snapshots(self):
        return sorted(self._training.glob("epoch-*"))

    def _restore(self):
        """Fills `live` from the last whole epoch, if there is one."""
        snapshots = self._snapshots()
        for leftover in (self._live, self._training / "copy", *snapshots[:-1]):
            _remove(leftover)
        if not snapshots:
            self._live.mkdir(parents=True)
            return
        shutil.copytree(snapshots[-1], self._live)
        state = _read_json(self._live / "state.json")
        self.epochs_done, self.is_trained = state["epochs_done"], state["is_trained"]
        self._earlier_seconds = state["seconds"]
        where = "the end of training" if self.is_trained else f"epoch {self.epochs_done}"
        print(f"Resuming after {where} (to start afresh, delete {self._partial}).")


def find_run(folder, *, recipe, files=()):
    """Returns the metrics of a finished run, for `predict`.

    Args:
        folder: Path of the run.
        recipe: String, the recipe it must be of.
        files: Names of files and folders it must hold.

    Raises:
        UserError: If there is no such run or it is not complete.
    """
    run = RunFolder(folder, recipe=recipe)
    if run._previous.exists() and not run.output.exists():
        with run:
            run._open()
    if not run.output.is_dir():
        raise UserError(f"Expected the folder of a trained model. There is none: {folder}")
    for name in (METRICS, *files):
        if not (run.output / name).exists():
            raise UserError(f"Expected the folder of a trained model. {folder} has no {name}")
    metrics = _read_json(run.output / METRICS)
    if metrics.get("recipe") != recipe:
        other = metrics.get("recipe", "nothing readable")
        raise UserError(f"Expected a model of {recipe} in {folder}. {METRICS} names {other}.")
    return metrics


def _difference(old, new):
    """Says in a few words what the unfinished run `old` had otherwise than the run `new`."""
    old_config, new_config = old.get("config", {}), new["config"]
    for name in sorted(old_config.keys() | new_config.keys()):
        before, now = old_config.get(name), new_config.get(name)
        if before != now:
            return f"the unfinished run had --{name.replace('_', '-')} {before}, now it is {now}"
    if old.get("data") != new["data"]:
        return "the unfinished run had other data"
    return "the unfinished run had other versions of the libraries"


def _remove(path):
    if path.exists():
        shutil.rmtree(path)


def _read_json(path):
    """Returns the object in a file of ours; an empty one if there is none or it is broken."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_lines(path):
    """The lines of a file of a run, a list of strings.

    Raises:
        UserError: If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, ValueError) as error:
        raise cannot_load(path, error) from error


def load_model(folder):
    """The Keras model of a run. The recipe's own layers must have been imported.

    Raises:
        UserError: If it cannot be loaded.
    """
    import keras

    import keras_attention  # noqa: F401  (its layers are registered by that)

    path = folder / "model.keras"
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        raise cannot_load(path, error) from error


def write_text(path, text):
    """Writes a file so that it is there whole or as it was before."""
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def _plain(value):
    """Returns `value` as it comes back from a json file: paths as strings, tuples as lists."""
    return json.loads(json.dumps(value, default=str))
