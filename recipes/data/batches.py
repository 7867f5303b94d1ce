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

import keras
import numpy as np

from recipes.text import sentences


def pad(sequences, width, count=None, *, at_left=False):
    """Sequences of ids as int32 `(count, width)`, with zeros behind them, or before them.

    >>> pad([[1, 2], [3]], width=3, count=3).tolist()
    [[1, 2, 0], [3, 0, 0], [0, 0, 0]]
    """
    ids = np.zeros((len(sequences) if count is None else count, width), "int32")
    for row, sequence in enumerate(sequences):
        start = width - len(sequence) if at_left else 0
        ids[row, start : start + len(sequence)] = sequence
    return ids


def padded(histories, length=None):
    """The ends of histories as int32 `(B, length)`, zeros at the left; by default none is cut.

    >>> padded([[1, 2, 3], [4]], length=2).tolist()
    [[2, 3], [0, 4]]
    """
    length = length or max(1, *map(len, histories))
    return pad([history[-length:] for history in histories], length, at_left=True)


class Batches(keras.utils.PyDataset):
    """Batches of rows of similar length: little padding, yet a random order.

    A subclass overrides `_arrays`, and perhaps `_width` (to pad to few widths, as XLA compiles
    anew for each), `_cut` (what forms a batch) and `_part_first_two`.

    Args:
        lengths: Sequence of integers, the length of each row.
        batch_size: Integer, rows in a batch.
        shuffle_seed: Integer to shuffle by, anew in each epoch; or `None` to keep one order.
        epoch: Integer, epochs done in an earlier session.
        widths: Increasing integers, the lengths to pad to; a longer row is padded to itself.
    """

    def __init__(self, lengths, batch_size, *, shuffle_seed=None, epoch=0, widths=()):
        super().__init__()
        self._lengths, self._widths = np.asarray(lengths), widths
        self._batch_size, self._seed, self._epoch = batch_size, shuffle_seed, epoch
        self._compose()

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        return self._arrays(*self._batches[index])

    def on_epoch_end(self):
        self._epoch += 1
        if self._seed is not None:
            self._compose()

    def _arrays(self, rows, width):
        """What Keras is given of these rows, padded to a width."""
        raise NotImplementedError

    def _compose(self):
        """Sets the batches of an epoch: pairs of rows and a width."""
        rng = None if self._seed is None else np.random.default_rng((self._seed, self._epoch))
        batches = self._bucket(rng)
        if rng is not None:
            batches = [batches[index] for index in rng.permutation(len(batches))]
        # Keras expects of all batches what the first two have in common, such as a width.
        if len(batches) > 1 and batches[0][1] == batches[1][1]:
            self._part_first_two(batches)
        self._batches = batches

    def _part_first_two(self, batches):
        """Changes the first two batches, which are equally wide: one gets a step more."""
        rows, width = batches[0]
        batches[0] = rows, width + 1

    def _bucket(self, rng):
        """Returns the batches in any order. Here: sorted by length within large random groups."""
        order, size = np.arange(len(self._lengths)), max(1, len(self._lengths))
        if rng is not None:
            order, size = rng.permutation(order), 50 * self._batch_size
        batches = []
        for start in range(0, len(order), size):
            group = order[start : start + size]
            group = group[np.argsort(self._lengths[group], kind="stable")]
            batches += [(rows, self._width(self._lengths[rows].max())) for rows in self._cut(group)]
        return batches

    def _cut(self, rows):
        """Returns a list of batches of rows, which come sorted by length."""
        starts = range(0, len(rows), self._batch_size)
        return [rows[start : start + self._batch_size] for start in starts]

    def _width(self, longest):
        """To what a batch is padded."""
        return next((width for width in self._widths if width >= longest), longest)


def swap_second(batches):
    """Puts a batch of another width than the first in the second place, if there is one."""
    for index, (_, width) in enumerate(batches):
        if width != batches[0][1]:
            batches[1], batches[index] = batches[index], batches[1]
            return


