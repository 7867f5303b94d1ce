"""Two towers: what a vector depends on, and which texts are found by it."""

import types

import keras
import numpy as np
import pytest

from recipes.parts import searched, two_towers

CONFIG = types.SimpleNamespace(units=6, vector_size=4, max_steps=9, dropout=0.3, seed=0)


@pytest.fixture(params=[True, False])
def models(request):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(12, 4)).astype("float32")
    vectors[0] = 0
    texts = types.SimpleNamespace(vectors=vectors, idf=rng.random(12).astype("float32"))
    keras.utils.set_random_seed(0)
    return two_towers.build(CONFIG, texts, "towers", attention=request.param)


def test_padding_changes_nothing_and_vectors_have_length_one(models):
    ids = np.array([[2, 3, 1], [4, 11, 5]], "int32")
    for name in ("query_encoder", "document_encoder"):
        encode = models[1].get_layer(name)
        found = {key: np.array(x) for key, x in encode(ids).items()}
        np.testing.assert_allclose(np.linalg.norm(found["vector"], axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(found["weights"].sum(axis=1), 1, rtol=1e-5)
        padded = encode(np.pad(ids, ((0, 0), (0, 4))))
        np.testing.assert_allclose(padded["vector"], found["vector"], atol=1e-5)
        np.testing.assert_allclose(np.array(padded["weights"])[:, :3], found["weights"], atol=1e-6)


def test_each_document_is_scored_for_each_query(models):
    training, model = models
    inputs = {"query": np.array([[2, 3], [4, 5]]), "document": np.array([[6, 7, 8], [9, 10, 11]])}
    scores = np.array(training(inputs))
    assert scores.shape == (2, 2)
    swapped = {**inputs, "document": inputs["document"][::-1]}
    np.testing.assert_allclose(np.diag(scores), np.array(model(inputs)["score"])[:, 0], rtol=1e-4)
    np.testing.assert_allclose(
        np.diag(scores[:, ::-1]), np.array(model(swapped)["score"])[:, 0], rtol=1e-4
    )


def test_the_best_of_many_texts():
    calls = []

    def encode(text):
        calls.append(len(text))
        angles = np.array([float(x) for x in text])
        return {"vector": np.stack([np.cos(angles), np.sin(angles)], 1).astype("float32")}

    search = searched.Searcher(None, encode, encode)
    search._weights = lambda document: []
    angles = np.random.default_rng(0).permutation(600) / 300
    documents = [str(angle) for angle in angles]
    for wanted in (0.5, 1.25):
        matches = search(str(wanted), documents, 3)
        assert float(matches[0].document) == pytest.approx(wanted)
        assert all(documents[match.number - 1] == match.document for match in matches)
        assert matches[0].score > matches[1].score >= matches[2].score
    assert calls == [256, 256, 88, 1, 1]  # texts are encoded once
    assert [match.number for match in search("0.5", ["0.4", "0.4", "0.4"], 2)] == [1, 2]
