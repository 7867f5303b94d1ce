"""Training that survives a kill: set-up, callbacks and the best weights."""

import importlib.metadata
import importlib.util
import math
import random
import time

import numpy as np

from recipes.kit import processes
from recipes.kit.errors import UserError
from recipes.kit.records import read_history


def set_up_keras(seed, *, mixed_precision=False):
    """Seeds Python, NumPy and the backend, and sets the precision of layers built from now on.

    Args:
        seed: Integer.
        mixed_precision: Boolean, whether layers compute in 16 bits: bfloat16, as Keras' loss
            scaling for float16 may let weights of an embedding become NaN (docs/performance.md,
            "Half precision"). Weights and losses stay float32.
    """
    import keras

    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy("mixed_bfloat16" if mixed_precision else "float32")


def training_callbacks(run, *, monitor, mode, patience, use_average=False, tensorboard=None):
    """Returns the callbacks of a training that stops early and survives a kill.

    `load_best_weights` takes the model back to its best epoch afterwards; the curves are at
    `run.history`. A training killed in the middle of an epoch goes on at the end of the epoch
    before, with the weights, the optimizer, the dropout, the best epoch so far and the patience
    left that it had there, and with the order of batches that Keras would have drawn. (What a data
    set draws itself is its own matter: `run.epochs_done` says where to go on.)

    Args:
        run: A started `RunFolder`.
        monitor: String, the logged quantity that decides which epoch is best.
        mode: `"min"` or `"max"`, whether less or more of it is better.
        patience: Integer, epochs without a better value before training stops.
        use_average: Whether to validate and keep the moving average of the weights (of an
            optimizer with `use_ema=True`) instead of the weights.
        tensorboard: Path of a folder for TensorBoard's logs, or None for no logs.
    """
    import keras

    rows = read_history(run.history)
    seen = [row[monitor] for row in rows]
    better = {"min": min, "max": max}[mode]
    early_stopping = keras.callbacks.EarlyStopping(monitor, mode=mode, patience=patience)

    # BackupAndRestore keeps weights and optimizer. The history tells early stopping the rest of its
    # state; what random layers will draw next is kept here.

    def resume(logs):
        for row in rows:
            early_stopping.on_epoch_end(int(row["epoch"]), row)
        if run.random_states.exists():
            with np.load(run.random_states) as states:
                order, *states = states.values()
            version, _, gauss = random.getstate()
            random.setstate((version, tuple(order.tolist()), gauss))
            for variable, state in zip(random_states(early_stopping.model), states, strict=True):
                variable.assign(state)

    def commit(epoch, logs):
        model, epochs = early_stopping.model, early_stopping.params["epochs"]
        # Keras shuffles batches by Python's generator.
        order = np.array(random.getstate()[1])
        np.savez(run.random_states, order, *map(np.array, random_states(model)))
        run.commit(
            epochs_done=epoch + 1, is_trained=epoch + 1 == epochs or bool(model.stop_training)
        )

    checkpoint = keras.callbacks.ModelCheckpoint(
        run.best_weights,
        monitor=monitor,
        mode=mode,
        save_best_only=True,
        save_weights_only=True,
        initial_value_threshold=better(seen) if seen else None,
    )
    callbacks = [
        keras.callbacks.CSVLogger(run.history, append=True),
        *(with_averaged_weights(checkpoint) if use_average else [checkpoint]),
        early_stopping,
        # Kept after training: the exports that follow may be killed as well.
        keras.callbacks.BackupAndRestore(run.backup, delete_checkpoint=False),
    ]
    if tensorboard is not None:
        if importlib.util.find_spec("tensorboard") is None:
            raise UserError("--tensorboard needs the package tensorboard. Received: none installed")
        callbacks.append(keras.callbacks.TensorBoard(tensorboard))
    # Last, when the others have written.
    callbacks.append(keras.callbacks.LambdaCallback(on_train_begin=resume, on_epoch_end=commit))
    return callbacks


