"""gradient_times_input and integrated_gradients."""

import threading

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import needs_tensorflow, to_numpy

RNG = np.random.default_rng(0)
IDS = np.array([[3, 1, 4, 1, 5], [2, 7, 1, 0, 0], [6, 0, 0, 0, 0]])


def _of_ids(loop=False, **kwargs):
    """A text classifier with attention, and a loop before it if one is asked for."""
    keras.utils.set_random_seed(0)
    ids = keras.Input((None,), dtype="int32")
    large = keras.initializers.RandomUniform(-1, 1, seed=0)
    x = keras.layers.Embedding(9, 4, large, mask_zero=True, name="words")(ids)
    if loop:
        x = ka.ExportableRNN(keras.layers.GRUCell(4), return_sequences=True)(x)
    x = ka.SelfAttention(name="self")(x)
    x = ka.AttentionPooling(penalty=0.1, name="pool")(x)
    return keras.Model(ids, keras.layers.Dense(3, activation="softmax", **kwargs)(x))


def _linear(size):
    """`p = 1/2 + x . w`, with weights of each step and feature; and these weights."""
    w = RNG.uniform(-0.02, 0.02, (*size, 1)).astype("float32")
    inputs = keras.Input(size)
    dense = keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(0.5))
    model = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    dense.kernel.assign(w.reshape(-1, 1))
    return model, w[..., 0]


@pytest.mark.parametrize("size", [(5, 4), (3, 2, 4)], ids=["features", "image"])
@pytest.mark.parametrize("name", ["gradient_times_input", "integrated_gradients"])
def test_a_linear_model_gives_weight_times_input(name, size):
    model, w = _linear(size)
    x = RNG.normal(size=(3, *size)).astype("float32")
    for target, sign in (([1, 1, 0], [1, 1, -1]), (None, None)):
        if target is None:
            sign = np.where(to_numpy(model(x))[:, 0] > 0.5, 1, -1)
        found = getattr(ka, name)(model, x, target=target, batch_size=2)
        expected = (x * w).sum(-1) * np.reshape(sign, (3, *[1] * (len(size) - 1)))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_baseline_is_where_the_line_starts():
    model, w = _linear((5, 4))
    x = RNG.normal(size=(3, 5, 4)).astype("float32")
    for shape in ((4,), (5, 4), (3, 5, 4)):
        baseline = RNG.normal(size=shape)
        found = ka.integrated_gradients(
            model, x, target=[1, 1, 1], baseline=baseline, num_steps=3, batch_size=2
        )
        np.testing.assert_allclose(found, ((x - baseline) * w).sum(-1), atol=1e-6)
    with pytest.raises(ValueError, match=r"`baseline` must broadcast.*\(3,\).*\(3, 5, 4\)"):
        ka.integrated_gradients(model, x, baseline=np.zeros(3))


def test_gradients_of_ids_are_differences_of_the_probability():
    """Central differences, each step's vector made longer and shorter alone."""
    model = _of_ids(loop=True)
    _, embedding, rnn, attention, pool, label = model.layers
    vectors = to_numpy(embedding(IDS))

    def p(vectors):
        x = keras.ops.convert_to_tensor(vectors)
        mask = keras.ops.convert_to_tensor(IDS != 0)
        x = attention(rnn(x, mask=mask), mask=mask)
        return to_numpy(label(pool(x, mask=mask)))

    whole = p(vectors)
    np.testing.assert_allclose(whole, to_numpy(model(IDS)), atol=1e-6)
    classes, step = whole.argmax(-1), 1e-2
    expected = np.zeros(IDS.shape)
    for s in range(IDS.shape[1]):
        longer, shorter = vectors.copy(), vectors.copy()
        longer[:, s] *= 1 + step
        shorter[:, s] *= 1 - step
        expected[:, s] = (p(longer) - p(shorter))[range(3), classes] / (2 * step)
    found = ka.gradient_times_input(model, IDS, batch_size=2)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=5e-5)
    np.testing.assert_array_equal(found[IDS == 0], 0)
    assert not any("call" in vars(layer) for layer in model.layers)
    assert all(to_numpy(loss).shape == () for loss in model.losses)  # none of a compiled call


