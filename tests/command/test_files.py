"""What the commands read and write."""

import zipfile

import keras
import numpy as np
import pytest

from keras_attention_command import files
from keras_attention_command.errors import UserError

MODULE = """
import keras

@keras.saving.register_keras_serializable(package="mine")
class Half(keras.layers.Layer):
    def call(self, inputs):
        return inputs / 2
"""


def test_a_class_of_the_users_own_is_imported(tmp_path, call, refused, monkeypatch):
    names = {"__name__": "half_of_it"}
    exec(MODULE, names)
    model = keras.Sequential([keras.Input((3,)), names["Half"]()])
    model.save(tmp_path / "half.keras")
    keras.saving.get_custom_objects().pop("mine>Half")
    call("--help")  # which changes the working folder
    monkeypatch.chdir(tmp_path)
    error = refused("info", "half.keras")
    assert "'Half' is registered" in error and error.endswith("--import half_of_it\n")
    assert "Cannot --import half_of_it" in refused("info", "half.keras", "--import", "half_of_it")
    (tmp_path / "half_of_it.py").write_text(MODULE)
    code, shown, _ = call("info", "half.keras", "--import", "half_of_it")
    assert code == 0 and "attention layers: 0" in shown


def test_rejects_what_is_no_model(refused, tmp_path):
    assert "There is none: nothing.keras" in refused("info", "nothing.keras")
    assert "a damaged one: ids.npy" in refused("info", "ids.npy")
    text = tmp_path / "text.keras"
    text.write_text("no zip")
    assert "a damaged one" in refused("info", text)
    with zipfile.ZipFile(tmp_path / "zip.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    assert "Cannot load" in refused("info", tmp_path / "zip.keras")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing.npy", None, "There is none: .*nothing.npy"),
        ("text.npy", b"1, 2, 3", "Cannot read .*text.npy"),
        ("empty.npy", b"", "Cannot read .*empty.npy"),
        ("broken.npz", b"PK\x03\x04", "Cannot read .*broken.npz"),
        ("objects.npy", np.array([[1, "a"]], object), "Cannot read .*objects.npy"),
        ("flat.npy", np.ones(3, "int32"), r"must have the shape \(None, None\). Received: \(3,\)"),
        ("floats.npy", np.ones((2, 3)), "must be int32. Received: float64"),
        ("none.npy", np.ones((0, 3), "int32"), "is empty"),
        ("names.npz", {"idz": np.ones((2, 3), "int32")}, r"Expected the inputs \['ids'\].*'idz'"),
    ],
)
def test_rejects_wrong_samples(folder, tmp_path, name, content, message):
    model, path = files.load_model(folder / "model.keras"), tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(UserError, match=message):
        files.read_samples(path, model)


def test_inputs_are_found_by_their_names(tmp_path):
    one, two = (keras.Input((size,), name=name) for size, name in ((2, "one"), (3, "two")))
    model = keras.Model([two, one], keras.layers.Concatenate()([one, two]))
    np.savez(tmp_path / "x.npz", two=np.full((40, 3), 2.0), one=np.ones((40, 2)))
    batches = files.read_samples(tmp_path / "x.npz", model)
    assert [len(batch["one"]) for batch in batches] == [32, 8]
    joined = files.joined(batches)
    assert joined["one"].shape == (40, 2) and (joined["two"] == 2).all()
    np.save(tmp_path / "x.npy", np.ones((40, 2)))
    with pytest.raises(UserError, match=r"a .npz file with the inputs \['two', 'one'\]"):
        files.read_samples(tmp_path / "x.npy", model)


def test_a_model_without_known_inputs_is_told(tmp_path):
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    np.save(tmp_path / "x.npy", np.ones((2, 3)))
    with pytest.raises(UserError, match="is a subclassed one"):
        files.read_samples(tmp_path / "x.npy", Own(name="own"))


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), files.written(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    with files.written(path) as partial:
        partial.write_text("whole")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="in a folder that exists"):
        files.check_can_write(tmp_path / "no" / "x.npz")
    with pytest.raises(UserError, match="in a folder that exists"):
        files.check_can_write(tmp_path)