def momentum(averaging, batches):
    """The EMA momentum for a training: where an epoch has few steps it spans half an epoch at most.

    >>> momentum(0.99, range(1000)), momentum(0.99, range(50))
    (0.99, 0.96)
    """
    return min(averaging, max(0.0, 1 - 2 / max(1, len(batches))))


def warmup_cosine(learning_rate, steps, warmup=0.05):
    """A schedule that rises to a learning rate in a share of all steps, then falls to nothing."""
    import keras

    rising = max(1, round(warmup * steps))
    return keras.optimizers.schedules.CosineDecay(
        learning_rate / rising,
        max(1, steps - rising),
        warmup_target=learning_rate,
        warmup_steps=rising,
    )


def warmup_cosine_by_time(learning_rate, minutes, warmup=0.05, spent=0.0):
    """A callback that ends training after some minutes, with the step sizes of `warmup_cosine`.

    So models that take a step in unequal time can be compared at equal time.

    Args:
        learning_rate: Number, the largest step size.
        minutes: Number, from the start of the training, with its validations.
        warmup: Number in `[0, 1)`, the share of the time in which the step size rises.
        spent: Number, minutes of it that earlier sessions took.

    Raises:
        UserError: If several processes train together: their clocks differ.
    """
    import keras

    processes.need_one("A training by time (--minutes)")

    class ByTime(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self._start = time.monotonic() - 60 * spent

        def on_train_batch_begin(self, batch, logs=None):
            self.model.optimizer.learning_rate = learning_rate * self._share_of_rate()

        def on_train_batch_end(self, batch, logs=None):
            if self._share_of_time() >= 1.0:
                self.model.stop_training = True

        def _share_of_time(self):
            return (time.monotonic() - self._start) / (60 * minutes)

        def _share_of_rate(self):
            share = min(1.0, self._share_of_time())
            if share < warmup:
                return share / warmup
            return 0.5 + 0.5 * math.cos(math.pi * (share - warmup) / (1.0 - warmup))

    return ByTime()


def baseline_callbacks(monitor, mode, patience):
    """Callbacks for a model to compare with, trained alike but not kept.

    As `training_callbacks` with `use_average`: the moving average of the weights is validated, and
    the best one is what the model has in the end.
    """
    import keras

    return with_averaged_weights(
        keras.callbacks.EarlyStopping(
            monitor, mode=mode, patience=patience, restore_best_weights=True
        )
    )


def with_averaged_weights(callback):
    """Callbacks that validate the moving average of the weights, and show it to `callback`.

    The average is that of the model's optimizer, made with `use_ema=True`. `callback` finds it in
    the model at the end of an epoch; the steps after go on from the weights themselves.
    """
    import keras

    swap = keras.callbacks.SwapEMAWeights()  # for the time of a validation
    return [
        swap,
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: swap.on_test_begin()),
        callback,
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: swap.on_test_end()),
    ]


def build(model, batches):
    """Makes what a compiled model's optimizer, loss and metrics remember.

    `fit` would make it within the first step, and TensorFlow then traces that step twice: some
    40 % of the time of a short training.

    Args:
        model: A compiled Keras model.
        batches: `keras.utils.PyDataset` that it will be trained on.
    """
    import keras

    model.optimizer.build(model.trainable_variables)
    batch = keras.tree.map_structure(keras.ops.convert_to_tensor, batches[0])
    inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
    with keras.StatelessScope():  # nothing is counted, or drawn
        outputs = model(inputs, training=False)
        model.compute_loss(inputs, targets, outputs, weights, training=False)
        model.compute_metrics(inputs, targets, outputs, weights)


def load_best_weights(model, run):
    """Gives a compiled model the weights it had after the best epoch of the run."""
    if not model.optimizer.built:  # training was over when this session began
        model.optimizer.build(model.trainable_variables)  # else Keras warns of its missing state
    model.load_weights(run.best_weights)


def random_states(model):
    """The variables of a model that are neither weights nor metrics: its seed generators'."""
    others = {id(variable) for variable in [*model.weights, *model.metrics_variables]}
    return [variable for variable in model.variables if id(variable) not in others]
