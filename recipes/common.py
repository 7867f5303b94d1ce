"""What every recipe needs and no reader of a recipe needs to see.

Flags from a dataclass, a run folder that is written whole or not at all, callbacks that survive a
kill, and records of what was measured. A recipe calls these functions; nothing here calls a recipe.
"""

import argparse
import contextlib
import csv
import dataclasses
import datetime
import errno
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import shlex
import shutil
import sys
import time
import types
import typing
from pathlib import Path

import numpy as np

try:
    import fcntl
except ImportError:  # Windows: two runs into one folder are not noticed there
    fcntl = None

# Every finished run holds this file; it names the recipe and thereby marks the folder as ours.
METRICS = "metrics.json"


class UserError(Exception):
    """An expected error: shown as one line, without a traceback, with exit code 2.

    The message says what was expected and what came, and where: a flag, or a file and its line.
    """


# ------------------------------------------------------------------------------------ flags


def option(default, help, *, low=None, high=None, choices=None):
    """Returns a dataclass field that becomes a flag, e.g. `--learning-rate` for `learning_rate`.

    Args:
        default: Value when the flag is not given. A boolean gives `--flag` and `--no-flag`.
        help: What the flag means and, for a number, its unit.
        low: Smallest allowed number, if any.
        high: Largest allowed number, if any.
        choices: Allowed values, if they can be listed.
    """
    limits = {"help": help, "low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata=limits)


def usual(many, few, help, **limits):
    """An `option` whose default goes by the number of training examples; see `settle`."""
    field = option(None, f"{help}; none: {many}, or {few} of few examples", **limits)
    return dataclasses.field(default=None, metadata={**field.metadata, "usual": (many, few)})


def settle(config, examples, few=10_000):
    """The config with the usual values for what was not given.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Config:
    ...     epochs: int | None = usual(10, 20, "passes over the training data")
    >>> settle(Config(), examples=500)
    Config(epochs=20)
    """
    values = {
        field.name: field.metadata["usual"][int(examples < few)]
        for field in dataclasses.fields(config)
        if "usual" in field.metadata and getattr(config, field.name) is None
    }
    return dataclasses.replace(config, **values)


def argument(help, *, nargs=None):
    """Returns a dataclass field that becomes a positional argument.

    Args:
        help: What is expected there.
        nargs: As in argparse. `"*"`: a tuple of any number of values, `()` when there are none.
    """
    default = () if nargs == "*" else dataclasses.MISSING
    metadata = {"help": help, "nargs": nargs, "positional": True}
    return dataclasses.field(default=default, metadata=metadata)


def check(config):
    """Raises `UserError` for the first option of `config` outside its range.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Config:
    ...     epochs: int = option(10, "passes over the training data", low=1)
    >>> check(Config(epochs=0))
    Traceback (most recent call last):
    recipes.common.UserError: --epochs must be at least 1. Received: 0
    """
    for field in dataclasses.fields(config):
        value, low, high = getattr(config, field.name), *map(field.metadata.get, ("low", "high"))
        if value is None:
            continue
        # "not (a <= b)" instead of "a > b" also refuses NaN.
        if low is not None and not low <= value:
            raise UserError(f"{_flag(field)} must be at least {low}. Received: {value}")
        if high is not None and not value <= high:
            raise UserError(f"{_flag(field)} must be at most {high}. Received: {value}")


def command_line(description, argv=None, /, **commands):
    """Runs the command that the user gave and returns the exit code of the program.

    0: done. 2: wrong use, bad data, a full disk; the reason is one line on standard error. 130:
    interrupted by Ctrl-C. Anything unexpected keeps its traceback.

    Args:
        description: The recipe's docstring, shown by `--help`.
        argv: List of strings, the command line; by default the program's own.
        **commands: For each command its config, a dataclass made of `option`s and `argument`s, and
            the function to call with an instance of it: `train=(Config, main)`. The function's
            docstring opens with the command's help line.
    """
    # TensorFlow's remarks on the machine (instruction sets, a GPU that is not there) would bury the
    # recipe's own lines. It reads this when it is first imported; what is wrong it raises.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        parser = _parser(description, commands)
        arguments = parser.parse_args(argv)
        if arguments.command is None:
            parser.print_help()
            return 2
        config_class, function = commands[arguments.command]
        config = config_class(
            **{
                field.name: _as_declared(getattr(arguments, field.name))
                for field in dataclasses.fields(config_class)
            }
        )
        check(config)
        function(config)
        sys.stdout.flush()  # a closed pipe shows here, where it can be handled
    except UserError as error:
        return _fail(f"Error: {error}", 2)
    except KeyboardInterrupt as error:
        return _fail(" ".join(["Interrupted.", *getattr(error, "__notes__", [])]), 130)
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except Exception as error:
        if not _says_disk_full(error):
            raise
        hint = " ".join(getattr(error, "__notes__", []))
        return _fail(f"Error: the disk is full. {hint} Received: {str(error)[:200]}", 2)
    return 0


def _parser(description, commands):
    main_spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    parser = argparse.ArgumentParser(
        prog=f"python -m {main_spec.name}" if main_spec else None,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(dest="command", metavar="|".join(commands))
    for name, (config_class, function) in commands.items():
        help = function.__doc__.strip().splitlines()[0]
        subparser = subparsers.add_parser(name, help=help, description=help, allow_abbrev=False)
        annotations = typing.get_type_hints(config_class)
        for field in dataclasses.fields(config_class):
            _add_argument(subparser, field, annotations[field.name])
    return parser


def _add_argument(parser, field, annotation):
    help = field.metadata["help"].replace("%", "%%")
    if "positional" in field.metadata:
        nargs = field.metadata["nargs"]
        keywords = {} if nargs is None else {"nargs": nargs, "default": ()}
        parser.add_argument(field.name, type=_converter(annotation), help=help, **keywords)
        return
    if annotation is bool:
        keywords = {"action": argparse.BooleanOptionalAction}
        shown = _flag(field) if field.default else _flag(field).replace("--", "--no-", 1)
    else:
        keywords = {"type": _converter(annotation), "choices": field.metadata["choices"]}
        keywords["metavar"] = None if keywords["choices"] else field.name.upper()
        shown = "none" if field.default is None else str(field.default)
    help = f"{help} (default: {shown.replace('%', '%%')})"
    parser.add_argument(_flag(field), default=field.default, help=help, **keywords)


def _converter(annotation):
    """The type inside `int`, `int | None` or `tuple[str, ...]`."""
    inner = [part for part in typing.get_args(annotation) if part not in (types.NoneType, ...)]
    return inner[0] if inner else annotation


def _as_declared(value):
    return tuple(value) if isinstance(value, list) else value


def _flag(field):
    return "--" + field.name.replace("_", "-")


def _fail(message, code):
    print(*message.split(), file=sys.stderr)  # one line, whatever the message quotes
    return code


def _says_disk_full(error):
    """Whether Python, HDF5 or TensorFlow, each in its own way, reports a full disk or quota."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return (isinstance(error, OSError) and error.errno in full) or (
        os.strerror(errno.ENOSPC) in str(error)
    )


# ------------------------------------------------------------------------------- run folder


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
        try:
            self._open()
        except OSError as error:
            if _says_disk_full(error):
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
            _write_text(record, json.dumps(fingerprint, indent=2))
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
        _write_text(self._live / "state.json", json.dumps(state))
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
        _write_text(self._partial / "run.json", "{}")
        _remove(self._training)

    def _check_output(self):
        """Raises unless the output is free, empty or an earlier run of this recipe."""
        if not self.output.exists():
            return
        if not self.output.is_dir():
            raise UserError(f"Expected a folder for the output. Received a file: {self.output}")
        found = _read_json(self.output / METRICS).get("recipe")
        if found != self.recipe and any(self.output.iterdir()):
            what = f"a run of {found}" if found else "files that no recipe wrote"
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
        found = metrics.get("recipe", "nothing readable")
        raise UserError(f"Expected a model of {recipe} in {folder}. {METRICS} names {found}.")
    return metrics


def given_or_read(given, file, what, *, whole_file=False):
    """What `predict` was given: as arguments, or in a file or on standard input.

    Args:
        given: Tuple of strings, perhaps empty.
        file: Path, or None for standard input.
        what: String, what they are called in a message, such as `"texts"`.
        whole_file: Whether a file or standard input holds one of them, or one a line.

    Raises:
        UserError: If both or none are given, or the file cannot be read. Blank lines are none.
    """
    if given and file:
        raise UserError(f"Expected {what} or --file. Received both")
    if given:
        return given
    try:
        content = file.read_text(encoding="utf-8-sig") if file else sys.stdin.read()
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"Expected UTF-8 in {file or 'standard input'}: {error}") from error
    found = [part for part in ([content] if whole_file else content.splitlines()) if part.strip()]
    if not found:
        expected = what if whole_file else f"{what}, one a line"
        raise UserError(f"Expected {expected}. {file or 'Standard input'} has none")
    return found


def cannot_load(path, error):
    """The `UserError` for a part of a trained model that cannot be read."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(f"Cannot load {path}. Train it anew. Received: {reason}")


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
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_text(path, text):
    """Writes a file so that it is there whole or as it was before."""
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def _plain(value):
    """Returns `value` as it comes back from a json file: paths as strings, tuples as lists."""
    return json.loads(json.dumps(value, default=str))


# --------------------------------------------------------------------------------- training


def set_up_keras(seed, *, mixed_precision=False):
    """Seeds Python, NumPy and the backend, and sets the precision of layers built from now on.

    Args:
        seed: Integer.
        mixed_precision: Boolean, whether layers compute in 16 bits: float16 on a GPU, bfloat16
            otherwise (CPUs have no fast float16). Weights and losses stay float32.
    """
    import keras

    keras.utils.set_random_seed(seed)
    policy = "float32"
    if mixed_precision:
        policy = "mixed_float16" if _accelerators() else "mixed_bfloat16"
    keras.config.set_dtype_policy(policy)


def training_callbacks(run, *, monitor, mode, patience, use_average=False, tensorboard=None):
    """Returns the callbacks of a training that stops early and survives a kill.

    `load_best_weights` takes the model back to its best epoch afterwards; the curves are at
    `run.history`. A training killed in the middle of an epoch goes on at the end of the epoch
    before, with the weights, the optimizer, the dropout, the best epoch so far and the patience
    left that it had there. (The order of batches is the data set's own matter: `run.epochs_done`
    says where to go on.)

    Args:
        run: A started `RunFolder`.
        monitor: String, the logged quantity that decides which epoch is best.
        mode: `"min"` or `"max"`, whether less or more of it is better.
        patience: Integer, epochs without a better value before training stops.
        use_average: Whether to validate and keep the moving average of the weights (of an
            optimizer with `use_ema=True`) instead of the weights.
        tensorboard: Path of a folder for TensorBoard's logs, or None for no logs.
    """
    import keras

    rows = read_history(run.history)
    seen = [row[monitor] for row in rows]
    better = {"min": min, "max": max}[mode]
    early_stopping = keras.callbacks.EarlyStopping(monitor, mode=mode, patience=patience)

    # BackupAndRestore keeps weights and optimizer. The history tells early stopping the rest of its
    # state; what random layers will draw next is kept here.

    def resume(logs):
        for row in rows:
            early_stopping.on_epoch_end(int(row["epoch"]), row)
        if run.random_states.exists():
            with np.load(run.random_states) as states:
                for variable, state in zip(
                    _random_states(early_stopping.model), states.values(), strict=True
                ):
                    variable.assign(state)

    def commit(epoch, logs):
        model, epochs = early_stopping.model, early_stopping.params["epochs"]
        np.savez(run.random_states, *map(np.array, _random_states(model)))
        run.commit(
            epochs_done=epoch + 1, is_trained=epoch + 1 == epochs or bool(model.stop_training)
        )

    checkpoint = keras.callbacks.ModelCheckpoint(
        run.best_weights,
        monitor=monitor,
        mode=mode,
        save_best_only=True,
        save_weights_only=True,
        initial_value_threshold=better(seen) if seen else None,
    )
    callbacks = [
        keras.callbacks.CSVLogger(run.history, append=True),
        *(seeing_average(checkpoint) if use_average else [checkpoint]),
        early_stopping,
        # Kept after training: the exports that follow may be killed as well.
        keras.callbacks.BackupAndRestore(run.backup, delete_checkpoint=False),
    ]
    if tensorboard is not None:
        if importlib.util.find_spec("tensorboard") is None:
            raise UserError("--tensorboard needs the package tensorboard. Received: none installed")
        callbacks.append(keras.callbacks.TensorBoard(tensorboard))
    # Last, when the others have written.
    callbacks.append(keras.callbacks.LambdaCallback(on_train_begin=resume, on_epoch_end=commit))
    return callbacks


def rise_and_fall(learning_rate, steps, warmup=0.05):
    """A schedule that rises to a learning rate in a share of all steps, then falls to nothing."""
    import keras

    rising = max(1, round(warmup * steps))
    return keras.optimizers.schedules.CosineDecay(
        learning_rate / rising,
        max(1, steps - rising),
        warmup_target=learning_rate,
        warmup_steps=rising,
    )


def baseline_callbacks(monitor, mode, patience):
    """Callbacks for a model to compare with, trained alike but not kept.

    As `training_callbacks` with `use_average`: the moving average of the weights is validated, and
    the best one is what the model has in the end.
    """
    import keras

    return seeing_average(
        keras.callbacks.EarlyStopping(
            monitor, mode=mode, patience=patience, restore_best_weights=True
        )
    )


def seeing_average(callback):
    """Callbacks that validate the moving average of the weights, and show it to `callback`.

    The average is that of the model's optimizer, made with `use_ema=True`. `callback` finds it in
    the model at the end of an epoch; the steps after go on from the weights themselves.
    """
    import keras

    swap = keras.callbacks.SwapEMAWeights()  # for the time of a validation
    return [
        swap,
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: swap.on_test_begin()),
        callback,
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: swap.on_test_end()),
    ]


