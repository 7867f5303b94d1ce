"""Documents and summaries as words: batches, what a model writes, its facts and its exports.

texts = Texts.read(config, data)                    # words of all splits, and the way back to text
search = texts.searcher(config)
written = texts.write(model, search)                # words for each test document
figures = texts.export(config, model, folder)
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from recipes.data import summaries
from recipes.data.batches import SummaryBatches, widths
from recipes.kit import exports
from recipes.parts import pointer_generator, seq2seq
from recipes.text import detokenize, wordpiece
from recipes.text.copyable import END, PIECES, START, Copyable

_SHAPES = 6


@dataclasses.dataclass(frozen=True)
class Texts:
    """Documents and summaries as words.

    Attributes:
        known: `Copyable`.
        data: `summaries.Summaries`.
        sources: Dict from each split to the words of its documents.
        targets, rows: Dicts from `train` and `validation` to the words of the references, and the
            number of the document of each.
        pieces: List of arrays, the word pieces of the words of each test document.
    """

    known: Copyable
    data: summaries.Summaries
    sources: dict
    targets: dict
    rows: dict
    pieces: list

    @classmethod
    def read(cls, config, data):
        """Learns the words from the training split, and reads all splits."""
        known = Copyable.learn(
            data.train.documents, data.train.pairs()[1], config.vocabulary_size,
            config.max_document, cased=config.cased,
        )  # fmt: skip
        sources, targets, rows = {}, {}, {}
        for part, split in data.splits.items():
            sources[part], pieces = known.sources(split.documents)
            if part != "test":
                rows[part], references = split.pairs()
                targets[part] = known.targets(references, rows[part], pieces)
        print(f"{known.known:,} words can be generated, all others copied")
        return cls(known, data, sources, targets, rows, pieces)  # those of the last, the test split

    def batches(self, config, *, epoch=0):
        """Dict of batches to train and to validate on."""
        pairs = {
            part: (
                [self.sources[part][row] for row in self.rows[part]],
                [np.append(row, END)[: config.max_summary].astype("int32") for row in targets],
            )
            for part, targets in self.targets.items()
        }
        batch_size = min(config.batch_size, len(pairs["train"][0]))
        # Two shapes are traced twice, and XLA, where Keras uses it (not on CPUs alone), compiles
        # each: some batches alone would not pay for that.
        count = _SHAPES if len(pairs["train"][0]) > 100 * batch_size else 1
        lengths = [widths([max(1, len(row)) for row in side], count) for side in pairs["train"]]
        count = max(map(len, lengths))
        shapes = [
            *zip(*([*ends[:1] * (count - len(ends)), *ends] for ends in lengths), strict=True)
        ]
        return {
            part: SummaryBatches(
                *pairs[part], batch_size, start=START, shapes=shapes, epoch=epoch,
                shuffle_seed=config.seed if part == "train" else None,
            )
            for part in pairs
        }  # fmt: skip

    def search(self, config, **options):
        """`pointer_generator.search`, told all but the rest; `options` in place of the config's."""
        usual = {
            "size": self.known.size, "max_length": config.max_summary, "beams": config.beams,
            "length_penalty": config.length_penalty, "ngrams": config.no_repeat_ngram,
        }  # fmt: skip
        return functools.partial(pointer_generator.search, **usual | options)

    def searcher(self, config, **options):
        """A function of a model that returns its search, compiled once."""
        return seq2seq.compiled(self.search(config, **options))

    def write(self, model, search):
        """What a `searcher` finds for each test document: a list of arrays of words."""
        return seq2seq.generate(search(model), self.sources["test"])

    def texts(self, written):
        """The texts of summaries of the test documents, by their words."""
        return [self.known.text(*pair) for pair in zip(written, self.pieces, strict=True)]

    def facts(self, config, models):
        """What the card tells of copies and repeats, in percent.

        Args:
            config: A `Config`.
            models: Dict from names to pairs of a model and what `write` returned for it.

        Returns:
            Dict from the names to dicts of `copied_words` and `copied_unknown_words`, of the words
            it wrote, and `repeating_summaries`, those with three words in a row twice where the
            search lets them.
        """
        free, known = self.searcher(config, ngrams=0), self.known.known
        return {
            name: {
                **pointer_generator.shares_copied(model, self.sources["test"], written, known),
                "repeating_summaries": 100 * _share_repeating(self.write(model, free)),
            }
            for name, (model, written) in models.items()
        }

    def traced(self, model, written, row=0):
        """What was copied into the summary of a test document.

        Returns:
            The share of each word's probability that is copied from each word of the document
            `(L, S)`, and the words of both as lists of strings.
        """
        source, document = self.sources["test"][row], self.data.test.documents[row]
        names = [document[start:end] for start, end in self.known.spans(document)[: len(source)]]
        shares = np.zeros((0, len(source)))
        if len(written[row]):
            shares = pointer_generator.trace(model, source[None], written[row][None])[0].numpy()
        return shares, self.known.names(written[row], names), names

    def export(self, config, model, folder):
        """Writes all forms; returns what `kit.exports.export` does."""
        known, documents = self.known, self.data.test.documents[: config.parity_texts]
        joiner = detokenize.TextJoiner(known.vocabulary, known.spacing, config.max_summary * PIECES)

        beam, greedy = self.search(config), self.search(config, beams=1)

        def from_text(model, text):
            ids = known.tokenizer.tokenize(text).to_tensor()
            words, pieces = known.read(tf.pad(ids, [[0, 0], [0, 1]]))  # a text may be empty
            encoded = pointer_generator.encode(model, words)
            written = beam(model, words, encoded)
            shares = pointer_generator.trace(model, words, written, encoded)  # (B, L, S)
            # `argmax` of floats has no TFLite operator.
            best = tf.math.top_k(shares, 1).indices[..., 0]
            copied = tf.reduce_sum(shares, axis=-1)
            return {
                "summary": joiner(known.spell(written, pieces)),
                "words": written,
                "position": tf.where(copied > 0, best, -1),
                "copied": copied,
            }

        def from_ids(model, ids):
            words, pieces = known.read(ids)
            return {"ids": known.spell(greedy(model, words), pieces)}

        return seq2seq.export_searches(
            model, folder, from_text={"text": exports.compiled(from_text)},
            from_ids=exports.compiled(from_ids), texts=documents,
            ids=wordpiece.tokenize(known.tokenizer, documents),
            resources=[known.tokenizer, joiner.detokenizer], decision="summary",
            files=known.files(),
        )  # fmt: skip


def _share_repeating(written, n=3):
    """The share of summaries with an n-gram that stands there twice.

    >>> _share_repeating([[1, 2, 3, 1, 2, 3], [1, 2, 3, 4], [1, 1]])
    0.3333333333333333
    """
    grams = [list(zip(*(row[i:] for i in range(n)), strict=False)) for row in written]
    return float(np.mean([len(set(row)) < len(row) for row in grams]))
