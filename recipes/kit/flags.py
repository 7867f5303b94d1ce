"""Command lines from a dataclass of flags."""

import argparse
import dataclasses
import inspect
import os
import sys
import traceback
import types
import typing
from pathlib import Path

from recipes.kit import processes
from recipes.kit.errors import UserError, says_disk_full
from recipes.kit.quiet import hide_remarks


def option(default, help, *, low=None, high=None, choices=None):
    """Returns a dataclass field that becomes a flag, e.g. `--learning-rate` for `learning_rate`.

    Args:
        default: Value when the flag is not given. A boolean gives `--flag` and `--no-flag`.
        help: What the flag means and, for a number, its unit. With `(default: ...)` at its end
            where words say it better than the value.
        low: Smallest allowed number, if any.
        high: Largest allowed number, if any.
        choices: Allowed values, if they can be listed.
    """
    limits = {"help": help, "low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata=limits)


def default(value):
    """Returns a field with another default than the option that the base class has by its name.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Config(TrainConfig):
    ...     epochs: int = default(3)
    >>> Config().epochs
    3
    """
    return dataclasses.field(default=value, metadata={"of_base": True})


def size_dependent(many, few, help=None, *, below=10_000, unit="examples", **limits):
    """Returns a field whose default depends on the number of training examples; see `settle`.

    Args:
        many: Default for `below` examples or more.
        few: Default for fewer.
        help: As for `option`; `None` for that of the base class, with its limits.
        below: Integer.
        unit: String, what is counted, for the help text.
        limits: As for `option`.
    """
    known = {"of_base": True} if help is None else option(None, help, **limits).metadata
    return dataclasses.field(default=None, metadata={**known, "by_size": (many, few, below, unit)})


def settle(config, examples):
    """The config with values for the size-dependent options that were not given.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Config:
    ...     epochs: int | None = size_dependent(10, 20, "passes over the training data")
    >>> settle(Config(), examples=500)
    Config(epochs=20)
    """
    values = {}
    for field in dataclasses.fields(config):
        if "by_size" in field.metadata and getattr(config, field.name) is None:
            many, few, below, _ = field.metadata["by_size"]
            values[field.name] = few if examples < below else many
    return dataclasses.replace(config, **values)


def call(function, config, *args, **kwargs):
    """Calls a function, or a class, with the options of a config that are arguments of it.

    >>> def load(source, *, seed, limit=None):
    ...     return source, seed, limit
    >>> call(load, TrainConfig(seed=3), "toy")
    ('toy', 3, None)
    """
    names = {field.name for field in dataclasses.fields(config)}
    wanted = names & set(inspect.signature(function).parameters) - set(kwargs)
    return function(*args, **{name: getattr(config, name) for name in wanted}, **kwargs)


def restored(config_class, settings):
    """A config of the values that `metrics.json` has of a training.

    >>> restored(TrainConfig, {"data": "toy", "output": "models/toy", "no_more": 1}).output.name
    'toy'
    """
    kinds = typing.get_type_hints(config_class)
    values = {
        field.name: settings[field.name]
        for field in dataclasses.fields(config_class)
        if field.name in settings
    }
    for name, value in values.items():
        if value is not None and _converter(kinds[name]) is Path:
            values[name] = Path(value)
        elif isinstance(value, list):
            values[name] = tuple(value)
    return config_class(**values)


def argument(help, *, nargs=None):
    """Returns a dataclass field that becomes a positional argument.

    Args:
        help: What is expected there.
        nargs: As in argparse. `"*"`: a tuple of any number of values, `()` when there are none.
    """
    default = () if nargs == "*" else dataclasses.MISSING
    metadata = {"help": help, "nargs": nargs, "positional": True}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The options that `train` has in every recipe; a recipe's own config extends it."""

    data: str = option("toy", "toy, tfds:NAME or a folder with train.* and test.*")
    output: Path = option(Path("saved_models") / "model", "folder to write")
    limit: int | None = option(None, "examples of each split to use, for a quick look", low=4)
    data_dir: Path | None = option(None, "where TensorFlow Datasets keeps its data")
    epochs: int = option(10, "passes over the training examples, at most", low=1)
    patience: int = option(3, "epochs without improvement in validation before it stops", low=1)
    batch_size: int = option(64, "training examples per step", low=1)
    learning_rate: float = option(0.001, "highest learning rate of Adam", low=1e-6, high=1.0)
    averaging: float = option(
        0.99, "EMA momentum: the moving average of the weights is what is kept", low=0.0,
        high=0.9999,
    )  # fmt: skip
    seed: int = option(0, "seed of everything random", low=0)
    processes: int = option(
        1, "processes that train together on this machine, each with its part of every batch; for "
        "several machines set TF_CONFIG instead", low=1, high=64,
    )  # fmt: skip
    mixed_precision: bool = option(False, "compute in bfloat16")
    tensorboard: Path | None = option(None, "folder for TensorBoard's logs")


def options(config_class):
    """Pairs of a field and its metadata, that of the base class for a field by `default`."""
    for field in dataclasses.fields(config_class):
        metadata = field.metadata
        if "of_base" in metadata:
            base = next(
                fields[field.name].metadata
                for fields in (
                    getattr(cls, "__dataclass_fields__", {}) for cls in config_class.__mro__[1:]
                )
                if field.name in fields and "of_base" not in fields[field.name].metadata
            )
            own = {name: value for name, value in base.items() if name != "by_size"}
            metadata = {**own, **metadata}
        yield field, metadata


def check(config):
    """Raises `UserError` for the first option of `config` outside its range.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Config:
    ...     epochs: int = option(10, "passes over the training data", low=1)
    >>> check(Config(epochs=0))
    Traceback (most recent call last):
    recipes.kit.errors.UserError: --epochs must be at least 1. Received: 0
    """
    for field, metadata in options(type(config)):
        value, low, high = getattr(config, field.name), *map(metadata.get, ("low", "high"))
        if value is None:
            continue
        # "not (a <= b)" instead of "a > b" also refuses NaN.
        if low is not None and not low <= value:
            raise UserError(f"{flag(field)} must be at least {low}. Received: {value}")
        if high is not None and not value <= high:
            raise UserError(f"{flag(field)} must be at most {high}. Received: {value}")


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
    hide_remarks()
    try:
        code = _run_command(description, argv, commands)
    except Exception:
        if processes.group() is None:
            raise
        traceback.print_exc()
        code = 1
    return processes.leave(code)


def _run_command(description, argv, commands):
    try:
        parser = _parser(description, commands)
        arguments = _parsed(parser, argv, commands)
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
        if isinstance(config, TrainConfig):
            processes.join(config.processes)
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
        if not says_disk_full(error):
            raise
        hint = " ".join(getattr(error, "__notes__", []))
        return _fail(f"Error: the disk is full. {hint} Received: {str(error)[:200]}", 2)
    return 0


def _parsed(parser, argv, commands):
    """The arguments, with those of `nargs="*"` also where an option stands before them."""
    arguments, rest = parser.parse_known_args(argv)
    if not rest:
        return arguments
    if arguments.command is None:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    fields = options(commands[arguments.command][0])
    several = next((field.name for field, data in fields if data.get("nargs") == "*"), None)
    if several is None or any(word.startswith("-") for word in rest):
        arguments.subparser.error(f"unrecognized arguments: {' '.join(rest)}")
    setattr(arguments, several, [*getattr(arguments, several), *rest])
    return arguments


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
        subparser.set_defaults(subparser=subparser)
        annotations = typing.get_type_hints(config_class)
        for field, metadata in options(config_class):
            _add_argument(subparser, field, metadata, annotations[field.name])
    return parser


def _add_argument(parser, field, metadata, annotation):
    help = metadata["help"].replace("%", "%%")
    if "positional" in metadata:
        nargs = metadata["nargs"]
        keywords = {} if nargs is None else {"nargs": nargs, "default": ()}
        parser.add_argument(field.name, type=_converter(annotation), help=help, **keywords)
        return
    if annotation is bool:
        keywords = {"action": argparse.BooleanOptionalAction}
        shown = flag(field) if field.default else flag(field).replace("--", "--no-", 1)
    else:
        keywords = {"type": _converter(annotation), "choices": metadata["choices"]}
        keywords["metavar"] = None if keywords["choices"] else field.name.upper()
        shown = "none" if field.default is None else str(field.default)
        if "by_size" in metadata:
            shown = "{:,}, or {:,} below {:,} {}".format(*metadata["by_size"])
    if "(default: " not in help:
        help = f"{help} (default: {shown.replace('%', '%%')})"
    parser.add_argument(flag(field), default=field.default, help=help, **keywords)


def _converter(annotation):
    """The type inside `int`, `int | None` or `tuple[str, ...]`."""
    inner = [part for part in typing.get_args(annotation) if part not in (types.NoneType, ...)]
    return inner[0] if inner else annotation


def _as_declared(value):
    return tuple(value) if isinstance(value, list) else value


def flag(field):
    return "--" + field.name.replace("_", "-")


def _fail(message, code):
    print(*message.split(), file=sys.stderr)  # one line, whatever the message quotes
    return code


def given_or_read(given, file, what, *, whole_file=False):
    """What `predict` was given: as arguments, or in a file or on standard input.

    A line ends at a line feed, with or without a carriage return, and nowhere else: there are as
    many of them as lines, also where one is blank.

    Args:
        given: Tuple of strings, perhaps empty.
        file: Path, or None for standard input.
        what: String, what they are called in a message, such as `"texts"`.
        whole_file: Whether a file or standard input holds one of them, or one per line.

    Raises:
        UserError: If both or none are given, all are blank, or the file cannot be read.
    """
    if given and file:
        raise UserError(f"Expected {what} or --file. Received both")
    try:
        if given:
            for text in given:
                text.encode()
            return given
        content = _decoded(file)
        content.encode()
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}") from error
    except UnicodeError as error:  # where the terminal's bytes are no UTF-8, it fails to encode
        where = file or ("the arguments" if given else "standard input")
        raise UserError(f"Expected UTF-8 in {where}: {error}") from error
    if not content.strip():
        expected = what if whole_file else f"{what}, one per line"
        raise UserError(f"Expected {expected}. {file or 'Standard input'} has none")
    if whole_file:
        return [content]
    return [line.removesuffix("\r") for line in content.removesuffix("\n").split("\n")]


def _decoded(file):
    """The text of a file or of standard input, with its line ends as they are."""
    if file:
        return file.read_bytes().decode("utf-8-sig")
    if hasattr(sys.stdin, "buffer"):
        return sys.stdin.buffer.read().decode("utf-8-sig")
    return sys.stdin.read()
