"""What every test and docstring example stands on."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is first imported

import keras
import pytest

import keras_attention as ka

gc.freeze()  # what the imports made; TensorFlow's converter walks all else again at each file


@pytest.fixture(autouse=True)
def _names(doctest_namespace):
    """Names that docstring examples use without importing them."""
    doctest_namespace.update(ka=ka, keras=keras)
