"""A step in several processes: here threads, which have everything but their rank alike."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka
from recipes.kit import sharding
from recipes.kit.processes import Group
from recipes.parts import ranking_losses


class Threads:
    """As a `Group` of two, for one thread of two that run at the same time."""

    count, rows = 2, Group.rows

    def __init__(self, rank=0, barrier=None, given=None):
        self.rank, self._barrier, self._given = rank, barrier, given

    def sum(self, tensors):
        self._given[self.rank] = tensors
        self._barrier.wait(timeout=60)
        sums = [add(x, y) for x, y in zip(*self._given, strict=True)]
        self._barrier.wait(timeout=60)
        return sums


def add(x, y):
    if not isinstance(x, tf.IndexedSlices):
        return x + y
    values, indices = (tf.concat([getattr(z, n) for z in (x, y)], 0) for n in ("values", "indices"))
    return tf.IndexedSlices(values, indices, x.dense_shape)


class Batches(keras.utils.PyDataset):
    def __init__(self, *batches):
        super().__init__()
        self._batches = batches

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        return self._batches[index]


def trained(build, batches):
    """Weights and figures after a step with each batch: of one process, and of each of two."""
    keras.utils.set_random_seed(3)
    alone = build()
    alone.optimizer.build(alone.trainable_variables)
    models = [build(), build()]
    for model in models:
        model.set_weights(alone.get_weights())
    alone.fit(batches, shuffle=False, verbose=0)
    results = [results_of(alone)]
    barrier, given, errors = threading.Barrier(2), [None, None], []

    def train(rank):
        try:
            group = Threads(rank, barrier, given)
            part = sharding.Part(batches, group)
            step = sharding.train_step(models[rank], group)
            for index in range(len(part)):
                step(keras.tree.map_structure(tf.convert_to_tensor, part[index]))
            models[rank].optimizer.finalize_variable_values(models[rank].trainable_weights)
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=train, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [*results, *map(results_of, models)]


def results_of(model):
    figures = {name: float(value) for name, value in model.get_metrics_result().items()}
    return figures, [*model.get_weights(), *map(np.array, model.optimizer.variables)]


def compiled(model, loss, **options):
    adam = keras.optimizers.Adam(0.1, epsilon=0.01, global_clipnorm=0.5, use_ema=True)
    model.compile(adam, loss, run_eagerly=True, **options)
    return model


def ids(*shape, seed=0):
    return np.random.default_rng(seed).integers(1, 6, shape).astype("int32")


def classifier():
    x = keras.Input((None,), dtype="int32")
    y = ka.AttentionPooling()(keras.layers.Embedding(6, 4)(x))
    model = keras.Model(x, keras.layers.Dense(3, activation="softmax")(y))
    return compiled(model, keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])


def tokens():
    x = keras.Input((None,), dtype="int32")
    model = keras.Model(x, keras.layers.Dense(6)(keras.layers.Embedding(6, 4)(x)))
    loss = ka.SequenceCrossentropy(0.1, ignore_class=0, from_logits=True)
    return compiled(model, loss, metrics=[ka.Perplexity(ignore_class=0, from_logits=True)])


def two_outputs():
    x = keras.Input((None,), dtype="int32")
    y = keras.layers.Embedding(6, 4)(x)
    outputs = {"tags": keras.layers.Dense(6)(y), "kind": keras.layers.Dense(3)(y[:, 0])}
    loss = {name: ka.SequenceCrossentropy(ignore_class=0, from_logits=True) for name in outputs}
    return compiled(keras.Model(x, outputs), loss, loss_weights={"tags": 0.3, "kind": 2.0})


def ranker():
    x = keras.Input((None,), dtype="int32")
    y = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(6, 4)(x))
    return compiled(keras.Model(x, keras.layers.Dense(1)(y)), ranking_losses.pairwise)


def with_losses_of_layers():
    x = keras.Input((3,))
    y = keras.layers.Dense(4, kernel_regularizer="l2", activity_regularizer="l2")(x)
    return compiled(keras.Model(x, keras.layers.Dense(1)(y)), "mse")


PADDED = ids(4, 5) * (np.arange(5) < [[1], [5], [2], [4]])
CASES = {
    "rows that count unequally": (
        classifier,
        [
            (ids(5, 7), np.array([0, 1, 2, 0, 1]), np.array([1, 0, 2, 0.5, 1], "float32")),
            (ids(3, 4), np.array([2, 1, 0]), np.array([1, 1, 3], "float32")),
        ],
    ),
    "one row": (classifier, [(ids(1, 3), np.array([2])), (ids(2, 3), np.array([0, 1]))]),
    "padded tokens": (tokens, [(PADDED, PADDED), (PADDED[::-1], PADDED[::-1])]),
    "two outputs": (two_outputs, [(PADDED, {"tags": PADDED, "kind": np.array([1, 0, 2, 1])})]),
    "pairs of rows": (
        ranker,
        [(ids(5, 3), np.array([[1, 0], [0, 0], [0, 0], [0, 1], [1, 1]], "float32"))],
    ),
    "losses of layers": (
        with_losses_of_layers,
        [(ids(4, 3).astype("float32"), ids(4, 1).astype("float32"))],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one(case):
    build, batches = CASES[case]
    (figures, weights), *others = trained(build, Batches(*batches))
    for figures_of_part, weights_of_part in others:
        assert figures_of_part == pytest.approx(figures, rel=1e-5)
        for value, expected in zip(weights_of_part, weights, strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)


def test_each_part_has_its_rows_and_all_targets():
    batch = {"a": np.arange(5), "b": np.arange(10).reshape(5, 2)}, np.arange(5), np.ones(5)
    parts = [sharding.Part(Batches(batch), Threads(rank))[0] for rank in range(2)]
    assert [len(part[0]["b"]) for part in parts] == [2, 3]
    np.testing.assert_array_equal(np.concatenate([part[0]["a"] for part in parts]), batch[0]["a"])
    for part in parts:
        assert [len(one) for one in part[1:]] == [5, 5]
