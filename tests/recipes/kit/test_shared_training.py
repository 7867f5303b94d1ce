"""Recipes trained by two real processes, one of which is killed, against one process."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipes.kit import processes, records
from tests.recipes.kit import shared_training

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
LIMIT = 240  # seconds; a busy machine takes ten times what a free one does
# Without dropout, of which each process draws its own.
RECOMMENDATION = """recommendation train --limit 80 --epochs 6 --size 8 --heads 1 --blocks 1
    --parity-users 2 --dropout 0 --batch-size 400 --patience 9""".split()
TRANSLATION = """translation train --limit 60 --epochs 1 --architecture transformer --layers 1
    --units 16 --feedforward 16 --max-pieces 12 --dropout 0 --batch-size 15""".split()


@contextlib.contextmanager
def started(*arguments, **environment):
    """A process of `shared_training`, which is gone after the block, with all that it started."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.recipes.kit.shared_training", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for pid in (*children(process.pid), process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def children(pid):
    """The numbers of the processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # of a process that has ended meanwhile
            _, parent = stat.read_text().rpartition(")")[2].split()[:2]  # after its name
            if int(parent) == pid:
                found.append(int(stat.parent.name))
    return found


def histories_agree(folder, expected_folder):
    history, expected = (
        records.read_history(path / "history.csv") for path in (folder, expected_folder)
    )
    assert len(history) == len(expected) > 0
    for row, other in zip(history, expected, strict=True):
        assert row == pytest.approx(other, rel=1e-3, abs=1e-4)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc lists what was started")
def test_killed_and_resumed_two_processes_give_the_figures_of_one(tmp_path, capfd):
    together, alone = tmp_path / "together", tmp_path / "alone"
    command = [*RECOMMENDATION, "--processes", 2, "--output", together]
    with started(*command) as process:
        until = time.monotonic() + LIMIT
        training = tmp_path / ".together.partial" / "training"
        while not list(training.glob("epoch-*")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.05)
        (other,) = children(process.pid)
        os.kill(other, signal.SIGKILL)
        out, errors = process.communicate(timeout=120)
    assert process.returncode == 2, errors
    (line,) = errors.splitlines()
    assert line.startswith("Error: Process 1 of 2 was killed by signal 9."), line
    assert line.endswith("The same command goes on after the last whole epoch"), line
    assert [path.name for path in tmp_path.iterdir()] == [".together.partial"]

    with started(*command) as process:
        out, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, errors
    assert "Resuming after epoch" in out and "Wrote" in out
    assert [path.name for path in tmp_path.iterdir()] == ["together"]

    assert shared_training.main(*RECOMMENDATION, "--output", alone) == 0
    histories_agree(together, alone)
    metrics, expected = (
        json.loads((folder / "metrics.json").read_text()) for folder in (together, alone)
    )
    assert metrics["scores"] == pytest.approx(expected["scores"], abs=0.02)
    assert metrics["parameters"] == expected["parameters"]
    assert metrics["details"]["processes"] == 2 and "processes" not in expected["details"]


def test_two_processes_of_a_cluster_give_the_figures_of_one(tmp_path, monkeypatch):
    addresses = processes._free_addresses(2)
    with contextlib.ExitStack() as stack:
        pair = []
        for rank in range(2):
            task = {"type": "worker", "index": rank}
            config = {"cluster": {"worker": addresses}, "task": task}
            output = ["--output", tmp_path / str(rank)]  # as on machines that share no disk
            pair.append(
                stack.enter_context(
                    started(*TRANSLATION, *output, TF_CONFIG=json.dumps(config), ONLY_TRAIN="1")
                )
            )
        outputs = [process.communicate(timeout=LIMIT) for process in pair]
    assert [process.returncode for process in pair] == [130, 0], outputs
    assert outputs[1][1] == "", "the other one has nothing to complain of"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".0.partial"]

    monkeypatch.setenv("ONLY_TRAIN", "1")
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert shared_training.main(*TRANSLATION, "--output", tmp_path / "alone") == 130
    live = Path("training") / "live"
    histories_agree(tmp_path / ".0.partial" / live, tmp_path / ".alone.partial" / live)
