"""AttentionDecoder."""

import inspect
import re
from concurrent import futures

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_attention as ka
from tests.backend import HAS_XLA, call, needs_tensorflow, run, to_numpy
from tests.contract import Case, LayerContract

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(2, 3, 4)).astype("float32")
MEMORY = RNG.normal(size=(2, 5, 6)).astype("float32")
INPUTS_MASK = np.array([[True, True, False], [False, True, True]])
MEMORY_MASK = np.array([[True, True, True, False, False], [False, True, True, True, True]])


def _case(make_cell, score, **kwargs):
    def make(dropout=0.0, seed=None, **more):
        attention = ka.ContentAttention(score, dropout=dropout, seed=seed)
        cell = make_cell(dropout=dropout, recurrent_dropout=dropout, seed=seed)
        return ka.AttentionDecoder(cell, attention, **kwargs, **more)

    return Case(
        make,
        tensors={"inputs": "BTD", "memory": "BSE"},
        weights="BTS",
        masks={"inputs_mask": "inputs", "memory_mask": "memory"},
    )


class TestContract(LayerContract):
    cases = {
        "luong": _case(lambda **kw: layers.GRUCell(7, **kw), "bilinear"),
        "bahdanau": _case(lambda **kw: layers.LSTMCell(7, **kw), "additive", order="bahdanau"),
    }

    def test_1_arguments_have_the_names_of_the_contract(self, case):
        names = "inputs memory initial_state inputs_mask memory_mask return_attention_scores "
        names = (names + "return_state training").split()
        assert list(inspect.signature(case.make().call).parameters) == names

    def test_4_nothing_to_attend_to_gives_zeros(self, case):
        """No memory is as good as one of zeros, and has no gradient."""
        layer, tensors = case.built(), case.inputs()
        mask = np.array([[False] * 5, [True] * 5])
        blank = tensors | {"memory": tensors["memory"] * mask[..., None]}
        expected = run(layer, blank, return_attention_scores=True)[0]
        for jit in (False, True):
            (output, weights), of_weights, of_inputs = run(
                layer, tensors | {"memory_mask": mask}, jit, return_attention_scores=True
            )
            np.testing.assert_allclose(output, expected[0], rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(weights[0], 0)
            np.testing.assert_allclose(weights[1].sum(-1), 1, rtol=1e-5)
            np.testing.assert_array_equal(of_inputs["memory"][0], 0)
            assert all(np.isfinite(g).all() for g in (*of_weights, *of_inputs.values()))

    @pytest.mark.parametrize("how", ["eager", "graph", "XLA"])
    def test_4_axes_of_length_0_give_zeros(self, case, how):
        """No memory is as good as one that is masked; no inputs and no rows give empty outputs."""
        layer, tensors = case.built(), case.inputs()
        mask = np.zeros((2, 5), "bool")
        expected = to_numpy(layer(**tensors, memory_mask=mask))
        few = tensors | {"memory": tensors["memory"][:, :0]}
        np.testing.assert_allclose(_call(layer, few, how), expected, rtol=1e-5, atol=1e-6)
        assert layer(**few, return_attention_scores=True)[1].shape == (2, 3, 0)
        few = tensors | {"inputs": tensors["inputs"][:, :0]}
        assert _call(layer, few, how).shape == (2, 0, 7)
        if isinstance(layer.cell, layers.LSTMCell) and keras.backend.backend() == "tensorflow":
            return  # Keras' own cell adds its bias in a way that TensorFlow refuses without rows
        few = {name: x[:0] for name, x in tensors.items()}
        assert _call(layer, few, how).shape == (0, 3, 7)


def _call(layer, tensors, how):
    if how == "eager":
        return to_numpy(layer(**tensors))
    return call(layer, tensors, jit=how == "XLA", use_graph=True)


def _decoder(cell=None, score="additive", attention=None, **kwargs):
    attention = attention or ka.ContentAttention(score)
    return ka.AttentionDecoder(cell or layers.GRUCell(7), attention, **kwargs)


def _softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _randomize(layer):
    for weight in layer.trainable_weights:
        weight.assign(0.5 * RNG.normal(size=weight.shape))


def test_equation_5_and_input_feeding_of_luong_2015():
    layer = _decoder(layers.SimpleRNNCell(7), "general", attention_size=8)
    layer(INPUTS, MEMORY)
    _randomize(layer)
    got, got_weights = to_numpy(layer(INPUTS, MEMORY, return_attention_scores=True))
    kernel, recurrent, bias = (w.astype("float64") for w in layer.cell.get_weights())
    (w_a,) = layer.attention.get_weights()
    (w_c,) = layer.attentional_dense.get_weights()
    for b in range(2):
        h, attentional = np.zeros(7), np.zeros(8)
        for t in range(3):
            x = np.concatenate([INPUTS[b, t], attentional])  # section 3.3: input feeding
            h = np.tanh(kernel.T @ x + recurrent.T @ h + bias)
            a = _softmax(np.array([h @ w_a @ h_s for h_s in MEMORY[b]]))  # eq. 7 and 8
            c = sum(weight * h_s for weight, h_s in zip(a, MEMORY[b], strict=True))
            attentional = np.tanh(w_c.T @ np.concatenate([c, h]))  # eq. 5
            np.testing.assert_allclose(got_weights[b, t], a, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(got[b, t], attentional, rtol=1e-4, atol=1e-5)


def test_appendix_a_of_bahdanau_2015():
    cell = layers.GRUCell(7, reset_after=False, use_bias=False)
    layer = _decoder(cell, ka.AdditiveScore(units=8), order="bahdanau")
    first = RNG.normal(size=(2, 7)).astype("float32")
    layer(INPUTS, MEMORY)
    _randomize(layer)
    got, got_weights = to_numpy(layer(INPUTS, MEMORY, first, return_attention_scores=True))
    kernel, recurrent = (w.astype("float64") for w in cell.get_weights())
    # Keras' update gate says what stays, the paper's what is new: the sign of its weights turns.
    (w_z, c_z), (w_r, c_r), (w, c_) = ((k[:4].T, k[4:].T) for k in np.split(kernel, 3, axis=1))
    u_z, u_r, u = (k.T for k in np.split(recurrent, 3, axis=1))
    w_a, u_a, v_a = (w.astype("float64") for w in layer.attention.get_weights())
    for b in range(2):
        s = first[b].astype("float64")
        for i in range(3):
            y = INPUTS[b, i]
            e = np.array([v_a[:, 0] @ np.tanh(w_a.T @ s + u_a.T @ h_j) for h_j in MEMORY[b]])
            alpha = _softmax(e)
            c = sum(a * h_j for a, h_j in zip(alpha, MEMORY[b], strict=True))
            z = _sigmoid(-(w_z @ y + u_z @ s + c_z @ c))
            r = _sigmoid(w_r @ y + u_r @ s + c_r @ c)
            candidate = np.tanh(w @ y + u @ (r * s) + c_ @ c)
            s = (1 - z) * s + z * candidate
            np.testing.assert_allclose(got_weights[b, i], alpha, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(got[b, i], s, rtol=1e-4, atol=1e-5)


CELLS = {
    "gru": lambda: layers.GRUCell(7),
    "lstm": lambda: layers.LSTMCell(7),
    "stacked": lambda: layers.StackedRNNCells([layers.GRUCell(8), layers.LSTMCell(7)]),
    "stack of one": lambda: layers.StackedRNNCells([layers.LSTMCell(7)]),
}
SETTINGS = {
    "input feeding": {},
    "no input feeding": {"input_feeding": False, "attention_size": 3},
    "bahdanau": {"order": "bahdanau"},
    "bahdanau, attentional": {"order": "bahdanau", "attention_size": 9},
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_steps_equal_teacher_forcing(cell, settings):
    layer = _decoder(CELLS[cell](), **SETTINGS[settings])
    outputs, weights, last = layer(
        INPUTS, MEMORY, memory_mask=MEMORY_MASK, return_attention_scores=True, return_state=True
    )
    state = layer.initial_state(MEMORY, MEMORY_MASK)
    assert all(x.shape[0] == 2 for x in keras.tree.flatten(state))
    for t in range(3):
        output, weight, state = layer.step(INPUTS[:, t], state)
        np.testing.assert_allclose(output, to_numpy(outputs)[:, t], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(weight, to_numpy(weights)[:, t], rtol=1e-5, atol=1e-6)
    del state["memory"]
    keras.tree.assert_same_structure(last, state)
    for a, b in zip(keras.tree.flatten(last), keras.tree.flatten(state), strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-5, atol=1e-6)


ATTENTIONS = {
    "content": lambda: ka.ContentAttention("additive"),
    "sum": lambda: ka.ContentAttention(ka.DotScore() + ka.LocationScore(9)),
    "coverage": lambda: ka.CoverageAttention(6),
    "location sensitive": lambda: ka.LocationSensitiveAttention(6, 2, 3),
    "cumulative": lambda: ka.LocationSensitiveAttention(6, 2, 3, use_cumulative_weights=True),
    "monotonic": lambda: ka.MonotonicAttention(6, initial_offset=0.3),
    "hard monotonic": lambda: ka.MonotonicAttention(6, form="hard", initial_offset=0.3),
    "median monotonic": lambda: ka.MonotonicAttention(6, form="median"),
    "adaptive": lambda: ka.AdaptiveAttention(6),
    "mixture": lambda: ka.GaussianMixtureAttention(3),
    "local-m": lambda: ka.LocalAttention(1, "additive", center="monotonic"),
    "local-p": lambda: ka.LocalAttention(1, "additive"),
    "heads": lambda: ka.MultiHeadAttention(2, 3),
    "Keras' heads": lambda: layers.MultiHeadAttention(2, 3),
}
LONG = RNG.normal(size=(2, 6, 4)).astype("float32")
LONG_MASK = np.array(
    [[True, True, False, True, True, False], [False, True, True, True, False, True]]
)
SQUARE = RNG.normal(size=(2, 5, 7)).astype("float32")  # a memory as wide as the cells
IN_CHUNKS = [
    *(
        (attention, settings, "gru")
        for attention in ATTENTIONS
        for settings in ("input feeding", "bahdanau, attentional")
    ),
    *(
        (attention, "input feeding", cell)
        for attention in ("coverage", "local-m")
        for cell in CELLS
    ),
    *(("content", settings, "stacked") for settings in SETTINGS),
]
CHUNKS = [(None, [2, 3, 1]), (LONG_MASK, [1] * 6), (LONG_MASK, [4, 0, 2])]
if keras.backend.backend() == "jax":  # which compiles each call
    IN_CHUNKS = [one for one in IN_CHUNKS if "bahdanau" not in one[1]]
    CHUNKS = CHUNKS[2:]


@pytest.mark.parametrize("attention, settings, cell", IN_CHUNKS)
def test_chunks_and_steps_equal_the_whole(attention, settings, cell):
    if attention == "adaptive" and "bahdanau" in settings:
        pytest.skip("reads the cell after it ran")
    layer = _decoder(CELLS[cell](), attention=ATTENTIONS[attention](), **SETTINGS[settings])
    layer(LONG, SQUARE)
    _randomize(layer)
    given = {"memory_mask": MEMORY_MASK, "return_attention_scores": True, "return_state": True}

    def close(got, expected):
        keras.tree.assert_same_structure(got, expected)
        keras.tree.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5),
            to_numpy(got),
            to_numpy(expected),
        )

    for mask, lengths in CHUNKS:
        outputs, weights, last = layer(LONG, SQUARE, inputs_mask=mask, **given)
        parts, state, t = [], None, 0
        for length in lengths:
            now = slice(t, t + length)
            seen = None if mask is None else mask[:, now]
            *part, state = layer(LONG[:, now], SQUARE, state, inputs_mask=seen, **given)
            parts.append(to_numpy(part))
            t += length
        close(np.concatenate([part[0] for part in parts], 1), outputs)
        close(np.concatenate([part[1] for part in parts], -2), weights)
        # What a loss counts starts anew with each call.
        for some in (state, last):
            for name in {"repeated", "steps"} & set(some["attention"]):
                del some["attention"][name]
        close(state, last)
    outputs, weights, _ = layer(LONG, SQUARE, **given)
    state = layer.initial_state(SQUARE, MEMORY_MASK)
    for t in range(4):
        output, weight, state = layer.step(LONG[:, t], state)
        close(output, to_numpy(outputs)[:, t])
        close(weight, to_numpy(weights)[..., t, :])
    # And a call goes on where steps have stopped, as steps do where a call has.
    *rest, _ = layer(LONG[:, 4:], SQUARE, state, **given)
    close(rest, [to_numpy(outputs)[:, 4:], to_numpy(weights)[..., 4:, :]])
    *_, state = layer(LONG[:, :4], SQUARE, **given)
    state = layer.initial_state(SQUARE, MEMORY_MASK, state)
    close(layer.step(LONG[:, 4], state)[0], to_numpy(outputs)[:, 4])


@pytest.mark.parametrize("attention", ["coverage", "local-m"])
def test_a_saved_model_goes_on_from_its_state_under_xla(attention, tmp_path):
    layer = _decoder(attention=ATTENTIONS[attention](), name="decoder")
    inputs, memory = keras.Input((None, 4)), keras.Input((None, 7))
    first = keras.Model([inputs, memory], layer(inputs, memory, return_state=True))
    _randomize(layer)
    state = keras.tree.map_structure(
        lambda x: keras.Input(x.shape[1:], dtype=x.dtype), first.output[1]
    )
    then = keras.Model([inputs, memory, state], layer(inputs, memory, state, return_state=True))
    for name, model in (("first", first), ("then", then)):
        model.save(tmp_path / f"{name}.keras")
    loaded = [keras.models.load_model(tmp_path / f"{name}.keras") for name in ("first", "then")]
    expected = to_numpy(layer(LONG, SQUARE))
    for start, goes_on in ((first, then), loaded):
        for model in (start, goes_on):
            model.compile(jit_compile=True)
        some, state = start.predict([LONG[:, :4], SQUARE], verbose=0)
        more, _ = goes_on.predict([LONG[:, 4:], SQUARE, state], verbose=0)
        got = np.concatenate([some, more], axis=1)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_the_loss_of_each_call_is_that_of_its_own_queries():
    layer = _decoder(attention=ka.CoverageAttention(6))
    layer(LONG, SQUARE)
    _randomize(layer)
    layer(LONG, SQUARE, inputs_mask=LONG_MASK)
    (whole,) = to_numpy(layer.losses)
    state, losses = None, []
    for now in (slice(0, 2), slice(2, 6)):
        mask = LONG_MASK[:, now]
        _, state = layer(LONG[:, now], SQUARE, state, inputs_mask=mask, return_state=True)
        losses.append((to_numpy(layer.losses)[0], mask.sum()))
    values, numbers = zip(*losses, strict=True)
    np.testing.assert_allclose(np.average(values, weights=numbers), whole, rtol=1e-5)


@pytest.mark.parametrize("input_feeding", [True, False])
def test_local_m_of_luong_2015_in_a_decoder(input_feeding):
    """Query t, by the mask of the inputs, looks at step t, by the mask of the memory."""
    attention = ka.LocalAttention(1, "dot", center="monotonic")
    layer = _decoder(attention=attention, input_feeding=input_feeding)
    outputs, weights = to_numpy(
        layer(
            LONG,
            SQUARE,
            inputs_mask=LONG_MASK,
            memory_mask=MEMORY_MASK,
            return_attention_scores=True,
        )
    )
    cell = layer.cell
    (w_c,) = layer.attentional_dense.get_weights()
    for b in range(2):
        h, fed, n = np.zeros((1, 7), "float32"), np.zeros((1, 7), "float32"), 0
        steps = np.flatnonzero(MEMORY_MASK[b])
        for t in range(6):
            if not LONG_MASK[b, t]:
                np.testing.assert_array_equal(weights[b, t], 0)
                continue
            x = LONG[b : b + 1, t]
            x = np.concatenate([x, fed], -1) if input_feeding else x
            h = to_numpy(cell(x, [h])[0])
            expected = np.zeros(5)
            near = [s for place, s in enumerate(steps) if abs(place - n) <= 1]
            if near:
                expected[near] = _softmax(SQUARE[b, near] @ h[0])
            np.testing.assert_allclose(weights[b, t], expected, rtol=1e-4, atol=1e-6)
            fed = np.tanh(np.concatenate([expected @ SQUARE[b], h[0]]) @ w_c)[None]
            np.testing.assert_allclose(outputs[b, t], fed[0], rtol=1e-4, atol=1e-5)
            fed, n = fed.astype("float32"), n + 1


def _attributes(cell):
    return {name: id(x) for name, x in vars(cell).items()}


@pytest.mark.parametrize("order", ["luong", "bahdanau"])
def test_threads_train_and_predict_at_once(order):
    def make():
        parts = [layers.GRUCell(7, dropout=0.5, recurrent_dropout=0.3, seed=n) for n in (1, 2)]
        layer = _decoder(layers.StackedRNNCells(parts), order=order)
        layer(LONG, SQUARE)
        return layer

    layer, other = make(), make()
    other.set_weights(layer.get_weights())
    before = [_attributes(cell) for cell in (layer.cell, *layer.cell.cells)]
    seen = []

    def spy(cell, inputs, states, training=False, _call=layers.GRUCell.call):
        seen.append((layer.cell.cells[0].dropout, [_attributes(c) for c in layer.cell.cells]))
        return _call(cell, inputs, states, training=training)

    expected = to_numpy(other(LONG, SQUARE))
    trained = [to_numpy(other(LONG, SQUARE, training=True)) for _ in range(3)]
    with pytest.MonkeyPatch.context() as patch, futures.ThreadPoolExecutor(2) as threads:
        patch.setattr(layers.GRUCell, "call", spy)
        trains = threads.submit(
            lambda: [to_numpy(layer(LONG, SQUARE, training=True)) for _ in range(3)]
        )
        predicts = threads.submit(lambda: [to_numpy(layer(LONG, SQUARE)) for _ in range(6)])
        np.testing.assert_array_equal(trains.result(), trained)
        np.testing.assert_array_equal(predicts.result(), [expected] * 6)
    assert not np.allclose(trained[0], trained[1])
    assert {rate for rate, _ in seen} == {0.5}
    assert all(attributes == before[1:] for _, attributes in seen)
    assert [_attributes(cell) for cell in (layer.cell, *layer.cell.cells)] == before


def test_masked_inputs_give_zeros_and_pass_the_state_on():
    layer = _decoder()
    output, weights, state = to_numpy(
        layer(
            INPUTS,
            MEMORY,
            inputs_mask=INPUTS_MASK,
            return_attention_scores=True,
            return_state=True,
        )
    )
    np.testing.assert_array_equal(output[~INPUTS_MASK], 0)
    np.testing.assert_array_equal(weights[~INPUTS_MASK], 0)
    np.testing.assert_allclose(output[0, :2], to_numpy(layer(INPUTS, MEMORY))[0, :2], rtol=1e-5)
    short, last = to_numpy(layer(INPUTS[1:, 1:], MEMORY[1:], return_state=True))
    np.testing.assert_allclose(output[1, 1:], short[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state["cell"][0][1], last["cell"][0][0], rtol=1e-5, atol=1e-6)


def test_an_encoder_hands_its_state_over():
    inputs, source = keras.Input((None, 4)), keras.Input((None, 6))
    memory, *state = layers.LSTM(7, return_sequences=True, return_state=True)(source)
    decoder = _decoder(layers.LSTMCell(7))
    model = keras.Model([inputs, source], decoder(inputs, memory, state))
    first = to_numpy(model([INPUTS, MEMORY]))
    other = keras.Model([inputs, source], decoder(inputs, memory))
    assert np.abs(first - to_numpy(other([INPUTS, MEMORY]))).max() > 1e-3


def test_dropout_of_the_cell_is_one_mask_a_sequence_and_another_in_the_next():
    cell = layers.SimpleRNNCell(50, activation=None, dropout=0.5, seed=1, use_bias=False)
    layer = _decoder(cell, input_feeding=False, order="luong")
    x = np.ones((1, 4, 3), "float32")
    layer(x, MEMORY[:1])
    cell.kernel.assign(np.eye(3, 50))
    cell.recurrent_kernel.assign(np.zeros((50, 50)))
    states = []
    for _ in range(6):
        _, state = layer(x, MEMORY[:1], return_state=True, training=True)
        states.append(to_numpy(state["cell"][0])[0, :3])
        assert set(np.unique(states[-1])) <= {0.0, 2.0}
    assert len({tuple(s) for s in states}) > 1
    _, state = layer(x, MEMORY[:1], return_state=True)
    np.testing.assert_array_equal(to_numpy(state["cell"][0])[0, :3], 1)  # and none is left behind
    assert cell.dropout == 0.5


def test_a_cell_with_dropout_searches_and_trains_afterwards():
    cell = layers.SimpleRNNCell(7, dropout=0.5, recurrent_dropout=0.5, seed=1)
    model, decoder, step = _translator(cell)
    words, again = (
        to_numpy(ka.greedy_search(step, 1, decoder.initial_state(MEMORY), max_length=4)[0])
        for _ in range(2)
    )
    np.testing.assert_array_equal(words, again)
    model.compile("sgd", "mse", jit_compile=HAS_XLA)
    loss = model.train_on_batch([words, MEMORY, MEMORY_MASK], np.zeros((2, 4, 10)))
    assert np.isfinite(loss)


@pytest.mark.parametrize(
    "attention",
    [
        lambda: ka.ContentAttention("additive", normalizer="sparsemax"),
        lambda: ka.LocationSensitiveAttention(filters=2, kernel_size=3),
        lambda: ka.MultiHeadAttention(num_heads=2, key_dim=3),
    ],
    ids=["additive", "location_sensitive", "multi_head"],
)
def test_trains_under_xla_with_unknown_lengths(attention):
    """Gradients of a loop need shapes that the compiler can infer: hidden layers bit here."""
    tokens, memory = keras.Input((None,), dtype="int32"), keras.Input((None, 6))
    outputs = ka.AttentionDecoder(layers.GRUCell(7), attention())(
        layers.Embedding(10, 4, mask_zero=True)(tokens), layers.Masking()(memory)
    )
    model = keras.Model([tokens, memory], layers.Dense(10)(outputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, jit_compile=True)
    words = np.array([[3, 4, 5], [6, 0, 0]])
    before, *_, after = (model.train_on_batch([words, MEMORY], words) for _ in range(12))
    assert model.jit_compile and np.isfinite(after) and after < before


@pytest.mark.parametrize("make", [ka.LocationAttention, ka.AttentionFeatureMap])
def test_attention_that_takes_no_key(make):
    """`input_feeding` asks step by step, without all queries at once: the same numbers."""
    memory = MEMORY[..., :4]
    cell = layers.GRUCell(4)
    feeding = ka.AttentionDecoder(cell, make(max_length=7))
    outputs, weights = feeding(INPUTS, memory, return_attention_scores=True)
    assert outputs.shape == (2, 3, 4) and weights.shape == (2, 3, 5)
    state = feeding.initial_state(memory)
    for t in range(3):
        output, weight, state = feeding.step(INPUTS[:, t], state)
        np.testing.assert_allclose(output, to_numpy(outputs)[:, t], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(weight, to_numpy(weights)[:, t], rtol=1e-5, atol=1e-6)


class NoisyCell(layers.Layer):
    """A cell of a user's own, which draws inside the loop."""

    state_size = 7

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.drop = layers.Dropout(0.5, seed=2)

    def build(self, inputs_shape, states_shape=None):
        self.dense = layers.Dense(7, activation="tanh")
        self.dense.build((None, inputs_shape[-1] + 7))

    def call(self, inputs, states, training=None):
        hidden = self.dense(ops.concatenate([inputs, states[0]], axis=-1))
        hidden = self.drop(hidden, training=training)
        return hidden, (hidden,)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_a_cell_of_ones_own_may_draw_at_each_step(jit_compile):
    inputs, memory = keras.Input((None, 4)), keras.Input((None, 6))
    decoder = _decoder(NoisyCell(), order="bahdanau")
    model = keras.Model([inputs, memory], decoder(inputs, memory))
    model.compile("sgd", "mse", jit_compile=jit_compile)
    seed = to_numpy(decoder.cell.drop.seed_generator.state.value)
    losses = [model.train_on_batch([INPUTS, MEMORY], np.ones((2, 3, 7))) for _ in range(3)]
    assert np.isfinite(losses).all()
    assert (to_numpy(decoder.cell.drop.seed_generator.state.value) != seed).any()
    dropped = to_numpy(decoder(INPUTS, MEMORY, training=True)) == 0
    assert dropped.any() and not np.array_equal(dropped[:, 0], dropped[:, 1])
    assert not (to_numpy(decoder(INPUTS, MEMORY)) == 0).any()


def test_heads_and_their_weights():
    attention = ka.MultiHeadAttention(num_heads=3, key_dim=2)
    layer = ka.AttentionDecoder(layers.GRUCell(8), attention)
    outputs, weights = layer(INPUTS, MEMORY, return_attention_scores=True)
    assert outputs.shape == (2, 3, 8) and weights.shape == (2, 3, 3, 5)
    _, weight, _ = layer.step(INPUTS[:, 0], layer.initial_state(MEMORY))
    np.testing.assert_allclose(weight, to_numpy(weights)[:, :, 0], rtol=1e-5, atol=1e-6)


@keras.saving.register_keras_serializable(package="tests")
class CellReader(ka.RecurrentAttention):
    """Reads the cell: gives its inputs and states back in place of weights."""

    uses_cell_state = True

    def build(self, query_shape, value_shape, key_shape=None, cell_state_shape=None):
        super().build(query_shape, value_shape, key_shape)
        self.shapes = cell_state_shape

    def step(self, query, memory, state, training=None, cell_state=None):
        seen = [cell_state["inputs"], *cell_state["previous"], *cell_state["current"]]
        return memory["value"][:, 0], ops.concatenate(seen, -1), state


def test_an_attention_may_read_the_cell():
    layer = ka.AttentionDecoder(layers.LSTMCell(7), CellReader())
    outputs, seen, last = layer(INPUTS, MEMORY, return_attention_scores=True, return_state=True)
    assert layer.attention.shapes["inputs"] == (2, 4 + 7)
    assert layer.attention.shapes["current"] == [(2, 7), (2, 7)]
    outputs, seen, last = to_numpy((outputs, seen, last))
    inputs, previous, current = np.split(seen, [4 + 7, 4 + 7 + 14], axis=-1)
    np.testing.assert_array_equal(inputs[..., :4], INPUTS)
    np.testing.assert_array_equal(inputs[:, 1:, 4:], outputs[:, :-1])
    np.testing.assert_array_equal(previous[:, 0], 0)
    np.testing.assert_array_equal(previous[:, 1:], current[:, :-1])
    np.testing.assert_array_equal(current[:, -1], np.concatenate(last["cell"], -1))


def _translator(cell=None, **kwargs):
    """Embedding, decoder and a layer over ten words, and the step that a search takes."""
    embed, decoder, words = layers.Embedding(10, 4), _decoder(cell, **kwargs), layers.Dense(10)
    tokens, memory = keras.Input((None,), dtype="int32"), keras.Input((None, 6), name="memory")
    mask = keras.Input((None,), dtype="bool", name="memory_mask")
    model = keras.Model(
        [tokens, memory, mask], words(decoder(embed(tokens), memory, memory_mask=mask))
    )
    _randomize(model)

    def step(token, state):
        output, weights, state = decoder.step(embed(token), state)
        return words(output), state, weights

    return model, decoder, step


def test_greedy_search_equals_teacher_forcing_on_its_own_words():
    model, decoder, step = _translator()
    state = decoder.initial_state(MEMORY, MEMORY_MASK)
    words, _, _ = to_numpy(ka.greedy_search(step, 1, state, max_length=6))
    given = np.concatenate([np.ones((2, 1)), words[:, :-1]], axis=1)
    logits = to_numpy(model([given, MEMORY, MEMORY_MASK]))
    np.testing.assert_array_equal(logits.argmax(-1), words)


@needs_tensorflow
def test_greedy_and_beam_search_in_one_tflite_file(tmp_path):
    model, decoder, step = _translator(layers.LSTMCell(7), order="bahdanau")

    def greedy(model, memory, memory_mask):
        state = decoder.initial_state(memory, memory_mask)
        words, scores, _ = ka.greedy_search(step, 1, state, max_length=5, end_token=2)
        return {"words": words, "scores": scores}

    def beam(model, memory, memory_mask):
        state = decoder.initial_state(memory, memory_mask)
        words, scores, _ = ka.beam_search(step, 1, state, 5, end_token=2, num_beams=3)
        return {"words": words, "scores": scores}

    inputs = {"memory": ((None, None, 6), "float32"), "memory_mask": ((None, None), "bool")}
    samples = {"memory": np.tile(MEMORY, (2, 1, 1)), "memory_mask": np.tile(MEMORY_MASK, (2, 1))}
    report = ka.export_model(
        model,
        tmp_path / "export",
        formats=("saved_model", "tflite"),
        signatures=[
            ka.Signature(f.__name__, f, inputs, samples, decision=lambda y: y["words"])
            for f in (greedy, beam)
        ],
    )
    for form in report["forms"].values():
        for name in ("greedy", "beam"):
            assert form["signatures"][name]["difference"] < 1e-4
            assert form["signatures"][name]["agreement"] == 1.0
    from ai_edge_litert.interpreter import Interpreter

    run_beam = Interpreter(str(tmp_path / "export" / "model.tflite")).get_signature_runner("beam")
    for batch in (1, 4):
        got = run_beam(**{k: v[:batch] for k, v in samples.items()})["words"]
        state = decoder.initial_state(*(v[:batch] for v in samples.values()))
        np.testing.assert_array_equal(got, ka.beam_search(step, 1, state, 5, 2, num_beams=3)[0])


def test_learns_where_to_look():
    """Each input names a key; the answer stands in the memory beside that key alone."""
    rng = np.random.default_rng(3)
    keys = np.argsort(rng.random((256, 8)), axis=1)  # the same eight in every memory, shuffled
    answers = rng.integers(0, 4, size=(256, 8))
    asked = rng.integers(0, 8, size=(256, 5))
    place = (keys[:, None, :] == asked[:, :, None]).argmax(-1)  # (256, 5)
    x, y = np.eye(8)[asked], np.take_along_axis(answers, place, axis=1)
    source = np.concatenate([np.eye(8)[keys], np.eye(4)[answers]], axis=-1)
    inputs, memory = keras.Input((5, 8)), keras.Input((8, 12))
    outputs, weights = _decoder(layers.GRUCell(24), "general")(
        inputs, memory, return_attention_scores=True
    )
    model = keras.Model([inputs, memory], layers.Dense(4)(outputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"], jit_compile=HAS_XLA)
    model.fit([x, source], y, batch_size=32, epochs=25, verbose=0)
    assert model.evaluate([x, source], y, verbose=0)[1] > 0.9
    looks = to_numpy(keras.Model([inputs, memory], weights)([x, source])).argmax(-1)
    assert (looks == place).mean() > 0.9


def test_rejects_bad_cell():
    with pytest.raises(ValueError, match="`cell` must be a recurrent cell.*cell=7"):
        ka.AttentionDecoder(7, ka.ContentAttention())


def test_rejects_bad_attention():
    with pytest.raises(ValueError, match="`attention` must be an attention.*attention='additive'"):
        ka.AttentionDecoder(layers.GRUCell(7), "additive")


def test_rejects_bad_attention_size():
    with pytest.raises(ValueError, match="`attention_size` must be a positive.*attention_size=0"):
        _decoder(attention_size=0)


def test_rejects_bad_order():
    with pytest.raises(ValueError, match="`order` must be one of 'luong', 'bahdanau'.*order='n"):
        _decoder(order="none")


def test_rejects_bahdanau_without_feeding():
    with pytest.raises(ValueError, match="order='bahdanau', input_feeding=False"):
        _decoder(order="bahdanau", input_feeding=False)


def test_rejects_an_attention_that_reads_the_cell_before_it_ran():
    with pytest.raises(ValueError, match="`CellReader` reads the cell.*order='bahdanau'"):
        ka.AttentionDecoder(layers.LSTMCell(7), CellReader(), order="bahdanau")


@pytest.mark.parametrize(
    "attention, received",
    [
        (lambda: ka.ContentAttention("additive", window=2), "window=2"),
        (lambda: ka.MultiHeadAttention(2, 3, window=2), "window=2"),
        (
            lambda: ka.MultiHeadAttention(2, 4, position=ka.RotaryPositionEmbedding()),
            "position=<Rotary",
        ),
        (lambda: layers.MultiHeadAttention(2, 3, sliding_window=2), "sliding_window=2"),
        (lambda: ka.ContentAttention(ka.DotScore() + ka.ALiBiScore()), "score=<SumScore"),
        (
            lambda: ka.ContentAttention(
                ka.AdditiveScore() + ka.ALiBiScore([1.0]) + ka.LocationScore(9)
            ),
            "score=<SumScore",
        ),
        (
            lambda: ka.ContentAttention(ka.DotScore() + (ka.DotScore() + ka.ALiBiScore())),
            "score=<SumScore",
        ),
        (lambda: ka.LocalAttention(2, ka.DotScore() + ka.ALiBiScore()), "score=<SumScore"),
    ],
)
@pytest.mark.parametrize("settings", SETTINGS)
def test_rejects_an_attention_that_reads_positions(attention, received, settings):
    with pytest.raises(ValueError, match=f"Attention` reads at which step .*{received}"):
        ka.AttentionDecoder(layers.GRUCell(7), attention(), **SETTINGS[settings])


class Halved(ka.ContentAttention):
    """Has a `call` of its own, which the `step` of its parent knows nothing of."""

    def call(self, query, value, query_mask=None, value_mask=None, return_attention_scores=False):
        context, weights = super().call(
            query,
            value,
            query_mask=query_mask,
            value_mask=value_mask,
            return_attention_scores=True,
        )
        return 0.5 * context, 0.5 * weights


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_call_of_ones_own_is_heard_at_every_step(settings):
    layer = ka.AttentionDecoder(layers.GRUCell(7), Halved("additive"), **SETTINGS[settings])
    _, weights = layer(INPUTS, MEMORY, memory_mask=MEMORY_MASK, return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(weights).sum(-1), 0.5, rtol=1e-5)
    state = layer.initial_state(MEMORY, MEMORY_MASK)
    for t in range(3):
        _, weight, state = layer.step(INPUTS[:, t], state)
        np.testing.assert_allclose(weight, to_numpy(weights)[:, t], rtol=1e-5, atol=1e-6)


def test_a_predicted_window_step_by_step():
    attention = ka.LocalAttention(1, score="general")
    layer = ka.AttentionDecoder(layers.GRUCell(7), attention)
    _, weights = layer(INPUTS, MEMORY, memory_mask=MEMORY_MASK, return_attention_scores=True)
    _, weight, _ = layer.step(INPUTS[:, 0], layer.initial_state(MEMORY, MEMORY_MASK))
    np.testing.assert_allclose(weight, to_numpy(weights)[:, 0], rtol=1e-5, atol=1e-6)


def test_rejects_a_missing_memory():
    for arguments in ((INPUTS,), (INPUTS, None)):
        with pytest.raises(ValueError, match=r"called with a memory.*\(2, 3, 4\), memory=None"):
            _decoder()(*arguments)


def test_rejects_steps_before_it_is_built():
    with pytest.raises(ValueError, match="Build or call the layer 'decoder' before it decodes"):
        _decoder(name="decoder").initial_state(MEMORY)


def test_rejects_a_memory_to_decode_that_is_another_than_in_training():
    layer = _decoder()
    layer(INPUTS, MEMORY)
    for memory in (MEMORY[0], MEMORY[..., :5]):
        with pytest.raises(
            ValueError, match=rf"\(batch, steps, 6\).*shape={re.escape(str(memory.shape))}"
        ):
            layer.initial_state(memory)
    with pytest.raises(ValueError, match=r"`memory_mask` must have.*shape=\(2, 4\).*\(2, 5, 6\)"):
        layer.initial_state(MEMORY, MEMORY_MASK[:, 1:])
    with pytest.raises(ValueError, match=r"`state` must be what.*Received: list"):
        layer.step(INPUTS[:, 0], [np.zeros((2, 7))])
    with pytest.raises(ValueError, match=r"`state` must be what.*\['cell'\]"):
        layer.step(INPUTS[:, 0], {"cell": np.zeros((2, 7))})


@pytest.mark.parametrize("make", [ka.SelfAttention, ka.AttentionPooling, lambda: layers.Dense(3)])
def test_rejects_a_layer_that_is_not_called_with_query_and_value(make):
    layer = ka.AttentionDecoder(layers.GRUCell(7), make())
    with pytest.raises(
        ValueError, match="called with `query` and `value`.*Received: attention=<.*says: "
    ):
        layer(INPUTS, MEMORY)


def test_rejects_a_memory_without_steps():
    with pytest.raises(ValueError, match=r"`memory` must have the shape.*memory_shape=\(2, 6\)"):
        _decoder()(INPUTS, MEMORY[:, 0])


def test_rejects_a_state_that_does_not_fit():
    layer = _decoder(attention=ka.CoverageAttention(6))
    with pytest.raises(ValueError, match=r"cell's state, \[\(None, 7\)\].*shapes \[\(2, 6\)\]"):
        layer(INPUTS, MEMORY, np.ones((2, 6), "float32"))
    _, state = layer(INPUTS, MEMORY, return_state=True)
    assert sorted(state) == ["attention", "cell", "fed"]
    for part in state:
        few = {name: x for name, x in state.items() if name != part}
        with pytest.raises(
            ValueError, match=rf"dict of \['attention', 'cell', 'fed'\].*\{sorted(few)}"
        ):
            layer(INPUTS, MEMORY, few)
    with pytest.raises(ValueError, match=r"`initial_state\['fed'\]`.*\[\(2, 7\)\].*\[\(2, 8\)\]"):
        layer(INPUTS, MEMORY, state | {"fed": np.ones((2, 8))})
    with pytest.raises(ValueError, match=r"`initial_state\['attention'\]`.*\(2, 4\).*\(2, 5\)"):
        layer(INPUTS, MEMORY[:, 1:], state)
    with pytest.raises(ValueError, match=r"`initial_state\['cell'\]` must.*\(2, 7\).*shapes \[\]"):
        layer(INPUTS, MEMORY, state | {"cell": []})


def test_rejects_parts_of_another_precision():
    attention = ka.ContentAttention("additive", dtype="float64")
    layer = ka.AttentionDecoder(layers.GRUCell(7), attention)
    with pytest.raises(ValueError, match="decoder's dtype.*float64 there, float32 in the decoder"):
        layer(INPUTS, MEMORY)
