"""One token after the other: recurrent decoders, and transformers with a cache."""

import functools

import keras
import numpy as np

import keras_attention as ka
from benchmarks import attention_decoder, compiled
from benchmarks.cases.attention import BACKWARD, normal
from benchmarks.entries import Comparison, Entry, lengths_of, not_installed, products

VOCABULARY = 1000
SCORES = {"dot": keras.layers.Attention, "additive": keras.layers.AdditiveAttention}
POSITIONS = 100, 2000  # a step's time at the second is compared with that at the first
STEPS = 32  # after each position


def decoder(options, units=256, batch=32):
    """A step of Luong's decoder beside the same from Keras' layers, and training beside an RNN."""
    for length in lengths_of(options, (attention_decoder.MEMORY_STEPS,)):
        for score in SCORES:
            if not options.wants(f"step, {score}"):
                continue
            operations = (
                products(batch, 3 * units, 3 * units)  # the cell's input is twice as wide
                + products(batch, 2 * units, units)
                + 2 * products(batch, length, units)
                + (4.0 * batch * length * units if score == "additive" else 0.0)
            )
            entries = [
                Entry(name, functools.partial(build, score, units, batch, mode), mode, operations)
                for mode in options.modes_here()
                for name, build in {"ours": _step_of_ours, "keras": _step_of_keras}.items()
            ]
            yield Comparison(f"step, {score}", length, entries)
        # The trainer compiles by what is best for training, XLA or jit.
        if options.wants("training") and compiled.modes()[-1] in options.modes_here():
            yield _training(length)


def _step_of_ours(score, units, batch, mode):
    attention = ka.ContentAttention(score, dtype=compiled.dtype())
    layer = ka.AttentionDecoder(
        keras.layers.GRUCell(units, dtype=compiled.dtype()), attention, dtype=compiled.dtype()
    )
    layer.build((batch, None, units), (batch, None, units))

    def call(x, state):
        output, _, state = layer.step(x, state)
        # The memory goes through as it came: in a loop that costs nothing, as an output it does.
        return output, {name: part for name, part in state.items() if name != "memory"}

    function = compiled.forward(call, layer.variables, [], mode)

    def prepare(length):
        state = layer.initial_state(compiled.tensor(normal(0, batch, length, units)))
        x = compiled.tensor(normal(1, batch, units))
        return lambda: function(x, state)

    return prepare


class StepOfKeras(keras.layers.Layer):
    """A step of Luong's decoder, put together from Keras' layers."""

    def __init__(self, attention, units, **kwargs):
        super().__init__(**kwargs)
        self.cell = keras.layers.GRUCell(units, dtype=self.dtype_policy)
        self.attention = attention(dtype=self.dtype_policy)
        self.attentional = keras.layers.Dense(
            units, activation="tanh", use_bias=False, dtype=self.dtype_policy
        )
        self.units = units

    def build(self, *shapes):
        self.cell.build((None, 2 * self.units))
        self.attention.build([(None, None, self.units)] * 2)
        self.attentional.build((None, 2 * self.units))
        self.built = True

    def call(self, x, memory, hidden, fed):
        output, (hidden,) = self.cell(keras.ops.concatenate([x, fed], -1), [hidden])
        context = self.attention([keras.ops.expand_dims(output, 1), memory])[:, 0]
        fed = self.attentional(keras.ops.concatenate([context, output], -1))
        return fed, hidden


def _step_of_keras(score, units, batch, mode):
    layer = StepOfKeras(SCORES[score], units, dtype=compiled.dtype())
    layer.build((batch, units))
    function = compiled.forward(layer, layer.variables, [], mode)

    def prepare(length):
        x, zeros = (
            compiled.tensor(normal(1, batch, units)),
            compiled.tensor(np.zeros((batch, units))),
        )
        memory = compiled.tensor(normal(0, batch, length, units))
        return lambda: function(x, memory, zeros, zeros)

    return prepare


def _training(length):
    """A training step of `benchmarks.attention_decoder`: beside a cell with inputs as wide."""
    size, steps = attention_decoder.SIZE, attention_decoder.STEPS
    batch = attention_decoder.BATCH
    operations = BACKWARD * (
        products(batch, steps, 3 * size, 3 * size)
        + products(batch, steps, 2 * size, size)
        + products(batch, steps, size, size)
        + 2 * products(batch, steps, length, size)
    )

    def ours():
        layer = ka.AttentionDecoder(keras.layers.GRUCell(size), ka.ContentAttention("general"))
        return lambda length: attention_decoder.trainer(layer, memory_steps=length)

    def theirs():
        layer = keras.layers.RNN(keras.layers.GRUCell(size), return_sequences=True)
        return lambda length: attention_decoder.trainer(layer, 2 * size, memory_steps=length)

    mode = compiled.modes()[-1]
    entries = [
        Entry("ours", ours, mode, operations),
        Entry("an RNN without attention", theirs, mode),
    ]
    return Comparison("training", length, entries)


