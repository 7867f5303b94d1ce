"""Padded batches of a data set, bucketed by length, the same for the same seed and epoch.

`Batches` shuffles, resumes at an epoch and groups what is about equally long. A subclass says what
a batch holds:

    class WordBatches(Batches):
        def __init__(self, words, batch_size, **options):
            self._words = words
            super().__init__([len(row) for row in words], batch_size, **options)

        def _arrays(self, rows, width):
            return pad([self._words[row] for row in rows], width)
"""

from recipes.data.batches.base import Batches, pad, swap_second, widths
from recipes.data.batches.candidates import CandidateBatches
from recipes.data.batches.captions import CaptionBatches
from recipes.data.batches.clips import ClipAugmentation, ClipBatches, pad_clips
from recipes.data.batches.crops import CropAugmentation, CropBatches
from recipes.data.batches.histories import Windows, padded
from recipes.data.batches.images import ImageAugmentation, ImageBatches
from recipes.data.batches.pairs import PairBatches, SummaryBatches, longer_sides
from recipes.data.batches.streams import StreamBatches
from recipes.data.batches.texts import DocumentBatches, PaddedBatches

__all__ = [
    "Batches",
    "CandidateBatches",
    "CaptionBatches",
    "ClipAugmentation",
    "ClipBatches",
    "CropAugmentation",
    "CropBatches",
    "DocumentBatches",
    "ImageAugmentation",
    "ImageBatches",
    "PaddedBatches",
    "PairBatches",
    "StreamBatches",
    "SummaryBatches",
    "Windows",
    "longer_sides",
    "pad",
    "pad_clips",
    "padded",
    "swap_second",
    "widths",
]
