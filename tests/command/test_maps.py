"""`keras-attention maps`."""

import keras
import numpy as np
import pytest

from tests.backend import BACKEND

SAMPLES = "model.keras", "--samples", "ids.npy"


def test_writes_the_weights_of_every_layer(call, tmp_path):
    code, shown, error = call("maps", *SAMPLES, "--output", tmp_path / "maps.npz")
    assert code == 0 and error == ""
    assert "mix  (40, 2, 12, 12)\npool  (40, 12)\n" in shown
    maps, ids = np.load(tmp_path / "maps.npz"), np.load("ids.npy")
    assert set(maps) == {"mix", "pool"}
    assert (ids[:30][np.arange(30), maps["pool"][:30].argmax(-1)] == 7).all()
    assert (maps["pool"][:, 9:] == 0).all()


@pytest.mark.parametrize("layer", ["pool", "mix"])
def test_draws_a_row_of_one_layer(call, tmp_path, layer):
    out = tmp_path / "maps.npz", tmp_path / "one.png"
    code, _, _ = call("maps", *SAMPLES, "--output", out[0], "--layer", layer, "--png", out[1])
    assert code == 0
    assert set(np.load(out[0])) == {layer}
    assert out[1].read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer", "pol"], "Expected as --layer one of ['mix', 'pool']. Received: 'pol'"),
        (["--png", "{}/x.png"], "choose it with --layer, one of ['mix', 'pool']"),
        (["--png", "{}/x.png", "--layer", "pool", "--row", "40"], "--row must be from 0 to 39"),
        (["--png", "{}/x.docx", "--layer", "pool"], "Cannot write --png"),
        (["--png", "{}/no/x.png", "--layer", "pool"], "in a folder that exists"),
        (["--output", "{}/maps.npy"], "Expected as --output a file NAME.npz"),
        (["--output", "{}/no/maps.npz"], "in a folder that exists"),
    ],
)
def test_rejects_and_writes_nothing(refused, tmp_path, arguments, message):
    arguments = [argument.format(tmp_path) for argument in arguments]
    error = refused("maps", *SAMPLES, "--output", tmp_path / "maps.npz", *arguments)
    assert message in error
    assert not list(tmp_path.iterdir())


def test_rejects_a_model_without_attention(refused, tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "x.keras")
    np.save(tmp_path / "x.npy", np.ones((2, 3)))
    error = refused(
        "maps", tmp_path / "x.keras", "--samples", tmp_path / "x.npy", "--output", "maps.npz"
    )
    assert "has no attention layer" in error


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX reads beyond a table without an error")
def test_an_id_outside_the_vocabulary_is_told(refused, tmp_path):
    np.save(tmp_path / "x.npy", np.full((1, 3), 50))
    error = refused(
        "maps", "model.keras", "--samples", tmp_path / "x.npy", "--output", tmp_path / "x.npz"
    )
    assert "indices[0,0] = 50 is not in [0, 10)" in error
    assert not (tmp_path / "x.npz").exists()


def test_rejects_more_steps_than_a_picture_shows(refused, tmp_path):
    np.save(tmp_path / "long.npy", np.ones((1, 65), "int32"))
    arguments = "--layer", "mix", "--png", tmp_path / "x.png", "--output", tmp_path / "x.npz"
    error = refused("maps", "model.keras", "--samples", tmp_path / "long.npy", *arguments)
    assert "64 steps at most" in error
