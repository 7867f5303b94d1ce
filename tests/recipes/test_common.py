"""Flags, run folder, callbacks and records; with runs that are really killed.

`python -m tests.recipes.test_common train|sweep ...` runs the two small recipes below, as child
processes that the tests can kill.
"""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recipes import common
from recipes.common import RunFolder, UserError, argument, command_line, option

ROOT = Path(__file__).parents[2]


def child(*arguments, **environment):
    """Runs this file as a program and returns the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "tests.recipes.test_common", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


# ------------------------------------------------------------------ a recipe that trains


@dataclasses.dataclass(frozen=True)
class Config:
    output: str = option("saved_models/tiny", "folder to write")
    epochs: int = option(30, "passes over the training data", low=1)
    seed: int = option(0, "seed")


def train(config, tensorboard=None):
    """Train on noise, which is soon learned by heart: stops early."""
    import keras

    with RunFolder(config.output, recipe="tiny") as run:
        run.start(config, data="noise")
        common.set_up_keras(config.seed)
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(96, 8)), rng.integers(0, 2, size=96)
        model = keras.Sequential(
            [
                keras.layers.Input((8,)),
                keras.layers.Dense(32, activation="relu"),
                keras.layers.Dropout(0.2),  # its random state must be resumed too
                keras.layers.Dense(2, activation="softmax"),
            ]
        )
        optimizer = keras.optimizers.Adam(0.02, use_ema=True, ema_momentum=0.9)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        callbacks = common.training_callbacks(
            run,
            monitor="val_loss",
            mode="min",
            patience=2,
            use_average=True,  # it must be resumed too
            tensorboard=tensorboard,
        )
        if not run.is_trained:
            model.fit(
                x[:64],
                y[:64],
                validation_data=(x[64:], y[64:]),
                batch_size=16,
                shuffle=False,
                epochs=config.epochs,
                callbacks=[*callbacks, killer(run)],
                verbose=0,
            )
        common.load_best_weights(model, run)
        model.save_weights(run.path / "model.weights.h5")
        loss = model.evaluate(x[64:], y[64:], verbose=0)[0]
        best = min(row["val_loss"] for row in common.read_history(run.history))
        assert np.isclose(loss, best, rtol=1e-5), (loss, best)
        write_metrics(run)
        run.finish()


def killer(run):
    """A callback that kills this process where the environment says, e.g. `TINY_KILL=4:2`."""
    import keras

    def on_train_batch_end(batch, logs):
        if os.environ.get("TINY_KILL") == f"{run.epochs_done}:{batch}":
            # As if the kill had come while each of the files was being written.
            for path in [run.history, run.best_weights, *run.backup.iterdir()]:
                os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    return keras.callbacks.LambdaCallback(on_train_batch_end=on_train_batch_end)


def write_metrics(run, **changes):
    given = {
        "recipe": run.recipe,
        "data": "noise",
        "seed": 0,
        "scores": {"accuracy": 0.5},
        "baselines": {"tf-idf": 0.45},
        "minutes": run.minutes,
        "epochs": run.epochs_done,
        "parameters": 10,
    }
    return common.write_metrics(run.path, **given | changes)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    output = tmp_path_factory.mktemp("uninterrupted") / "run"
    train(Config(output=str(output)))
    return output


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_a_run_is_one_folder_without_training_state(uninterrupted):
    assert files(uninterrupted) == ["history.csv", "metrics.json", "model.weights.h5"]
    assert files(uninterrupted.parent) == ["run"]


@pytest.mark.slow
def test_killed_in_an_epoch_the_same_command_ends_the_same(uninterrupted, tmp_path, capfd):
    rows = common.read_history(uninterrupted / "history.csv")
    losses = [row["val_loss"] for row in rows]
    assert len(losses) == np.argmin(losses) + 3 < 30, "this test needs a run that stops early"
    # In the last epoch: the best weights and one of two epochs of patience are behind us.
    last = len(rows) - 1
    output = tmp_path / "run"
    killed = child("train", "--output", output, TINY_KILL=f"{last}:2")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert files(tmp_path) == [".run.partial"]

    train(Config(output=str(output)))
    assert f"Resuming after epoch {last}" in capfd.readouterr().out
    assert files(tmp_path) == ["run"]
    resumed = common.read_history(output / "history.csv")
    assert [row["epoch"] for row in resumed] == list(range(len(rows)))
    for row, expected in zip(resumed, rows, strict=True):
        assert row == pytest.approx(expected, rel=1e-4)
    assert_same_weights(output, uninterrupted)


@pytest.mark.slow
def test_stopped_after_training_only_the_rest_is_done(uninterrupted, tmp_path, capsys, monkeypatch):
    output = tmp_path / "run"

    def interrupt(run):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sys.modules[__name__], "write_metrics", interrupt)
        train(Config(output=str(output)))

    def fit(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr("keras.Model.fit", fit)
    train(Config(output=str(output)))
    assert "Resuming after the end of training" in capsys.readouterr().out
    assert_same_weights(output, uninterrupted)


def assert_same_weights(folder, expected_folder):
    h5py = pytest.importorskip("h5py")
    found = []
    for path in (folder, expected_folder):
        with h5py.File(path / "model.weights.h5") as file:
            weights = []
            file.visititems(
                lambda name, item, weights=weights: (
                    weights.append((name, item[()])) if isinstance(item, h5py.Dataset) else None
                )
            )
            found.append(dict(weights))
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        np.testing.assert_allclose(value, found[1][name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_tensorboard(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    config = Config(output=str(tmp_path / "run"), epochs=1)
    train(config, tensorboard=tmp_path / "logs")
    assert list((tmp_path / "logs").rglob("events*"))
    monkeypatch.setattr(common.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="--tensorboard needs the package tensorboard"):
        train(config, tensorboard=tmp_path / "logs")


# --------------------------------------- a recipe of files alone, killed at every operation


def fake_recipe(output, text="new", epochs=2):
    """Goes through everything that a recipe does to the disk, in milliseconds."""
    with RunFolder(output, recipe="fake") as run:
        run.start(Config(output=str(output), epochs=epochs), data=text)
        for epoch in range(run.epochs_done, epochs):
            with run.history.open("a") as file:
                file.write(f"{epoch}\n")
            run.commit(epochs_done=epoch + 1, is_trained=epoch + 1 == epochs)
        (run.path / "model.txt").write_text(text)
        write_metrics(run)
        run.finish()


def sweep(folder):
    """Kills the fake recipe at its first, second, third ... operation on a file, until it ends."""
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
    operations = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}
    for kill_at in range(1000):
        output = Path(folder) / str(kill_at) / "run"
        fake_recipe(output, text="old")
        pid = os.fork()
        if pid == 0:
            left = kill_at

            def hook(event, arguments):
                nonlocal left
                if event in operations:
                    left -= 1
                    if left < 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            fake_recipe(output)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if output.exists():  # at no moment half of a folder
            check_complete(output, {"old", "new"})
        common.find_run(output, recipe="fake", files=["model.txt"])
        check_complete(output, {"old", "new"})
        fake_recipe(output)  # the same command
        check_complete(output, {"new"})
        if files(output.parent) != ["run"]:
            raise RuntimeError(f"left behind: {files(output.parent)}")
        if status == 0:
            print(kill_at, file=sys.stderr)
            return
        if os.WTERMSIG(status) != signal.SIGKILL:
            raise RuntimeError(f"the child ended with {status}")


def check_complete(output, texts):
    found = (output / "model.txt").read_text()
    history = (output / "history.csv").read_text()
    if found not in texts or history != "0\n1\n" or not (output / common.METRICS).exists():
        raise RuntimeError(f"{output}: {found}, {history!r}, {files(output)}")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_killed_at_any_operation_nothing_is_half_and_the_same_command_completes(tmp_path):
    process = child("sweep", tmp_path)
    assert process.returncode == 0, process.stderr
    assert int(process.stderr) > 50  # operations survived


# ----------------------------------------------------------------------------- run folder


@pytest.fixture
def output(tmp_path):
    return tmp_path / "models" / "run"


def start(output, epochs=2, data="new"):
    run = RunFolder(output, recipe="fake").__enter__()
    run.start(Config(output=str(output), epochs=epochs), data=data)
    return run


def leave(run, error=None):
    run.__exit__(type(error), error, None)


@pytest.fixture
def interrupted(output):
    """An output folder beside which a run was interrupted after its first epoch of two."""
    run = start(output)
    run.history.write_text("0\n")
    run.commit(epochs_done=1, is_trained=False)
    run.history.write_text("torn")
    leave(run, KeyboardInterrupt())
    return output


def test_resumes_at_the_last_whole_epoch(interrupted, capsys):
    run = start(interrupted)
    assert run.epochs_done == 1
    assert not run.is_trained
    assert run.history.read_text() == "0\n"
    assert "Resuming after epoch 1 (to start afresh, delete" in capsys.readouterr().out
    leave(run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 3}, "Starting afresh, not resuming: the unfinished run had --epochs 2, now"),
        ({"data": "other"}, "Starting afresh, not resuming: the unfinished run had other data"),
    ],
)
def test_other_settings_or_data_start_afresh(interrupted, capsys, changes, message):
    run = start(interrupted, **changes)
    assert run.epochs_done == 0
    assert not run.history.exists()
    assert message in capsys.readouterr().out
    leave(run)


def test_other_versions_start_afresh(interrupted, capsys, monkeypatch):
    monkeypatch.setattr(common, "versions", lambda: {"keras": "4.0"})
    leave(start(interrupted))
    assert "other versions of the libraries" in capsys.readouterr().out


def test_minutes_count_the_earlier_session(interrupted):
    state = interrupted.with_name(".run.partial") / "training/epoch-00001/state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"seconds": 600}))
    run = start(interrupted)
    assert 10 <= run.minutes < 11
    leave(run)


def test_an_error_before_the_first_epoch_leaves_nothing(output):
    with pytest.raises(ValueError, match="oops"), RunFolder(output, recipe="fake") as run:
        run.start(Config(), data="new")
        raise ValueError("oops")
    assert files(output.parent) == []


def test_an_error_before_start_touches_nothing(output):
    with pytest.raises(UserError), RunFolder(output, recipe="fake"):
        raise UserError("no such data")
    assert not output.parent.exists()


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_folder_that_is_free_or_ours_is_replaced(output, is_empty):
    if is_empty:
        output.mkdir(parents=True)
    else:
        fake_recipe(output, text="old")
        (output / "old.png").touch()
    fake_recipe(output)
    assert files(output) == ["history.csv", "metrics.json", "model.txt"]
    assert files(output.parent) == ["run"]


def test_a_link_to_a_folder_is_followed(output):
    fake_recipe(output, text="old")
    link = output.with_name("link")
    link.symlink_to(output)
    fake_recipe(link)
    assert link.is_symlink()
    assert (output / "model.txt").read_text() == "new"


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("thesis.txt", "years of work", "files that no recipe wrote"),
        ("metrics.json", '{"recipe": "translation"}', "a run of translation"),
        ("metrics.json", '{"accuracy": ', "files that no recipe wrote"),
        ("metrics.json", "[1]", "files that no recipe wrote"),
    ],
)
def test_a_folder_that_is_not_ours_is_left_alone(output, name, content, what):
    output.mkdir(parents=True)
    (output / name).write_text(content)
    with pytest.raises(UserError, match=f"holds {what} and is left alone"):
        fake_recipe(output)
    assert (output / name).read_text() == content
    assert files(output.parent) == ["run"]


def test_a_folder_that_was_filled_during_training_is_left_alone(output):
    run = start(output)
    write_metrics(run)
    output.mkdir()
    (output / "thesis.txt").touch()
    with pytest.raises(UserError, match="is left alone"):
        run.finish()
    leave(run)
    assert files(output) == ["thesis.txt"]


def test_a_hidden_folder_that_is_not_ours_is_left_alone(output):
    hidden = output.with_name(".run.partial")
    hidden.mkdir(parents=True)
    (hidden / "thesis.txt").touch()
    with pytest.raises(UserError, match="Move it away"):
        fake_recipe(output)
    assert files(hidden) == ["thesis.txt"]


def test_output_is_a_file(output):
    output.parent.mkdir()
    output.write_text("years of work")
    with pytest.raises(UserError, match="Expected a folder for the output"):
        fake_recipe(output)
    assert output.read_text() == "years of work"


def test_output_below_a_file(output):
    output.parent.write_text("")
    with pytest.raises(UserError, match=r"Cannot write to .*models/run"):
        fake_recipe(output)


def test_output_is_the_root():
    with pytest.raises(UserError, match="a folder of its own"):
        RunFolder("/", recipe="fake")


@pytest.mark.skipif(common.fcntl is None, reason="needs fcntl")
def test_two_runs_at_once(output):
    first = start(output)
    with pytest.raises(UserError, match="Another run is writing to"):
        start(output)
    write_metrics(first)
    first.finish()
    leave(first)
    fake_recipe(output)


def test_finish_needs_metrics(output):
    run = start(output)
    with pytest.raises(RuntimeError, match="`write_metrics` must come before `finish`"):
        run.finish()
    leave(run)


def test_find_run(output):
    fake_recipe(output)
    assert common.find_run(output, recipe="fake", files=["model.txt"])["recipe"] == "fake"


def test_find_run_repairs_a_swap_that_was_cut_short(output):
    fake_recipe(output)
    output.rename(output.with_name(".run.previous"))
    assert common.find_run(output, recipe="fake")["recipe"] == "fake"
    assert files(output.parent) == ["run"]


def test_find_run_rejects_what_is_no_model(output):
    def message(**expected):
        with pytest.raises(UserError) as caught:
            common.find_run(output, **{"recipe": "fake"} | expected)
        return str(caught.value)

    assert "There is none" in message()
    output.mkdir(parents=True)
    assert "has no metrics.json" in message()
    (output / "metrics.json").write_text('{"recipe": ')
    assert "metrics.json names nothing readable" in message()
    fake_recipe_folder = output.with_name("other")
    fake_recipe(fake_recipe_folder)
    (fake_recipe_folder / "metrics.json").replace(output / "metrics.json")
    assert "Expected a model of captions" in message(recipe="captions")
    assert "has no model.tflite" in message(files=["model.tflite"])
    assert files(output) == ["metrics.json"]


# ------------------------------------------------------------------------------ disk full


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("Unable to write (error message = 'No space left on device')"),
        RuntimeError("UNKNOWN: run/model.tmp; No space left on device"),  # as TensorFlow says it
    ],
)
@pytest.mark.parametrize("function", ["shutil.copytree", "json.dumps", "shutil.copy"])
def test_disk_full(output, monkeypatch, capsys, error, function):
    """At the first epoch, at the first record and at the end."""
    fake_recipe(output, text="old")

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(f"recipes.common.{function}", fail)
    assert run_command(fake_recipe, output) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Error: the disk is full.")
    monkeypatch.undo()
    check_complete(output, {"old"})
    fake_recipe(output)
    check_complete(output, {"new"})


# --------------------------------------------------------------------------- command line


@dataclasses.dataclass(frozen=True)
class Nothing:
    pass


def run_command(function, *args):
    def run(config):
        """Run."""
        function(*args)

    return command_line("A recipe.", ["run"], run=(Nothing, run))


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
        "import sys; from tests.recipes.test_common import run_command\n"
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
    assert "python -m tests.recipes.test_common: error: unrecognized" in process.stderr


def test_nothing_heavy_is_imported_early():
    code = "import sys, recipes.common, recipes.data.text; print(sorted(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for heavy in ("keras", "tensorflow", "tensorflow_datasets", "matplotlib", "sklearn"):
        assert f"'{heavy}'" not in modules


# -------------------------------------------------------------------------------- records


def test_metrics(output):
    run = start(output)
    exports = {"model.tflite": {"bytes": 1_000, "milliseconds": 0.5, "agreement": 1.0}}
    metrics = write_metrics(run, scores={"accuracy": np.float32(0.5)}, exports=exports)
    assert json.loads((run.path / "metrics.json").read_text()) == metrics
    assert list(metrics) == [
        *("recipe", "data", "seed", "scores", "baselines", "minutes", "epochs", "parameters"),
        *("exports", "details", "machine", "versions", "date", "command"),
    ]
    assert metrics["scores"] == {"accuracy": 0.5}
    assert metrics["versions"].keys() >= {"python", "numpy"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_metrics(run, scores={"accuracy": float("nan")})
    assert json.loads((run.path / "metrics.json").read_text()) == metrics
    leave(run)


def test_machine():
    found = common.machine()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["memory_gb"] is None or found["memory_gb"] > 0.1


def test_model_card(output):
    run = start(output)
    exports = {"model.tflite": {"bytes": 12_345, "milliseconds": 0.5}}
    common.write_model_card(
        run.path,
        title="Tiny",
        sections={"What": "It guesses.", "Data": "Noise.", "Use": "Not at all."},
        metrics=write_metrics(run, exports=exports),
    )
    card = (run.path / "README.md").read_text()
    headings = [line for line in card.splitlines() if line.startswith("#")]
    assert headings == ["# Tiny", "## What", "## Data", "## Figures", "## Use"]
    assert "| **this model**, accuracy | 0.5000 |" in card
    assert "| tf-idf, accuracy | 0.4500 |" in card
    assert "| `model.tflite` | 12,345 | 0.5 |  |" in card
    leave(run)


def test_plot_history(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    (tmp_path / "history.csv").write_text(
        "epoch,accuracy,loss,val_accuracy,val_loss\n0,0.6,0.7,NA,NA\n1,0.8,0.4,0.7,0.5\n"
    )
    common.plot_history(tmp_path / "history.csv", tmp_path / "history.png")
    pixels = image.imread(tmp_path / "history.png")
    assert pixels.shape[:2] == (420, 1080)
    assert pixels.std() > 0.05  # something is drawn


@pytest.mark.parametrize(("mixed_precision", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_set_up_keras(mixed_precision, dtype, monkeypatch):
    import keras

    before = keras.config.dtype_policy()
    monkeypatch.setattr(common, "_accelerators", list)
    drawn = []
    for _ in range(2):
        common.set_up_keras(3, mixed_precision=mixed_precision)
        layer = keras.layers.Dense(2)
        layer.build((None, 3))
        drawn.append(np.array(layer.kernel))
    keras.config.set_dtype_policy(before)
    assert layer.compute_dtype == dtype
    assert layer.variable_dtype == "float32"
    np.testing.assert_array_equal(*drawn)


if __name__ == "__main__":
    if sys.argv[1] == "sweep":
        sweep(sys.argv[2])
    else:
        sys.exit(command_line(__doc__, train=(Config, train)))
