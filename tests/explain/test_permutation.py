"""permutation_test, and the context in which it changes weights."""

import itertools
import threading

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.explain.permutation import weights_changed
from tests.backend import BACKEND, needs_tensorflow, to_numpy

X = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")


def _classify(x, name="label"):
    return keras.layers.Dense(2, activation="softmax", name=name)(x)


def _pooling(padding=None):
    """Pooling and a softmax, with weights that are the same on every backend."""
    inputs = keras.Input((None, 4))
    x = inputs if padding is None else keras.layers.Masking(padding)(inputs)
    model = keras.Model(inputs, _classify(ka.AttentionPooling(name="pool")(x)))
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(0.8 * rng.normal(size=weight.shape))
    return model


def _softmax(z):
    exponentials = np.exp(z - z.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def test_algorithm_2_of_jain_2019_over_all_permutations():
    """With two allowed steps a permutation keeps the weights or swaps them."""
    model, x = _pooling(padding=9.0), X.copy()
    x[:, 2:] = 9.0
    weights = ka.attention_maps(model, x)["pool"]  # (B, S)
    kernel, bias = to_numpy(model.get_layer("label").get_weights())

    def p(weights):
        return _softmax(np.einsum("bs,bsd->bd", weights[:, :2], x[:, :2]) @ kernel + bias)

    swapped = weights[:, [1, 0, 2, 3, 4]]
    tvd = np.abs(p(weights) - p(swapped)).sum(-1) / 2
    assert tvd.min() > 1e-4
    found = ka.permutation_test(model, x, num_permutations=9, batch_size=4)
    for distance, swap in zip(found["distance"], tvd, strict=True):
        assert min(distance, abs(distance - swap)) < 1e-6
    assert (found["distance"] > 1e-6).any()
    one = [ka.permutation_test(model, x, num_permutations=1, seed=n)["distance"] for n in range(6)]
    assert {bool(d > 1e-6) for d in np.ravel(one)} == {True, False}
    np.testing.assert_allclose(found["largest_weight"], weights.max(-1), rtol=1e-6)
    flips = p(weights).argmax(-1) != p(swapped).argmax(-1)
    assert (found["flips"] > 0).tolist() == flips.tolist()


def test_the_distance_is_the_median_over_the_permutations():
    model = _pooling()
    found = ka.permutation_test(model, X, num_permutations=3, seed=4)
    moved = []

    def note(weights, allowed):
        return weights

    with weights_changed(model, note):
        whole = to_numpy(model(X))
    for order in itertools.permutations(range(5)):
        with weights_changed(model, lambda weights, allowed, order=order: weights[..., order]):
            moved.append(np.abs(to_numpy(model(X)) - whole).sum(-1) / 2)
    moved = np.array(moved)  # (120, B)
    for distance, possible in zip(found["distance"], moved.T, strict=True):
        assert np.abs(possible - distance).min() < 1e-6  # one of all that there are
    many = ka.permutation_test(model, X, num_permutations=300, batch_size=900)["distance"]
    assert (np.abs((moved < many).mean(axis=0) - 0.5) < 0.1).all()


@pytest.mark.parametrize(
    "kind", ["pooling", "content", "self", "heads", "groups", "hierarchical", "conv", "block"]
)
def test_every_row_keeps_its_weights_and_its_masked_steps(kind):
    inputs, mask = keras.Input((None, 4)), np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]], "bool")
    masked = keras.layers.Masking(9.0)(inputs)
    layer = {
        "pooling": lambda: ka.AttentionPooling(num_queries=2, name="a"),
        "content": lambda: ka.ContentAttention("bilinear", name="a"),
        "self": lambda: ka.SelfAttention(name="a"),
        "heads": lambda: ka.MultiHeadAttention(2, 3, name="a"),
        "groups": lambda: ka.MultiHeadAttention(4, 3, num_key_value_heads=2, name="a"),
        "hierarchical": lambda: ka.HierarchicalAttention(3, None, None, None, name="a"),
        "conv": lambda: ka.ConvAttentionPooling(3, 2, name="a"),
        "block": lambda: ka.TransformerEncoderBlock(6, num_heads=2, name="a"),
    }[kind]()
    x = np.where(mask[..., None], X[:2], 9.0).astype("float32")
    if kind == "hierarchical":
        inputs = keras.Input((2, 5, 4))
        y = layer(inputs, mask=keras.ops.any(keras.ops.not_equal(inputs, 9.0), axis=-1))
        x = np.stack([x, x[::-1]], axis=1)
    else:
        two = kind in ("content", "heads", "groups")
        y = layer(masked, masked) if two else layer(masked)
    model = keras.Model(
        inputs,
        _classify(
            keras.layers.Flatten()(y)
            if kind in ("pooling", "hierarchical", "conv")
            else keras.ops.sum(y, axis=1)
        ),
    )
    seen = []

    def reverse(weights, allowed):
        """Also a permutation: the allowed steps of each row in reverse."""
        changed = np.zeros_like(weights)
        for row in np.ndindex(weights.shape[:-1]):
            changed[row][allowed[row]] = weights[row][allowed[row]][::-1]
        assert not weights[~allowed].any()
        seen.append((weights, changed))
        return changed

    with weights_changed(model, reverse):
        changed = ka.attention_maps(model, x)
    maps = ka.attention_maps(model, x)
    assert all("_normalize" not in vars(layer) for _, layer in _layers(model))
    for name, weights in maps.items():
        assert changed[name].shape == weights.shape
        if name == "a/sentences":  # whose vectors the words' weights have changed
            continue
        np.testing.assert_allclose(np.sort(changed[name]), np.sort(weights), atol=1e-6)
        np.testing.assert_array_equal(changed[name][weights == 0], 0)
    assert any(not np.allclose(*pair) for pair in seen)
    found = ka.permutation_test(model, x, num_permutations=2)
    assert {name: figure.shape for name, figure in found.items()} == dict.fromkeys(
        ("distance", "largest_weight", "flips"), (2,)
    )
    largest = [w.reshape(2, -1).max(-1) for w in maps.values()]
    np.testing.assert_allclose(found["largest_weight"], np.max(largest, axis=0), rtol=1e-5)