class PaddedBatches(Batches):
    """Texts and, beside them, what the model to train is told of a text's own class.

    Args:
        texts: List of int32 arrays, the ids of each text.
        labels: int32 array, the class of each text.
        batch_size: Integer, texts in a batch; fewer where they are long, see `_STEPS`.
        names_own_class: Whether `own_class` is the label counted from 1, or 0; `None` for ids
            alone.
        **options: As for `Batches`.

    Each batch is `({"ids": (B, T), "own_class": (B, 1)}, labels (B,))`, or `(ids, labels)`.
    """

    # Texts times the length of the longest: a word piece takes some hundreds of bytes.
    _STEPS = 200_000

    def __init__(self, texts, labels, batch_size, *, names_own_class=False, **options):
        self._texts, self._labels = texts, np.asarray(labels)
        self._names_own_class = names_own_class
        super().__init__([max(1, len(text)) for text in texts], batch_size, **options)

    def _arrays(self, rows, width):
        labels = self._labels[rows]
        ids = self._ids([self._texts[row] for row in rows], width)
        if self._names_own_class is None:
            return ids, labels
        own_class = (labels[:, None] + 1) * self._names_own_class
        return {"ids": ids, "own_class": own_class.astype("int32")}, labels

    def _ids(self, texts, width):
        return pad(texts, width)

    def _cut(self, rows):
        batches, end = [], len(rows)
        while end > 0:  # from the longest down: the first of a batch bounds its size
            fitting = self._fitting(int(self._lengths[rows[end - 1]]))
            start = max(0, end - min(self._batch_size, max(1, fitting)))
            batches.append(rows[start:end])
            end = start
        return batches

    def _fitting(self, longest):
        """How many texts of this length fit into a batch."""
        return self._STEPS // longest


class DocumentBatches(PaddedBatches):
    """The same for texts in sentences, with what each text counts in the counts of n-grams.

    Args:
        documents: List of lists of lists of ids: texts, their sentences, their word pieces.
        labels, batch_size, **options: As for `PaddedBatches`.
        max_words: Integer W, pieces in the longest sentence.
        shares: float32 array, what each text counts; zeros by default.
        gap: Integer, steps of padding behind each sentence.

    Each batch is `({"ids": (B, N, W + gap), "own_class": (B, 1), "own_share": (B, 1)}, labels)`, or
    `(ids, labels)`.
    """

    # Sentences in a batch: each piece takes some kilobytes.
    _ROWS = 2_000

    def __init__(
        self, documents, labels, batch_size, *, max_words, shares=None, gap=sentences.GAP, **options
    ):
        self._max_words, self._gap = max_words, gap
        self._shares = np.zeros(len(documents)) if shares is None else shares
        super().__init__(documents, labels, batch_size, **options)

    def _arrays(self, rows, width):
        inputs, labels = super()._arrays(rows, width)
        if self._names_own_class is None:
            return inputs, labels
        return {**inputs, "own_share": self._shares[rows, None].astype("float32")}, labels

    def _ids(self, texts, width):
        ids = sentences.grid(texts, self._max_words, self._gap)
        return np.pad(ids, ((0, 0), (0, width - ids.shape[1]), (0, 0)))

    def _fitting(self, longest):
        return self._ROWS // longest


class PairBatches(Batches):
    """Sentences and their translations in few shapes, and what is to be predicted at each step.

    XLA compiles anew for each shape. So pairs are sorted into a few widths, each batch is full,
    and where pairs are missing for that, rows of padding stand in, which no loss counts.

    Args:
        sources: List of int32 arrays, the ids of each sentence, with its end.
        targets: List of int32 arrays, the ids of each translation, with its end.
        batch_size: Integer, pairs in a batch.
        start: Integer, the id before the first of a translation.
        widths: Increasing integers, the lengths to pad to; a longer pair adds its own.
        **options: As for `Batches`.

    Each batch is `({"source": (B, W), "target": (B, W)}, labels (B, W))`, 0 for padding.
    """

    def __init__(self, sources, targets, batch_size, *, start, widths, **options):
        self._sources, self._targets, self._start = sources, targets, start
        lengths = longer_sides(sources, targets)
        longest = max(lengths)
        widths = [*widths, *([longest] if longest > max(widths) else [])]
        super().__init__(lengths, batch_size, widths=widths, **options)

    def _arrays(self, rows, width):
        source = pad([self._sources[row] for row in rows], width, self._batch_size)
        targets = [self._targets[row] for row in rows]
        labels = pad(targets, width, self._batch_size)
        target = pad([[self._start, *ids[:-1]] for ids in targets], width, self._batch_size)
        return {"source": source, "target": target}, labels

    def _bucket(self, rng):
        order = np.arange(len(self._lengths))
        if rng is not None:
            order = rng.permutation(order)
        batches, rest = [], order[:0]
        for shorter, width in zip([0, *self._widths], self._widths, strict=False):
            fits = (self._lengths[order] > shorter) & (self._lengths[order] <= width)
            pairs = np.concatenate([rest, order[fits]])  # the rest is shorter still
            full = len(pairs) - len(pairs) % self._batch_size
            batches += [(part, width) for part in pairs[:full].reshape(-1, self._batch_size)]
            rest = pairs[full:]
        if len(rest):
            batches.append((rest, self._width(self._lengths[rest].max())))
        return batches

    def _part_first_two(self, batches):
        pairs, width = batches[0]
        batches[0] = pairs, next((wider for wider in self._widths if wider > width), width + 1)


