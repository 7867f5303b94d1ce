"""Examples of all kinds of batches, and what compares them."""

import hashlib

import numpy as np

from recipes.data.batches import (
    CaptionBatches,
    DocumentBatches,
    PaddedBatches,
    PairBatches,
    SummaryBatches,
    Windows,
    longer_sides,
    widths,
)

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
