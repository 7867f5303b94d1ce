"""functional.masks."""

import numpy as np
import pytest

from keras_attention.functional import masks
from tests.backend import to_numpy


def test_causal_is_lower_triangular_for_equal_lengths():
    np.testing.assert_array_equal(masks.causal(4, 4), np.tri(4, dtype="bool"))


def test_causal_is_aligned_at_the_end():
    np.testing.assert_array_equal(masks.causal(1, 4), [[True] * 4])
    np.testing.assert_array_equal(masks.causal(2, 3), [[1, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(masks.causal(3, 2), [[0, 0], [1, 0], [1, 1]])


def test_no_mask_stays_none():
    x = np.zeros((2, 3, 4))
    assert masks.combine(None, None) is None
    assert masks.attention(x, x) is None
    assert masks.blank(x, None) is x


def test_attention_is_the_and_of_everything():
    rng = np.random.default_rng(0)
    query, value = np.zeros((2, 3, 4)), np.zeros((2, 5, 4))
    q, v, k, a = (rng.random(s) > 0.3 for s in ((2, 3), (2, 5), (2, 5), (2, 3, 5)))
    causal = np.tri(3, 5, 2, "bool")
    expected = q[:, :, None] & (v & k)[:, None, :] & a & causal
    np.testing.assert_array_equal(masks.attention(query, value, q, v, k, a, True), expected)
    with_heads = masks.attention(query, value, q, v, k, a, True, num_heads=4)
    np.testing.assert_array_equal(with_heads, expected[:, None])


def test_blanks_what_no_head_can_see():
    mask = np.zeros((2, 3, 4, 5), "bool")  # (B, H, T, S)
    mask[0, 1, 2, 3] = mask[1, 0, 0, 4] = True
    query, value = np.ones((2, 4, 1)), np.ones((2, 5, 1))
    query, value, key = to_numpy(masks.blank_unseen(query, value, None, attention_mask=mask))
    np.testing.assert_array_equal(np.argwhere(query[..., 0]), [[0, 2], [1, 0]])
    np.testing.assert_array_equal(np.argwhere(value[..., 0]), [[0, 3], [1, 4]])
    np.testing.assert_array_equal(key, value)


def test_seen_is_what_some_query_may_attend_to():
    assert masks.seen() is None
    value_mask, attention_mask = np.array([[1, 1, 0, 1]]), np.array([[1, 0, 1, 0], [0, 0, 1, 1]])
    np.testing.assert_array_equal(masks.seen(None, None, attention_mask), [1, 0, 1, 1])
    np.testing.assert_array_equal(masks.seen(value_mask, None, attention_mask), [[1, 0, 0, 1]])


def test_segments_are_blocks_on_the_diagonal():
    x, ids = np.zeros((1, 4, 2)), np.array([[3, 3, 1, 3]])
    expected = [[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 1, 0], [1, 1, 0, 1]]
    mask = to_numpy(masks.same_segment(*masks.segments(ids, x, x)))
    np.testing.assert_array_equal(mask, [expected])
    of_heads = to_numpy(masks.same_segment(*masks.segments(ids, x, x, num_heads=2)))
    np.testing.assert_array_equal(of_heads, [[expected]])
    assert masks.same_segment(*masks.segments(None, x, x)) is None
    with pytest.raises(ValueError, match="of as many steps. Received.*query.shape=.1, 3, 2."):
        masks.segments(ids, x[:, :3], x)


def test_window_reaches_to_both_sides():
    offset = np.arange(5) - np.array([[1.0], [2.5]])
    np.testing.assert_array_equal(masks.window(offset, 1), [[1, 1, 1, 0, 0], [0, 0, 1, 1, 0]])


def test_blank_removes_nan():
    x = np.array([[[1.0, 2.0], [np.nan, np.inf]]])
    np.testing.assert_array_equal(masks.blank(x, np.array([[True, False]])), [[[1, 2], [0, 0]]])


def test_positions_count_the_allowed_steps():
    x, mask = np.ones((2, 4, 3)), np.array([[True] * 4, [False, True, False, True]])
    np.testing.assert_array_equal(masks.positions(x), [[1, 2, 3, 4]] * 2)
    np.testing.assert_array_equal(masks.positions(x, mask), [[1, 2, 3, 4], [0, 1, 1, 2]])


def test_causal_from_a_step_on():
    mask = to_numpy(masks.causal(2, 5, start=1))
    np.testing.assert_array_equal(mask, [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0]])


@pytest.mark.parametrize("heads", [False, True])
def test_a_step_that_only_padding_sees_is_blank(heads):
    """Query 1 is padding, and alone sees key 2; key 0 is padding, and all that query 2 sees."""
    pairs = np.array([[1, 1, 0], [0, 0, 1], [1, 0, 0]], "bool")
    pairs = np.broadcast_to(pairs, (1, 2, 3, 3)) if heads else pairs[None]
    x = np.ones((1, 3, 2), "float32")
    query_mask, value_mask = np.array([[True, False, True]]), np.array([[False, True, True]])
    query, value, _ = masks.blank_unseen(x, x, None, query_mask, value_mask, None, pairs)
    np.testing.assert_array_equal(to_numpy(query)[0, :, 0], [1, 0, 0])
    np.testing.assert_array_equal(to_numpy(value)[0, :, 0], [0, 1, 0])
