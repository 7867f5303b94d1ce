"""The run folder, also where it is killed at any operation, or the disk is full."""

import errno
import json
import os
import subprocess
import sys

import keras
import pytest

import keras_attention as ka
from recipes.kit import run_folder
from recipes.kit.errors import UserError
from recipes.kit.run_folder import RunFolder
from tests.recipes.kit.tiny_recipe import (
    Config,
    check_complete,
    child,
    fake_recipe,
    files,
    leave,
    run_command,
    start,
    write_metrics,
)


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
    monkeypatch.setattr("keras_attention.machine.versions", lambda: {"keras": "4.0"})
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


@pytest.mark.skipif(run_folder.fcntl is None, reason="needs fcntl")
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
    assert run_folder.find_run(output, recipe="fake", files=["model.txt"])["recipe"] == "fake"


def test_find_run_repairs_a_swap_that_was_cut_short(output):
    fake_recipe(output)
    output.rename(output.with_name(".run.previous"))
    assert run_folder.find_run(output, recipe="fake")["recipe"] == "fake"
    assert files(output.parent) == ["run"]


def test_find_run_rejects_what_is_no_model(output):
    def message(**expected):
        with pytest.raises(UserError) as caught:
            run_folder.find_run(output, **{"recipe": "fake"} | expected)
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

    monkeypatch.setattr(function, fail)
    assert run_command(fake_recipe, output) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Error: the disk is full.")
    monkeypatch.undo()
    check_complete(output, {"old"})
    fake_recipe(output)
    check_complete(output, {"new"})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_killed_at_any_operation_nothing_is_half_and_the_same_command_completes(tmp_path):
    process = child("sweep", tmp_path)
    assert process.returncode == 0, process.stderr
    assert int(process.stderr.splitlines()[-1]) > 50  # operations survived


def test_a_model_is_loaded_by_a_program_that_has_loaded_nothing(tmp_path):
    inputs = keras.Input((None, 4))
    keras.Model(inputs, ka.AttentionPooling()(inputs)).save(tmp_path / "model.keras")
    code = (
        "import pathlib, sys; from recipes.kit import run_folder; "
        "print(run_folder.load_model(pathlib.Path(sys.argv[1])).layers[-1].name)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("attention_pooling")
