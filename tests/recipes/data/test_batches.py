"""Bucketed batches: every row once, the same again for a seed and an epoch, shapes Keras takes."""

import hashlib
import itertools

import keras
import numpy as np
import pytest

from recipes.data.batches import (
    Batches,
    CaptionBatches,
    DocumentBatches,
    PaddedBatches,
    PairBatches,
    StreamBatches,
    SummaryBatches,
    Windows,
    longer_sides,
    pad,
    padded,
    widths,
)  # fmt: skip
from recipes.text.sentences import GAP

RNG = np.random.default_rng(0)


def collect(batches):
    return [batches[index] for index in range(len(batches))]


def assert_equal(batches, others):
    """All arrays of two lists of batches."""
    assert len(batches) == len(others)
    for (inputs, labels), (other_inputs, other_labels) in zip(batches, others, strict=True):
        assert inputs.keys() == other_inputs.keys()
        for name, array in inputs.items():
            np.testing.assert_array_equal(array, other_inputs[name])
        np.testing.assert_array_equal(labels, other_labels)


def digest(batches):
    """Of all arrays, with their shapes and dtypes."""
    found = hashlib.sha256()
    for inputs, labels in batches:
        for array in (*inputs.values(), labels):
            little = array.astype(array.dtype.newbyteorder("<"))
            found.update(f"{little.dtype.str} {little.shape}".encode() + little.tobytes())
    return found.hexdigest()[:16]


TEXTS = [RNG.integers(1, 9, size=n).astype("int32") for n in RNG.integers(0, 30, size=100)]
LABELS = np.arange(100)
DOCUMENTS = [[list(RNG.integers(1, 9, size=4)) for _ in range(n)] for n in range(12)]
END, START = 3, 2
SOURCES = [np.append(RNG.integers(4, 90, size=n), END) for n in RNG.integers(1, 30, size=101)]
TARGETS = [np.append(RNG.integers(4, 90, size=n), END) for n in RNG.integers(1, 30, size=101)]
SHAPES = [(9, 11), (20, 25)]
OPTIONS = {"start": START, "widths": widths(longer_sides(SOURCES, TARGETS), 3)}
# Image n is the number n; its captions are n + 10 in all places, of several lengths.
IMAGES = np.arange(7, dtype="float16")[:, None]
CAPTIONS = [[np.full(length, 10 + n, "int32") for length in (3 + n, 6, 11)] for n in range(7)]
MIRRORED = -IMAGES - 1, [[caption + 50 for caption in captions] for captions in CAPTIONS]
HISTORIES = [
    RNG.permutation(np.arange(1, 61, dtype="int32"))[:length]
    for length in [1, 2, 3, 7, 8, 9, 16, 17, 40, 55] * 3
]


def windows(**changes):
    arguments = {"num_items": 60, "max_history": 16, "batch_size": 32, "seed": 3} | changes
    return Windows(HISTORIES, **arguments)


# ---------------------------------------------------------------------- what all batches do

CLASSES = {
    "texts": lambda **options: PaddedBatches(TEXTS, LABELS, 8, **options),
    "texts with their class": lambda **options: PaddedBatches(
        TEXTS, LABELS, 8, names_own_class=True, **options
    ),
    "documents": lambda **options: DocumentBatches(
        DOCUMENTS, np.arange(12), 4, max_words=5, shares=np.arange(12) / 10, **options
    ),
    "pairs": lambda **options: PairBatches(SOURCES, TARGETS, 8, **OPTIONS, **options),
    "summaries": lambda **options: SummaryBatches(
        SOURCES, TARGETS, 8, start=START, shapes=SHAPES, **options
    ),
    "captions": lambda **options: CaptionBatches(IMAGES, CAPTIONS, 4, name="features", **options),
    "mirrored captions": lambda **options: CaptionBatches(
        IMAGES, CAPTIONS, 4, name="features", mirrored=MIRRORED, **options
    ),
    "windows": lambda shuffle_seed, **options: windows(seed=shuffle_seed, **options),
    "windows with negatives": lambda shuffle_seed, **options: windows(
        seed=shuffle_seed, negatives=2, **options
    ),
}

