"""The command line: its options, and how it ends."""

import argparse
import contextlib
import importlib
import importlib.metadata
import os
import sys
from pathlib import Path

from keras_attention_command.errors import UserError

DISTRIBUTION = "keras-attention-layers"
# As `ka.export_model` takes them; here, so that --help needs no Keras.
FORMS = ("saved_model", "tflite", "tflite_float16", "tflite_int8", "tflite_full_int8")

_MODEL = "file of a model, as `model.save` writes it: NAME.keras"
_SAMPLES = (
    "inputs of the model, one row each: a .npy file, or a .npz file with the names of the inputs"
)
_IMPORT = (
    "Python module that registers classes of your own, which the model uses; looked for in the "
    "working folder first; may be given several times"
)


def main(argv=None):
    """Runs the command that the user gave and returns the exit code of the program.

    0: done. 2: wrong use, or files that do not fit; the reason is one line on standard error. 130:
    interrupted by Ctrl-C. Anything unexpected keeps its traceback.

    Args:
        argv: List of strings, the command line; by default the program's own.
    """
    # TensorFlow's remarks would bury what is asked for. What is wrong, it raises.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    arguments = _parser().parse_args(argv)
    try:
        with _without_log():
            _import_layers()
        # "maps" is run by `keras_attention_command.maps.run`, and so on.
        module = importlib.import_module(f"keras_attention_command.{arguments.command}")
        module.run(arguments)
        sys.stdout.flush()  # a closed pipe shows here, where it can be handled
    except UserError as error:
        print("Error:", *str(error).split(), file=sys.stderr)  # one line, whatever is quoted
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    return 0


@contextlib.contextmanager
def _without_log():
    """Keeps off the terminal what TensorFlow's libraries log when they are loaded.

    It does so before it reads `TF_CPP_MIN_LOG_LEVEL`.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)


def _import_layers():
    """Imports the package, with the backend that Keras is set to."""
    try:
        import keras_attention  # noqa: F401
    except ModuleNotFoundError as error:
        backend = str(error.name).partition(".")[0]
        if backend not in ("tensorflow", "jax", "torch"):
            raise
        raise UserError(
            f"Keras is set to run on {backend}, which is not installed: "
            f'pip install "{DISTRIBUTION}[{backend}]", or choose another backend by the '
            "environment variable KERAS_BACKEND=tensorflow, jax or torch"
        ) from error
    except ValueError as error:
        if "backend" not in str(error):
            raise
        raise UserError(
            "KERAS_BACKEND must be tensorflow, jax or torch. "
            f"Received: {os.environ.get('KERAS_BACKEND')}"
        ) from error


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"Error: {message}. See `{self.prog} --help`\n")


def _parser():
    parser = _Parser(
        prog="keras-attention",
        description="Works on any saved Keras model with layers of Keras and of keras_attention.",
        epilog=_example("keras-attention info model.keras"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_info(commands)
    _add_export(commands)
    _add_maps(commands)
    _add_explain(commands)
    return parser


def _add_info(commands):
    _command(
        commands,
        "info",
        "show inputs, outputs, parameters, precision, attention layers and versions",
        example="keras-attention info model.keras",
    )


def _add_export(commands):
    parser = _command(
        commands,
        "export",
        "write SavedModel and TFLite files, and compare each with the model on the samples",
        example="keras-attention export model.keras --samples ids.npy --output exported",
        needs_samples=True,
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", required=True, help="folder to write into"
    )
    parser.add_argument(
        "--forms",
        nargs="+",
        choices=FORMS,
        metavar="FORM",
        default=["saved_model", "tflite", "tflite_int8"],
        help=f"some of {', '.join(FORMS)} (default: saved_model tflite tflite_int8)",
    )


def _add_maps(commands):
    parser = _command(
        commands,
        "maps",
        "write the attention weights of each attention layer",
        example="keras-attention maps model.keras --samples ids.npy --output maps.npz --png one.png"
        " --layer pool",
        needs_samples=True,
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE.npz",
        required=True,
        help="file to write: an array per attention layer, by its name",
    )
    parser.add_argument(
        "--layer", metavar="NAME", help="the attention layer to write (default: all)"
    )
    parser.add_argument(
        "--png", type=Path, metavar="FILE", help="picture to draw of the weights of one row"
    )
    parser.add_argument(
        "--row", type=int, default=0, help="row of the samples to draw, from 0 (default: 0)"
    )


def _add_explain(commands):
    parser = _command(
        commands,
        "explain",
        "measure whether the steps with the largest weights decide what the model predicts",
        example="keras-attention explain model.keras --samples ids.npy --layer pool",
        needs_samples=True,
        more=(
            "Erases the steps with the largest weights, or all others, and predicts again; beside "
            "it the same with\nrandom weights. For models with one input, ids (rows, steps) or "
            "features (rows, steps, features),\none output of probabilities, and an attention "
            "layer with one weight per step, such as\nAttentionPooling."
        ),
    )
    parser.add_argument(
        "--layer", metavar="NAME", help="the attention layer (default: the only one that fits)"
    )
    parser.add_argument(
        "--class",
        type=int,
        dest="class_id",
        metavar="CLASS",
        help="only rows that the model predicts to be of this class, from 0 (default: all rows)",
    )
    parser.add_argument(
        "--padding", type=float, default=0, help="what erased steps are filled with (default: 0)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random weights (default: 0)")
    parser.add_argument(
        "--html",
        type=Path,
        metavar="PAGE",
        help="page to write, with more tests, curves and the first rows, shaded by weight",
    )


def _command(commands, name, help, *, example, needs_samples=False, more=None):
    """A parser for a command on a model."""
    description = f"{help[0].upper()}{help[1:]}."
    parser = commands.add_parser(
        name,
        help=help,
        description=f"{description}\n\n{more}" if more else description,
        epilog=_example(example),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help=_MODEL)
    if needs_samples:
        parser.add_argument("--samples", type=Path, metavar="FILE", required=True, help=_SAMPLES)
    parser.add_argument(
        "--import", action="append", default=[], dest="modules", metavar="MODULE", help=_IMPORT
    )
    return parser


def _example(command):
    return f"Example:\n  {command}"


def _version():
    return f"{DISTRIBUTION} {importlib.metadata.version(DISTRIBUTION)}"
