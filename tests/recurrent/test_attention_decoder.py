"""AttentionDecoder."""

import inspect
import re

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_attention as ka
from tests.backend import needs_tensorflow, run, to_numpy
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


def _decoder(cell=None, score="additive", **kwargs):
    return ka.AttentionDecoder(cell or layers.GRUCell(7), ka.ContentAttention(score), **kwargs)


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
    for a, b in zip(keras.tree.flatten(last), keras.tree.flatten(state["cell"]), strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-5, atol=1e-6)


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
    np.testing.assert_allclose(state[0][1], last[0][0], rtol=1e-5, atol=1e-6)


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
        states.append(to_numpy(state[0])[0, :3])
        assert set(np.unique(states[-1])) <= {0.0, 2.0}
    assert len({tuple(s) for s in states}) > 1
    _, state = layer(x, MEMORY[:1], return_state=True)
    np.testing.assert_array_equal(to_numpy(state[0])[0, :3], 1)  # and none is left behind
    assert cell.dropout == 0.5


def test_a_cell_with_dropout_searches_and_trains_afterwards():
    cell = layers.SimpleRNNCell(7, dropout=0.5, recurrent_dropout=0.5, seed=1)
    model, decoder, step = _translator(cell)
    words, again = (
        to_numpy(ka.greedy_search(step, 1, decoder.initial_state(MEMORY), max_length=4)[0])
        for _ in range(2)
    )
    np.testing.assert_array_equal(words, again)
    model.compile("sgd", "mse", jit_compile=True)
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
    np.testing.assert_array_equal(current[:, -1], np.concatenate(last, -1))


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
    model.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"], jit_compile=True)
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
    "attention",
    [
        lambda: ka.LocalAttention(2, center="monotonic"),
        lambda: ka.ContentAttention(ka.DotScore() + ka.ALiBiScore()),
    ],
)
def test_rejects_an_attention_that_reads_places(attention):
    with pytest.raises(ValueError, match="Attention` reads at which step its query stands"):
        ka.AttentionDecoder(layers.GRUCell(7), attention())


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
    with pytest.raises(ValueError, match=r"`state` must be what.*\['cell'\]"):
        layer.step(INPUTS[:, 0], {"cell": np.zeros((2, 7))})


@pytest.mark.parametrize("make", [ka.SelfAttention, ka.AttentionPooling, lambda: layers.Dense(3)])
def test_rejects_a_layer_that_is_not_called_with_query_and_value(make):
    with pytest.raises(ValueError, match=r"called with `\(query, value\)`.*called with \("):
        ka.AttentionDecoder(layers.GRUCell(7), make())


def test_rejects_a_memory_without_steps():
    with pytest.raises(ValueError, match=r"`memory` must have the shape.*memory_shape=\(2, 6\)"):
        _decoder()(INPUTS, MEMORY[:, 0])


def test_rejects_a_state_that_does_not_fit():
    with pytest.raises(ValueError, match=r"cell's state, \[\(None, 7\)\].*shapes \[\(2, 6\)\]"):
        _decoder()(INPUTS, MEMORY, np.ones((2, 6), "float32"))


def test_rejects_parts_of_another_precision():
    attention = ka.ContentAttention("additive", dtype="float64")
    layer = ka.AttentionDecoder(layers.GRUCell(7), attention)
    with pytest.raises(ValueError, match="decoder's dtype.*float64 there, float32 in the decoder"):
        layer(INPUTS, MEMORY)
