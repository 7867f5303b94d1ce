"""TransformerDecoderBlock."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy
from tests.contract import Case, LayerContract
from tests.layers.test_transformer_encoder_block import attend, norm, numbers, randomized


class TestContract(LayerContract):
    cases = {
        "with a memory": Case(
            lambda **kw: ka.TransformerDecoderBlock(5, 8, **kw),
            tensors={"inputs": "BTH", "memory": "BSD"},
            weights={"inputs": "BHTT", "memory": "BHTS"},
            masks={"inputs_mask": "inputs", "memory_mask": "memory"},
            has_residual=True,
            has_norm=True,
        ),
        "without": Case(
            lambda **kw: ka.TransformerDecoderBlock(5, 8, norm_first=True, **kw),
            tensors={"inputs": "BTH"},
            weights="BHTT",
            masks={"mask": "inputs"},
            attention_mask="BHTT",
            has_residual=True,
            has_norm=True,
        ),
    }


@pytest.mark.parametrize("norm_first", [False, True])
def test_sections_3_1_to_3_3_of_vaswani_2017(norm_first):
    rng = np.random.default_rng(0)
    x, memory = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 6))
    block = ka.TransformerDecoderBlock(7, num_heads=2, norm_first=norm_first)
    block(x, memory)
    randomized(block)
    over_self, over_memory, (w_1, b_1), (w_2, b_2), norm_1, norm_2, norm_3 = numbers(
        block.self_attention,
        block.cross_attention,
        block.hidden_dense,
        block.output_dense,
        block.attention_norm,
        block.memory_norm,
        block.feedforward_norm,
    )
    past = np.tri(3)

    def feedforward(x):  # eq. 2
        return np.maximum(0, x @ w_1 + b_1) @ w_2 + b_2

    if norm_first:
        y = norm(x, *norm_1)
        y = x + attend(y, y, over_self, past)
        z = y + attend(norm(y, *norm_2), memory, over_memory)
        expected = z + feedforward(norm(z, *norm_3))
    else:
        y = norm(x + attend(x, x, over_self, past), *norm_1)
        z = norm(y + attend(y, memory, over_memory), *norm_2)
        expected = norm(z + feedforward(z), *norm_3)
    np.testing.assert_allclose(block(x, memory), expected, rtol=1e-4, atol=1e-4)


def _attention(position):
    positions = {
        "rotary": ka.RotaryPositionEmbedding,
        "alibi": ka.ALiBiScore,
        "relative": lambda: ka.RelativePositionScore(max_distance=3),
    }
    return ka.MultiHeadAttention(4, 2, num_key_value_heads=2, position=positions[position]())


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("position", ["none", "rotary", "alibi", "relative"])
def test_a_cached_step_equals_the_full_pass(norm_first, position):
    rng = np.random.default_rng(0)
    x, memory = rng.normal(size=(2, 11, 8)), rng.normal(size=(2, 5, 6))
    x, memory = x.astype("float32"), memory.astype("float32")
    masks = {"inputs_mask": np.ones((2, 11), "bool"), "memory_mask": np.ones((2, 5), "bool")}
    masks["inputs_mask"][1, :2] = masks["memory_mask"][0, 3:] = False  # padded at the left
    attention = None if position == "none" else _attention(position)
    block = ka.TransformerDecoderBlock(7, 2, attention=attention, norm_first=norm_first)
    block(x, memory)
    randomized(block)
    expected, weights = to_numpy(block(x, memory, **masks, return_attention_scores=True))

    cache = block.initial_cache(2, 13, memory, masks["memory_mask"])
    got, cache = block.step(x[:, :3], cache, 0, masks["inputs_mask"][:, :3])
    np.testing.assert_allclose(to_numpy(got), expected[:, :3], rtol=1e-5, atol=1e-5)
    for t in range(3, 11):
        got, seen, cache = block.step(
            x[:, t : t + 1], cache, keras.ops.convert_to_tensor(t), return_attention_scores=True
        )
        np.testing.assert_allclose(to_numpy(got)[:, 0], expected[:, t], rtol=1e-5, atol=1e-5)
        for name, axes in (("inputs", np.s_[:, :, 0, :11]), ("memory", np.s_[:, :, 0])):
            wanted = weights[name][:, :, t]
            np.testing.assert_allclose(to_numpy(seen[name])[axes], wanted, rtol=1e-5, atol=1e-5)
    assert keras.tree.map_structure(lambda x: tuple(x.shape), cache["memory"]) == {
        "key": (2, 2, 5, 4),
        "value": (2, 2, 5, 4),
        "mask": (2, 5),
    }


def test_a_language_model_steps_without_a_memory():
    x = np.random.default_rng(0).normal(size=(2, 4, 8)).astype("float32")
    block = ka.TransformerDecoderBlock(7, num_heads=2)
    expected = to_numpy(block(x))
    cache = block.initial_cache(2, 4)
    assert list(cache) == ["inputs"]
    for t in range(4):
        output, cache = block.step(x[:, t : t + 1], cache, t)
        np.testing.assert_allclose(to_numpy(output)[:, 0], expected[:, t], rtol=1e-5, atol=1e-5)


def test_cached_steps_of_packed_sequences():
    x, ids = np.random.default_rng(0).normal(size=(1, 4, 8)), np.array([[4, 4, 6, 6]])
    block = ka.TransformerDecoderBlock(7, num_heads=2)
    expected, cache = to_numpy(block(x, segment_ids=ids)), block.initial_cache(1, 4)
    for t in range(4):
        output, cache = block.step(x[:, t : t + 1], cache, t, segment_ids=ids[:, t : t + 1])
        np.testing.assert_allclose(to_numpy(output)[:, 0], expected[:, t], rtol=1e-5, atol=1e-5)


def test_no_step_sees_a_later_one():
    x = np.random.default_rng(0).normal(size=(2, 4, 8)).astype("float32")
    block = ka.TransformerDecoderBlock(7, num_heads=2)
    before, changed = to_numpy(block(x)), x.copy()
    changed[:, 2] += 1
    after = to_numpy(block(changed))
    np.testing.assert_array_equal(after[:, :2], before[:, :2])
    assert (np.abs(after - before)[:, 2:].max((0, 2)) > 1e-3).all()


def test_an_empty_memory_adds_the_bias_alone():
    rng = np.random.default_rng(0)
    x, memory = rng.normal(size=(1, 3, 4)), rng.normal(size=(1, 5, 6))
    block = ka.TransformerDecoderBlock(7, num_heads=2, norm_first=True)
    empty = np.zeros((1, 5), "bool")
    first = block(x, memory, memory_mask=empty)
    second, weights = block(x, memory * np.nan, memory_mask=empty, return_attention_scores=True)
    np.testing.assert_array_equal(to_numpy(first), to_numpy(second))
    np.testing.assert_array_equal(to_numpy(weights["memory"]), 0)
    assert np.abs(to_numpy(first) - to_numpy(block(x, memory))).max() > 1e-3


def test_both_attention_layers_can_be_given(tmp_path):
    inputs, memory = keras.Input((None, 4)), keras.Input((None, 6))
    block = ka.TransformerDecoderBlock(
        5,
        attention=ka.ContentAttention("bilinear"),
        memory_attention=ka.MultiHeadAttention(2, 3, value_dim=5),
    )
    model = keras.Model([inputs, memory], block(inputs, memory))
    x = [np.ones((2, 3, 4), "float32"), np.ones((2, 5, 6), "float32")]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))


def test_rejects_a_memory_that_is_missing_or_new():
    x, memory = np.ones((2, 3, 4)), np.ones((2, 5, 6))
    with_memory, without = (ka.TransformerDecoderBlock(7, num_heads=2) for _ in range(2))
    with_memory(x, memory), without(x)
    with pytest.raises(ValueError, match="built with a memory and is now called without one"):
        with_memory(x)
    with pytest.raises(ValueError, match="built with a memory and is now called without one"):
        with_memory.initial_cache(2, 5)
    with pytest.raises(ValueError, match="built without a memory and is now called with one"):
        without(x, memory)


def test_rejects_attention_layers_that_do_not_fit_the_call():
    x, memory = np.ones((2, 3, 4)), np.ones((2, 5, 4))
    attention = ka.ContentAttention()
    with pytest.raises(ValueError, match=r"needs `num_heads` or `memory_attention`.*\(2, 5, 4\)"):
        ka.TransformerDecoderBlock(7, attention=attention)(x, memory)
    with pytest.raises(ValueError, match="must be called with a memory. Received: memory=None"):
        ka.TransformerDecoderBlock(7, 2, memory_attention=attention)(x)
    with pytest.raises(ValueError, match="no use where both.*num_heads=2"):
        ka.TransformerDecoderBlock(7, 2, attention=attention, memory_attention=attention)
    wanted = r"called with `\(query, value, use_causal_mask\).*MonotonicAttention"
    with pytest.raises(ValueError, match=wanted):
        ka.TransformerDecoderBlock(7, attention=ka.MonotonicAttention())(x)
    shared = ka.MultiHeadAttention(2, 2)
    with pytest.raises(ValueError, match="`memory_attention` must be a layer of its own"):
        ka.TransformerDecoderBlock(7, attention=shared, memory_attention=shared)(x, memory)
    with pytest.raises(ValueError, match="either `num_heads` or `attention`"):
        ka.TransformerDecoderBlock(7)


def test_rejects_a_cache_for_attention_that_has_none():
    block = ka.TransformerDecoderBlock(7, attention=ka.ContentAttention())
    block(np.ones((2, 3, 4)))
    with pytest.raises(ValueError, match="needs attention layers that have one.*ContentAttention"):
        block.initial_cache(2, 5)


def test_rejects_steps_before_it_is_built():
    with pytest.raises(ValueError, match="Build or call the block 'decoder' before"):
        ka.TransformerDecoderBlock(7, 2, name="decoder").initial_cache(2, 5)
