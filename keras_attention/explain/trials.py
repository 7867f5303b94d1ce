"""Predictions for inputs without some of their parts."""

import hashlib

import keras
import numpy as np

from keras_attention.explain.probabilities import checked
from keras_attention.explain.removal import numbers_of, ranks


class Trials:
    """How the probability of the predicted class falls where parts of the inputs are removed.

    Examples go through in batches, those with as many parts together.

    Args:
        predict: Function from inputs to probabilities.
        parts: The inputs, as `removal.parts_of` gives them.
        batch_size: Positive integer.
        draws: Integer, how many pairs of attributions and a fraction are still to come, for the
            progress.
        verbose: Whether a bar shows the progress.

    Attributes:
        whole: Array `(B, C)`, the probabilities of the whole inputs.
        chosen: Array `(B,)`, those of the classes that are predicted.
    """

    def __init__(self, predict, parts, batch_size, *, draws=0, verbose=False):
        self._predict, self._parts = predict, parts
        order = np.argsort(parts.mask.sum(axis=1), kind="stable")
        self._batches = [
            order[start : start + batch_size] for start in range(0, len(order), batch_size)
        ]
        # Of each batch: what was found for what was kept. Where that is all, nothing falls.
        self._known = [{_key(parts.mask[rows]): np.zeros(len(rows))} for rows in self._batches]
        in_all = sum(int(parts.mask[rows].any(axis=0).sum()) for rows in self._batches)
        total = in_all + draws * len(self._batches)
        self._bar = keras.utils.Progbar(total, unit_name="batch") if verbose else None
        found = [self._predicted(parts.rows(rows), rows) for rows in self._batches]
        self.whole = self._in_order(found)
        self._class = self.whole.argmax(axis=-1)
        self.chosen = np.take_along_axis(self.whole, self._class[:, None], axis=-1)[:, 0]

    def leave_one_out(self):
        """How far the probability falls without each of the parts, `(B, U)`."""
        found = []
        for number, rows in enumerate(self._batches):
            mask = self._parts.mask[rows]
            drops = np.zeros(mask.shape)
            for part in np.nonzero(mask.any(axis=0))[0]:
                keep = mask.copy()
                keep[:, part] = False
                drops[:, part] = self._drop(number, keep)
                self._advance()
            found.append(drops)
        return self._in_order(found)

    def drops(self, attributions, fractions):
        """How far the probability falls without the top parts, and with them alone.

        Args:
            attributions: Array `(B, U)`.
            fractions: Array `(F,)` of fractions of the parts that are removed, or kept.

        Returns:
            Array `(B, 2, F)`.
        """
        found = []
        for number, rows in enumerate(self._batches):
            mask = self._parts.mask[rows]
            rank = ranks(attributions[rows], mask)
            tops = [rank < numbers_of(fraction, mask) for fraction in fractions]
            drops = []
            for top in tops:
                drops.append([self._drop(number, keep) for keep in (mask & ~top, mask & top)])
                self._advance()
            found.append(np.array(drops).transpose(2, 1, 0))
        return self._in_order(found)

    def _drop(self, number, keep):
        """How far it falls for the examples of a batch if only `keep` `(b, U)` stays, `(b,)`."""
        rows, known = self._batches[number], self._known[number]
        key = _key(keep)
        if key not in known:  # of few parts several fractions are the same number
            left = self._predicted(self._parts.keep(rows, keep), rows)
            left = np.take_along_axis(left, self._class[rows, None], axis=-1)[:, 0]
            known[key] = self.chosen[rows] - left
        return known[key]

    def _predicted(self, inputs, rows):
        return checked("predict", self._predict(inputs), inputs, len(rows))

    def _in_order(self, found):
        """What was found for the batches, in the order of the examples."""
        joined = np.concatenate(found)
        result = np.empty_like(joined)
        result[np.concatenate(self._batches)] = joined
        return result

    def _advance(self):
        if self._bar is not None:
            self._bar.add(1)


def _key(keep):
    return hashlib.sha1(np.packbits(keep)).digest()
