"""A trained run that several tests look at."""

import pytest

from tests.backend import BACKEND

collect_ignore_glob = [] if BACKEND == "tensorflow" else ["test_*.py"]


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory):
    """Folder of a finished run of the sentiment recipe on toy data, as `make demo` makes it."""
    from recipes import sentiment_analysis as recipe

    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    recipe.train(recipe.Config(data="toy", output=output, parity_texts=100, full_int8=True))
    return output