def cached(options, layers=4, width=256, heads=4, room=2048, positions=POSITIONS, steps=STEPS):
    """Greedy search with ours and with KerasHub's layers in the same loop; late and early steps."""
    makers = {"ours": CacheOfOurs, "keras_hub": CacheOfKerasHub}
    absent = {"ours": None, "keras_hub": not_installed("keras_hub", "KerasHub")}
    sizes = {"layers": layers, "width": width, "heads": heads}

    def operations(first, count):
        seen = count * first + count * (count + 1) / 2
        return layers * (4 * products(count, width, width) + 2 * products(seen, width)) + products(
            count, width, VOCABULARY
        )

    for length in lengths_of(options, (256,)):
        if options.wants("tokens"):
            entries = [
                Entry(
                    name,
                    functools.partial(_search, make, sizes, mode),
                    mode,
                    operations(0, length),
                    absent=absent[name],
                )
                for mode in options.modes_here()
                for name, make in makers.items()
            ]
            yield Comparison("tokens", length, entries, outputs_agree=True)
    if options.wants("step"):
        for name, make in makers.items():
            entries = [
                Entry(
                    f"{name} at {position:,}",
                    functools.partial(_search, make, sizes, mode, room, position, steps),
                    mode,
                    operations(position, steps) / steps,
                    absent=absent[name],
                    calls=steps,
                )
                for mode in options.modes_here()
                for position in reversed(positions)
            ]
            yield Comparison("step", None, entries, with_memory=False)


class CachedStack(keras.layers.Layer):
    """Embedding, layers of cached attention with residuals and norms, logits."""

    def __init__(self, layers, width, heads, **kwargs):
        super().__init__(**kwargs)
        self.width, self.heads = width, heads
        self.embedding = keras.layers.Embedding(
            VOCABULARY, width, embeddings_initializer="normal", dtype=self.dtype_policy
        )
        self.attentions = [self.attention() for _ in range(layers)]
        self.norms = [
            keras.layers.LayerNormalization(dtype=self.dtype_policy) for _ in range(layers)
        ]
        self.logits = keras.layers.Dense(VOCABULARY, dtype=self.dtype_policy)

    def build(self, shape=None):
        keras.utils.set_random_seed(0)  # the same weights in every stack
        steps = (None, None, self.width)
        self.embedding.build()
        for attention, norm in zip(self.attentions, self.norms, strict=True):
            attention.build(steps, steps)
            norm.build(steps)
        self.logits.build((None, self.width))
        rng = np.random.default_rng(0)
        self.set_weights([0.1 * rng.normal(size=w.shape) for w in self.get_weights()])
        self.built = True

    def step(self, token, state):
        x, caches, index = keras.ops.expand_dims(self.embedding(token), 1), [], state["index"]
        for attention, norm, cache in zip(
            self.attentions, self.norms, state["caches"], strict=True
        ):
            attended, cache = self.attend(attention, x, cache, index)
            x = norm(x + attended)
            caches.append(cache)
        return self.logits(x[:, 0]), {"caches": caches, "index": index + 1}


class CacheOfOurs(CachedStack):
    def attention(self):
        return ka.MultiHeadAttention(self.heads, self.width // self.heads, dtype=self.dtype_policy)

    def cache(self, attention, length):
        return attention.initial_cache(1, length)

    def attend(self, attention, x, cache, index):
        return attention.step(x, cache, index)


class CacheOfKerasHub(CachedStack):
    def attention(self):
        import keras_hub

        return keras_hub.layers.CachedMultiHeadAttention(
            self.heads, self.width // self.heads, dtype=self.dtype_policy
        )

    def cache(self, attention, length):
        shape = (1, 2, length, self.heads, self.width // self.heads)
        return keras.ops.zeros(shape, dtype=self.compute_dtype)

    def attend(self, attention, x, cache, index):
        mask = keras.ops.less_equal(keras.ops.arange(cache.shape[2]), index)  # (M)
        mask = keras.ops.reshape(mask, (1, 1, -1))
        return attention(x, x, attention_mask=mask, cache=cache, cache_update_index=index)


def _search(make, sizes, mode, room=None, position=0, steps=None):
    """An entry's `build`: `steps` tokens from `position` on, by default T tokens from the first."""
    stack = make(**sizes, dtype=compiled.dtype())
    stack.build()
    functions = {}

    def prepare(length):
        count = steps or length
        caches = [stack.cache(attention, room or length) for attention in stack.attentions]

        def call(caches):
            state = {"caches": caches, "index": keras.ops.convert_to_tensor(position, "int32")}
            return ka.greedy_search(stack.step, [1], state, max_length=count)[0]

        if count not in functions:
            functions[count] = compiled.forward(call, stack.variables, [], mode)
        return lambda: functions[count](caches)

    return prepare