class SummaryBatches(Batches):
    """Documents and their summaries in few shapes, and what is to be predicted at each step.

    XLA compiles anew for each shape. So each batch is full, and where pairs are missing for that,
    rows of padding stand in, which no loss counts.

    Args:
        sources, targets: Lists of int32 arrays, the words of each pair; a target with its end.
        batch_size: Integer, pairs in a batch.
        start: Integer, the word before the first of a summary.
        shapes: List of pairs of integers, the lengths of source and target to pad to, both
            increasing; what is longer than the last adds a shape.
        **options: As for `Batches`.

    Each batch is `({"source": (B, S), "target": (B, T), "labels": (B, T)}, labels)`, 0 for padding.
    """

    def __init__(self, sources, targets, batch_size, *, start, shapes, **options):
        self._sources, self._targets, self._start = sources, targets, start
        lengths = np.array([(len(s), len(t)) for s, t in zip(sources, targets, strict=True)])
        longest = tuple(np.maximum(lengths.max(axis=0), shapes[-1]).tolist())
        self._shapes = [*shapes, *([longest] if longest != shapes[-1] else [])]
        super().__init__(lengths, batch_size, **options)

    def _arrays(self, rows, shape):
        count = self._batch_size
        source = pad([self._sources[row] for row in rows], shape[0], count)
        targets = [self._targets[row] for row in rows]
        labels = pad(targets, shape[1], count)
        target = pad([[self._start, *words[:-1]] for words in targets], shape[1], count)
        return {"source": source, "target": target, "labels": labels}, labels

    def _compose(self):
        super()._compose()
        # Keras expects of all batches what the first two have in common, such as a length. What
        # differs at all differs between the smallest and the largest shape.
        for place, choose in zip(range(len(self)), (min, max), strict=False):
            index = choose(range(place, len(self)), key=lambda index: self._batches[index][1])
            batches = self._batches
            batches[place], batches[index] = batches[index], batches[place]

    def _part_first_two(self, batches):
        """`_compose` does."""

    def _bucket(self, rng):
        left = np.arange(len(self._lengths))
        if rng is not None:
            left = rng.permutation(left)
        batches = []
        for shape in self._shapes:
            fits = (self._lengths[left] <= shape).all(axis=1)
            starts = range(0, fits.sum(), self._batch_size)
            batches += [(left[fits][n : n + self._batch_size], shape) for n in starts]
            left = left[~fits]
        return batches


def widths(lengths, count):
    """At most `count` widths; to pad each row to the next of them takes the fewest steps.

    >>> widths([2, 3, 3, 4, 20], count=2)
    [4, 20]
    """
    ends, numbers = np.unique(lengths, return_counts=True)
    before = np.concatenate([[0], np.cumsum(numbers)])  # rows of the first i lengths
    # Dynamic programming: the fewest steps of the first i lengths, with one more width each round.
    steps = (before - before[:, None]) * np.concatenate([[0], ends])  # lengths j to i in one group
    steps = np.where(np.tri(len(steps), dtype=bool), np.inf, steps)
    best, cuts = np.where(before == 0, 0.0, np.inf), []
    for _ in range(min(count, len(ends))):
        costs = best[:, None] + steps
        cuts.append(costs.argmin(axis=0))
        best = costs.min(axis=0)
    chosen, end = [], len(ends)
    for cut in reversed(cuts):
        chosen.append(int(ends[end - 1]))
        end = cut[end]
    return chosen[::-1]


def longer_sides(sources, targets):
    """The length of the longer side of each pair."""
    return [max(map(len, pair)) for pair in zip(sources, targets, strict=True)]


