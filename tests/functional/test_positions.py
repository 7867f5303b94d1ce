"""functional.positions."""

import keras
import numpy as np
import pytest

from keras_attention.functional import positions
from tests.backend import to_numpy


def test_distances_are_aligned_at_the_end():
    np.testing.assert_array_equal(positions.distances(2, 3), [[-1, 0, 1], [-2, -1, 0]])
    np.testing.assert_array_equal(positions.distances(2, 3, 0), [[0, 1, 2], [-1, 0, 1]])
    np.testing.assert_array_equal(positions.distances(1, 3, np.int32(1)), [[-1, 0, 1]])


def test_slopes_of_press_2022():
    assert positions.alibi_slopes(1) == [2**-8]
    assert positions.alibi_slopes(8) == [2**-i for i in range(1, 9)]
    assert positions.alibi_slopes(16) == [2 ** (-i / 2) for i in range(1, 17)]
    between = [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    assert positions.alibi_slopes(12) == [2**-i for i in range(1, 9)] + between


@pytest.mark.parametrize("num_buckets, max_distance", [(32, 128), (8, 20), (4, 2), (10, 7)])
@pytest.mark.parametrize("is_bidirectional", [True, False])
def test_buckets_grow_with_the_distance(num_buckets, max_distance, is_bidirectional):
    distance = np.arange(-200, 201)
    bucket = to_numpy(
        positions.relative_buckets(distance, num_buckets, max_distance, is_bidirectional)
    )
    past, future = bucket[200::-1], bucket[201:]
    assert (np.diff(past) >= 0).all()
    size = num_buckets // 2 if is_bidirectional else num_buckets
    assert past[0] == 0 and past[max_distance] == past[-1] == size - 1 > past[max_distance - 1] - 1
    np.testing.assert_array_equal(past[: size // 2], np.arange(size // 2))
    np.testing.assert_array_equal(future, past[1:] + size if is_bidirectional else 0)


def test_buckets_of_raffel_2020_start_at_powers_of_two():
    # 8 wide buckets from 8 to 128: bounds at 8 * 16 ** (k / 8), which are 8, 16, 32 and 64
    bucket = to_numpy(positions.relative_buckets(-np.arange(130), 32, 128))
    for first, number in ((8, 8), (16, 10), (32, 12), (64, 14)):
        assert list(bucket[[first - 1, first]]) == [number - 1, number]
    assert bucket[128] == bucket[129] == 15


@pytest.mark.parametrize("first", [0, 1_000, -7, 1_000_000, 2**24])
def test_angles_keep_their_digits_at_any_position(first):
    steps, frequencies = np.arange(first, first + 9), 10000.0 ** (-np.arange(0, 64, 2) / 64)
    angles = steps[:, None] * frequencies
    expected = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(9, 64)
    got = positions.sinusoids(positions.steps(9, first), 64)
    np.testing.assert_allclose(got, expected, atol=4e-5 + 1e-9 * abs(first))
    pair = keras.ops.array(np.tile([1.0, 0.0], (9, 32)), "float32")
    turned = to_numpy(positions.rotate(pair, positions.steps(9, first)))
    np.testing.assert_allclose(turned[:, 0::2], np.cos(angles), atol=4e-5 + 1e-9 * abs(first))
