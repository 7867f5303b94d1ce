"""Names that every docstring example may use."""

import keras
import pytest

import keras_attention as ka


@pytest.fixture(autouse=True)
def _names(doctest_namespace):
    doctest_namespace.update(ka=ka, keras=keras)