def _layers(model):
    from keras_attention.layer import layers_below

    return layers_below(model)


def test_levels_of_hierarchical_attention():
    inputs = keras.Input((2, 5, 4))
    y = ka.HierarchicalAttention(3, None, None, None, name="doc")(inputs)
    model = keras.Model(inputs, _classify(y))
    x = np.random.default_rng(1).normal(size=(2, 2, 5, 4)).astype("float32")
    maps = ka.attention_maps(model, x)
    for level in ("words", "sentences"):
        found = ka.permutation_test(model, x, f"doc/{level}", num_permutations=2)
        expected = maps[f"doc/{level}"].reshape(2, -1).max(-1)
        np.testing.assert_allclose(found["largest_weight"], expected, rtol=1e-5)
        with weights_changed(model, lambda weights, allowed: weights[..., ::-1], f"doc/{level}"):
            changed = ka.attention_maps(model, x)
        np.testing.assert_allclose(changed[f"doc/{level}"], maps[f"doc/{level}"][..., ::-1])


def test_neither_the_batch_size_nor_other_rows_matter():
    model = _pooling()
    whole = ka.permutation_test(model, X, num_permutations=5)
    few = ka.permutation_test(model, X, num_permutations=5, batch_size=2)
    first = ka.permutation_test(model, X[:1], num_permutations=5)
    for name, figure in whole.items():
        np.testing.assert_allclose(few[name], figure, atol=1e-6)
        np.testing.assert_allclose(first[name], figure[:1], atol=1e-6)