class CaptionBatches(Batches):
    """Captions of about the same length, padded with 0, with their images.

    Args:
        images: Array `(N, ...)`, what the model is given of each image.
        captions: List of N lists of integer arrays, each image's captions from the start to the
            end token.
        batch_size: Integer B. The last batch is filled up with empty captions: every batch has the
            same size.
        name: String, the name of the model's input for `images`.
        mirrored: `None`, or a pair like `(images, captions)` of the images with left and right
            swapped: each caption then comes with either, drawn anew in each epoch.
        **options: As for `Batches`.

    Each batch is `({name: (B, ...), "words": (B, 1 + T)}, labels (B, T))`; the labels are the
    words from the second on.
    """

    _STEP = 4  # T is rounded up to a multiple: each length is traced for itself

    def __init__(self, images, captions, batch_size, *, name, mirrored=None, **options):
        self._sides = [(images, captions), *([mirrored] if mirrored else [])]
        self._name = name
        self._rows = [  # pairs of an image and the number of its caption
            (image, number)
            for image, captions_of in enumerate(captions)
            for number in range(len(captions_of))
        ]
        lengths = [len(captions[image][number]) for image, number in self._rows]
        super().__init__(lengths, batch_size, **options)

    def _arrays(self, rows, width):
        sides = self._drawn_sides[rows]
        chosen = [self._rows[row] for row in rows]
        captions = [
            self._sides[side][1][image][number]
            for side, (image, number) in zip(sides, chosen, strict=True)
        ]
        words = pad(captions, width, self._batch_size)
        # Image 0 stands beside the empty captions.
        missing = (0, self._batch_size - len(rows))
        sides = np.pad(sides, missing)
        numbers = np.pad([image for image, _ in chosen], missing)
        images = self._sides[0][0][numbers]
        for side, (others, _) in enumerate(self._sides[1:], start=1):
            images[sides == side] = others[numbers[sides == side]]
        return {self._name: images, "words": words}, words[:, 1:]

    def _bucket(self, rng):
        count = len(self._rows)
        self._drawn_sides = np.zeros(count, "int64")
        if rng is not None:
            self._drawn_sides = rng.integers(len(self._sides), size=count)
        return super()._bucket(rng)

    def _width(self, longest):
        return 1 + self._STEP * int(np.ceil((longest - 1) / self._STEP))

    def _part_first_two(self, batches):
        swap_second(batches)


