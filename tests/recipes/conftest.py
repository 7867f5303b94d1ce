"""A trained run that several tests look at, a place for one, and a way to run without compiling."""

import fcntl
import os

import pytest

from tests.backend import BACKEND

collect_ignore_glob = [] if BACKEND == "tensorflow" else ["test_*.py"]


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory):
    """Folder of a finished run of the sentiment recipe on toy data, much as of `make demo`."""
    from recipes import sentiment_analysis as recipe

    # One for all of pytest's processes: who comes first trains, the others wait.
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    output = shared / "saved_models" / recipe.NAME
    with (shared / "toy_run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not output.exists():
            config = recipe.Config(
                data="toy", output=output, epochs=5, parity_texts=50, explained=40, full_int8=True
            )
            recipe.train(config)
    return output


@pytest.fixture
def output(tmp_path):
    """Where a run may go: a folder in one that is not there yet."""
    return tmp_path / "models" / "run"


@pytest.fixture
def eagerly():
    """Nothing is compiled: quicker for more models than steps that each takes."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
