"""Command lines from a dataclass of flags."""

import argparse
import dataclasses
import os
import sys
import types
import typing

from recipes.kit.errors import UserError, says_disk_full


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
    recipes.kit.errors.UserError: --epochs must be at least 1. Received: 0
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
        if not says_disk_full(error):
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
