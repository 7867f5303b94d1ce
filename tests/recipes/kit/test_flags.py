"""Command lines from a dataclass."""

import dataclasses
import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recipes.kit.errors import UserError
from recipes.kit.flags import (
    TrainConfig,
    argument,
    check,
    command_line,
    default,
    given_or_read,
    option,
    settle,
    size_dependent,
)
from recipes.kit.run_folder import RunFolder
from tests.recipes.kit.tiny_recipe import ROOT, Config, child, run_command


@dataclasses.dataclass(frozen=True)
class Flags:
    epochs: int = option(10, "passes over the data", low=1, high=1000)
    learning_rate: float = option(0.001, "step size of Adam", low=1e-6)
    dropout: float = option(0.1, "share in [0, 1) of 100 % dropped", low=0.0, high=0.9)
    limit: int | None = option(None, "texts to use", low=1)
    mixed_precision: bool = option(False, "compute in 16 bits")
    early_stopping: bool = option(True, "stop when validation no longer improves")
    precision: str = option("float32", "of the export", choices=("float32", "int8"))
    output: Path = option(Path("saved_models/x"), "folder to write")


@dataclasses.dataclass(frozen=True)
class Arguments:
    folder: Path = argument("folder of the model")
    texts: tuple[str, ...] = argument("texts to label", nargs="*")
    top: int = option(3, "labels shown", low=1)


def call(*argv):
    """Returns exit code and config, as a recipe's `main` would get it."""
    received = []

    def train(config):
        """Train a model."""
        received.append(config)

    def predict(config):
        """Label texts."""
        received.append(config)

    commands = {"train": (Flags, train), "predict": (Arguments, predict)}
    code = command_line("What the recipe does: 100 %.", argv, **commands)
    return code, *received


def test_defaults():
    assert call("train") == (0, Flags())


def test_every_kind_of_flag():
    code, config = call(
        *("train", "--epochs", "3", "--learning-rate", "1e-2", "--limit", "50", "--output", "a/b"),
        *("--mixed-precision", "--no-early-stopping", "--precision", "int8"),
    )
    assert code == 0
    assert config == Flags(
        epochs=3,
        learning_rate=0.01,
        limit=50,
        mixed_precision=True,
        early_stopping=False,
        precision="int8",
        output=Path("a/b"),
    )


def test_positionals():
    assert call("predict", "m") == (0, Arguments(folder=Path("m")))
    expected = Arguments(folder=Path("m"), texts=("one", "two"), top=1)
    assert call("predict", "m", "one", "two", "--top", "1") == (0, expected)


def test_positionals_may_stand_behind_an_option(capsys):
    expected = Arguments(folder=Path("m"), texts=("one", "two"), top=1)
    assert call("predict", "m", "--top", "1", "one", "two") == (0, expected)
    assert call("predict", "m", "one", "--top", "1", "two") == (0, expected)
    for bad in (["train", "one"], ["predict", "m", "--top", "1", "one", "--tops"]):
        with pytest.raises(SystemExit) as caught:
            call(*bad)
        assert caught.value.code == 2
        shown = capsys.readouterr().err
        assert f"unrecognized arguments: {bad[-1]}" in shown.replace("one --tops", "--tops")
        assert f"{bad[0]} [-h]" in shown  # the usage of the command


def test_text_that_is_not_utf8_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "texts.txt").write_bytes(b"caf\xe9\n")
    broken = b"caf\xe9".decode("utf-8", "surrogateescape")  # as a terminal hands it on
    monkeypatch.setattr("sys.stdin", io.StringIO(broken))
    for given, file, where in (
        ((broken,), None, "the arguments"),
        ((), None, "standard input"),
        ((), tmp_path / "texts.txt", "texts.txt"),
    ):
        with pytest.raises(UserError, match=f"Expected UTF-8 in .*{where}"):
            given_or_read(given, file, "texts")


# Line ends of other worlds stand within a text: next line, line separator, form feed.
LINES = ["one\x85still one", "", "two\u2028still two", "three\x0cstill three", " "]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("is_closed", [True, False])
def test_there_are_as_many_texts_as_lines(tmp_path, monkeypatch, end, is_closed):
    content = end.join(LINES) + (end if is_closed else "")
    (tmp_path / "texts.txt").write_bytes(b"\xef\xbb\xbf" + content.encode())
    assert given_or_read((), tmp_path / "texts.txt", "texts") == LINES
    stdin = io.TextIOWrapper(io.BytesIO(content.encode()), encoding="latin-1")  # as a terminal is
    monkeypatch.setattr("sys.stdin", stdin)
    assert given_or_read((), None, "texts") == LINES


def test_nothing_but_blank_lines(tmp_path):
    (tmp_path / "texts.txt").write_text("\n \n")
    with pytest.raises(UserError, match="Expected texts, one per line"):
        given_or_read((), tmp_path / "texts.txt", "texts")


def test_without_a_command_help_is_shown(capsys):
    assert call() == (2,)
    shown = capsys.readouterr().out
    assert "What the recipe does: 100 %." in shown
    assert "Train a model." in shown


