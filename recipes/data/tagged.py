"""Sentences with a tag for each token, and perhaps an intent, from files, TFDS or the toy grammar.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)            # train.csv, test.csv: columns tokens, tags, intent
    data = load("my_folder", seed=0, tasks="slots")    # or train.conll, test.conll
    data.train.tokens[0], data.train.tags[0], data.train.intents[0]
    data.tags, data.intents                     # the names that the training split has

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import dataclasses

from recipes.data import dataset, tables
from recipes.data.toy import commands as toy_commands
from recipes.kit import spans
from recipes.kit.errors import UserError

SLOTS, INTENT = "slots", "intent"
TASKS = (f"{SLOTS},{INTENT}", SLOTS, INTENT)


@dataclasses.dataclass(frozen=True)
class Split(dataset.Split):
    """Sentences, a tag for each token, and the intent of each sentence; empty where not asked for.

    Tokens, and tags, are set apart by spaces.
    """

    tokens: list[str]
    tags: list[str]
    intents: list[str]

    @property
    def words(self):
        """A list of tokens for each sentence."""
        return [sentence.split() for sentence in self.tokens]

    @property
    def tag_lists(self):
        """A list of tags for each sentence."""
        return [tags.split() for tags in self.tags]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaggedSentences(dataset.Dataset):
    """A data set for tagging; further attributes as of `dataset.Dataset`.

    Attributes:
        tags, intents: Sorted lists of strings, those of the training split; empty if not asked for.
    """

    plural = "sentences"

    tags: list[str]
    intents: list[str]

    def _details(self):
        parts = []
        if self.tags:
            parts.append(f"{len({tag[2:] for tag in self.tags if tag != 'O'})} types of slots")
        if self.intents:
            parts.append(f"{len(self.intents)} intents")
        return f"; {' and '.join(parts)}"


@dataclasses.dataclass(kw_only=True)
class TagReader(dataset.Reader):
    """Reads `TaggedSentences`; arguments as of `load`."""

    split_class, dataset_class = Split, TaggedSentences
    toy, toy_columns = toy_commands, ("tokens", "tags", "intent")
    key = "tokens"
    folder_contents = "Tagged sentences"

    tasks: str = TASKS[0]
    tokens_column: str = "tokens"
    tags_column: str = "tags"
    intent_column: str = "intent"

    def __post_init__(self):
        names = self._names()
        if not all(names) or len(set(names)) < len(names):
            raise UserError(
                "Expected different columns of tokens, tags and intent. Received: --tokens-column "
                f"{self.tokens_column} --tags-column {self.tags_column} --intent-column "
                f"{self.intent_column}"
            )

    @property
    def _tasks(self):
        return self.tasks.split(",")

    @property
    def key_plural(self):
        return self.plural

    @property
    def columns(self):
        return dict.fromkeys(self._names(), "value")

    def _names(self):
        of_tasks = {SLOTS: self.tags_column, INTENT: self.intent_column}
        return [self.tokens_column, *(of_tasks[task] for task in self._tasks)]

    def read_toy(self):
        splits, facts = super().read_toy()
        kept = {"tags": SLOTS in self._tasks, "intents": INTENT in self._tasks}
        emptied = {
            part: dataclasses.replace(
                split, **{name: [""] * len(split) for name, is_kept in kept.items() if not is_kept}
            )
            for part, split in splits.items()
        }
        return emptied, facts

    def read_folder(self, folder):
        tables.check_folder(folder, "train.csv and test.csv, or train.conll and test.conll")
        if any(tables.is_table(path, tables.CONLL_FORMATS) for path in folder.iterdir()):
            if INTENT in self._tasks:
                raise UserError(
                    f"{folder}: files with a token per line hold no intent. Train with --tasks "
                    f"{SLOTS}"
                )
            files = tables.find_splits(folder, tables.CONLL_FORMATS)
            splits = {part: self._read_conll(path) for part, path in files.items()}
            return splits, self.folder_facts(folder)
        return super().read_folder(folder)

    def _read_conll(self, path):
        lines, tokens, tags = map(list, zip(*tables.read_conll(path), strict=True))
        return Split(tokens, tags, [""] * len(tokens), origin=str(path), lines=lines)

    def make_split(self, columns, **where):
        """Tokens and tags of TensorFlow Datasets are sequences."""
        joined = [[x if isinstance(x, str) else " ".join(x) for x in column] for column in columns]
        named = dict(zip(self.columns, joined, strict=True))
        empty = [""] * len(columns[0])
        tags, intents = (named.get(name, empty) for name in (self.tags_column, self.intent_column))
        return Split(named[self.tokens_column], tags, intents, **where)

    def check(self, splits):
        if SLOTS in self._tasks:
            for split in splits.values():
                _check_tags(split)
            stray = sum(spans.stray_tags(tags) for tags in splits["train"].tag_lists)
            if stray:
                self.notes.append(
                    f"{stray:,} spans of the training split begin with I-, as in the scheme IOB1; "
                    "they are read as spans of their own"
                )
        train = splits["train"]
        for row, intent in enumerate(train.intents):
            if len(intent.splitlines()) > 1:  # a file with an intent per line could not hold it
                raise UserError(
                    f"{train.where(row)}: expected an intent of one line. "
                    f"Received: {tables.short(intent)}"
                )
        self.known = {
            "tags": sorted({tag for tags in train.tag_lists for tag in tags}),
            "intents": sorted(set(train.intents) - {""}),
        }
        if SLOTS in self._tasks and self.known["tags"] == ["O"]:
            raise UserError(f"Expected a tag other than O in {train.origin}. Received none")
        if INTENT in self._tasks and len(self.known["intents"]) < 2:
            only = self.known["intents"][0]
            raise UserError(
                f"Expected two intents or more in {train.origin}. Received only: {only}"
            )
        for part in ("validation", "test"):
            if part in splits:
                self._note_unknown(part, splits[part])
        return splits

    def _note_unknown(self, part, split):
        """Notes tags and intents that the training split has not: nothing can find them."""
        found = {
            "tags": [tag for tags in split.tag_lists for tag in tags],
            "intents": [intent for intent in split.intents if intent],
        }
        for what, names in found.items():
            unknown = [name for name in names if name not in self.known[what]]
            if unknown:
                self.notes.append(
                    f"{len(unknown):,} of the {part} {what} do not occur in the training split and "
                    f"count as missed, such as {tables.short(unknown[0])}"
                )

    def build(self, splits, **facts):
        return super().build(splits, **self.known, **facts)


def _check_tags(split):
    """Raises unless each token has a tag, and each tag is one of the schemes that are read."""
    for row, (tokens, tags) in enumerate(zip(split.words, split.tag_lists, strict=True)):
        if len(tokens) != len(tags):
            raise UserError(
                f"{split.where(row)}: expected a tag for each token. Received: {len(tokens)} "
                f"tokens and {len(tags)} tags"
            )
        for tag in tags:
            if not spans.is_tag(tag):
                raise UserError(
                    f"{split.where(row)}: expected O, B-TYPE or I-TYPE (or E-, S-) as a tag. "
                    f"Received: {tables.short(tag)}"
                )


def load(source, **options):
    """Returns the `TaggedSentences` of a source.

    Args:
        source: `"toy"`; or `"tfds:NAME"`, a set of TensorFlow Datasets whose features of these
            names are sequences of texts and of class labels, such as `conll2003` with
            `tags_column="ner"`; or the path of a folder with `train.*`, `test.*` and perhaps
            `dev.*` (`validation.*`, `valid.*`), each csv, tsv or jsonl, plain or `.gz`, in UTF-8,
            with named columns; or each a CoNLL file (`train.conll`, see `tables.read_conll`).
        tasks: String, one of `TASKS`: what is read beside the tokens.
        tokens_column, tags_column: Strings, the columns of the tokens and of their tags, both set
            apart by spaces.
        intent_column: String, the column of the intent of a sentence.
        seed, validation_fraction, limit, data_dir: See `dataset.Reader`.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", seed=0, limit=100)
    >>> data.intents, len(data.train), data.tags[:2]
    (['cancel', 'move', 'send', 'show'], 100, ['B-arrival_city', 'B-arrival_day'])
    """
    return TagReader(**options).load(source)
