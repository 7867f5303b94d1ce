"""N-grams of word pieces: counted in the training texts, and found again inside a model.

An n-gram is known by a key, a 31-bit number made of its ids. The keys of the n-grams that are kept
stand sorted in a weight of the model, and a binary search finds their rows: hash tables do not run
in TFLite with ids alone, and strings do not compile. Two n-grams share a key in one of two billion
cases; a model with 300,000 n-grams takes an unknown one for a known one once in 7,000.
"""

import keras
import numpy as np
from keras import ops

# Products of a hash and the base must stay below 2^31, so the first prime depends on the base.
_HIGH_LIMIT, _LOW_PRIME = 2**17, 16381


def select(ids, labels, *, vocabulary_size, num_classes, order, min_texts, shares=None):
    """Counts in how many texts of each class each n-gram occurs.

    Args:
        ids: List of integer arrays, the ids of each text. No n-gram spans a 0.
        labels: Integer array, the class of each text.
        vocabulary_size: Integer, larger than any id.
        num_classes: Integer.
        order: Integer, the longest n-gram.
        min_texts: Integer; an n-gram of two ids or more is kept if so many texts have it.
        shares: Float array, what each text counts; 1 by default.

    Returns:
        Sorted keys, int32 `(K,)`, and counts, float32 `(K, num_classes)`.

    >>> keys, counts = select(
    ...     [np.array([5, 6]), np.array([5, 6, 7])], np.array([0, 1]),
    ...     vocabulary_size=8, num_classes=2, order=2, min_texts=2,
    ... )
    >>> len(keys), counts.sum(0)       # 5, 6, 7 and "5 6"
    (4, array([3., 4.], dtype=float32))
    """
    texts = np.repeat(np.arange(len(ids)), [len(text) for text in ids])
    values = np.concatenate(ids).astype(np.int64)
    occurrences = []
    kept = []
    for size in range(1, order + 1):
        starts = len(values) - size + 1
        if starts <= 0:
            continue
        steps = [values[offset : offset + starts] for offset in range(size)]
        inside = texts[:starts] == texts[size - 1 :]  # not across two texts
        inside &= np.min(steps, axis=0) > 0
        keys = _key(steps, vocabulary_size)[inside]
        pairs = np.unique(texts[:starts][inside] << 31 | keys)  # each text counts once
        keys = pairs & (2**31 - 1)
        distinct, frequency = np.unique(keys, return_counts=True)
        kept.append(distinct if size == 1 else distinct[frequency >= min_texts])
        occurrences.append((keys, pairs >> 31))
    kept = np.unique(np.concatenate(kept))
    counts = np.zeros((len(kept), num_classes), np.float32)
    shares = np.ones(len(ids), np.float32) if shares is None else shares
    for keys, owners in occurrences:
        rows = np.minimum(np.searchsorted(kept, keys), len(kept) - 1)
        known = kept[rows] == keys
        owners = owners[known]
        np.add.at(counts, (rows[known], np.asarray(labels)[owners]), shares[owners])
    return kept.astype(np.int32), counts