# Of two epochs, shuffled and not, which no change may change: figures of the recipes stand on
# these orders.
DIGESTS = {
    ("texts", None): ["d943a5d020dc5747", "d943a5d020dc5747"],
    ("texts", 3): ["89fe69f9d6cf572f", "4de48f0e2c8d2c47"],
    ("texts with their class", None): ["29e30d87e224634c", "29e30d87e224634c"],
    ("texts with their class", 3): ["4889b693f2655be1", "cbbd57c37355c0e1"],
    ("documents", None): ["c0f912869300300c", "c0f912869300300c"],
    ("documents", 3): ["ca41d242323636d8", "53c2839eb4b63fd2"],
    ("pairs", None): ["41a8b96252b6372c", "41a8b96252b6372c"],
    ("pairs", 3): ["787fde629abb9c73", "43933ed619ad2a5b"],
    ("summaries", None): ["a1b5fa29b70a3100", "a1b5fa29b70a3100"],
    ("summaries", 3): ["c305c2ed381c7d1c", "75e88a662de98ac4"],
    ("captions", None): ["2396df876722eda7", "2396df876722eda7"],
    ("captions", 3): ["1e0f31f5143fd42f", "af528e56be4931e6"],
    ("mirrored captions", None): ["2396df876722eda7", "2396df876722eda7"],
    ("mirrored captions", 3): ["fb863e8b68aa8e0e", "7a49a8f499e49379"],
    ("windows", 3): ["f56bc6292fc676c5", "ae45baa22bb13971"],
    ("windows with negatives", 3): ["0a2f0b86e891cee8", "7f95226918513740"],
}


@pytest.mark.parametrize(("name", "seed"), DIGESTS)
def test_batches_are_the_same_on_every_machine(name, seed):
    batches = CLASSES[name](shuffle_seed=seed)
    digests = [digest(collect(batches))]
    batches.on_epoch_end()
    assert [*digests, digest(collect(batches))] == DIGESTS[name, seed]


@pytest.mark.parametrize("name", CLASSES)
def test_a_resumed_epoch_has_the_batches_of_an_uninterrupted_one(name):
    first = CLASSES[name](shuffle_seed=3)
    before = collect(first)
    assert_equal(before, collect(CLASSES[name](shuffle_seed=3)))
    first.on_epoch_end()
    assert_equal(collect(first), collect(CLASSES[name](shuffle_seed=3, epoch=1)))
    assert digest(before) != digest(collect(first))


@pytest.mark.parametrize("name", [name for name in CLASSES if "windows" not in name])
def test_without_a_seed_the_order_stays(name):
    batches = CLASSES[name](shuffle_seed=None)
    before = collect(batches)
    batches.on_epoch_end()
    assert_equal(collect(batches), before)


class Rows(Batches):
    """The shortest subclass: the rows themselves."""

    def _arrays(self, rows, width):
        return {"row": np.repeat(rows[:, None], width, 1)}, rows


@pytest.mark.parametrize("seed", [None, 0])
def test_a_subclass_needs_no_more_than_the_arrays(seed):
    lengths = RNG.integers(1, 50, size=999)
    batches = collect(Rows(lengths, 10, shuffle_seed=seed))
    assert len(batches) == 100
    assert sorted(np.concatenate([rows for _, rows in batches])) == list(range(999))
    padding = sum(inputs["row"].size for inputs, _ in batches) / lengths.sum()
    assert padding < 1.1  # equally long rows stand together
    widths = [inputs["row"].shape[1] for inputs, _ in batches]
    assert widths[0] != widths[1]
    assert (widths[1:] == sorted(widths[1:])) == (seed is None)


def test_no_rows_make_no_batches():
    assert len(Rows([], 10)) == len(Rows([], 10, shuffle_seed=0)) == 0


def test_pad():
    assert pad([[1, 2], [3]], 3).tolist() == [[1, 2, 0], [3, 0, 0]]
    assert pad([[1, 2], []], 2, 3, at_left=True).tolist() == [[1, 2], [0, 0], [0, 0]]
    assert pad([[1, 2], [3]], 3, at_left=True).tolist() == [[0, 1, 2], [0, 0, 3]]
    assert pad([np.array([7])], 1).dtype == np.int32


