"""`keras-attention export`."""

import json

import numpy as np
import pytest

from tests.backend import BACKEND, needs_tensorflow


@needs_tensorflow
def test_writes_the_forms_and_their_figures(call, tmp_path):
    code, shown, error = call(
        "export", "model.keras", "--samples", "ids.npy", "--output", tmp_path / "out",
        "--forms", "saved_model", "tflite",
    )  # fmt: skip
    assert code == 0 and error == ""
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines()}
    report = json.loads((tmp_path / "out" / "parity.json").read_text())["forms"]
    assert rows["form"] == ["file", "bytes", "difference", "agreement", "ms"]
    assert set(rows) == {"form", "Wrote", "saved_model", "tflite"}
    for form, entry in report.items():
        file, size, difference, agreement, _ = rows[form]
        assert (file, size) == (entry["file"], f"{entry['bytes']:,}")
        assert float(difference) < 1e-5 and float(agreement) == 1
        assert (tmp_path / "out" / file).exists()


@needs_tensorflow
def test_rejects_a_file_as_the_folder(refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    error = refused("export", "model.keras", "--samples", "ids.npy", "--output", tmp_path / "file")
    assert "must be the path of a folder" in error
    assert (tmp_path / "file").read_text() == "mine"


def test_rejects_an_unknown_form(refused):
    error = refused(
        "export", "model.keras", "--samples", "ids.npy", "--output", "out", "--forms", "onnx"
    )
    assert "invalid choice: 'onnx'" in error


@pytest.mark.skipif(BACKEND == "tensorflow", reason="exports")
def test_another_backend_is_told(refused, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((2, 3), "int32"))
    out = tmp_path / "out"
    error = refused("export", "model.keras", "--samples", tmp_path / "x.npy", "--output", out)
    assert f"needs the TensorFlow backend, and this is {BACKEND}" in error
    assert not out.exists()
