"""TransformerEncoderBlock."""

import gc

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.contract import Case, LayerContract


def _case(axes, *args, **kwargs):
    return Case(
        lambda **kw: ka.TransformerEncoderBlock(*args, **kwargs, **kw),
        tensors={"inputs": axes},
        weights="BHTT",
        masks={"mask": "inputs"},
        attention_mask="BHTT",
        is_causal=True,
        has_residual=True,
        has_norm=True,
    )


# As its config, so that each case makes a layer of its own, in the precision of its test.
ROTARY = {
    "class_name": "keras_attention>MultiHeadAttention",
    "config": {
        "num_heads": 8,
        "key_dim": 2,
        "num_key_value_heads": 2,
        "position": {"class_name": "keras_attention>RotaryPositionEmbedding", "config": {}},
    },
}


class TestContract(LayerContract):
    cases = {
        "post-norm": _case("BTH", 5, 8, activation="gelu"),
        "pre-norm, rotary in groups": _case("BTE", 5, attention=ROTARY, norm_first=True),
    }


def norm(x, gamma, beta, epsilon=1e-5):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def attend(query, value, weights, mask=None):
    """Section 3.2.2 of the paper with loops over examples and heads."""
    w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o = weights
    output = np.zeros((*query.shape[:2], w_o.shape[-1])) + b_o
    for b in range(len(query)):
        for head in range(w_q.shape[1]):
            q = query[b] @ w_q[:, head] + b_q[head]
            k = value[b] @ w_k[:, head] + b_k[head]
            v = value[b] @ w_v[:, head] + b_v[head]
            e = np.exp(q @ k.T / np.sqrt(q.shape[-1]))
            e = e if mask is None else e * mask
            output[b] += e / e.sum(-1, keepdims=True) @ v @ w_o[head]
    return output


def randomized(layer):
    rng = np.random.default_rng(5)
    for weight in layer.trainable_weights:
        weight.assign(weight + 0.3 * rng.normal(size=weight.shape))


def numbers(*layers):
    """The weights of each layer, in float64."""
    return [[w.astype("float64") for w in layer.get_weights()] for layer in layers]


@pytest.mark.parametrize("norm_first", [False, True])
def test_sections_3_1_and_3_3_of_vaswani_2017_and_3_1_of_xiong_2020(norm_first):
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    block = ka.TransformerEncoderBlock(7, num_heads=2, norm_first=norm_first)
    block(x)
    randomized(block)
    attention, (w_1, b_1), (w_2, b_2), norm_1, norm_2 = numbers(
        block.self_attention,
        block.hidden_dense,
        block.output_dense,
        block.attention_norm,
        block.feedforward_norm,
    )

    def feedforward(x):  # eq. 2
        return np.maximum(0, x @ w_1 + b_1) @ w_2 + b_2

    if norm_first:
        z = norm(x, *norm_1)
        y = x + attend(z, z, attention)
        expected = y + feedforward(norm(y, *norm_2))
    else:
        y = norm(x + attend(x, x, attention), *norm_1)
        expected = norm(y + feedforward(y), *norm_2)
    np.testing.assert_allclose(block(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "attention",
    [
        ka.ContentAttention("bilinear"),
        ka.MultiHeadAttention(4, 2, num_key_value_heads=1),
        ka.MultiHeadAttention(2, 4, position=ka.ALiBiScore()),
        keras.layers.MultiHeadAttention(2, 4),
    ],
    ids=["content", "multi-query", "alibi", "keras"],
)
def test_any_attention_drops_in(attention, tmp_path):
    inputs = keras.Input((None, 8))
    outputs, weights = ka.TransformerEncoderBlock(5, attention=attention)(
        inputs, return_attention_scores=True
    )
    model = keras.Model(inputs, [outputs, weights])
    x = np.random.default_rng(0).normal(size=(2, 3, 8)).astype("float32")
    output, weights = to_numpy(model(x))
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(loaded(x)[0]), output)


