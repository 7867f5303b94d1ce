"""Training that resumes; with runs that are really killed."""

import importlib.util
import signal
import types

import numpy as np
import pytest

from recipes.kit import fitting, records
from recipes.kit.errors import UserError
from tests.recipes.kit import tiny_recipe
from tests.recipes.kit.tiny_recipe import Config, child, files, train


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    output = tmp_path_factory.mktemp("uninterrupted") / "run"
    train(Config(output=str(output)))
    return output


@pytest.mark.slow
def test_a_run_is_one_folder_without_training_state(uninterrupted):
    assert files(uninterrupted) == ["history.csv", "metrics.json", "model.weights.h5"]
    assert files(uninterrupted.parent) == ["run"]


@pytest.mark.slow
def test_killed_in_an_epoch_the_same_command_ends_the_same(uninterrupted, tmp_path, capfd):
    rows = records.read_history(uninterrupted / "history.csv")
    losses = [row["val_loss"] for row in rows]
    assert len(losses) == np.argmin(losses) + 3 < 30, "this test needs a run that stops early"
    # In the last epoch: the best weights and one of two epochs of patience are behind us.
    last = len(rows) - 1
    output = tmp_path / "run"
    killed = child("train", "--output", output, TINY_KILL=f"{last}:2")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert files(tmp_path) == [".run.partial"]

    train(Config(output=str(output)))
    assert f"Resuming after epoch {last}" in capfd.readouterr().out
    assert files(tmp_path) == ["run"]
    resumed = records.read_history(output / "history.csv")
    assert [row["epoch"] for row in resumed] == list(range(len(rows)))
    for row, expected in zip(resumed, rows, strict=True):
        assert row == pytest.approx(expected, rel=1e-4)
    assert_same_weights(output, uninterrupted)


@pytest.mark.slow
def test_stopped_after_training_only_the_rest_is_done(uninterrupted, tmp_path, capsys, monkeypatch):
    output = tmp_path / "run"

    def interrupt(run):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tiny_recipe, "write_metrics", interrupt)
        train(Config(output=str(output)))

    def fit(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr("keras.Model.fit", fit)
    train(Config(output=str(output)))
    assert "Resuming after the end of training" in capsys.readouterr().out
    assert_same_weights(output, uninterrupted)


def assert_same_weights(folder, expected_folder):
    h5py = pytest.importorskip("h5py")
    found = []
    for path in (folder, expected_folder):
        with h5py.File(path / "model.weights.h5") as file:
            weights = []
            file.visititems(
                lambda name, item, weights=weights: (
                    weights.append((name, item[()])) if isinstance(item, h5py.Dataset) else None
                )
            )
            found.append(dict(weights))
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        np.testing.assert_allclose(value, found[1][name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_tensorboard(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    config = Config(output=str(tmp_path / "run"), epochs=1)
    train(config, tensorboard=tmp_path / "logs")
    assert list((tmp_path / "logs").rglob("events*"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="--tensorboard needs the package tensorboard"):
        train(config, tensorboard=tmp_path / "logs")


@pytest.mark.parametrize(("mixed_precision", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_set_up_keras(mixed_precision, dtype):
    import keras

    before = keras.config.dtype_policy()
    drawn = []
    for _ in range(2):
        fitting.set_up_keras(3, mixed_precision=mixed_precision)
        layer = keras.layers.Dense(2)
        layer.build((None, 3))
        drawn.append(np.array(layer.kernel))
    keras.config.set_dtype_policy(before)
    assert layer.compute_dtype == dtype
    assert layer.variable_dtype == "float32"
    np.testing.assert_array_equal(*drawn)


def test_by_time_the_step_size_rises_and_falls_and_training_ends(monkeypatch):
    clock = types.SimpleNamespace(monotonic=lambda: clock.now, now=1000.0)
    monkeypatch.setattr(fitting, "time", clock)
    callback = fitting.warmup_cosine_by_time(0.1, minutes=2.0, warmup=0.25, spent=0.25)
    model = types.SimpleNamespace(optimizer=types.SimpleNamespace(), stop_training=False)
    callback.set_model(model)
    callback.on_train_begin()
    rates = {}
    for second in (0, 7.5, 15, 60, 105):
        clock.now = 1000.0 + second
        assert not model.stop_training
        callback.on_train_batch_begin(0)
        rates[second] = model.optimizer.learning_rate
        callback.on_train_batch_end(0)
    assert model.stop_training
    expected = {0: 0.05, 7.5: 0.075, 15: 0.1, 60: 0.05, 105: 0.0}
    assert rates == pytest.approx(expected, abs=1e-9)


def test_a_step_is_traced_once_and_nothing_is_counted_before():
    """TensorFlow traces a step again where the first time made variables, as of a metric."""
    import keras

    class Data(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            x = np.random.default_rng(index).random((4, 2), "float32")
            return x, {"sum": x.sum(1), "first": x[:, 0]}

    class Counting(keras.Model):
        traced = 0

        def train_step(self, data):
            self.traced += 1
            return super().train_step(data)

    def compiled():
        keras.utils.set_random_seed(0)
        x = keras.Input((2,))
        y = keras.layers.Dropout(0.5, seed=0)(keras.layers.BatchNormalization()(x))
        outputs = {name: keras.layers.Dense(1, name=name)(y) for name in ("sum", "first")}
        model = Counting(x, outputs)
        model.compile("adam", {"sum": "mse", "first": "mae"}, metrics={"sum": ["mae"]})
        return model

    plain, built = compiled(), compiled()
    before = [np.array(weight) for weight in built.weights]
    fitting.build(built, Data())
    for weight, old in zip(built.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)
    histories = [model.fit(Data(), verbose=0, shuffle=False).history for model in (plain, built)]
    assert (plain.traced, built.traced) == (2, 1)
    assert set(histories[0]) == set(histories[1])
    for name, values in histories[0].items():
        assert values == pytest.approx(histories[1][name], rel=1e-5)
