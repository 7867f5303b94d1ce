"""Documents: words to sentences, sentences to a document."""

import keras
import numpy as np

import keras_attention as ka
from benchmarks import compiled
from benchmarks.cases.attention import PoolingOfKeras
from benchmarks.entries import Comparison, layer_entry, lengths_of, products

WORDS = 5000


class HierarchyOfKeras(keras.layers.Layer):
    """Words to sentences to a document, put together from Keras' layers."""

    def __init__(self, units, features, **kwargs):
        super().__init__(**kwargs)
        self.units, self.features = units, features
        self.embedding = keras.layers.Embedding(WORDS, features, dtype=self.dtype_policy)
        self.encoders = [
            keras.layers.Bidirectional(
                keras.layers.GRU(
                    units, return_sequences=True, use_cudnn=False, dtype=self.dtype_policy
                ),
                dtype=self.dtype_policy,
            )
            for _ in range(2)
        ]
        self.poolings = [PoolingOfKeras(2 * units, dtype=self.dtype_policy) for _ in range(2)]

    def build(self, shape):
        self.embedding.build(shape)
        for encoder, size in zip(self.encoders, (self.features, 2 * self.units), strict=True):
            encoder.build((None, None, size))
        for pooling in self.poolings:
            pooling.build((None, None, 2 * self.units))
        self.built = True

    def call(self, ids):
        batch, sentences, words = ids.shape
        x = keras.ops.reshape(self.embedding(ids), (batch * sentences, words, self.features))
        x = self.poolings[0](self.encoders[0](x))
        x = keras.ops.reshape(x, (batch, sentences, 2 * self.units))
        return self.poolings[1](self.encoders[1](x))


def han(options, batch=8, sentences=15, units=50, features=100):
    """Forward, with the default encoders, bidirectional GRUs."""
    shape = (batch, sentences, None)

    def ours():
        embedding = keras.layers.Embedding(WORDS, features, dtype=compiled.dtype())
        layer = ka.HierarchicalAttention(units, embedding, dtype=compiled.dtype())
        layer.build(shape)
        return layer, lambda ids: layer(ids)

    def theirs():
        layer = HierarchyOfKeras(units, features, dtype=compiled.dtype())
        layer.build(shape)
        return layer, lambda ids: layer(ids)

    def inputs(length):
        ids = np.random.default_rng(0).integers(1, WORDS, (batch, sentences, length))
        return (keras.ops.convert_to_tensor(ids.astype("int32")),)

    for length in lengths_of(options, (30,)):
        if not options.wants("forward"):
            continue
        operations = sum(
            2 * products(steps, size + units, 3 * units)  # two directions
            + products(steps, 2 * units, 2 * units + 2)  # pooling
            for steps, size in (
                (batch * sentences * length, features),
                (batch * sentences, 2 * units),
            )
        )
        entries = [
            layer_entry(name, mode, "forward", make, inputs, operations=operations)
            for mode in options.modes_here()
            for name, make in {"ours": ours, "keras": theirs}.items()
        ]
        yield Comparison("forward", length, entries)