class StreamBatches(Batches):
    """Windows of equal length of one stream, in which documents stand packed one after another.

    Where the windows begin is drawn anew in each epoch, and the stream goes on from its end to its
    beginning. All batches are full.

    Args:
        documents: List of int32 arrays.
        batch_size: Integer B, windows in a batch; fewer if there are no more.
        length: Integer T, tokens of a window.
        border: Integer, the token before each document and after the last.
        **options: As for `Batches`.

    Each batch is `({"tokens": (B, T), "segment_ids": (B, T)}, labels (B, T))`: each label is the
    token after, the border after the last of a document.
    """

    def __init__(self, documents, batch_size, length, border, **options):
        self._stream = np.concatenate([np.insert(document, 0, border) for document in documents])
        self._segments = np.cumsum(self._stream == border)
        self._length = length
        count = max(1, len(self._stream) // length)
        super().__init__(np.full(count, length), min(batch_size, count), **options)

    def _arrays(self, rows, width):
        at = self._start + rows[:, None] * width + np.arange(width + 1)  # (B, T + 1)
        rounds, at = np.divmod(at, len(self._stream))
        tokens = self._stream[at].astype("int32")
        segments = self._segments[at] + rounds * self._segments[-1]
        inputs = {"tokens": tokens[:, :-1], "segment_ids": segments[:, :-1].astype("int32")}
        return inputs, tokens[:, 1:]

    def _bucket(self, rng):
        rows, self._start = np.arange(len(self._lengths)), 0
        if rng is not None:
            rows, self._start = rng.permutation(rows), rng.integers(self._length)
        full = len(rows) - len(rows) % self._batch_size
        return [(some, self._length) for some in rows[:full].reshape(-1, self._batch_size)]

    def _part_first_two(self, batches):
        """All batches have the one shape that XLA compiles."""


class Windows(Batches):
    """Windows of histories, in which each item but the last is followed by one to predict.

    Every item of a history is predicted once an epoch or more, long histories in several windows.
    A batch holds windows of one width. There are eight of these at most, as code is compiled anew
    for each, and they are those that take the least padding for these histories.

    Args:
        histories: List of int32 arrays of items from 1.
        num_items: Integer, items from which negatives are drawn.
        max_history: Integer, steps of a window, at most.
        batch_size: Integer, steps in a batch, about: few long windows or many short ones.
        negatives: Integer N, items to draw for each step from those that the user never took.
        seed: Integer, of the order, the windows and the negatives.
        epoch: Integer, epochs done in an earlier session.

    Each batch is `({"history": (B, T), "target": (B, T), "negatives": (B, T, N)}, weights (B, T))`;
    without negatives that entry is missing. The weight is 1 where there is something to predict,
    else 0.
    """

    _WIDTHS = 8

    def __init__(
        self, histories, num_items, max_history, batch_size, *, negatives=0, seed=0, epoch=0
    ):
        self._histories, self._num_items, self._negatives = histories, num_items, negatives
        lengths = [len(history) - 1 for history in histories]
        self._longest = max_history
        rng = np.random.default_rng(0)  # which changes where windows lie, not how long they are
        spans = [span for length in lengths for span in self._spans(length, rng)]
        chosen = widths([end - start for start, end in spans], self._WIDTHS)
        self._sizes = {width: max(1, batch_size // width) for width in chosen}
        super().__init__(lengths, batch_size, shuffle_seed=seed, epoch=epoch, widths=chosen)

    def __getitem__(self, index):
        inputs, weights = super().__getitem__(index)
        if self._negatives:
            windows, _ = self._batches[index]
            inputs["negatives"] = self._draw(index, windows, weights.shape)
        return inputs, weights

    def _arrays(self, rows, width):
        windows = [self._histories[user][start : end + 1] for user, start, end in rows]
        size = self._sizes[width]  # the last batch of a width is filled with padding
        history = pad([items[:-1] for items in windows], width, size, at_left=True)
        target = pad([items[1:] for items in windows], width, size, at_left=True)
        return {"history": history, "target": target}, (target > 0).astype("float32")

    def _draw(self, index, windows, shape):
        rng = np.random.default_rng((self._seed, self._epoch, index))
        drawn = rng.integers(1, self._num_items + 1, (*shape, self._negatives), "int32")
        for row, (user, _, _) in enumerate(windows):
            taken = np.zeros(self._num_items + 1, bool)
            taken[self._histories[user]] = True
            if taken[1:].all():
                continue
            while (again := taken[drawn[row]]).any():
                drawn[row][again] = rng.integers(1, self._num_items + 1, again.sum(), "int32")
        return drawn

    def _bucket(self, rng):
        windows = {width: [] for width in self._sizes}
        for user in rng.permutation(len(self._histories)):
            for start, end in self._spans(self._lengths[user], rng):
                windows[self._width(end - start)].append((user, start, end))
        return [
            (windows_of[first : first + self._sizes[width]], width)
            for width, windows_of in windows.items()
            for first in range(0, len(windows_of), self._sizes[width])
        ]

    def _spans(self, count, rng):
        """Starts and ends of the fewest windows over `count` steps, the inner ones anywhere."""
        longest = self._longest
        if count <= longest:
            return [(0, count)] if count > 0 else []
        number = -(-count // longest)
        overlaps = np.sort(rng.integers(0, number * longest - count + 1, number))
        overlaps[0], overlaps[-1] = 0, number * longest - count
        starts = longest * np.arange(number) - overlaps
        return [(start, start + longest) for start in starts]

    def _part_first_two(self, batches):
        swap_second(batches)


class CandidateBatches(Batches):
    """Queries with all of their candidates, for losses that rank.

    Args:
        queries, documents: Lists of int32 arrays, the ids of each pair's texts.
        split: `recipes.data.candidates.Split` of the pairs.
        batch_size: Integer, queries in a batch.
        max_steps: Integer, steps of a text that are read.
        with_position: Boolean, whether a batch has the candidates' positions.
        **options: As for `Batches`.

    Each batch is `({"query": (B, T), "document": (B, S)}, targets)`, perhaps with `position`
    `(B, 1)`; the targets `(B, 2)` are a pair's label and the number of its query in the batch.
    """

    def __init__(
        self, queries, documents, split, batch_size, *, max_steps, with_position=False, **options
    ):
        self._with_position = with_position
        self._queries, self._documents = (
            [row[:max_steps] for row in rows] for rows in (queries, documents)
        )
        self._split, self._groups = split, split.groups()
        self._query_width = max(2, *map(len, self._queries))  # one for all: they are short
        lengths = [max(2, *(len(self._documents[row]) for row in rows)) for rows in self._groups]
        super().__init__(lengths, batch_size, **options)

    def _arrays(self, numbers, width):
        groups = [self._groups[number] for number in numbers]
        rows = np.concatenate(groups)
        inputs = {
            "query": pad([self._queries[row] for row in rows], self._query_width),
            "document": pad([self._documents[row] for row in rows], width),
        }
        if self._with_position:
            inputs["position"] = self._split.positions[rows, None]
        number_in_batch = np.repeat(np.arange(len(groups)), list(map(len, groups)))
        targets = np.stack([self._split.labels[rows], number_in_batch], axis=1)
        return inputs, targets.astype("float32")

    def scores(self, score):
        """The score of each pair, `(N,)`, by a function of a batch's inputs to `(B, 1)`."""
        scores = np.zeros(len(self._split), "float32")
        for numbers, width in self._batches:
            rows = np.concatenate([self._groups[number] for number in numbers])
            scores[rows] = np.asarray(score(self._arrays(numbers, width)[0]))[:, 0]
        return scores
