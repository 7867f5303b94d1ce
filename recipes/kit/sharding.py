"""A training in several processes: each computes its part of every batch.

The loss is that of the whole batch, whatever it is a mean of, and so are its gradient and the
metrics: a training gives the figures that one process gives, to rounding, without dropout. (With
it, each process draws its own.)
"""

import random

import keras
import numpy as np
import tensorflow as tf

import keras_attention as ka
from recipes.kit import fitting

_FAR = 1_000_003  # from the seed of one process to that of the next


def share(model, batches, group):
    """Makes a compiled model train with a group: its part of the batches, and the last callback.

    Args:
        model: A compiled Keras model.
        batches: `keras.utils.PyDataset`.
        group: `processes.Group`.
    """
    model.train_step = train_step(model, group)
    model.jit_compile = False  # XLA has no collective operations between processes
    return Part(batches, group), Alike(group)


class Part(keras.utils.PyDataset):
    """The part that a process has of another data set's batches.

    Each batch is `(inputs, targets, weights)`: the inputs of some rows, of one at least, and the
    targets and weights of the whole batch.

    Args:
        batches: `keras.utils.PyDataset`.
        group: `processes.Group`.
    """

    def __init__(self, batches, group):
        super().__init__()
        self._batches, self._group = batches, group

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(self._batches[index])
        first, last = self._group.rows(len(keras.tree.flatten(inputs)[0]))
        rows = slice(first, max(last, first + 1))
        inputs = keras.tree.map_structure(lambda x: x[rows], inputs)
        return (inputs, targets) if weights is None else (inputs, targets, weights)

    def on_epoch_begin(self):
        self._batches.on_epoch_begin()

    def on_epoch_end(self):
        self._batches.on_epoch_end()


def train_step(model, group):
    """A `train_step` of a compiled model on batches of `Part`.

    A `ka.SequenceCrossentropy` is a mean over tokens, so that of the whole batch is a weighted mean
    of those of its parts. What another loss is a mean of it alone knows (pairs of rows, perhaps):
    the predictions of all parts are gathered, and it sees the whole batch.

    Args:
        model: A compiled Keras model.
        group: `processes.Group`.
    """
    (loss_tracker,) = (metric for metric in model.metrics if metric.name == "loss")
    by_tokens = isinstance(model.loss, ka.SequenceCrossentropy)
    has_variables = []

    def step(batch):
        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
        count = tf.shape(keras.tree.flatten(targets)[0])[0]
        first, last = group.rows(count)

        def own(whole):
            return keras.tree.map_structure(lambda x: None if x is None else x[first:last], whole)

        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            # A row that only stands in for none does not count.
            outputs = keras.tree.map_structure(lambda x: x[: last - first], outputs)
            value = sum(map(tf.reduce_sum, model.losses), tf.zeros(())) / group.count
            if by_tokens:
                share = _tokens(model.loss, own(targets), own(weights)) / tf.maximum(
                    _tokens(model.loss, targets, weights), 1e-9
                )
                value += share * model.loss(own(targets), outputs, own(weights))
        if not has_variables:
            has_variables.append(_make_metrics_variables(model, own(targets), outputs))
        minimized, factors = [value], [tf.ones(())]
        if model.loss is not None and not by_tokens:
            parts = keras.tree.flatten(outputs)
            wholes = group.sum([_padded(x, first, count - last) for x in parts])
            with tf.GradientTape() as of_loss:
                of_loss.watch(wholes)
                predicted = keras.tree.pack_sequence_as(outputs, wholes)
                loss = model.compute_loss(y=targets, y_pred=predicted, sample_weight=weights)
            value = loss / group.count
            minimized += parts
            factors += map(own, of_loss.gradient(loss, wholes, unconnected_gradients="zero"))
        variables = model.trainable_variables
        gradients = tape.gradient(minimized, variables, output_gradients=factors)

        before = [tf.identity(x) for x in model.metrics_variables]
        model.compute_metrics(inputs, own(targets), outputs, own(weights))
        added = [x - y for x, y in zip(model.metrics_variables, before, strict=True)]

        # Those of tables stay slices: Keras' Adam squares each before they are added up.
        used = [x for x in gradients if x is not None]
        *sums, value = group.sum([*used, *added, value])
        gradients = [None if x is None else sums.pop(0) for x in gradients]
        for variable, old, more in zip(model.metrics_variables, before, sums, strict=True):
            variable.assign(old + more)
        model.optimizer.apply(gradients, variables)
        loss_tracker.update_state(value, sample_weight=count)
        return model.get_metrics_result()

    return step


def _padded(part, before, after):
    """The rows of a part with zeros in place of those of the other parts."""
    return tf.pad(part, [[before, after], *[[0, 0]] * (len(part.shape) - 1)])


def _make_metrics_variables(model, targets, outputs):
    """Makes the variables that metrics else make at their first update."""
    with tf.init_scope():
        one = [
            keras.tree.map_structure(
                lambda x: tf.zeros([size or 1 for size in x.shape], x.dtype), tensors
            )
            for tensors in (targets, outputs)
        ]
        model.compute_metrics(None, *one)
        model.reset_metrics()


def _tokens(loss, labels, weights):
    """How much the tokens of `labels` count in a `ka.SequenceCrossentropy`, together."""
    counted = tf.ones_like(labels, "float32")
    if loss.ignore_class is not None:
        counted = tf.cast(labels != loss.ignore_class, "float32")
    if weights is not None:
        while len(weights.shape) < len(labels.shape):
            weights = tf.expand_dims(weights, -1)
        counted *= tf.cast(weights, "float32")
    return tf.reduce_sum(counted)


class Alike(keras.callbacks.Callback):
    """All processes go on with what the first has, when training begins and after each epoch.

    That is the weights, what the optimizer remembers, the order of batches, and whether to stop. It
    must be the last of a training's callbacks.

    Args:
        group: `processes.Group`.
    """

    def __init__(self, group):
        super().__init__()
        self._group = group

    def on_train_begin(self, logs=None):
        self._take_over()

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = self._take_over()

    def _take_over(self):
        """Returns whether the first process stops."""
        model, version = self.model, random.getstate()[0]
        of_metrics = {id(variable) for variable in model.metrics_variables}
        variables = [x for x in model.variables if id(x) not in of_metrics]
        variables += model.optimizer.variables
        stop, order, *values = self._group.of_first(
            [model.stop_training, random.getstate()[1], *map(np.array, variables)]
        )
        if self._group.rank:
            random.setstate((version, tuple(order.tolist()), None))
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
            for state in fitting.random_states(model):  # of dropout: masks of its own
                state.assign(np.array(state) + np.array([_FAR * self._group.rank, 0]))
        return bool(stop)
