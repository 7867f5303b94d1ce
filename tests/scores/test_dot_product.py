"""DotProductScore."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from tests.backend import run, to_numpy
from tests.scores.oracle import KEY, QUERY


@keras.saving.register_keras_serializable(package="tests")
class ShiftedScore(ka.DotProductScore):
    """A user's own dot product, with a weight on each side."""

    dot_scale = 0.5

    def build(self, query_shape, key_shape):
        self.shift = self.add_weight(name="shift", shape=(query_shape[-1],))
        self.stretch = self.add_weight(name="stretch", shape=(key_shape[-1],))

    def prepare_query(self, query):
        return query + ops.cast(self.shift, query.dtype)

    def prepare_key(self, key):
        return key * ops.cast(self.stretch, key.dtype)


def test_a_score_of_ones_own_is_a_scaled_dot_product():
    score = ShiftedScore()
    got = to_numpy(score(QUERY, KEY))
    shift, stretch = map(to_numpy, (score.shift.value, score.stretch.value))
    expected = 0.5 * (QUERY + shift) @ np.swapaxes(KEY * stretch, -1, -2)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "score", [ShiftedScore, "dot", "scaled_dot", "bilinear", "cosine", "tanh_dot"]
)
def test_whole_and_in_blocks_it_gives_the_same_numbers_and_gradients(score):
    layer = ka.ContentAttention(score if isinstance(score, str) else score())
    x = np.random.default_rng(0).normal(size=(2, 40, 4)).astype("float32")
    tensors = {"query": x, "value": x[:, ::-1].copy()}
    layer(**tensors)
    expected = run(layer, tensors)
    with ka.query_blocks(threshold=0, rows=7):
        found = run(layer, tensors)
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), found, expected
    )
    _, weights = to_numpy(layer(**tensors, return_attention_scores=True))
    np.testing.assert_allclose(weights @ tensors["value"], expected[0], rtol=1e-4, atol=1e-5)


def test_rejects_a_compare_of_its_own():
    with pytest.raises(
        TypeError, match="Derive a score with a `compare` of its own from `Score`.*`Own`"
    ):

        class Own(ka.DotProductScore):
            def compare(self, query, key, start):
                return query
