"""Attention and pooling over sequences of growing length."""

import functools

import keras
import numpy as np

import keras_attention as ka
from benchmarks import compiled, peers
from benchmarks.entries import (
    Comparison,
    Entry,
    Skipped,
    layer_entry,
    lengths_of,
    not_an_argument,
    not_installed,
    products,
)

LENGTHS = 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768
GPU_LENGTHS = 1024, 2048, 4096, 8192, 16384, 32768, 65536
BACKWARD = 3.0  # a training step's products, as a multiple of the forward ones
WORKS = "forward", "training"
# About how many tensors of the scores' size Keras holds at once: 1.3 to 2.4, and 3.3 to 4.5.
SCORES_HELD = {"forward": 2, "training": 4}


def mha(options, features=512, heads=8):
    """Ours, Keras' and the fused kernels, all with the same weights."""
    yield from _multi_head(options, features, heads)


def causal(options, features=512, heads=8):
    """The same with a causal mask."""
    yield from _multi_head(options, features, heads, is_causal=True)


def window(options, features=512, heads=8, size=None):
    """Ours in a band; Keras' and PyTorch's with a mask; on a GPU full fused attention as well."""
    reason = not_an_argument(ka.MultiHeadAttention, "window")
    if reason:
        yield Skipped("window", reason)
        return
    default = 1024 if compiled.is_on_gpu() else 256
    yield from _multi_head(options, features, heads, window=size or default)


def additive(options, features=128, batch=8):
    """The additive score; Keras' has no projections of queries and keys, and is not given any."""

    def ours():
        layer = ka.ContentAttention("additive", dtype=compiled.dtype())
        layer.build((batch, None, features), (batch, None, features))
        return layer, lambda query, value: layer(query, value)

    def theirs():
        layer = keras.layers.AdditiveAttention(dtype=compiled.dtype())
        layer.build([(batch, None, features)] * 2)
        return layer, lambda query, value: layer([query, value])

    def inputs(length):
        return tuple(compiled.tensor(normal(i, batch, length, features)) for i in range(2))

    # A hidden layer for each pair: at T = 32,768 that would be a million million tanh.
    for work, length in _sweep(options, LENGTHS[:6], GPU_LENGTHS[:4]):
        hidden = batch * length**2 * features
        operations = _all_of(
            work, 2 * products(batch, length, features, features) + 6.0 * hidden
        )  # sum, tanh, product and sum of the scores, product and sum of the values
        estimate = SCORES_HELD[work] * hidden * compiled.item_size()
        entries = [
            entry
            for mode in options.modes_here()
            for entry in (
                layer_entry("ours", mode, work, ours, inputs, operations=operations),
                layer_entry(
                    "keras", mode, work, theirs, inputs, operations=operations, estimate=estimate
                ),
            )
        ]
        yield Comparison(work, length, entries)


