"""The command line: help, versions, and how it ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import keras_attention as ka
from keras_attention.export import export_model
from keras_attention_command import info, main

ROOT = Path(__file__).parent.parent.parent
COMMANDS = "info", "export", "maps", "explain"


# A process in which TensorFlow is not installed.
MISSING = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""


def _python(code, **surroundings):
    """Exit code and streams of Python code in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **surroundings},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(call, command):
    code, shown, _ = call(command, "--help")
    assert code == 0
    assert f"Example:\n  keras-attention {command} model.keras" in shown
    assert main._parser().parse_args(shown.split("Example:\n  keras-attention ")[1].split())


def test_help_needs_no_keras():
    code, shown, error = _python(
        "import sys; from keras_attention_command.main import main\n"
        "try: main(['--help'])\n"
        "finally: print('keras' in sys.modules, file=sys.stderr)"
    )
    assert code == 0 and all(command in shown for command in COMMANDS)
    assert error == "False\n"


def test_version(call):
    assert call("--version")[1].startswith("keras-attention-layers ")


def test_the_forms_are_those_of_the_export():
    assert set(main.FORMS) == set(ka.export.export_model.__globals__["_FILES"])
    assert export_model is ka.export_model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["train"], "invalid choice: 'train'"),
        (["info"], "MODEL"),
        (["info", "model.keras", "--samples", "x.npy"], "unrecognized arguments: --samples x.npy"),
        (["export", "model.keras", "--samples", "ids.npy"], "--output"),
        (["maps", "model.keras", "--samples", "a.npy", "--output", "b.npz", "--row", "x"], "--row"),
    ],
)
def test_rejects_wrong_arguments(refused, arguments, message):
    error = refused(*arguments)
    assert message in error and "--help" in error


def test_tells_which_backend_is_missing():
    code, _, error = _python(
        f"{MISSING}from keras_attention_command.main import main\n"
        "sys.exit(main(['info', 'x.keras']))",
        KERAS_BACKEND="tensorflow",
    )
    assert code == 2 and error.count("\n") == 1
    assert 'pip install "keras-attention-layers[tensorflow]"' in error


def test_tells_which_backends_there_are():
    code, _, error = _python(
        "import sys; from keras_attention_command.main import main\n"
        "sys.exit(main(['info', 'x.keras']))",
        KERAS_BACKEND="theano",
    )
    assert code == 2 and error.count("\n") == 1 and "Received: theano" in error


def test_an_interrupt_is_told_in_a_word(call, monkeypatch):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "run", interrupted)
    assert call("info", "model.keras") == (130, "", "Interrupted.\n")


def test_an_unexpected_error_keeps_its_traceback(call, monkeypatch):
    def wrong(arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(info, "run", wrong)
    with pytest.raises(ZeroDivisionError):
        call("info", "model.keras")
