"""MultiHeadAttention."""

import dataclasses
import inspect

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import BACKEND, to_numpy
from tests.contract import Case, InBlocks, LayerContract


def _case(sees_all=True, **kwargs):
    return Case(
        lambda **kw: ka.MultiHeadAttention(**{"num_heads": 8, "key_dim": 3, **kwargs, **kw}),
        tensors={"query": "BTD", "value": "BSE", "key": "BSF"},
        weights="BHTS",
        masks={"query_mask": "query", "value_mask": "value", "key_mask": "key"},
        attention_mask="BHTS",
        is_causal=True,
        use_output_bias=True,
        sees_all=sees_all,
    )


def _position_case(position, **kwargs):
    # A layer of its own for each test, in the precision of that test.
    case = _case(**kwargs)
    return dataclasses.replace(case, make=lambda **kw: case.make(position=position(), **kw))


class TestContract(LayerContract):
    cases = {
        "heads": _case(value_dim=5),
        "groups": _case(num_key_value_heads=2, output_shape=(2, 9)),
        "multi-query": _case(num_key_value_heads=1, normalizer="entmax15"),
        "rotary": _position_case(ka.RotaryPositionEmbedding, key_dim=4, num_key_value_heads=2),
        "alibi": _position_case(ka.ALiBiScore, num_key_value_heads=4),
        "relative": _position_case(lambda: ka.RelativePositionScore(max_distance=2)),
        "window": _case(num_key_value_heads=2, sees_all=False, window=2),
    }


class TestContractInBlocks(InBlocks, LayerContract):
    cases = {
        "groups": _case(num_key_value_heads=2),
        "relative": _position_case(lambda: ka.RelativePositionScore(max_distance=2)),
        "window": _case(num_key_value_heads=2, sees_all=False, window=2),
    }


POSITIONS = {
    "none": lambda: None,
    "rotary": ka.RotaryPositionEmbedding,
    "alibi": ka.ALiBiScore,
    "relative": lambda: ka.RelativePositionScore(max_distance=3),
    "buckets": lambda: ka.RelativePositionScore(
        max_distance=9, num_buckets=6, use_causal_buckets=True
    ),
}


def _pair(**kwargs):
    """Keras' layer and ours, with the same weights, and inputs for both."""
    rng = np.random.default_rng(0)
    query, value = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 6))
    # On JAX, Keras' layer takes no value_dim of its own.
    sizes = {"num_heads": 2, "key_dim": 3, "value_dim": 7 if BACKEND == "tensorflow" else 3}
    theirs = keras.layers.MultiHeadAttention(**sizes, **kwargs)
    ours = ka.MultiHeadAttention(**sizes, **kwargs)
    theirs(query, value), ours(query, value)
    for weight in theirs.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    ours.set_weights(theirs.get_weights())
    return theirs, ours, query.astype("float32"), value.astype("float32")


MASKS = {
    "none": {},
    "attention mask": {"attention_mask": np.random.default_rng(1).random((2, 3, 5)) > 0.3},
    "mask per head": {"attention_mask": np.random.default_rng(2).random((2, 2, 3, 5)) > 0.3},
    "value mask": {"value_mask": np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], "bool")},
    "both": {
        "value_mask": np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], "bool"),
        "attention_mask": np.array([[1, 0, 1, 1, 1], [1, 1, 1, 1, 0], [0, 1, 1, 0, 0]], "bool"),
    },
}


@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS.keys())
@pytest.mark.parametrize("use_bias", [True, False])
def test_keras_weights_give_keras_cross_attention(masks, use_bias):
    theirs, ours, query, value = _pair(use_bias=use_bias)
    expected = theirs(query, value, **masks, return_attention_scores=True)
    got = ours(query, value, **masks, return_attention_scores=True)
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours(query, value, **masks), got[0], rtol=1e-5, atol=1e-5)


def test_keras_weights_give_keras_causal_self_attention():
    value = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
    theirs = keras.layers.MultiHeadAttention(num_heads=2, key_dim=3)
    ours = ka.MultiHeadAttention(num_heads=2, key_dim=3)
    expected = theirs(value, value, use_causal_mask=True)
    ours(value, value)
    ours.set_weights(theirs.get_weights())
    got = ours(value, value, use_causal_mask=True)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_keras_weights_give_keras_output_with_implicit_masks_and_unknown_lengths():
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 6, mask_zero=True)(ids)
    layers = (
        keras.layers.MultiHeadAttention(2, 3, name="attention"),
        ka.MultiHeadAttention(2, 3, name="attention"),
    )
    theirs, ours = (keras.Model(ids, layer(x, x)) for layer in layers)
    ours.set_weights(theirs.get_weights())
    for batch in ([[1, 2, 3]], [[1, 2, 3, 4, 5], [4, 5, 0, 0, 0]]):
        batch = np.array(batch)
        kept = batch > 0
        got, expected = to_numpy([ours(batch), theirs(batch)])
        np.testing.assert_allclose(got[kept], expected[kept], rtol=1e-5, atol=1e-5)