# ------------------------------------------------------------------------ texts, documents


def test_every_text_once_and_whole():
    for seed in (None, 3):
        batches = collect(PaddedBatches(TEXTS, LABELS, 8, shuffle_seed=seed))
        labels = np.concatenate([labels for _, labels in batches])
        assert sorted(labels) == list(range(100))
        for inputs, labels in batches:
            for ids, label in zip(inputs["ids"], labels, strict=True):
                np.testing.assert_array_equal(ids[ids > 0], TEXTS[label])


def test_own_class_is_named_in_training_alone():
    for named in (False, True):
        inputs, labels = PaddedBatches(TEXTS, LABELS, 8, names_own_class=named)[0]
        np.testing.assert_array_equal(inputs["own_class"][:, 0], (labels + 1) * named)


def test_long_texts_make_small_batches():
    long = [np.ones(90_000, "int32")] * 3
    assert [len(labels) for _, labels in collect(PaddedBatches(long, np.zeros(3), 8))] == [2, 1]


def test_keras_takes_batches_of_any_length_after_two_that_are_equally_long():
    lengths = np.array([7, 7, 7, 7, 3, 3])
    texts = [np.full(length, 2, "int32") for length in lengths]
    batches = PaddedBatches(texts, np.zeros(6), 2)
    ids, own_class = keras.Input((None,), name="ids"), keras.Input((1,), name="own_class")
    model = keras.Model({"ids": ids, "own_class": own_class}, keras.ops.sum(ids, axis=1))
    totals = model.predict(batches, verbose=0)
    assert sorted(totals) == sorted(2.0 * lengths)


def test_documents_stand_in_rows_of_sentences_with_their_shares():
    shares = np.arange(12) / 10
    batches = DocumentBatches(DOCUMENTS, np.arange(12), 4, max_words=5, shares=shares)
    for inputs, labels in collect(batches):
        np.testing.assert_allclose(inputs["own_share"][:, 0], shares[labels], rtol=1e-6)
        assert inputs["ids"].shape[2] == 5 + GAP
        for ids, label in zip(inputs["ids"], labels, strict=True):
            rows = [row[row > 0].tolist() for row in ids]
            assert [row for row in rows if row] == DOCUMENTS[label]


def test_long_documents_make_small_batches():
    long = [[[1, 2]] * 1500] * 3
    batches = collect(DocumentBatches(long, np.zeros(3), 8, max_words=4))
    assert [len(labels) for _, labels in batches] == [1, 1, 1]


# ----------------------------------------------------------------------------------- pairs


@pytest.mark.parametrize("seed", [None, 3])
def test_every_pair_once_and_what_is_predicted_is_one_step_ahead(seed):
    pairs = []
    for inputs, labels in collect(PairBatches(SOURCES, TARGETS, 8, shuffle_seed=seed, **OPTIONS)):
        assert len(labels) == 8
        for source, target, label in zip(inputs["source"], inputs["target"], labels, strict=True):
            source, label = source[source > 0], label[label > 0]
            if not len(source):  # a row of padding
                assert not len(label) and not target.any()
                continue
            np.testing.assert_array_equal(target[: len(label)], [START, *label[:-1]])
            assert not target[len(label) :].any()
            pairs.append((source.tolist(), label.tolist()))
    assert sorted(pairs) == sorted(
        (a.tolist(), b.tolist()) for a, b in zip(SOURCES, TARGETS, strict=True)
    )


def test_few_shapes():
    batches = collect(PairBatches(SOURCES, TARGETS, 8, shuffle_seed=0, **OPTIONS))
    assert len({labels.shape for _, labels in batches[1:]}) <= 3
    # Only the last batch of all is not full, and of what is left over nothing is cut.
    assert sum(not inputs["source"][-1].any() for inputs, _ in batches) <= 1


def test_a_pair_longer_than_all_in_training():
    long = [np.append(np.full(99, 5), END)]
    ((inputs, labels),) = collect(PairBatches(long, long, 4, **OPTIONS))
    assert labels.shape == inputs["source"].shape == (4, 100)