def test_a_single_probability_and_a_dict():
    inputs = keras.Input((None, 4))
    pooled = ka.AttentionPooling()(inputs)
    p = keras.layers.Dense(1, activation="sigmoid")(pooled)
    both = keras.ops.concatenate([1 - p, p], axis=-1)
    model = keras.Model(inputs, {"one": p, "two": both})
    one, two = (ka.permutation_test(model, X, output=name) for name in ("one", "two"))
    for name, figure in one.items():
        np.testing.assert_allclose(figure, two[name], atol=1e-6)


def test_a_decoder_in_a_loop():
    inputs = keras.Input((5, 4))
    decoder = ka.AttentionDecoder(keras.layers.GRUCell(3), ka.ContentAttention("bilinear"))
    model = keras.Model(inputs, _classify(keras.ops.sum(decoder(inputs[:, :2], inputs), axis=1)))
    if BACKEND == "jax":
        with pytest.raises(ValueError, match="can't be read"):
            ka.permutation_test(model, X, num_permutations=2)
    else:
        found = ka.permutation_test(model, X, num_permutations=2)
        assert (found["distance"] > 0).any()


def test_rejects_layers_whose_weights_no_normalizer_makes():
    inputs = keras.Input((None, 4))
    x = keras.layers.MultiHeadAttention(2, 3, name="theirs")(inputs, inputs)
    model = keras.Model(inputs, _classify(keras.ops.sum(x, axis=1)))
    with pytest.raises(ValueError, match="MultiHeadAttention.* use `ka.MultiHeadAttention`"):
        ka.permutation_test(model, X)
    pooled = ka.AttentionPooling(name="ours")(keras.layers.AdditiveAttention(name="add")([x, x]))
    model = keras.Model(inputs, _classify(pooled))
    assert ka.permutation_test(model, X, num_permutations=1)["distance"].shape == (3,)
    with pytest.raises(ValueError, match=r"'add'.*use `ka.ContentAttention\(\"additive\"\)`"):
        ka.permutation_test(model, X, "add")
    with pytest.raises(ValueError, match=r"layer='none', of \['ours'\]"):
        ka.permutation_test(model, X, "none")
    two = ka.MonotonicAttention(4, name="fixed")(inputs, inputs)
    two = keras.Model(inputs, _classify(keras.ops.sum(two, axis=1)))
    with pytest.raises(ValueError, match="with a normalizer.*MonotonicAttention"):
        ka.permutation_test(two, X)


def test_rejects_several_layers_without_a_name():
    inputs = keras.Input((None, 4))
    x = ka.TransformerEncoderBlock(6, num_heads=2, name="block")(inputs)
    model = keras.Model(inputs, _classify(ka.AttentionPooling(name="pool")(x)))
    with pytest.raises(ValueError, match=r"layer=None, of \['attention', 'pool'\]"):
        ka.permutation_test(model, X)
    by = [
        ka.permutation_test(model, X, name, num_permutations=2)["distance"]
        for name in ("block", "attention", "block/attention")
    ]
    np.testing.assert_array_equal(by[0], by[1])
    np.testing.assert_array_equal(by[0], by[2])


@needs_tensorflow
def test_rejects_compiled_code():
    import tensorflow as tf

    class Compiled(keras.Model):
        def __init__(self):
            super().__init__()
            self.pool = ka.AttentionPooling(name="pool")

        @tf.function
        def call(self, inputs):
            return keras.ops.softmax(self.pool(inputs))

    with pytest.raises(ValueError, match="weights of 'pool' can't be read"):
        ka.permutation_test(Compiled(), X)


def test_threads_do_not_see_each_other():
    model, batches, errors = _pooling(), [X, 2 * X[:, :3]], []
    expected = [ka.permutation_test(model, batch) for batch in batches]
    outputs = to_numpy([model(batch) for batch in batches])

    def use(n):
        try:
            for _ in range(5):
                found = ka.permutation_test(model, batches[n])
                np.testing.assert_allclose(found["distance"], expected[n]["distance"], atol=1e-6)
                np.testing.assert_allclose(to_numpy(model(batches[n])), outputs[n], atol=1e-6)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert "_normalize" not in vars(model.get_layer("pool"))