def test_differs_from_keras_on_queries_with_nothing_to_attend_to():
    theirs, ours, query, value = _pair()
    mask = np.ones((2, 3, 5), "bool")
    mask[0, 1] = False
    expected, got = to_numpy([layer(query, value, attention_mask=mask) for layer in (theirs, ours)])
    others = np.ones((2, 3), "bool")
    others[0, 1] = False
    np.testing.assert_allclose(got[others], expected[others], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got[0, 1], to_numpy(ours.output_dense.bias), atol=1e-6)
    assert np.abs(expected[0, 1] - got[0, 1]).max() > 0.01, "Keras no longer averages the padding"


def test_differs_from_keras_on_causal_masks_of_unequal_lengths():
    theirs, ours, query, value = _pair()
    kwargs = {"use_causal_mask": True, "return_attention_scores": True}
    _, expected = theirs(query, value, **kwargs)
    _, got = ours(query, value, **kwargs)
    np.testing.assert_array_equal(to_numpy(expected)[0, 0] > 0, np.tri(3, 5, 0, "bool"))
    np.testing.assert_array_equal(to_numpy(got)[0, 0] > 0, np.tri(3, 5, 2, "bool"))


def test_section_3_2_2_of_vaswani_2017_with_groups_of_ainslie_2023():
    rng = np.random.default_rng(0)
    query, value = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 6))
    layer = ka.MultiHeadAttention(num_heads=4, key_dim=3, num_key_value_heads=2)
    layer(query, value)
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o = [w.astype("float64") for w in layer.get_weights()]
    expected = np.zeros((2, 3, 4)) + b_o
    for b in range(2):
        for head in range(4):
            group = head // 2  # consecutive heads share
            q = query[b] @ w_q[:, head] + b_q[head]
            k = value[b] @ w_k[:, group] + b_k[group]
            v = value[b] @ w_v[:, group] + b_v[group]
            e = np.exp(q @ k.T / np.sqrt(3))
            expected[b] += e / e.sum(-1, keepdims=True) @ v @ w_o[head]
    np.testing.assert_allclose(layer(query, value), expected, rtol=1e-4, atol=1e-4)


def _self_attention(position, x, **kwargs):
    """A layer with random weights, by the name of its position, built for `x`."""
    layer = ka.MultiHeadAttention(4, 6, position=POSITIONS[position](), **kwargs)
    layer(x, x)
    rng = np.random.default_rng(5)
    for weight in layer.trainable_weights:
        weight.assign(0.3 * rng.normal(size=weight.shape))
    return layer