def load_best_weights(model, run):
    """Gives a compiled model the weights it had after the best epoch of the run."""
    if not model.optimizer.built:  # training was over when this session began
        model.optimizer.build(model.trainable_variables)  # else Keras warns of its missing state
    model.load_weights(run.best_weights)


def _random_states(model):
    """The variables of a model that are neither weights nor metrics: its seed generators'."""
    others = {id(variable) for variable in [*model.weights, *model.metrics_variables]}
    return [variable for variable in model.variables if id(variable) not in others]


def read_history(path):
    """Returns the rows of a `history.csv` as dicts of floats; none if there is no file yet."""
    if not Path(path).exists():
        return []
    with Path(path).open(newline="", encoding="utf-8") as file:
        return [
            # "NA" stands where an epoch had no validation.
            {name: float(value) for name, value in row.items() if value != "NA"}
            for row in csv.DictReader(file)
        ]


# ---------------------------------------------------------------------------------- records


def write_metrics(
    folder,
    *,
    recipe,
    data,
    seed,
    scores,
    baselines,
    minutes,
    epochs,
    parameters,
    exports=None,
    details=None,
):
    """Writes `metrics.json`, the same for all recipes, and returns what is in it.

    Machine, versions, date and command are added.

    Args:
        folder: Path, usually `run.path`.
        recipe: String, the recipe's name.
        data: String, the name of the data set.
        seed: Integer.
        scores: Dict, name of a figure on the test split to number.
        baselines: Dict, what simpler models reach by the first of the scores.
        minutes: Float, the training took.
        epochs: Integer, trained.
        parameters: Integer, weights of the model.
        exports: Dict, name of a file to a dict with its `bytes`, its `milliseconds` for one input
            and its `agreement` with the Keras model's decisions, in `[0, 1]`.
        details: Dict of whatever else was measured, and how.
    """
    metrics = {
        "recipe": recipe,
        "data": data,
        "seed": seed,
        "scores": scores,
        "baselines": baselines,
        "minutes": round(minutes, 2),
        "epochs": epochs,
        "parameters": parameters,
        "exports": exports or {},
        "details": details or {},
        "machine": machine(),
        "versions": versions(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": _command(),
    }
    # NaN is no JSON, and no score.
    text = json.dumps(metrics, indent=2, allow_nan=False, default=lambda number: number.item())
    _write_text(Path(folder) / METRICS, text + "\n")
    return json.loads(text)


def write_model_card(folder, *, title, sections, metrics):
    """Writes the run's `README.md`: the recipe's words and, before the last section, the figures.

    Args:
        folder: Path, usually `run.path`.
        title: String.
        sections: Dict, heading to Markdown, in the order of the card: what it does, data and
            licence, limits, how to use.
        metrics: Dict, as `write_metrics` returns it.
    """
    figures = _figures(metrics)
    # Lines that are indented are code: only empty ones are cut off.
    trimmed = {heading: text.strip("\n") for heading, text in sections.items()}
    *first, last = [f"## {heading}\n\n{text}\n" for heading, text in trimmed.items()]
    _write_text(Path(folder) / "README.md", "\n".join([f"# {title}\n", *first, figures, last]))


def plot_history(history, png, *, metric="accuracy"):
    """Draws loss and `metric` over the epochs, for training and validation.

    Args:
        history: Path of the `history.csv` to read.
        png: Path of the picture to write.
        metric: String, the name of a column.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = read_history(history)
    epochs = [row["epoch"] + 1 for row in rows]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", metric), strict=True):
        for column, label in ((name, "training"), (f"val_{name}", "validation")):
            if any(column in row for row in rows):
                values = [row.get(column, math.nan) for row in rows]
                axes.plot(epochs, values, "o-", label=label)
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(png, dpi=120)


def machine():
    """Describes the machine: `cpu` model, `cores` we may use, `memory_gb` and `accelerators`."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "accelerators": _accelerators(),
        "system": platform.platform(terse=True),
    }