class PoolingOfKeras(keras.layers.Layer):
    """Attention pooling as it is put together from Keras' layers."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(units, activation="tanh", dtype=self.dtype_policy)
        self.scores = keras.layers.Dense(1, use_bias=False, dtype=self.dtype_policy)
        self.weights_of_scores = keras.layers.Softmax(axis=1, dtype=self.dtype_policy)
        self.average = keras.layers.Dot(axes=1, dtype=self.dtype_policy)

    def build(self, shape):
        self.hidden.build(shape)
        self.scores.build((*shape[:-1], self.hidden.units))
        self.built = True

    def call(self, x):
        weights = self.weights_of_scores(self.scores(self.hidden(x)))  # (B, T, 1)
        return keras.ops.squeeze(self.average([weights, x]), 1)


def pooling(options, features=256, batch=8):
    """A learned query over T steps."""

    def make(layer):
        layer.build((batch, None, features))
        return layer, lambda x: layer(x)

    def inputs(length):
        return (compiled.tensor(normal(0, batch, length, features)),)

    for work, length in _sweep(options):
        operations = _all_of(work, products(batch, length, features, features + 2))
        makers = {
            "ours": lambda: make(ka.AttentionPooling(dtype=compiled.dtype())),
            "keras": lambda: make(PoolingOfKeras(features, dtype=compiled.dtype())),
        }
        entries = [
            layer_entry(name, mode, work, maker, inputs, operations=operations)
            for mode in options.modes_here()
            for name, maker in makers.items()
        ]
        yield Comparison(work, length, entries)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def _sweep(options, lengths=LENGTHS, gpu_lengths=GPU_LENGTHS):
    lengths = lengths_of(options, gpu_lengths if compiled.is_on_gpu() else lengths)
    return [(work, length) for work in WORKS if options.wants(work) for length in lengths]


def _all_of(work, operations):
    return operations * (BACKWARD if work == "training" else 1.0)


def _multi_head(options, features, heads, window=None, is_causal=False):
    size = features // heads
    settings = {} if window is None else {"window": window}
    band = {} if window is None else {"sliding_window": window}
    no_band = not_an_argument(keras.layers.MultiHeadAttention, *band) if band else None

    def keras_layer(**kwargs):
        layer = keras.layers.MultiHeadAttention(heads, size, dtype=compiled.dtype(), **kwargs)
        layer.build((1, None, features), (1, None, features))
        return layer

    @functools.cache
    def weights():
        keras.utils.set_random_seed(0)
        rng = np.random.default_rng(0)
        # Biases start as zeros, which would hide a wrong one.
        return [
            w.astype("float32") if w.ndim > 2 else 0.1 * rng.normal(size=w.shape).astype("float32")
            for w in keras_layer().get_weights()
        ]

    def ours(**kwargs):
        layer = ka.MultiHeadAttention(heads, size, dtype=compiled.dtype(), **kwargs)
        layer.build((1, None, features), (1, None, features))
        layer.set_weights(weights())
        return layer, lambda x: layer(x, x, use_causal_mask=is_causal)

    def theirs():
        layer = keras_layer(**band)
        layer.set_weights(weights())
        return layer, lambda x: layer(x, x, use_causal_mask=is_causal)

    def array(length):
        return normal(0, 1, length, features)

    def inputs(length):
        return (compiled.tensor(array(length)),)

    for work, length in _sweep(options):
        scores = 0 if compiled.is_on_gpu() else heads * length**2 * compiled.item_size()
        needed = {
            "operations": _all_of(work, _operations(length, features, window, is_causal)),
            "estimate": SCORES_HELD[work] * scores,
        }
        fused = functools.partial(_fused, weights, work, array, is_causal)
        entries = []
        for mode in options.modes_here():
            of_ours = functools.partial(ours, **settings)
            entries += [
                layer_entry("ours", mode, work, of_ours, inputs, **needed | {"estimate": 0}),
                layer_entry("keras", mode, work, theirs, inputs, absent=no_band, **needed),
            ]
        # PyTorch's kernel holds no scores, but the mask, and what it makes of it.
        mask = 0 if window is None else 5 * length**2
        entries.append(fused("torch", window, needed | {"estimate": mask}))
        if compiled.BACKEND == "jax":
            entries.append(fused("jax.nn", window, needed))
        if window is not None and compiled.is_on_gpu():
            operations = _all_of(work, _operations(length, features))
            full = {"operations": operations, "agrees": False}
            entries += [fused("torch full", None, full), fused("jax.nn full", None, full)]
        yield Comparison(work, length, entries, outputs_agree=work == "forward")


def _fused(weights, work, array, is_causal, name, window, settings):
    """An entry of another library's kernel; the name's first word is the library."""
    library = name.partition(" ")[0]
    build = {"torch": peers.torch_attention, "jax.nn": peers.jax_attention}[library]
    absent = not_installed("torch", "PyTorch") if library == "torch" else None
    return Entry(
        name, lambda: build(weights(), work, array, window, is_causal), absent=absent, **settings
    )


def _operations(length, features, window=None, is_causal=False):
    """Four projections, and scores and averages over the steps that are seen."""
    seen = length * (length + 1) // 2 if is_causal else length**2
    if window is not None and window < length:
        seen = length * (2 * window - 1) - window * (window - 1)
    return 4 * products(length, features, features) + 2 * products(seen, features)