def _turned(x, step):
    """Eq. 34 of Su et al., 2021, for one vector: pairs of features turn by m theta_i."""
    theta = 10000.0 ** (-2 * np.arange(len(x) // 2) / len(x))  # eq. 15
    turned = np.zeros_like(x)
    for i in range(len(x) // 2):
        cos, sin = np.cos(step * theta[i]), np.sin(step * theta[i])
        turned[2 * i] = x[2 * i] * cos - x[2 * i + 1] * sin
        turned[2 * i + 1] = x[2 * i + 1] * cos + x[2 * i] * sin
    return turned


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("position", ["rotary", "alibi", "relative"])
def test_equations_16_of_su_2021_and_5_of_shaw_2018_and_section_3_of_press_2022(position, groups):
    x = np.random.default_rng(0).normal(size=(2, 5, 8))
    layer = _self_attention(position, x, num_key_value_heads=groups)
    _, got = layer(x, x, return_attention_scores=True)
    w_q, b_q, w_k, b_k = [w.value for w in layer.query_dense.weights + layer.key_dense.weights]
    w_q, b_q, w_k, b_k = [w.astype("float64") for w in to_numpy([w_q, b_q, w_k, b_k])]
    expected = np.zeros((2, 4, 5, 5))
    for b, head, i, j in np.ndindex(*expected.shape):
        group = head // (4 // groups)
        q = x[b, i] @ w_q[:, head] + b_q[head]
        k = x[b, j] @ w_k[:, group] + b_k[group]
        if position == "rotary":
            score = _turned(q, i) @ _turned(k, j) / np.sqrt(6)
        elif position == "alibi":  # slopes of 4 heads: a geometric sequence from 2^(-8/4) on
            score = q @ k / np.sqrt(6) - 2.0 ** (-2 * (head + 1)) * abs(i - j)
        else:
            a = to_numpy(layer.position.distance_kernel.value)[np.clip(j - i, -3, 3) + 3]
            score = (q @ k + q @ a) / np.sqrt(6)
        expected[b, head, i, j] = score
    expected = np.exp(expected) / np.exp(expected).sum(-1, keepdims=True)
    np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("position", POSITIONS)
def test_only_positions_tell_a_sequence_from_its_permutation(position):
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")
    layer, order = _self_attention(position, x), [3, 0, 4, 1, 2]
    output, permuted = to_numpy([layer(x, x), layer(x[:, order], x[:, order])])
    difference = np.abs(output[:, order] - permuted).max()
    assert difference < 1e-5 if position == "none" else difference > 1e-3


@pytest.mark.parametrize("position", ["rotary", "alibi", "relative", "buckets"])
def test_queries_are_aligned_with_the_last_keys(position):
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")
    layer = _self_attention(position, x)
    every, last = layer(x, x, use_causal_mask=True), layer(x[:, 3:], x, use_causal_mask=True)
    np.testing.assert_allclose(last, to_numpy(every)[:, 3:], rtol=1e-5, atol=1e-5)


def test_keras_weights_fit_where_positions_have_none():
    x = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
    theirs = keras.layers.MultiHeadAttention(2, 4)
    expected = theirs(x, x)
    for position in ("none", "alibi", "rotary"):
        ours = ka.MultiHeadAttention(2, 4, position=POSITIONS[position]())
        ours(x, x)
        ours.set_weights(theirs.get_weights())
        same = np.allclose(ours(x, x), expected, rtol=1e-5, atol=1e-5)
        assert same == (position == "none")


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_quantizes_and_takes_lora():
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")
    layer = ka.MultiHeadAttention(num_heads=2, key_dim=4)
    before = to_numpy(layer(x, x))
    layer.query_dense.enable_lora(2)
    np.testing.assert_allclose(layer(x, x), before, rtol=1e-5, atol=1e-6)
    model = keras.Sequential([keras.Input((5, 8)), ka.SelfAttention()])
    before = to_numpy(model(x))
    model.quantize("int8")
    assert any(keras.backend.standardize_dtype(w.dtype) == "int8" for w in model.weights)
    np.testing.assert_allclose(model(x), before, atol=0.1)


@pytest.mark.parametrize("name", ["num_heads", "key_dim", "value_dim", "num_key_value_heads"])
@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "2"])
def test_rejects_bad_sizes(name, bad):
    kwargs = {"num_heads": 2, "key_dim": 3, name: bad}
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer.* {name}={bad!r}"):
        ka.MultiHeadAttention(**kwargs)


def test_rejects_groups_that_do_not_divide_the_heads():
    with pytest.raises(ValueError, match="divide `num_heads`.*num_key_value_heads=2, num_heads=3"):
        ka.MultiHeadAttention(num_heads=3, key_dim=2, num_key_value_heads=2)


def test_rejects_bad_output_shape():
    with pytest.raises(ValueError, match="`output_shape` must"):
        ka.MultiHeadAttention(num_heads=3, key_dim=2, output_shape=(0,))


@pytest.mark.parametrize("bad", ["rotary", 1, keras.layers.Dense(2)])
def test_rejects_bad_position(bad):
    with pytest.raises(ValueError, match="`position` must be a `RotaryPositionEmbedding`.*positio"):
        ka.MultiHeadAttention(num_heads=3, key_dim=2, position=bad)


def test_rejects_rotary_heads_of_an_odd_size():
    with pytest.raises(ValueError, match="`key_dim` must be even. Received: key_dim=3"):
        ka.MultiHeadAttention(num_heads=3, key_dim=3, position=ka.RotaryPositionEmbedding())


def test_the_arguments_of_keras_have_their_names_and_places():
    theirs = list(inspect.signature(keras.layers.MultiHeadAttention.__init__).parameters)
    ours = inspect.signature(ka.MultiHeadAttention.__init__).parameters
    theirs.remove("kwargs")
    if BACKEND != "torch" and keras.__version__ >= "3.15":
        assert list(ours)[: len(theirs)] == theirs
    by_position = ka.MultiHeadAttention(2, 4, 5, 0.1, False, 6)
    assert by_position.dropout == 0.1 and not by_position.use_bias
    assert by_position.step_shape == (6,) and by_position.value_dim == 5


@pytest.mark.parametrize(
    "options",
    [
        {"use_gate": True},
        {"use_gate": True, "use_bias": False},
        {"sliding_window": 2},
        {"sliding_window": 3, "use_causal_mask": True},
        {"flash_attention": False, "attention_axes": (1,)},
    ],
)
def test_keras_options_give_keras_numbers(options):
    options = dict(options)
    call = {"use_causal_mask": options.pop("use_causal_mask", False)}
    x = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
    theirs, ours = (
        cls(2, 4, **options) for cls in (keras.layers.MultiHeadAttention, ka.MultiHeadAttention)
    )
    theirs(x, x), ours(x, x)
    rng = np.random.default_rng(1)
    weights = [0.4 * rng.normal(size=w.shape) for w in theirs.weights]
    theirs.set_weights(weights), ours.set_weights(weights)
    np.testing.assert_allclose(ours(x, x, **call), theirs(x, x, **call), rtol=1e-4, atol=1e-5)
    again = type(ours).from_config(ours.get_config())
    again(x, x)
    again.set_weights(weights)
    np.testing.assert_array_equal(again(x, x, **call), to_numpy(ours(x, x, **call)))


@pytest.mark.parametrize("groups", [None, 1])
def test_a_gate_counts_in_a_cached_step(groups):
    x = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
    layer = ka.MultiHeadAttention(2, 4, use_gate=True, num_key_value_heads=groups)
    expected = layer(x, x, use_causal_mask=True)
    got, _ = layer.step(x, layer.initial_cache(2, 5), 0)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_activity_regularizer_is_that_of_the_projections():
    x = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
    theirs, ours = (
        cls(2, 4, activity_regularizer="l2")
        for cls in (keras.layers.MultiHeadAttention, ka.MultiHeadAttention)
    )
    theirs(x, x), ours(x, x)
    ours.set_weights(theirs.get_weights())
    theirs(x, x), ours(x, x)
    np.testing.assert_allclose(
        sum(map(to_numpy, ours.losses)), sum(map(to_numpy, theirs.losses)), rtol=1e-4
    )


@pytest.mark.parametrize("steps", [2, 3, 5])
@pytest.mark.parametrize("use_gate", [False, True])
def test_a_bias_is_added_to_its_head_whatever_the_sizes(steps, use_gate):
    # Keras takes a bias (H, 1) for one of channels that come first, where there are H steps.
    x = np.random.default_rng(steps).normal(size=(2, steps, 3)).astype("float32")
    layer = ka.MultiHeadAttention(2, 1, use_gate=use_gate, output_shape=(2, 1))
    layer(x, x)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    w = {"/".join(v.path.split("/")[-2:]): to_numpy(v.value) for v in layer.weights}

    def project(name):
        heads = np.einsum("btd,dhk->bhtk", x, w[f"{name}/kernel"])
        return heads + w[f"{name}/bias"][:, None]

    scores = project("query") @ np.swapaxes(project("key"), -1, -2)
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    context = weights @ project("value")
    if use_gate:
        context = context / (1 + np.exp(-project("gate")))
    expected = np.einsum("bhtk,hkde->btde", context, w["attention_output/kernel"])
    expected = expected + w["attention_output/bias"]
    np.testing.assert_allclose(layer(x, x), expected, rtol=1e-4, atol=1e-5)
    layer.query_dense.quantize("int8")
    np.testing.assert_allclose(layer(x, x), expected, atol=0.2)


def test_rejects_two_windows_and_other_axes():
    with pytest.raises(ValueError, match="Keras' name for `window`.*sliding_window=2, window=3"):
        ka.MultiHeadAttention(2, 4, sliding_window=2, window=3)
    with pytest.raises(ValueError, match="`sliding_window` must be a positive integer"):
        ka.MultiHeadAttention(2, 4, sliding_window=0)
    with pytest.raises(ValueError, match=r"Reshape`. Received: attention_axes=\(1, 2\)"):
        ka.MultiHeadAttention(2, 4, attention_axes=(1, 2))
