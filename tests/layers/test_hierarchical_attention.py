"""HierarchicalAttention."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import BACKEND, needs_tensorflow, to_numpy
from tests.contract import Case, LayerContract


def _case(is_slow=False, **kwargs):
    return Case(
        lambda **kw: ka.HierarchicalAttention(**kwargs, **kw),
        tensors={"inputs": "BTSE"},  # T sentences of S words
        weights={"words": "BTS", "sentences": "BT"},
        masks={"mask": "inputs"},
        is_slow=is_slow,
    )


class TestContract(LayerContract):
    cases = {
        "gru": _case(is_slow=True, units=3),
        "no encoder, sparsemax": _case(
            word_encoder=None, sentence_encoder=None, score="additive", normalizer="sparsemax"
        ),
    }
    if BACKEND == "jax":  # which compiles the loops of the first one for each call
        cases = dict(reversed(cases.items()))


def _ids(documents=4, seed=0):
    """Token ids `(B, 3, 5)` from 1 to 8, padded with 0 at both levels; one document is empty."""
    ids = np.random.default_rng(seed).integers(1, 9, size=(documents, 3, 5))
    ids[0, 0, 3:] = ids[1, 2] = ids[2, 0] = ids[2, 1, :2] = ids[3] = 0
    return ids


def _embedding():
    return keras.layers.Embedding(9, 4, mask_zero=True, name="embedding")


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softmax(x):
    return np.exp(x) / np.exp(x).sum()


def _gru(x, weights):
    """Equations 1 to 4; `weights` as Keras orders them."""
    kernel, recurrent, bias = weights
    units = len(recurrent)
    w_z, w_r, w_h = np.split(kernel, 3, axis=1)
    u_z, u_r, u_h = np.split(recurrent, 3, axis=1)
    b_z, b_r, b_h = np.split(bias[0], 3)
    w_z, u_z, b_z = -w_z, -u_z, -b_z  # Keras' gate keeps what the paper's gate renews
    h, states = np.zeros(units), []
    for x_t in x:
        z = _sigmoid(x_t @ w_z + h @ u_z + b_z)  # eq. 2
        r = _sigmoid(x_t @ w_r + h @ u_r + b_r)  # eq. 4
        new = np.tanh(x_t @ w_h + r * (h @ u_h) + b_h)  # eq. 3
        h = (1 - z) * h + z * new  # eq. 1
        states.append(h)
    return np.array(states)


def _both_ways(x, encoder):
    forward, backward = (
        [to_numpy(w.value).astype("float64") for w in side.weights]
        for side in (encoder.forward_layer, encoder.backward_layer)
    )
    return np.concatenate([_gru(x, forward), _gru(x[::-1], backward)[::-1]], axis=1)


def test_equations_1_to_10_of_yang_2016():
    ids = _ids()
    layer = ka.HierarchicalAttention(units=3, embedding=_embedding())
    layer(ids)
    rng = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        value = rng.normal(size=weight.shape)
        if weight.path.endswith("bias") and value.ndim == 2:
            value[1] = 0  # Keras has a second bias, which the paper has not
        weight.assign(value)
    document, weights = to_numpy(layer(ids, return_attention_scores=True))
    table = layer.embedding.get_weights()[0]
    (w_w, b_w), (w_s, b_s) = layer.score.get_weights(), layer.sentence_score.get_weights()
    u_w, u_s = to_numpy(layer.word_query.value)[0], to_numpy(layer.sentence_query.value)[0]
    words, sentences = np.zeros((4, 3, 5)), np.zeros((4, 3))
    for b, text in enumerate(ids[:3]):
        kept, vectors = [i for i in range(3) if text[i].any()], []
        for i in kept:
            places = np.flatnonzero(text[i])
            h = _both_ways(table[text[i, places]], layer.word_encoder)
            u = np.tanh(h @ w_w + b_w)  # eq. 5
            words[b, i, places] = _softmax(u @ u_w)  # eq. 6
            vectors.append(words[b, i, places] @ h)  # eq. 7
        h = _both_ways(np.array(vectors), layer.sentence_encoder)
        u = np.tanh(h @ w_s + b_s)  # eq. 8
        sentences[b, kept] = _softmax(u @ u_s)  # eq. 9
        v = sentences[b, kept] @ h  # eq. 10
        np.testing.assert_allclose(document[b], v, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(weights["words"], words, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(weights["sentences"], sentences, rtol=1e-4, atol=1e-6)


def test_an_empty_document_is_zeros():
    document, weights = to_numpy(
        ka.HierarchicalAttention(units=3, embedding=_embedding())(
            _ids(), return_attention_scores=True
        )
    )
    for array in (document, *weights.values()):
        assert np.isfinite(array).all()
        np.testing.assert_array_equal(array[3], 0)
    np.testing.assert_array_equal(weights["words"][1, 2], 0)
    assert weights["sentences"][1, 2] == 0


def test_more_padding_at_both_levels_changes_nothing():
    ids, layer = _ids(), ka.HierarchicalAttention(units=3, embedding=_embedding())
    document, weights = to_numpy(layer(ids, return_attention_scores=True))
    around = ((0, 0), (1, 2), (2, 1))
    padded, padded_weights = to_numpy(layer(np.pad(ids, around), return_attention_scores=True))
    np.testing.assert_allclose(padded, document, rtol=1e-5, atol=1e-6)
    for name, ends in (("words", around), ("sentences", around[:2])):
        expected = np.pad(weights[name], ends)
        np.testing.assert_allclose(padded_weights[name], expected, rtol=1e-5, atol=1e-6)


def test_a_mask_of_sentences_is_one_of_their_words():
    ids, layer = _ids(), ka.HierarchicalAttention(units=3, embedding=_embedding())
    sentences = np.array([[True, False, True]] * 4)
    words = np.broadcast_to(sentences[..., None], ids.shape)
    expected = to_numpy(layer(ids, mask=words))
    np.testing.assert_array_equal(layer(ids, mask=sentences), expected)
    assert not np.allclose(layer(ids), expected)
    inputs, mask = keras.Input((None, None), dtype="int32"), keras.Input((None,), dtype="bool")
    model = keras.Model([inputs, mask], layer(inputs, mask=mask))
    np.testing.assert_allclose(model([ids, sentences]), expected, rtol=1e-5, atol=1e-6)


def test_any_layer_encodes():
    ids = _ids()
    layer = ka.HierarchicalAttention(
        embedding=_embedding(),
        word_encoder=ka.SelfAttention(),  # takes a mask
        sentence_encoder=keras.layers.Dense(7),  # takes none
    )
    assert layer(ids).shape == (4, 7)
    copy = ka.HierarchicalAttention.from_config(layer.get_config())
    copy(ids)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(ids), layer(ids))


def test_an_embedding_without_mask_counts_every_id():
    layer = ka.HierarchicalAttention(embedding=keras.layers.Embedding(9, 4), word_encoder=None)
    weights = to_numpy(layer(_ids(), return_attention_scores=True)[1])
    assert (weights["words"] > 0).all()


def test_saves_and_trains_with_an_embedding(tmp_path):
    inputs = keras.Input((None, None), dtype="int32")
    layer = ka.HierarchicalAttention(3, _embedding(), None, seed=1, dropout=0.1)
    model = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
    model.compile("adam", "mse", run_eagerly=True)
    before = layer.get_weights()
    assert np.isfinite(model.train_on_batch(_ids(), np.ones((4, 1))))
    changed = [not np.array_equal(*pair) for pair in zip(before, layer.get_weights(), strict=True)]
    assert all(c for c, w in zip(changed, layer.weights, strict=True) if "bias" not in w.path)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(_ids()), model(_ids()))


@needs_tensorflow
def test_token_ids_export_with_unknown_batch_sentences_and_words(tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    inputs = keras.Input((None, None), dtype="int32", name="ids")
    layer = ka.HierarchicalAttention(3, _embedding())
    outputs = layer(inputs, return_attention_scores=True)
    model = keras.Model(inputs, {"document": outputs[0], **outputs[1]})
    assert inputs.shape == (None, None, None)
    ka.export_model(model, tmp_path, {"ids": _ids()}, formats="tflite", decision=None)
    runner = Interpreter(str(tmp_path / "model.tflite")).get_signature_runner("serving_default")
    for ids in (_ids(), _ids(6)[:1, :2], np.pad(_ids(5), ((0, 0), (2, 1), (1, 3)))):
        got = runner(ids=ids.astype("int32"))
        for name, expected in to_numpy(model(ids)).items():
            np.testing.assert_allclose(got[name], expected, atol=1e-5)


def test_masks_beat_none_on_padded_documents():
    """One word decides, in documents of one to three sentences with much padding at both levels.

    In a budget of eight steps, and with more padding than there was in training: given time,
    attention can learn to look past the padding that it saw.
    """

    def documents(count, seed, sentences=12, words=20):
        rng = np.random.default_rng(seed)
        ids, label = np.zeros((count, sentences, words), "int32"), np.arange(count) % 2
        for document, answer in zip(ids, label, strict=True):
            for sentence in document[: rng.integers(1, 4)]:
                size = rng.integers(3, 7)
                sentence[:size] = rng.integers(3, 30, size)
            document[0, rng.integers(0, 3)] = 1 + answer
        return ids, label

    def accuracy(mask_zero):
        keras.utils.set_random_seed(0)
        embedding = keras.layers.Embedding(30, 8, mask_zero=mask_zero)
        layer = ka.HierarchicalAttention(4, embedding, None, None)
        model = keras.Sequential([layer, keras.layers.Dense(1)])
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.02), loss)
        model.fit(*documents(256, 1), batch_size=32, epochs=1, verbose=0)
        ids, label = documents(256, 2, sentences=24, words=40)
        return ((to_numpy(model(ids))[:, 0] > 0) == label).mean()

    with_masks, without = accuracy(True), accuracy(False)
    assert with_masks > 0.7
    assert with_masks > without + 0.15


def test_attention_maps_have_both_levels():
    inputs = keras.Input((None, None), dtype="int32")
    layer = ka.HierarchicalAttention(3, _embedding(), name="document")
    model = keras.Model(inputs, layer(inputs))
    maps = ka.attention_maps(model, _ids())
    _, expected = layer(_ids(), return_attention_scores=True)
    assert set(maps) == {"document/words", "document/sentences"}
    for name, weights in expected.items():
        np.testing.assert_allclose(maps[f"document/{name}"], weights, rtol=1e-5, atol=1e-7)


def test_rejects_inputs_without_sentences():
    with pytest.raises(ValueError, match=r"`inputs` must have.*inputs_shape=\(2, 5, 4\)"):
        ka.HierarchicalAttention()(np.ones((2, 5, 4)))
    with pytest.raises(ValueError, match=r"`inputs` of an `embedding`.*inputs_shape=\(2, 5\)"):
        ka.HierarchicalAttention(embedding=_embedding())(np.ones((2, 5), "int32"))


def test_rejects_a_mask_of_the_wrong_rank():
    with pytest.raises(ValueError, match=r"`mask` must have.*mask.shape=\(4,\)"):
        ka.HierarchicalAttention(embedding=_embedding())(_ids(), mask=np.ones(4, "bool"))


def test_rejects_an_encoder_that_drops_the_steps():
    layer = ka.HierarchicalAttention(word_encoder=keras.layers.GRU(3))
    with pytest.raises(ValueError, match=r"`word_encoder` must keep.*None, 4\) to \(None, 3\)"):
        layer(np.ones((2, 3, 5, 4)))


def test_rejects_bad_encoders():
    with pytest.raises(ValueError, match="`sentence_encoder` must be `\"gru\"`, `None`.*='lstm'"):
        ka.HierarchicalAttention(sentence_encoder="lstm")
    with pytest.raises(ValueError, match="`embedding` must be `None` or a layer.*embedding=3"):
        ka.HierarchicalAttention(embedding=3)


def test_rejects_bad_units():
    with pytest.raises(ValueError, match="`units` must be a positive integer.*units=0"):
        ka.HierarchicalAttention(units=0)