def test_help_shows_meaning_and_default(capsys):
    with pytest.raises(SystemExit) as caught:
        call("train", "--help")
    assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "--epochs EPOCHS passes over the data (default: 10)" in shown
    assert "share in [0, 1) of 100 % dropped (default: 0.1)" in shown
    assert "texts to use (default: none)" in shown
    assert "compute in 16 bits (default: --no-mixed-precision)" in shown
    assert "--precision {float32,int8}" in shown


@dataclasses.dataclass(frozen=True)
class Extended(TrainConfig):
    epochs: int | None = size_dependent(10, 30, below=500)
    patience: int = default(7)
    units: int | None = size_dependent(256, 64, "size of all vectors", low=8, unit="pairs")
    column: str | None = option(None, "column of the text (default: text, or else review)")


def test_a_config_extends_the_options_of_every_recipe(capsys):
    received = []

    def train(config):
        """Train."""
        received.append(config)

    assert command_line("A recipe.", ["train", "--batch-size", "3"], train=(Extended, train)) == 0
    assert received == [Extended(batch_size=3)]
    assert (received[0].patience, received[0].epochs) == (7, None)
    assert settle(received[0], 499) == Extended(batch_size=3, epochs=30, units=64)
    assert settle(Extended(units=9), 500) == Extended(epochs=10, units=9)
    assert settle(Extended(), 10_000).units == 256
    with pytest.raises(SystemExit):
        command_line("A recipe.", ["train", "--help"], train=(Extended, train))
    shown = " ".join(capsys.readouterr().out.split())
    assert "over the training examples, at most (default: 10, or 30 below 500 examples)" in shown
    assert "size of all vectors (default: 256, or 64 below 10,000 pairs)" in shown
    assert "column of the text (default: text, or else review)" in shown
    assert "or else review) (default" not in shown
    assert "validation before it stops (default: 7)" in shown
    for bad in (Extended(patience=0), Extended(epochs=0), Extended(units=7)):  # limits of the base
        with pytest.raises(UserError, match="must be at least"):
            check(bad)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--epochs", "0"], "Error: --epochs must be at least 1. Received: 0\n"),
        (["--epochs", "1001"], "Error: --epochs must be at most 1000. Received: 1001\n"),
        (["--learning-rate", "nan"], "Error: --learning-rate must be at least 1e-06. "),
        (["--limit", "0"], "Error: --limit must be at least 1. Received: 0\n"),
    ],
)
def test_value_out_of_range(capsys, argv, message):
    assert call("train", *argv) == (2,)
    shown = capsys.readouterr().err
    assert shown.startswith(message)
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "--epoch", "3"], "unrecognized arguments: --epoch 3"),
        (["train", "--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
        (["train", "--precision", "int4"], "invalid choice: 'int4'"),
        (["tarin"], "invalid choice: 'tarin'"),
        (["predict"], "the following arguments are required: folder"),
    ],
)
def test_wrong_flags_end_with_2(capsys, argv, message):
    with pytest.raises(SystemExit) as caught:
        call(*argv)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_user_error_is_one_line(capsys):
    def fail():
        raise UserError("train.csv:3: expected 2 fields.\nReceived: 1")

    assert run_command(fail) == 2
    assert capsys.readouterr().err == "Error: train.csv:3: expected 2 fields. Received: 1\n"


def test_unexpected_errors_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 / 0)


@pytest.mark.parametrize(
    ("epochs", "note"),
    [
        (1, "The same command resumes after epoch 1."),
        (0, "No epoch was complete: the same command starts afresh."),
    ],
)
def test_interrupted(output, capsys, epochs, note):
    def interrupt():
        with RunFolder(output, recipe="fake") as run:
            run.start(Config(), data="new")
            for epoch in range(epochs):
                run.commit(epochs_done=epoch + 1, is_trained=False)
            raise KeyboardInterrupt

    assert run_command(interrupt) == 130
    assert capsys.readouterr().err == f"Interrupted. {note}\n"


def test_a_closed_pipe_is_silent():
    code = (
        "import sys; from tests.recipes.kit.tiny_recipe import run_command\n"
        "sys.exit(run_command(lambda: [print('line') for _ in range(100_000)]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 128 + signal.SIGPIPE


def test_a_recipe_as_a_program_answers_fast():
    process = child("train", "--epochs", "0")
    assert process.returncode == 2
    assert process.stderr == "Error: --epochs must be at least 1. Received: 0\n"
    process = child("train", "--nonsense")
    assert process.returncode == 2
    assert "tiny_recipe train: error: unrecognized arguments: --nonsense" in process.stderr


def test_nothing_heavy_is_imported_early():
    names = "recipes.kit.flags, recipes.kit.fitting, recipes.data.texts"
    code = f"import sys, {names}; print(sorted(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for heavy in ("keras", "tensorflow", "tensorflow_datasets", "matplotlib", "sklearn"):
        assert f"'{heavy}'" not in modules


def test_a_python_without_keras_is_one_line():
    command = [sys.executable, "-S", "-m", "recipes.sentiment_analysis", "train", "--data", "toy"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: this Python has no Keras: run `make setup`")
    assert done.stderr.count("\n") == 1