@pytest.mark.parametrize("seed", [None, 3])
def test_every_summary_once_in_full_batches_of_few_shapes(seed):
    batches = collect(CLASSES["summaries"](shuffle_seed=seed))
    seen = []
    for inputs, labels in batches:
        assert len(inputs["source"]) == len(labels) == 8
        np.testing.assert_array_equal(inputs["labels"], labels)
        for source, target, row in zip(inputs["source"], inputs["target"], labels, strict=True):
            source, target, row = (x[x > 0].tolist() for x in (source, target, row))
            assert target == [START, *row[:-1]] if row else not source
            seen.append((source, row))
    expected = [(s.tolist(), t.tolist()) for s, t in zip(SOURCES, TARGETS, strict=True)]
    assert sorted(pair for pair in seen if pair[0]) == sorted(expected)
    shapes = [(inputs["source"].shape[1], labels.shape[1]) for inputs, labels in batches]
    longest = max(map(len, SOURCES)), max(map(len, TARGETS))
    assert {*shapes} == {*SHAPES, longest}
    # Keras expects of all batches what the first two have in common: here nothing.
    assert shapes[:2] == [SHAPES[0], longest]


def test_summaries_of_one_shape_stay_so():
    for count in (3, 20):
        found = collect(
            SummaryBatches(SOURCES[:count], TARGETS[:count], 4, start=2, shapes=[(40, 40)])
        )
        assert {labels.shape for _, labels in found} == {(4, 40)}


def test_the_first_two_batches_are_of_different_width():
    same = [np.array([5, 6, END])] * 20
    first, second = collect(PairBatches(same, same, 4, start=START, widths=[3]))[:2]
    assert first[1].shape[1] != second[1].shape[1]


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_no_other_candidates_need_less_padding(count):
    lengths = RNG.integers(1, 12, size=40).tolist()

    def steps(candidates):
        return sum(min(width for width in candidates if width >= length) for length in lengths)

    best = widths(lengths, count)
    *others, longest = sorted(set(lengths))
    chosen = itertools.combinations(others, min(count, len(others) + 1) - 1)
    assert len(best) <= count
    assert steps(best) == min(steps([*shorter, longest]) for shorter in chosen)


# -------------------------------------------------------------------------------- captions


def captions_of(batches):
    """Pairs of an image's number and the words of a caption."""
    return [
        (float(image[0]), row[row > 0].tolist())
        for inputs, _ in batches
        for image, row in zip(inputs["features"], inputs["words"], strict=True)
        if row.any()
    ]


@pytest.mark.parametrize("seed", [None, 3])
def test_every_caption_once_with_its_image(seed):
    batches = collect(CaptionBatches(IMAGES, CAPTIONS, 4, name="features", shuffle_seed=seed))
    assert len(batches) == 6  # 21 captions
    for inputs, labels in batches:
        assert inputs["features"].shape == (4, 1) and inputs["features"].dtype == "float16"
        assert inputs["words"].shape[0] == 4 and inputs["words"].shape[1] % 4 == 1
        np.testing.assert_array_equal(labels, inputs["words"][:, 1:])
    pairs = captions_of(batches)
    assert len(pairs) == 21
    assert all(set(words) == {10 + image} for image, words in pairs)
    assert sorted(len(words) for _, words in pairs) == sorted(
        len(caption) for captions in CAPTIONS for caption in captions
    )


def test_lengths_are_alike_within_a_batch_and_differ_in_the_first_two():
    batches = collect(CaptionBatches(IMAGES, CAPTIONS, 4, name="features", shuffle_seed=0))
    widths = [inputs["words"].shape[1] for inputs, _ in batches]
    assert set(widths) == {9, 13}
    assert widths[0] != widths[1]
    for inputs, _ in batches:
        longest = max((row > 0).sum() for row in inputs["words"])
        assert inputs["words"].shape[1] - 4 < longest <= inputs["words"].shape[1]


def test_mirror_images_come_with_their_own_captions():
    batches = CLASSES["mirrored captions"](shuffle_seed=1)
    pairs = captions_of(collect(batches))
    assert len(pairs) == 21
    assert 3 < sum(image < 0 for image, _ in pairs) < 18
    for image, words in pairs:
        assert set(words) == {10 + image if image >= 0 else 60 - image - 1}
    batches.on_epoch_end()
    again = captions_of(collect(batches))
    assert sorted(map(str, again)) != sorted(map(str, pairs))


