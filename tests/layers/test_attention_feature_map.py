"""AttentionFeatureMap."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import needs_tensorflow, to_numpy
from tests.contract import Case, LayerContract


def _case(sums_to_one=False, **kwargs):
    return Case(
        lambda **kw: ka.AttentionFeatureMap(11, **kwargs, **kw),
        tensors={"query": "BTD", "value": "BSD"},
        weights="BTS",
        masks={"query_mask": "query", "value_mask": "value"},
        attention_mask="BTS",
        sums_to_one=sums_to_one,
    )


class TestContract(LayerContract):
    cases = {
        "default": _case(),
        "softmax of additive": _case(score="additive", normalizer="softmax", sums_to_one=True),
    }


def test_section_4_1_of_yin_2016():
    rng = np.random.default_rng(0)
    f0, f1 = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 4))
    layer = ka.AttentionFeatureMap(7)
    f0_a, a = layer(f0, f1, return_attention_scores=True)
    f1_a = layer(f1, f0)
    (w,) = layer.get_weights()
    for b in range(2):
        matrix = np.zeros((3, 5))
        for i in range(3):
            for j in range(5):
                matrix[i, j] = 1 / (1 + np.sqrt(((f0[b, i] - f1[b, j]) ** 2).sum()))
        np.testing.assert_allclose(a[b], matrix, rtol=1e-5)
        # In the paper a step is a column: F_0,a = W_0 A^T and F_1,a = W_1 A.
        w_0, w_1 = w[:5].T, w[:3].T
        np.testing.assert_allclose(to_numpy(f0_a[b]).T, w_0 @ matrix.T, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(to_numpy(f1_a[b]).T, w_1 @ matrix, rtol=1e-4, atol=1e-5)


def test_the_mask_of_the_text_goes_on_with_its_features():
    ids = np.array([[1, 2, 3, 0, 0]])
    embed = keras.layers.Embedding(4, 4, mask_zero=True)
    first, second = embed(ids), embed(ids[:, :4])
    both = keras.layers.Concatenate()([first, ka.AttentionFeatureMap(9)(first, second)])
    np.testing.assert_array_equal(both._keras_mask, ids > 0)


def test_rejects_more_steps_than_max_length():
    layer = ka.AttentionFeatureMap(4)
    message = r"`value` must have at most max_length=4 steps.*value_shape=\(2, 5, 6\)"
    with pytest.raises(ValueError, match=message):
        layer(np.ones((2, 3, 6)), np.ones((2, 5, 6)))
    layer(np.ones((2, 5, 6)), np.ones((2, 4, 6)))
    with pytest.raises(ValueError, match=message):
        layer(np.ones((2, 3, 6)), np.ones((2, 5, 6)))


@needs_tensorflow
@pytest.mark.parametrize("jit", [False, True])
def test_a_length_that_only_the_run_knows_stops_it(jit):
    import tensorflow as tf

    text = tf.TensorSpec((2, None, 4))
    call = tf.function(ka.AttentionFeatureMap(3), input_signature=[text, text], jit_compile=jit)
    x = np.ones((2, 5, 4), "float32")
    assert call(x, x[:, :3]).shape == (2, 5, 4)
    with pytest.raises((tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)):
        call(x, x)


def test_rejects_texts_of_different_sizes():
    with pytest.raises(ValueError, match=r"query_shape=\(2, 3, 6\), key_shape=\(2, 5, 4\)"):
        ka.AttentionFeatureMap(9)(np.ones((2, 3, 6)), np.ones((2, 5, 4)))


def test_rejects_bad_max_length():
    with pytest.raises(ValueError, match="`max_length` must be a positive.* max_length=None"):
        ka.AttentionFeatureMap(None)