def test_integrated_gradients_are_complete():
    """Their sum is p(x) - p(baseline); the masks stay those of the whole input."""
    model, target = _of_ids(loop=True), np.array([0, 2, 1])
    found = ka.integrated_gradients(model, IDS, target=target, batch_size=16)
    p = to_numpy(model(IDS))
    embedding = model.get_layer("words")
    before = to_numpy(embedding.embeddings)
    embedding.embeddings.assign(np.zeros_like(before))
    change = (p - to_numpy(model(IDS)))[range(3), target]
    embedding.embeddings.assign(before)
    assert np.abs(change).min() > 1e-4
    np.testing.assert_allclose(found.sum(-1), change, atol=1e-5)
    np.testing.assert_array_equal(found[IDS == 0], 0)
    few = ka.integrated_gradients(model, IDS, target=target, batch_size=5)
    np.testing.assert_allclose(few, found, atol=1e-6)


def test_blocks_of_queries_give_what_the_whole_gives():
    model = _of_ids()
    whole = ka.gradient_times_input(model, IDS)
    with ka.query_blocks(threshold=0, rows=2):
        np.testing.assert_allclose(ka.gradient_times_input(model, IDS), whole, atol=1e-6)


def test_a_dict_of_outputs_and_a_layer_by_name():
    ids = keras.Input((4,), dtype="int32")
    first = keras.layers.Embedding(9, 3, name="first")(ids)
    second = keras.layers.Embedding(9, 3, name="second")(ids)
    x = ka.AttentionPooling()(keras.layers.Concatenate(name="both")([first, second]))
    label = keras.layers.Dense(2, activation="softmax", name="label")(x)
    model = keras.Model(ids, {"label": label, "vector": x})
    x = np.array([[3, 1, 4, 1]])
    of = {
        name: ka.gradient_times_input(model, x, name, "label")
        for name in ("first", "second", "both")
    }
    np.testing.assert_allclose(of["first"] + of["second"], of["both"], atol=1e-7)
    with pytest.raises(ValueError, match=r"`output` must be one of 'label', 'vector'"):
        ka.gradient_times_input(model, x, "first")
    with pytest.raises(ValueError, match=r"pass floats.*None, of \['first', 'second'\]"):
        ka.gradient_times_input(model, x, output="label")
    with pytest.raises(ValueError, match=r"layer='third', of \[.*'both'"):
        ka.gradient_times_input(model, x, "third", "label")