def _key(ids, base):
    """31-bit key of an n-gram, for NumPy arrays and tensors alike.

    Args:
        ids: List of integer arrays of one shape, the n-gram's ids in order.
        base: Integer, larger than any id.
    """
    high_prime = _prime_below(min(_HIGH_LIMIT, 2**31 // base - 1))
    high, low = ids[0] * 0, ids[0] * 0
    for number in ids:
        high = (high * base + number) % high_prime
        low = (low * 31 + number + 1) % _LOW_PRIME
    return high * 2**14 + low


def _prime_below(limit):
    number = limit
    while any(number % divisor == 0 for divisor in range(2, int(number**0.5) + 1)):
        number -= 1
    return number


@keras.saving.register_keras_serializable(package="recipes")
class NGramLookup(keras.layers.Layer):
    """Rows of the n-grams that end at each step.

    Args:
        num_ngrams: Integer K, how many n-grams are known.
        vocabulary_size: Integer, as in `select`.
        order: Integer, the longest n-gram.

    Call arguments:
        ids: Integer tensor `(B, T)`, 0 where padded.

    Returns:
        int32 `(B, T, order)`: at step t, for n = 1 to `order`, the row of the n-gram of the n ids
        up to t; rows count from 1, 0 is an unknown n-gram or one that reaches into padding.
    """

    def __init__(self, num_ngrams, vocabulary_size, order, **kwargs):
        kwargs["dtype"] = "float32"  # integers pass through bfloat16 policies unharmed
        super().__init__(**kwargs)
        self.num_ngrams = num_ngrams
        self.vocabulary_size = vocabulary_size
        self.order = order

    def build(self, ids_shape):
        self.keys = self.add_weight(
            name="keys",
            shape=(self.num_ngrams,),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    def call(self, ids):
        ids = ops.cast(ids, "int32")
        shifted = [ids]  # shifted[n] holds the id n steps before, 0 before the start
        for _ in range(1, self.order):
            before = shifted[-1]
            shifted.append(ops.concatenate([ops.zeros_like(before[:, :1]), before[:, :-1]], axis=1))
        keys, whole = [], None
        for size in range(self.order):
            present = ops.greater(shifted[size], 0)
            whole = present if whole is None else ops.logical_and(whole, present)
            key = _key(shifted[size::-1], self.vocabulary_size)
            keys.append(ops.where(whole, key, -1))  # no key is negative
        return self._search(ops.stack(keys, axis=-1))

    def _search(self, keys):
        """Binary search for all keys at once; the number of rounds depends on K alone."""
        low = ops.zeros_like(keys)
        for bit in reversed(range(self.num_ngrams.bit_length())):
            middle = low + 2**bit
            inside = ops.less(middle, self.num_ngrams)
            reached = ops.take(self.keys, ops.where(inside, middle, 0), axis=0)
            low = ops.where(ops.logical_and(inside, ops.less_equal(reached, keys)), middle, low)
        is_known = ops.equal(ops.take(self.keys, low, axis=0), keys)
        return ops.where(is_known, low + 1, 0)

    def get_config(self):
        config = super().get_config()
        del config["dtype"]
        return {
            **config,
            "num_ngrams": self.num_ngrams,
            "vocabulary_size": self.vocabulary_size,
            "order": self.order,
        }


@keras.saving.register_keras_serializable(package="recipes")
class NaiveBayesEvidence(keras.layers.Layer):
    """What each n-gram says for each class.

        e = gain * (log p(ngram | class) - mean over classes) + turn

    with smoothed frequencies counted in the training texts. Learned for each n-gram are a gain, 1
    at first, and a turn, 0 at first. Of two classes a gain alone reaches both.

    A training text takes part in its own counts: each n-gram that only it has would point to its
    label without fail. So in training its own count is left out.

    Args:
        num_ngrams: Integer K; row 0 stands for unknown.
        num_classes: Integer C.
        turns: Whether n-grams have a turn; it doubles the numbers learned.

    Call arguments:
        rows: int32 `(B, S)`.
        own_class: int32 `(B, 1)`, in training the class of the text counted from 1, 0 for a text
            that was not counted; or `None`.
        own_share: Float `(B, 1)`, what each text counts, or `None` for 1.

    Returns:
        Float tensor `(B, S, C)`; zeros for unknown n-grams.

    Reference:
        Wang & Manning, 2012, section 2.1 (log-count ratios, binarized, smoothing 1),
        https://aclanthology.org/P12-2018
    """

    def __init__(self, num_ngrams, num_classes, turns=False, **kwargs):
        super().__init__(**kwargs)
        self.num_ngrams = num_ngrams
        self.num_classes = num_classes
        self.turns = turns

    def build(self, rows_shape, own_class_shape=None, own_share_shape=None):
        rows = self.num_ngrams + 1
        fixed = {"initializer": "zeros", "trainable": False, "autocast": False}
        self.counts = self.add_weight(name="counts", shape=(rows, self.num_classes), **fixed)
        self.log_totals = self.add_weight(name="log_totals", shape=(self.num_classes,), **fixed)
        # What the counts come to: smaller numbers, which int8 can hold, and less to compute.
        self.ratios = self.add_weight(name="ratios", shape=(rows, self.num_classes), **fixed)
        self.gain = self.add_weight(name="gain", shape=(rows, 1), initializer="ones")
        self.turn = None
        if self.turns:
            shape = rows, self.num_classes
            self.turn = self.add_weight(name="turn", shape=shape, initializer="zeros")
        self.built = True

    def set_counts(self, counts):
        """Takes over counts `(K, C)` of `select`."""
        unknown = np.zeros_like(counts[:1])
        self.log_totals.assign(np.log(self._totals(counts)))
        self.counts.assign(np.concatenate([unknown, counts]))
        ratios = ops.convert_to_numpy(self._log_ratios(ops.convert_to_tensor(counts)))
        self.ratios.assign(np.concatenate([unknown, ratios]))

    def call(self, rows, own_class=None, own_share=None):
        if own_class is None:
            ratios = ops.take(self.ratios, rows, axis=0)  # (B, S, C)
        else:
            own = ops.one_hot(own_class - 1, self.num_classes, dtype="float32")  # (B, 1, C)
            if own_share is not None:
                own = own * ops.expand_dims(own_share, -1)
            counts = ops.maximum(ops.take(self.counts, rows, axis=0) - own, 0.0)
            known = ops.cast(ops.expand_dims(rows, -1) > 0, "float32")
            ratios = self._log_ratios(counts) * known
        evidence = ratios * ops.cast(ops.take(self.gain, rows, axis=0), "float32")
        if self.turn is None:
            return evidence
        turn = ops.cast(ops.take(self.turn, rows, axis=0), "float32")
        return evidence + turn * ops.cast(ops.expand_dims(rows, -1) > 0, "float32")

    def _totals(self, counts):
        return counts.sum(0) + len(counts) / counts.shape[1]

    def _log_ratios(self, counts):
        ratios = ops.log(counts + 1.0) - self.log_totals
        return ratios - ops.mean(ratios, axis=-1, keepdims=True)

    def get_config(self):
        return {
            **super().get_config(),
            "num_ngrams": self.num_ngrams,
            "num_classes": self.num_classes,
            "turns": self.turns,
        }


@keras.saving.register_keras_serializable(package="recipes")
class ComplementEvidence(NaiveBayesEvidence):
    """What each n-gram says for each class, told by the texts of all other classes.

        e = mean over classes of log p(ngram | other classes) - log p(ngram | other classes)

    Of many classes each has few texts, and all others together have many: what is rare in them
    is the better measured. For two classes this is the log-count ratio, with less smoothing.

    Reference:
        Rennie et al., 2003, section 3.1, https://cdn.aaai.org/ICML/2003/ICML03-081.pdf
    """

    SMOOTHING = 0.1

    def _totals(self, counts):
        return (counts.sum(1, keepdims=True) - counts + self.SMOOTHING).sum(0)

    def _log_ratios(self, counts):
        others = ops.sum(counts, axis=-1, keepdims=True) - counts
        ratios = self.log_totals - ops.log(ops.maximum(others, 0.0) + self.SMOOTHING)
        return ratios - ops.mean(ratios, axis=-1, keepdims=True)


@keras.saving.register_keras_serializable(package="recipes")
class EvidenceScale(keras.layers.Layer):
    """How far to trust all evidence of a text together: `exp(a + b log sum_i exp(score_i))`.

    With b = 1 and a = 0, an attention over the scores times this is their plain weighted sum; with
    b = 0 it stays an average. The frequencies of words are not independent, so b is learned; it
    starts and mostly stays near 1/2.

    Call arguments:
        score: Float `(B, S, 1)`.
        known: Boolean `(B, S)`, the steps that count.

    Returns:
        Float `(B, 1)`.
    """

    def build(self, score_shape, known_shape):
        half = keras.initializers.Constant(0.5)
        self.offset = self.add_weight(name="offset", shape=(), initializer="zeros")
        self.exponent = self.add_weight(name="exponent", shape=(), initializer=half)

    def call(self, score, known):
        known = ops.expand_dims(known, -1)
        mass = ops.sum(ops.where(known, ops.exp(score), 0.0), axis=1)  # (B, 1)
        return ops.exp(self.offset + self.exponent * ops.log(mass + 1e-6))


@keras.saving.register_keras_serializable(package="recipes")
class Bias(keras.layers.Layer):
    """Adds a learned number to each of the last axis' entries."""

    def build(self, shape):
        self.bias = self.add_weight(name="bias", shape=shape[-1:], initializer="zeros")

    def call(self, x):
        return x + self.bias


@keras.saving.register_keras_serializable(package="recipes")
class NGramDropout(keras.layers.Layer):
    """In training, takes a fraction of the n-grams for unknown.

    Args:
        rate: Float in `[0, 1)`.
        seed: Integer.
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.seed = rate, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, rows, training=None):
        if not training or not self.rate:
            return rows
        draws = keras.random.uniform(ops.shape(rows), dtype="float32", seed=self.seed_generator)
        return ops.where(draws < self.rate, 0, rows)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="recipes")
class LogRepeats(keras.layers.Layer):
    """Logarithm of how often each step's n-gram occurs in the text, float `(B, T, order)`.

    Subtracted from attention scores it makes n-grams count once, however often they are repeated:
    presence tells a text's class better than frequency. Time and memory are O(T + K) for each text.

    Args:
        num_ngrams: Integer K; rows are 0 to K.
    """

    def __init__(self, num_ngrams, **kwargs):
        super().__init__(**kwargs)
        self.num_ngrams = num_ngrams

    def call(self, rows):
        bins = self.num_ngrams + 1  # of each text; no two sizes of n-grams share a row
        batch = ops.shape(rows)[0]
        first = ops.arange(batch, dtype="int32") * bins
        places = ops.reshape(rows + ops.reshape(first, (-1, 1, 1)), (-1,))  # (B T order,)
        counts = ops.segment_sum(ops.ones_like(places), places, num_segments=batch * bins)
        repeats = ops.reshape(ops.take(counts, places), ops.shape(rows))
        return ops.log(ops.cast(repeats, self.compute_dtype))

    def get_config(self):
        return {**super().get_config(), "num_ngrams": self.num_ngrams}


@keras.saving.register_keras_serializable(package="recipes")
class SpreadOverPieces(keras.layers.Layer):
    """Gives what each n-gram has to its pieces, in equal parts: `(B, T, order, D)` to `(B, T, D)`.

    The n-gram of n pieces at step t consists of steps t - n + 1 to t; the sum over all steps stays.
    """

    def call(self, x):
        total = 0.0
        for size in range(1, x.shape[2] + 1):
            part = x[:, :, size - 1] / size  # (B, T, D)
            for _ in range(size):
                total = total + part
                part = ops.concatenate([part[:, 1:], ops.zeros_like(part[:, :1])], axis=1)
        return total
