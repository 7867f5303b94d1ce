"""Weights from TensorFlow Addons, against its formulas in NumPy, and its document."""

import re
from pathlib import Path

import numpy as np
import pytest

import keras_attention as ka
from tests.backend import to_numpy

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "from_tensorflow_addons.md"
RNG = np.random.default_rng(0)
QUERY, MEMORY = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(2, 5, 6))
K_M, K_Q, V, B = (RNG.normal(size=s) for s in ((6, 7), (4, 7), (7,), (7,)))
MASK = np.array([[True, True, True, False, False], [True] * 5])


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _check(layer, score):
    """`score(q, m)` is Addons' score of one query and one memory step."""
    _, weights = layer(QUERY, MEMORY, value_mask=MASK, return_attention_scores=True)
    scores = np.array(
        [[[score(q, m) for m in ms] for q in qs] for qs, ms in zip(QUERY, MEMORY, strict=True)]
    )
    scores[~np.broadcast_to(MASK[:, None], scores.shape)] = -np.inf  # their score_mask_value
    np.testing.assert_allclose(to_numpy(weights), _softmax(scores), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("g", [None, 0.3])
def test_luong(g):
    kernel = RNG.normal(size=(6, 4))
    scale = {} if g is None else {"luong/attention_g:0": np.array(g)}
    layer = ka.attention_from_addons({"luong/memory_layer/kernel:0": kernel, **scale})
    _check(layer, lambda q, m: (1 if g is None else g) * (q @ (m @ kernel)))


def test_bahdanau():
    weights = {"memory_layer/kernel": K_M, "a/query_layer/kernel": K_Q, "a/attention_v": V}
    layer = ka.attention_from_addons(weights, dropout=0.1)
    assert layer.dropout == 0.1
    _check(layer, lambda q, m: V @ np.tanh(m @ K_M + q @ K_Q))


def test_bahdanau_normalized():
    weights = {
        "memory_layer/kernel": K_M,
        "query_layer/kernel": K_Q,
        "attention_v": V,
        "attention_g": np.array(0.4),
        "attention_b": B,
        "decoder/dense/kernel": V,  # of no concern
    }
    normed = 0.4 * V / np.linalg.norm(V)
    _check(
        ka.attention_from_addons(weights),
        lambda q, m: normed @ np.tanh(m @ K_M + q @ K_Q + B),
    )


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_document_runs_and_is_their_attention_wrapper():
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S):
        exec(block, names)
    kernel, recurrent, bias, k_m, g, k_a = names["theirs"].values()
    for b in range(2):
        h, c, attention = np.zeros(8), np.zeros(8), np.zeros(5)
        for t in range(4):
            x = np.concatenate([names["inputs"][b, t], attention])
            i, f, new, o = np.split(x @ kernel + h @ recurrent + bias, 4)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(new)
            h = _sigmoid(o) * np.tanh(c)
            alignments = _softmax(np.array([g * (h @ (m @ k_m)) for m in names["memory"][b]]))
            context = alignments @ names["memory"][b]
            attention = np.concatenate([h, context]) @ k_a
            np.testing.assert_allclose(names["weights"][b, t], alignments, rtol=1e-3, atol=1e-5)
            np.testing.assert_allclose(names["outputs"][b, t], attention, rtol=1e-3, atol=1e-4)
    assert names["tokens"].shape[0] == 2


def test_every_name_in_the_document_exists():
    for name in set(re.findall(r"\bka\.(\w+)", DOCUMENT.read_text())):
        assert hasattr(ka, name), f"docs/from_tensorflow_addons.md names ka.{name}"


def test_rejects_weights_without_a_memory_layer():
    with pytest.raises(ValueError, match=r"must hold `memory_layer/kernel`.*\['attention_v'\]"):
        ka.attention_from_addons({"attention_v": V})


def test_rejects_kernels_that_do_not_fit():
    weights = {"memory_layer/kernel": K_M, "query_layer/kernel": K_Q[:, 1:], "attention_v": V}
    with pytest.raises(ValueError, match=r"as many columns.*\(4, 6\) and \(6, 7\)"):
        ka.attention_from_addons(weights)
