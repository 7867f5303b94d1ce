"""Batches of windows of one stream of text."""

import numpy as np

from recipes.data.batches import StreamBatches
from tests.recipes.data.batches.examples import assert_equal, collect

BORDER = 2
STREAM = np.split(np.arange(3, 18), [5, 6])  # of 5, 1 and 9 tokens
ALL = np.concatenate([np.insert(document, 0, BORDER) for document in STREAM])  # 18 tokens


def test_a_stream_holds_all_documents_and_each_label_is_the_token_after():
    batches = collect(StreamBatches(STREAM, 2, 4, BORDER))
    assert [inputs["tokens"].shape for inputs, _ in batches] == [(2, 4)] * 2
    rows = [(given["tokens"], given["segment_ids"], labels) for given, labels in batches]
    tokens, segments, labels = (np.concatenate(x).ravel() for x in zip(*rows, strict=True))
    np.testing.assert_array_equal(tokens, ALL[:16])
    np.testing.assert_array_equal(labels, ALL[1:17])
    np.testing.assert_array_equal(segments, [1] * 6 + [2] * 2 + [3] * 8)


def test_a_stream_begins_elsewhere_in_each_epoch_and_goes_on_from_its_end():
    batches = StreamBatches(STREAM, 1, 6, BORDER, shuffle_seed=3)
    starts = set()
    for _ in range(12):
        epoch = collect(batches)
        assert len(epoch) == 3
        for given, labels in epoch:
            (row,), (ids,) = given["tokens"], given["segment_ids"]
            (found,) = [at for at in range(18) if (np.roll(ALL, -at)[:6] == row).all()]
            starts.add(found)
            assert labels[0, -1] == np.roll(ALL, -found)[6]
            # A document that comes again is another one.
            assert len(set(ids)) == 1 + (row[1:] == BORDER).sum()
        batches.on_epoch_end()
    assert len(starts) > 12
    resumed = StreamBatches(STREAM, 1, 6, BORDER, shuffle_seed=3, epoch=12)
    assert_equal(collect(batches), collect(resumed))


def test_a_stream_shorter_than_a_window_fills_one():
    ((given, _),) = collect(StreamBatches([np.array([5, 6])], 4, 8, BORDER))
    np.testing.assert_array_equal(given["tokens"], [[2, 5, 6, 2, 5, 6, 2, 5]])
    np.testing.assert_array_equal(given["segment_ids"], [[1, 1, 1, 2, 2, 2, 3, 3]])
