"""Two small recipes, one that trains and one of files alone, and how tests run them.

`python -m tests.recipes.kit.tiny_recipe train|sweep ...` runs them as child processes that the
tests can kill.
"""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from recipes.kit import fitting, records, run_folder
from recipes.kit.flags import command_line, option
from recipes.kit.run_folder import RunFolder

ROOT = Path(__file__).parents[3]


def child(*arguments, **environment):
    """Runs this file as a program and returns the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "tests.recipes.kit.tiny_recipe", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@dataclasses.dataclass(frozen=True)
class Config:
    output: str = option("saved_models/tiny", "folder to write")
    epochs: int = option(30, "passes over the training data", low=1)
    seed: int = option(0, "seed")


def train(config, tensorboard=None):
    """Train on noise, which is soon learned by heart: stops early."""
    import keras

    with RunFolder(config.output, recipe="tiny") as run:
        run.start(config, data="noise")
        fitting.set_up_keras(config.seed)
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(96, 8)), rng.integers(0, 2, size=96)
        model = keras.Sequential(
            [
                keras.layers.Input((8,)),
                keras.layers.Dense(32, activation="relu"),
                keras.layers.Dropout(0.2),  # its random state must be resumed too
                keras.layers.Dense(2, activation="softmax"),
            ]
        )
        optimizer = keras.optimizers.Adam(0.02, use_ema=True, ema_momentum=0.9)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        callbacks = fitting.training_callbacks(
            run,
            monitor="val_loss",
            mode="min",
            patience=2,
            use_average=True,  # it must be resumed too
            tensorboard=tensorboard,
        )
        if not run.is_trained:
            model.fit(
                _batches(x[:64], y[:64]),
                validation_data=(x[64:], y[64:]),
                epochs=config.epochs,
                callbacks=[*callbacks, killer(run)],
                verbose=0,
            )
        fitting.load_best_weights(model, run)
        model.save_weights(run.path / "model.weights.h5")
        loss = model.evaluate(x[64:], y[64:], verbose=0)[0]
        best = min(row["val_loss"] for row in records.read_history(run.history))
        assert np.isclose(loss, best, rtol=1e-5), (loss, best)
        write_metrics(run)
        run.finish()


def _batches(x, y):
    """Batches of 16, whose order Keras shuffles, as those of the recipes."""
    import keras

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return len(x) // 16

        def __getitem__(self, index):
            rows = slice(16 * index, 16 * index + 16)
            return x[rows], y[rows]

    return Batches()


def killer(run):
    """A callback that kills this process where the environment says, e.g. `TINY_KILL=4:2`."""
    import keras

    def on_train_batch_end(batch, logs):
        if os.environ.get("TINY_KILL") == f"{run.epochs_done}:{batch}":
            # As if the kill had come while each of the files was being written.
            for path in [run.history, run.best_weights, *run.backup.iterdir()]:
                os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    return keras.callbacks.LambdaCallback(on_train_batch_end=on_train_batch_end)


def write_metrics(run, **changes):
    given = {
        "recipe": run.recipe,
        "data": "noise",
        "seed": 0,
        "scores": {"accuracy": 0.5},
        "baselines": {"tf-idf": 0.45},
        "minutes": run.minutes,
        "epochs": run.epochs_done,
        "parameters": 10,
    }
    return records.write_metrics(run.path, **given | changes)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def fake_recipe(output, text="new", epochs=2):
    """Goes through everything that a recipe does to the disk, in milliseconds."""
    with RunFolder(output, recipe="fake") as run:
        run.start(Config(output=str(output), epochs=epochs), data=text)
        for epoch in range(run.epochs_done, epochs):
            with run.history.open("a") as file:
                file.write(f"{epoch}\n")
            run.commit(epochs_done=epoch + 1, is_trained=epoch + 1 == epochs)
        (run.path / "model.txt").write_text(text)
        write_metrics(run)
        run.finish()


def sweep(folder):
    """Kills the fake recipe at its first, second, third ... operation on a file, until it ends."""
    sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
    operations = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}
    for kill_at in range(1000):
        output = Path(folder) / str(kill_at) / "run"
        fake_recipe(output, text="old")
        pid = os.fork()
        if pid == 0:
            left = kill_at

            def hook(event, arguments):
                nonlocal left
                if event in operations:
                    left -= 1
                    if left < 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            fake_recipe(output)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if output.exists():  # at no moment half of a folder
            check_complete(output, {"old", "new"})
        run_folder.find_run(output, recipe="fake", files=["model.txt"])
        check_complete(output, {"old", "new"})
        fake_recipe(output)  # the same command
        check_complete(output, {"new"})
        if files(output.parent) != ["run"]:
            raise RuntimeError(f"left behind: {files(output.parent)}")
        if status == 0:
            print(kill_at, file=sys.stderr)
            return
        if os.WTERMSIG(status) != signal.SIGKILL:
            raise RuntimeError(f"the child ended with {status}")


def check_complete(output, texts):
    found = (output / "model.txt").read_text()
    history = (output / "history.csv").read_text()
    if found not in texts or history != "0\n1\n" or not (output / run_folder.METRICS).exists():
        raise RuntimeError(f"{output}: {found}, {history!r}, {files(output)}")


def start(output, epochs=2, data="new"):
    run = RunFolder(output, recipe="fake").__enter__()
    run.start(Config(output=str(output), epochs=epochs), data=data)
    return run


def leave(run, error=None):
    run.__exit__(type(error), error, None)


@dataclasses.dataclass(frozen=True)
class Nothing:
    pass


def run_command(function, *args):
    def run(config):
        """Run."""
        function(*args)

    return command_line("A recipe.", ["run"], run=(Nothing, run))


if __name__ == "__main__":
    if sys.argv[1] == "sweep":
        sweep(sys.argv[2])
    else:
        sys.exit(command_line(__doc__, train=(Config, train)))
