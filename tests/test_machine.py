"""What is told of the machine and of the libraries."""

import keras

from keras_attention.machine import machine, versions


def test_machine():
    described = machine()
    assert list(described) == ["cpu", "cores", "memory_gb", "accelerators", "system"]
    assert described["cpu"]
    assert described["cores"] >= 1
    assert described["memory_gb"] is None or described["memory_gb"] > 0.1


def test_versions():
    found = versions("pytest", "a-package-that-nobody-has")
    assert found["keras"] == keras.__version__
    assert {"python", "numpy", "pytest"} <= set(found)
    assert "a-package-that-nobody-has" not in found


def test_our_distribution_has_its_own_name(monkeypatch):
    asked = []
    monkeypatch.setattr("importlib.metadata.version", lambda name: asked.append(name) or "1")
    assert versions()["keras-attention-layers"] == "1"
    assert "keras_attention" not in asked