def test_masked_steps_come_out_as_zeros():
    x, mask = np.ones((1, 3, 4)), np.array([[True, True, False]])
    output = to_numpy(ka.TransformerEncoderBlock(8, num_heads=2)(x * [1, 2, 3, 5], mask=mask))
    np.testing.assert_array_equal(output[:, 2], 0)
    assert np.abs(output[:, :2]).max() > 0


def test_rejects_a_layer_of_another_block():
    attention, x = ka.MultiHeadAttention(2, 4), np.ones((2, 3, 8))
    first, second = (ka.TransformerEncoderBlock(5, attention=attention) for _ in range(2))
    first(x), first(x)
    with pytest.raises(ValueError, match="layer of its own.*call one block twice.*Encoder"):
        second(x)
    del first  # whose layer is free then
    gc.collect()
    assert second(x).shape == (2, 3, 8)


def test_a_block_called_twice_shares_its_weights_and_is_saved(tmp_path):
    inputs = keras.Input((3, 8))
    block = ka.TransformerEncoderBlock(5, attention=ka.MultiHeadAttention(2, 4))
    model = keras.Model(inputs, block(block(inputs)))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 3, 8)).astype("float32")
    assert len(loaded.weights) == len(model.weights) == 16
    np.testing.assert_array_equal(loaded(x), to_numpy(model(x)))


def test_dropout_differs_from_sublayer_to_sublayer_and_stops_outside_training():
    x = np.random.default_rng(0).normal(size=(2, 3, 8)).astype("float32")
    block = ka.TransformerEncoderBlock(5, num_heads=2, dropout=0.5, seed=1)
    np.testing.assert_array_equal(to_numpy(block(x)), to_numpy(block(x)))
    assert np.abs(to_numpy(block(x, training=True)) - to_numpy(block(x))).max() > 0.1


def test_fits_a_sequential_model_and_passes_its_mask_on():
    model = keras.Sequential(
        [
            keras.layers.Embedding(9, 4, mask_zero=True),
            ka.TransformerEncoderBlock(8, num_heads=2),
            ka.TransformerEncoderBlock(8, num_heads=2, norm_first=True),
            ka.AttentionPooling(),
        ]
    )
    short, padded = model(np.array([[3, 4]])), model(np.array([[3, 4, 0, 0]]))
    np.testing.assert_allclose(short, padded, rtol=1e-4, atol=1e-5)


def test_rejects_both_or_neither_of_heads_and_attention():
    with pytest.raises(ValueError, match="either `num_heads` or `attention`.*num_heads=None"):
        ka.TransformerEncoderBlock(8)
    with pytest.raises(ValueError, match="either `num_heads` or `attention`.*num_heads=2, att"):
        ka.TransformerEncoderBlock(8, num_heads=2, attention=ka.ContentAttention())


def test_rejects_what_is_not_called_with_query_and_value():
    for bad in (ka.SelfAttention(), "dot", keras.layers.Dense(3), keras.layers.Attention()):
        with pytest.raises(ValueError, match=r"`attention` must be a layer called with `\(query"):
            ka.TransformerEncoderBlock(8, attention=bad)(np.ones((2, 3, 3)))


def test_rejects_heads_that_do_not_divide_the_features():
    with pytest.raises(ValueError, match=r"must divide.*num_heads=3, inputs_shape=\(2, 5, 4\)"):
        ka.TransformerEncoderBlock(8, num_heads=3)(np.ones((2, 5, 4)))


def test_rejects_attention_of_another_size():
    block = ka.TransformerEncoderBlock(8, attention=ka.MultiHeadAttention(2, 3, output_shape=6))
    with pytest.raises(ValueError, match=r"inputs_shape=\(2, 5, 4\), output of .*\(2, 5, 6\)"):
        block(np.ones((2, 5, 4)))


@pytest.mark.parametrize("name", ["intermediate_dim", "num_heads"])
def test_rejects_bad_sizes(name):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer.* {name}=0"):
        ka.TransformerEncoderBlock(**{"intermediate_dim": 8, "num_heads": 2, name: 0})


def test_rejects_bad_epsilon():
    with pytest.raises(ValueError, match="`epsilon` must be a number above 0.* epsilon=0"):
        ka.TransformerEncoderBlock(8, num_heads=2, epsilon=0)