def test_mirror_images_are_drawn_in_training_alone():
    pairs = captions_of(collect(CLASSES["mirrored captions"](shuffle_seed=None)))
    assert all(image >= 0 for image, _ in pairs)


# --------------------------------------------------------------------------------- windows


def test_padded():
    assert padded([np.array([4, 5, 6]), np.array([7])]).tolist() == [[4, 5, 6], [0, 0, 7]]
    assert padded([np.array([4, 5, 6]), np.array([7])], 2).tolist() == [[5, 6], [0, 7]]
    assert padded([np.array([], "int32")]).tolist() == [[0]]


def test_every_item_follows_the_one_before_it():
    expected = {(h[i], h[i + 1]) for h in HISTORIES for i in range(len(h) - 1)}
    pairs = set()
    for inputs, weights in collect(windows()):
        history, target = inputs["history"], inputs["target"]
        np.testing.assert_array_equal(weights, target > 0)
        np.testing.assert_array_equal(history > 0, target > 0)
        assert (np.diff((history > 0).astype(int), axis=1) >= 0).all()  # padding at the left
        np.testing.assert_array_equal(
            history[:, 1:][history[:, :-1] > 0], target[:, :-1][history[:, :-1] > 0]
        )
        pairs |= set(zip(history[history > 0], target[target > 0], strict=True))
    assert pairs == expected


def test_short_windows_come_in_larger_batches():
    shapes = {inputs["history"].shape for inputs, _ in collect(windows())}
    assert all(rows == 32 // length for rows, length in shapes)
    assert 3 < len(shapes) <= 8
    assert max(length for _, length in shapes) <= 16


def test_widths_of_windows_follow_the_histories():
    lengths = [*[4] * 500, *[7] * 300, 150]
    histories = [np.arange(1, 1 + length, dtype="int32") for length in lengths]
    batches = collect(Windows(histories, 200, 200, 64))
    shapes = {inputs["history"].shape for inputs, _ in batches}
    assert shapes == {(21, 3), (10, 6), (1, 149)}
    real = sum(weights.sum() for _, weights in batches)
    assert real == sum(length - 1 for length in lengths)
    assert real > 0.95 * sum(weights.size for _, weights in batches)


def test_as_many_batches_in_each_epoch():
    batches = windows()
    count = len(batches)
    for _ in range(5):
        batches.on_epoch_end()
        assert len(batches) == count


def test_negatives_are_items_that_the_user_never_took():
    users = {tuple(sorted(h)): set(h) for h in HISTORIES}
    drawn = []
    for inputs, weights in collect(windows(negatives=3)):
        assert inputs["negatives"].shape == (*weights.shape, 3)
        for row in range(len(weights)):
            known = set(inputs["history"][row]) | set(inputs["target"][row]) - {0}
            if not (known := known - {0}):
                continue
            negatives = inputs["negatives"][row][weights[row] > 0]
            drawn.append(negatives)
            whole = [taken for taken in users.values() if known <= taken]
            assert any(not taken & set(negatives.ravel()) for taken in whole)
    drawn = np.concatenate(drawn)
    assert drawn.min() >= 1 and drawn.max() <= 60
    assert len(np.unique(drawn)) == 60


def test_a_user_who_took_everything_does_not_hang():
    everything = [np.arange(1, 5, dtype="int32")]
    inputs, _ = Windows(everything, 4, 8, 8, negatives=1)[0]
    assert inputs["negatives"].max() <= 4


@pytest.mark.parametrize("max_history", [2, 3, 5, 8, 200])
def test_keras_takes_batches_of_any_length(max_history):
    batches = windows(max_history=max_history)
    history = keras.Input((None,), dtype="int32", name="history")
    target = keras.Input((None,), dtype="int32", name="target")
    model = keras.Model({"history": history, "target": target}, keras.ops.max(target, axis=1))
    largest = model.predict(batches, verbose=0)
    assert largest.max() == 60


# ------------------------------------------------------------------------------------ streams

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
