"""Sentences and their translations from files, TensorFlow Datasets or the toy language.

    data = load("toy", source_language="de", target_language="en", seed=0)
    data = load("my_folder", ...)                  # train.csv, test.csv: columns de and en
    data = load("tfds:ted_hrlr_translate/pt_to_en", ...)
    data.train.sources, data.train.targets

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import collections
import dataclasses

from recipes.data import dataset, tfds
from recipes.data.toy import translation as toy_translation
from recipes.kit.errors import UserError

# Of all rows, how many may have nothing on one side, or be what the other side is.
_EMPTY, _SAME = 0.01, 0.5
# By how much more of a column's words must be known to the other language for it to be swapped.
_SWAPPED = 0.3


@dataclasses.dataclass(frozen=True)
class Split(dataset.Split):
    """Sentences and, for each, its translation."""

    sources: list[str]
    targets: list[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentencePairs(dataset.Dataset):
    """A data set for translation; further attributes as of `dataset.Dataset`.

    Attributes:
        source_language, target_language: Strings, as the columns are named.
    """

    plural = "pairs"

    source_language: str
    target_language: str

    def _details(self):
        return f", from {self.source_language} to {self.target_language}"


@dataclasses.dataclass(kw_only=True)
class PairReader(dataset.Reader):
    """Reads `SentencePairs`; arguments as of `load`."""

    split_class, dataset_class = Split, SentencePairs
    toy, toy_columns = toy_translation, ("source", "target")
    key, key_plural = "sources", "sentences"
    limit_note = "only {limit:,} pairs of each split, at most, were used"

    source_language: str
    target_language: str

    @property
    def languages(self):
        return self.source_language, self.target_language

    @property
    def columns(self):
        return dict.fromkeys(self.languages, "text")

    def read(self, source):
        if str(source) == dataset.TOY:
            self.source_language, self.target_language = toy_translation.LANGUAGES
        elif self.source_language == self.target_language:
            raise UserError(
                f"Expected two languages. Received --source and --target {self.source_language}"
            )
        return super().read(source)

    def find_features(self, name, features):
        texts = tfds.of_kind(features, "Text")
        for flag, language in zip(("--source", "--target"), self.languages, strict=True):
            if language not in texts:
                raise UserError(
                    f"Expected a text named {language!r} ({flag}) in {name}. "
                    f"Found: {', '.join(texts) or 'none'} among {', '.join(features)}"
                )
        return {language: features[language] for language in self.languages}

    def check(self, splits):
        splits = {part: self._without_empty(split) for part, split in splits.items()}
        self._check_that_languages_differ(splits["train"])
        for part in ("validation", "test"):
            if part in splits:
                self._check_not_swapped(splits[part], splits["train"])
        return splits

    def build(self, splits, **facts):
        languages = {
            "source_language": self.source_language,
            "target_language": self.target_language,
        }
        return super().build(splits, **languages, **facts)

    def _without_empty(self, split):
        """The rows with something on both sides; a note tells how many were left out."""
        kept, empty = [], []
        for row, texts in enumerate(zip(split.sources, split.targets, strict=True)):
            (kept if all(text.strip() for text in texts) else empty).append(row)
        if not empty:
            return split
        if len(empty) > _EMPTY * len(split):
            first = empty[0]
            language = self.languages[0 if not split.sources[first].strip() else 1]
            raise UserError(
                f"{split.where(first)}: expected a sentence in {language!r}. Received an empty "
                f"one, as {len(empty):,} of {len(split):,} rows have in one of the languages"
            )
        self.notes.append(
            f"{len(empty):,} pairs of {split.origin} with nothing in one language were left out"
        )
        return split.take(kept)

    def _check_that_languages_differ(self, train):
        same = sum(a == b for a, b in zip(train.sources, train.targets, strict=True))
        if same > _SAME * len(train):
            source, target = self.languages
            raise UserError(
                f"{train.origin}: expected two languages. {same:,} of {len(train):,} rows have the "
                f"same text in {source!r} and {target!r}"
            )

    def _check_not_swapped(self, split, train):
        known = [_words(train.sources).keys(), _words(train.targets).keys()]
        shares = [
            [_share_known(_words(texts), words) for words in known]
            for texts in (split.sources, split.targets)
        ]
        if min(shares[0][1] - shares[0][0], shares[1][0] - shares[1][1]) > _SWAPPED:
            source, target = self.languages
            raise UserError(
                f"{split.origin}: the languages seem to be swapped. {shares[0][1]:.0%} of the "
                f"words in {source!r} are {target!r} in {train.origin}, and {shares[0][0]:.0%} are "
                f"{source!r}"
            )


def _words(texts):
    return collections.Counter(word for text in texts for word in text.lower().split())


def _share_known(words, known):
    return sum(count for word, count in words.items() if word in known) / words.total()


def load(source, **options):
    """Returns the `SentencePairs` of a source.

    A source without a validation split gets one cut from its training split, with all copies of a
    sentence on the same side. Pairs with nothing on one side are left out and counted; more than
    one in a hundred are an error.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, a set of TensorFlow Datasets with a text feature for
            each language; or the path of a folder with `train.*`, `test*.*` and perhaps `dev.*`
            (`val.*`, `valid.*`, `validation.*`), each csv, tsv or jsonl, plain or `.gz`, in UTF-8,
            with a column for each language.
        source_language: String, the column to translate from. The toy language has its own.
        target_language: String, the column to translate to.
        seed, validation_fraction, limit, data_dir: See `dataset.Reader`.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", source_language="de", target_language="en", seed=0, limit=100)
    >>> data.source_language, len(data.train), data.train.targets[0]
    ('toy', 100, 'Big green one.')
    """
    return PairReader(**options).load(source)