def test_calls_of_one_layer_add_up():
    """Both halves of the ids, by one embedding: p = 1/2 + (first + 2 second) . w."""
    ids = keras.Input((4,), dtype="int32")
    embedding = keras.layers.Embedding(9, 3, name="words")
    x = embedding(ids[:, :2]) + 2 * embedding(ids[:, 2:])
    dense = keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(0.5))
    model = keras.Model(ids, dense(keras.layers.Flatten()(x)))
    x = np.array([[3, 1, 4, 1]])
    found = ka.gradient_times_input(model, x, target=[1])
    vectors, w = to_numpy((embedding.embeddings, dense.kernel))
    w = w.reshape(2, 3)
    expected = ((vectors[x[:, :2]] + 2 * vectors[x[:, 2:]]) * w).sum(-1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_shapes_that_differ_between_calls_are_refused():
    ids = keras.Input((4,), dtype="int32")
    embedding = keras.layers.Embedding(9, 3, name="words")
    x = keras.layers.Concatenate(axis=1)([embedding(ids), embedding(ids[:, :1])])
    label = keras.layers.Dense(2, activation="softmax")(ka.AttentionPooling()(x))
    with pytest.raises(ValueError, match=r"same shape.*\(1, 4, 3\), \(1, 1, 3\)"):
        ka.gradient_times_input(keras.Model(ids, label), np.array([[3, 1, 4, 1]]))


def test_layers_that_do_not_run_on_all_steps_are_refused():
    words = keras.Input((4,), dtype="int32")
    sentence = keras.Model(words, ka.AttentionPooling()(keras.layers.Embedding(9, 3)(words)))
    documents = keras.Input((2, 4), dtype="int32")
    each = keras.layers.TimeDistributed(sentence, name="each")(documents)
    label = keras.layers.Dense(2, activation="softmax")(ka.AttentionPooling()(each))
    model = keras.Model(documents, label)
    ids = np.ones((1, 2, 4), "int32")
    with pytest.raises(ValueError, match="once for each step of another layer: name 'each'"):
        ka.gradient_times_input(model, ids)
    assert ka.gradient_times_input(model, ids, "each").shape == (1, 2)


def test_documents_of_sentences():
    ids = keras.Input((2, 4), dtype="int32")
    embedding = keras.layers.Embedding(9, 3, mask_zero=True)
    x = ka.HierarchicalAttention(3, embedding, None, None)(ids)
    model = keras.Model(ids, keras.layers.Dense(2, activation="softmax")(x))
    found = ka.gradient_times_input(model, np.array([[[3, 1, 0, 0], [4, 1, 5, 0]]]))
    assert found.shape == (1, 2, 4)
    assert (found != 0).tolist() == [[[True, True, False, False], [True, True, True, False]]]


def test_half_precision_is_close():
    full = _of_ids()
    keras.config.set_dtype_policy("mixed_bfloat16")
    half = _of_ids(dtype="float32")
    half.set_weights(full.get_weights())
    found, expected = (ka.gradient_times_input(m, IDS, target=[0, 0, 0]) for m in (half, full))
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max() + 1e-3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": [0, 1]}, "`target` must be integers"),
        ({"target": [0.0, 1.0, 0.0]}, "`target` must be integers"),
        ({"target": [0, 1, 3]}, "less than the number of classes, 3"),
        ({"target": [0, -1, 0]}, "`target` must be integers from 0 on"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
        ({"num_steps": 0}, "`num_steps` must be a positive integer"),
        ({"output": "label"}, "`output` must be `None`"),
        ({"inputs": np.array(["a", "b"])}, "`inputs` must be one array of numbers"),
        ({"inputs": IDS[:0]}, r"`inputs` must be.*\(0, 5\)"),
    ],
)
def test_rejects_what_does_not_fit(given, message):
    with pytest.raises(ValueError, match=message):
        ka.integrated_gradients(_of_ids(), **{"inputs": IDS, **given})


def test_rejects_logits_and_integers_that_are_no_ids():
    inputs = keras.Input((5, 4))
    logits = keras.layers.Dense(2, bias_initializer=keras.initializers.Constant(5.0))
    model = keras.Model(inputs, logits(ka.AttentionPooling()(inputs)))
    with pytest.raises(ValueError, match="`model` must return probabilities.*softmax"):
        ka.gradient_times_input(model, np.ones((1, 5, 4)))
    with pytest.raises(ValueError, match=r"pass floats.*of \[\]"):
        ka.gradient_times_input(model, np.ones((1, 5, 4), "int32"))


@needs_tensorflow
def test_rejects_a_layer_in_compiled_code():
    import tensorflow as tf

    class Compiled(keras.Model):
        def __init__(self):
            super().__init__()
            self.words = keras.layers.Embedding(9, 2, name="words")

        @tf.function
        def call(self, inputs):
            return keras.ops.softmax(keras.ops.sum(self.words(inputs), axis=1))

    with pytest.raises(ValueError, match="outputs of 'words' can't be read"):
        ka.gradient_times_input(Compiled(), IDS)


def test_threads_do_not_see_each_other():
    model = _of_ids()
    batches = [IDS, (IDS + 3) % 9]
    expected = [ka.integrated_gradients(model, batch, num_steps=2) for batch in batches]
    assert np.abs(expected[0] - expected[1]).max() > 1e-4
    outputs, errors = to_numpy([model(batch) for batch in batches]), []

    def use(n):
        try:
            for _ in range(2):
                found = ka.integrated_gradients(model, batches[n], num_steps=2)
                np.testing.assert_allclose(found, expected[n], atol=1e-6)
                np.testing.assert_allclose(to_numpy(model(batches[n])), outputs[n], atol=1e-6)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert not any("call" in vars(layer) for layer in model.layers)