def versions():
    """Returns the versions of Python and of those libraries that shape a result."""
    found = {"python": platform.python_version()}
    for name in (
        "keras_attention",
        "keras",
        "tensorflow",
        "tensorflow-text",
        "tokenizers",
        "numpy",
    ):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _figures(metrics):
    """The measured part of a model card."""
    main_score = next(iter(metrics["scores"]))
    rows = [(f"**this model**, {name}", value) for name, value in metrics["scores"].items()]
    rows += [(f"{name}, {main_score}", value) for name, value in metrics["baselines"].items()]
    lines = [
        "## Figures\n",
        f"On the test split of {metrics['data']}, seed {metrics['seed']}.\n",
        _table(("", "score"), [(name, f"{value:.4f}") for name, value in rows]),
    ]
    if metrics["exports"]:
        columns = ("bytes", "milliseconds", "agreement")
        rows = [
            (f"`{name}`", *(_number(export.get(column)) for column in columns))
            for name, export in metrics["exports"].items()
        ]
        lines.append(_table(("file", *columns), rows))
    host = metrics["machine"]
    on = ", ".join([host["cpu"], f"{host['cores']} cores", *host["accelerators"]])
    used = ", ".join(f"{name} {version}" for name, version in metrics["versions"].items())
    lines.append(
        f"{metrics['parameters']:,} parameters, trained for {metrics['epochs']} epochs in "
        f"{metrics['minutes']:.1f} minutes on {on}; {used}; {metrics['date'][:10]}.\n\n"
        f"```\n{metrics['command']}\n```\n"
    )
    return "\n".join(lines)


def _table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value):
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _command():
    main_spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = ["python", "-m", main_spec.name] if main_spec else ["python", sys.argv[0]]
    return shlex.join([*program, *sys.argv[1:]])


def _cpu_model():
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _memory_gb():
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def _accelerators():
    """Names of the GPUs that TensorFlow uses; none if it has not been imported."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return []
    config = tensorflow.config
    return [
        config.experimental.get_device_details(device).get("device_name", device.name)
        for device in config.list_physical_devices("GPU")
    ]
