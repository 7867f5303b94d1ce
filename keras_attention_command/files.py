"""What the commands read and write: models, samples, and files, whole or not at all."""

import contextlib
import importlib
import importlib.util
import os
import re
import sys
import zipfile

import keras
import numpy as np

from keras_attention.export.signature import from_model
from keras_attention_command.errors import UserError, reason


def load_model(path, modules=()):
    """The model in a `.keras` file, uncompiled.

    Args:
        path: Path of the file.
        modules: Names of Python modules that register the classes it needs.

    Raises:
        UserError: If a module cannot be imported or the file cannot be read.
    """
    for name in modules:
        _import(name)
    if not path.is_file():
        raise UserError(f"Expected a file NAME.keras. There is none: {path}")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise UserError(
            f"Expected a file NAME.keras, as `model.save` writes it. Received another or "
            f"a damaged one: {path}"
        )
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # whatever a class of the model raises
        unknown = re.search(
            r"Could not locate (?:class|function) '([^']+)'(?:.*Full object config: "
            r"{'module': '([\w.]+)')?",
            str(error),
        )
        if unknown is None:
            raise UserError(f"Cannot load {path}: {reason(error)}") from error
        raise UserError(
            f"Cannot load {path}: no class or function {unknown[1]!r} is registered. Name the "
            f"module that registers it: --import {unknown[2] or 'MODULE'}"
        ) from error


def _import(name):
    if "" not in sys.path:
        sys.path.insert(0, "")  # as for `python -m`
    try:
        importlib.import_module(name)
    except Exception as error:  # whatever the module does
        raise UserError(f"Cannot --import {name}: {reason(error)}") from error


def read_samples(path, model):
    """The samples in a file, checked against the inputs of the model and in their dtypes.

    Args:
        path: Path of a `.npy` or `.npz` file.
        model: A Keras model.

    Returns:
        List of dicts of input name to array, in batches of at most 32 rows, or of the size that
        the model is fixed to.

    Raises:
        UserError: If the model does not tell its inputs, the file cannot be read, or the samples do
            not fit.
    """
    if not getattr(model, "inputs", None):
        raise UserError(
            f"Expected a functional or sequential model. {model.name!r} is a subclassed one, whose "
            "inputs are unknown: use the functions of keras_attention in Python"
        )
    names = [x.name for x in model.inputs]
    arrays = _read_arrays(path)
    if not isinstance(arrays, dict):
        if len(names) > 1:
            raise UserError(f"Expected a .npz file with the inputs {names}. {path} is one array")
        arrays = {names[0]: arrays}
    if set(arrays) != set(names):
        raise UserError(f"Expected the inputs {names} in {path}. Received: {list(arrays)}")
    try:
        batches = from_model(model, arrays).batches()
    except ValueError as error:
        raise UserError(f"{error}. The samples are those in {path}") from error
    return batches


def _read_arrays(path):
    """The array in a `.npy` file, or the dict of those in a `.npz` file."""
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return content
            return {name: content[name] for name in content.files}
    except FileNotFoundError as error:
        raise UserError(f"Expected a .npy or .npz file. There is none: {path}") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"Expected a .npy or .npz file of numbers. Cannot read {path}: {reason(error)}"
        ) from error


def joined(batches):
    """One dict of arrays from a list of them, row after row."""
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def check_can_write(path):
    """Raises a `UserError` where no file can be, before work is done in vain."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UserError(f"Expected the path of a file in a folder that exists. Received: {path}")


def check_can_draw(flag, path):
    """The same for the file of an option that needs matplotlib, and where that is missing."""
    check_can_write(path)
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError(
            f"{flag} needs matplotlib, which is not installed: "
            'pip install "keras-attention-layers[plot]"'
        )


@contextlib.contextmanager
def written(path):
    """A temporary path beside `path`, which takes its name if this context ends without an error.

    Raises:
        UserError: If the file cannot be written.
    """
    partial = path.with_name(f".{os.getpid()}-{path.name}")  # with the ending, that says the format
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
