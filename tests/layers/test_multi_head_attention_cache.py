"""MultiHeadAttention, step by step with a cache."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from tests.backend import BACKEND, needs_tensorflow, to_numpy

POSITIONS = {
    "plain": lambda: None,
    "rotary": ka.RotaryPositionEmbedding,
    "alibi": ka.ALiBiScore,
    "relative": lambda: ka.RelativePositionScore(max_distance=3),
    "buckets": lambda: ka.RelativePositionScore(
        max_distance=9, num_buckets=6, use_causal_buckets=True
    ),
}


def _layer(x, position="plain", **kwargs):
    layer = ka.MultiHeadAttention(4, 6, value_dim=3, position=POSITIONS[position](), **kwargs)
    layer(x, x)
    rng = np.random.default_rng(5)
    for weight in layer.trainable_weights:
        weight.assign(0.3 * rng.normal(size=weight.shape))
    return layer


def _inputs(steps=12):
    return np.random.default_rng(0).normal(size=(2, steps, 8)).astype("float32")


@pytest.mark.parametrize("groups", [4, 2, 1])
@pytest.mark.parametrize("position", POSITIONS)
def test_a_cached_step_equals_the_full_pass(position, groups):
    x, mask = _inputs(), np.ones((2, 12), "bool")
    mask[0, :3] = False  # prompts of 1 and of 4 steps, padded at the left
    x[0, :2] = np.nan
    layer = _layer(np.nan_to_num(x), position, num_key_value_heads=groups)
    expected, weights = to_numpy(
        layer(
            x,
            x,
            query_mask=mask,
            value_mask=mask,
            use_causal_mask=True,
            return_attention_scores=True,
        )
    )
    cache = layer.initial_cache(2, 15)
    output, cache = layer.step(x[:, :4], cache, 0, mask[:, :4])
    np.testing.assert_allclose(to_numpy(output), expected[:, :4], rtol=1e-5, atol=1e-5)
    for t in range(4, 12):
        index = t if t % 2 else ops.convert_to_tensor(t, "int32")
        output, seen, cache = layer.step(
            x[:, t : t + 1], cache, index, return_attention_scores=True
        )
        seen = to_numpy(seen)
        np.testing.assert_allclose(to_numpy(output)[:, 0], expected[:, t], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(seen[:, :, 0, :12], weights[:, :, t], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(seen[..., t + 1 :], 0)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("groups", [4, 2])
def test_cached_steps_of_packed_sequences(groups, window):
    x, ids = _inputs(), np.array([[1] * 5 + [2] * 7, [0] * 8 + [5] * 4])
    layer = _layer(x, "rotary", num_key_value_heads=groups, window=window)
    expected = to_numpy(layer(x, x, segment_ids=ids, use_causal_mask=True))
    cache = layer.initial_cache(2, 13)
    assert "segment_ids" not in cache
    output, cache = layer.step(x[:, :6], cache, 0, segment_ids=ids[:, :6])
    np.testing.assert_allclose(to_numpy(output), expected[:, :6], rtol=1e-5, atol=1e-5)
    for t in range(6, 12):
        index, of_step = ops.convert_to_tensor(t, "int32"), ids[:, t : t + 1]
        output, cache = layer.step(x[:, t : t + 1], cache, index, segment_ids=of_step)
        np.testing.assert_allclose(to_numpy(output)[:, 0], expected[:, t], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(to_numpy(cache["segment_ids"])[:, :12], ids)
    with pytest.raises(ValueError, match="each step needs them"):
        layer.step(x[:, :1], cache, 12)


def test_a_memory_has_no_segments():
    x = _inputs(3)
    layer = ka.MultiHeadAttention(4, 6)
    layer(x, x)
    with pytest.raises(ValueError, match="index=None"):
        layer.step(x, layer.memory_cache(x), segment_ids=np.zeros((2, 3), "int32"))


def test_a_memory_is_projected_once():
    x, memory = _inputs(3), np.random.default_rng(1).normal(size=(2, 5, 7)).astype("float32")
    mask = np.array([[1, 1, 0, 0, 1], [1, 1, 1, 1, 1]], "bool")
    memory[0, 2] = np.nan
    layer = ka.MultiHeadAttention(4, 6, num_key_value_heads=2)
    expected = to_numpy(layer(x, memory, value_mask=mask))
    cache = layer.memory_cache(memory, value_mask=mask)
    for t in range(3):
        output, same = layer.step(x[:, t : t + 1], cache)
        np.testing.assert_allclose(to_numpy(output)[:, 0], expected[:, t], rtol=1e-5, atol=1e-5)
        assert same is cache
    everything, _ = layer.step(x, layer.memory_cache(memory[1:]))
    np.testing.assert_allclose(to_numpy(everything)[1], expected[1], rtol=1e-5, atol=1e-5)


def test_a_cache_keeps_the_precision_of_the_layer():
    x = _inputs(3)
    layer = ka.MultiHeadAttention(2, 4, dtype="mixed_bfloat16")
    layer(x, x)
    output, cache = layer.step(x, layer.initial_cache(2, 3), 0)
    dtypes = {name: keras.backend.standardize_dtype(array.dtype) for name, array in cache.items()}
    assert dtypes == {"key": "bfloat16", "value": "bfloat16", "mask": "bool"}
    assert keras.backend.standardize_dtype(output.dtype) == "bfloat16"


def _decode(layer, prompt, mask, steps):
    """Feeds each output back as the next input, in one loop; returns the last output."""
    length = prompt.shape[1]
    cache = layer.initial_cache(ops.shape(prompt)[0], length + steps)
    output, cache = layer.step(prompt, cache, 0, mask)

    def body(index, x, cache):
        output, cache = layer.step(x, cache, index)
        return index + 1, output, cache

    _, last, _ = ops.while_loop(
        lambda index, x, cache: index < length + steps,
        body,
        (ops.convert_to_tensor(length, "int32"), output[:, -1:], cache),
        maximum_iterations=steps,
    )
    return last


def _decode_without_cache(layer, prompt, mask, steps):
    x = prompt
    for _ in range(steps + 1):
        output = layer(x, x, query_mask=mask, value_mask=mask, use_causal_mask=True)
        x = np.concatenate([x, to_numpy(output)[:, -1:]], 1)
        mask = np.concatenate([mask, np.ones((len(mask), 1), "bool")], 1)
    return x[:, -1:]


@pytest.mark.parametrize("position", ["rotary", "alibi", "relative"])
def test_decodes_in_one_compiled_loop(position):
    prompt, mask = _inputs(4), np.array([[0, 0, 1, 1], [1, 1, 1, 1]], "bool")
    layer = _layer(prompt, position, num_key_value_heads=2)
    expected = _decode_without_cache(layer, prompt, mask, 5)
    if BACKEND == "jax":
        import jax

        compiled = jax.jit(lambda prompt, mask: _decode(layer, prompt, mask, 5))
    else:
        import tensorflow as tf

        compiled = tf.function(lambda x, mask: _decode(layer, x, mask, 5), jit_compile=True)
        prompt, mask = tf.constant(prompt), tf.constant(mask)
    np.testing.assert_allclose(to_numpy(compiled(prompt, mask)), expected, rtol=1e-4, atol=1e-5)


@needs_tensorflow
def test_decodes_inside_one_tflite_file_for_batches_of_1_and_4(tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    rng = np.random.default_rng(0)
    prompt = rng.normal(size=(4, 4, 8)).astype("float32")
    mask = np.arange(4) >= np.array([[0], [2], [1], [3]])  # padded at the left
    inputs = keras.Input((4, 8), name="x")
    layers = {name: _layer(prompt, name, num_key_value_heads=2) for name in ("rotary", "relative")}
    model = keras.Model(inputs, [layer(inputs, inputs) for layer in layers.values()])
    signatures = [
        ka.Signature(
            name,
            lambda model, prompt, mask, layer=layer: {"last": _decode(layer, prompt, mask, 5)},
            {"prompt": ((None, 4, 8), "float32"), "mask": ((None, 4), "bool")},
            {"prompt": prompt, "mask": mask},
            decision=None,
        )
        for name, layer in layers.items()
    ]
    ka.export_model(
        model, tmp_path / "out", signatures=signatures, formats=("saved_model", "tflite")
    )
    interpreter = Interpreter(str(tmp_path / "out" / "model.tflite"))
    for name, layer in layers.items():
        expected = _decode_without_cache(layer, prompt, mask, 5)
        run = interpreter.get_signature_runner(name)
        for rows in (np.s_[:], np.s_[1:2]):
            got = run(prompt=prompt[rows], mask=mask[rows])["last"]
            np.testing.assert_allclose(got, expected[rows], rtol=1e-4, atol=1e-4)


def test_rejects_steps_that_do_not_fit_the_cache():
    layer = _layer(_inputs(3))
    with pytest.raises(ValueError, match=r"query.shape=\(2, 3, 8\), index=2, a cache of 4 steps"):
        layer.step(_inputs(3), layer.initial_cache(2, 4), 2)


def test_rejects_steps_before_it_is_built():
    layer = ka.MultiHeadAttention(2, 4, name="heads")
    with pytest.raises(ValueError, match="Build or call the layer 'heads' before"):
        layer.step(_inputs(3), layer.initial_cache(2, 4), 0)


def test_rejects_a_memory_with_positions():
    layer = _layer(_inputs(3), "alibi")
    for read in (layer.memory_cache, lambda x: layer.step(x, layer.initial_cache(2, 3))):
        with pytest.raises(ValueError, match="A memory has no position.*position=<ALiBi"):
            read(_inputs(3))


def test_any_score_may_be_a_position():
    layer, x = ka.MultiHeadAttention(2, 4, position=ka.DotScore()), _inputs(3)
    expected = layer(x, x, use_causal_mask=True)
    got, _ = layer.step(x, layer.initial_cache(2, 4), 0)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("kind", [int, np.int32, np.int64, np.uint8, keras.ops.convert_to_tensor])
def test_any_integer_is_an_index(kind, window):
    layer, x = ka.MultiHeadAttention(2, 4, window=window), _inputs(3)
    expected = to_numpy(layer(x, x, use_causal_mask=True))
    cache = layer.initial_cache(2, 6)
    for step in range(3):
        got, cache = layer.step(x[:, step : step + 1], cache, kind(step))
        np.testing.assert_allclose(got, expected[:, step : step + 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [1.0, np.float32(1), np.array([1])])
def test_rejects_an_index_that_is_no_integer(bad):
    layer, x = ka.MultiHeadAttention(2, 4), _inputs(3)
    layer(x, x)
    with pytest.raises(ValueError, match="`index` must be an integer.*index="):
        layer.step(x[:, :1], layer.initial_cache(2, 6), bad)
