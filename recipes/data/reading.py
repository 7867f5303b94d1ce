"""Questions about passages, with answers that stand in them: tables, SQuAD's JSON, TFDS or toy.

    data = load("toy", seed=0)
    data = load("my_folder", seed=0)     # train.csv, test.csv: context, question, answer and start
    data.test.questions, data.test.contexts, data.test.answers

Whatever is wrong with the data is a `UserError` that names the file and the line.
"""

import dataclasses
import json

import numpy as np

from recipes.data import dataset, tables, tfds
from recipes.data.toy import facts
from recipes.kit.errors import UserError

FORMATS = (*tables.FORMATS, "json")  # SQuAD's own


@dataclasses.dataclass(frozen=True)
class Split(dataset.Split):
    """Questions, each about one passage.

    Attributes:
        questions, contexts: Lists of strings.
        answers: List of tuples of pairs, the right answers to each question: a string, and where it
            starts in the context, in characters from 0.
        titles: List of strings, what the passages of one source have in common; or "".
    """

    questions: list[str]
    contexts: list[str]
    answers: list[tuple]
    titles: list[str]

    @property
    def right(self):
        """For each question the list of the right answers, as strings."""
        return [[text for text, _ in answers] for answers in self.answers]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Passages(dataset.Dataset):
    """A data set for extractive reading."""

    plural = "questions"

    def _details(self):
        counts = [f"{len(set(split.contexts)):,}" for split in self.splits.values()]
        return f", about {' / '.join(counts)} paragraphs"


@dataclasses.dataclass(kw_only=True)
class PassageReader(dataset.Reader):
    """Reads `Passages`; arguments as of `load`."""

    split_class, dataset_class = Split, Passages
    toy, toy_columns = facts, ("question", "context", "answers", "title")
    key, key_plural = "contexts", "paragraphs"
    validation_hint = "A file dev.csv would do as well, beside test.csv"

    question_column: str = "question"
    context_column: str = "context"
    answer_column: str = "answer"
    start_column: str = "start"
    title_column: str = "title"

    def __post_init__(self):
        names = [
            self.question_column, self.context_column, self.answer_column, self.start_column,
            self.title_column,
        ]  # fmt: skip
        if len(set(names)) < len(names) or not all(names):
            raise UserError(
                "Expected different columns of question, context, answer, start and title. "
                f"Received: {' '.join(names)}"
            )

    @property
    def _columns(self):
        """The columns that every table has, and what they hold."""
        texts = self.question_column, self.context_column, self.answer_column
        return {**dict.fromkeys(texts, "text"), self.start_column: "value"}

    def read_folder(self, folder):
        tables.check_folder(folder)
        found = {
            part: tables.find_file(folder, names, FORMATS)
            for part, names in tables.SPLIT_NAMES.items()
        }
        files = {part: path for part, path in found.items() if path}
        if "test" not in files and "validation" in files:
            files["test"] = files.pop("validation")
            self.notes.append(f"there is no test file; {files['test'].name} is the test here")
        for part in ("train", "test"):
            if part not in files:
                tables.raise_missing(folder, part, FORMATS)
        splits = {part: self.read_file(path) for part, path in files.items()}
        return splits, self.folder_facts(folder)

    def read_file(self, path):
        """The questions of a table, whose rows of one question are answers to it, or of SQuAD."""
        if path.name.removesuffix(".gz").endswith(".json"):
            return self._read_squad(path)
        columns = self._columns
        if self.title_column in tables.column_names(path):
            columns[self.title_column] = "text"
        rows = {}
        for line, question, context, text, start, *title in tables.read(path, columns):
            where = f"{path}:{line}"
            answer = _answer(where, context, text, start)
            row = rows.setdefault((context, question), (line, question, context, [], *title, ""))
            row[3].append(answer)
        lines, questions, contexts, answers, titles, *_ = zip(*rows.values(), strict=True)
        columns = list(questions), list(contexts), list(map(tuple, answers)), list(titles)
        return Split(*columns, origin=str(path), lines=list(lines))

    def _read_squad(self, path):
        try:
            content = json.loads(tables.read_text(path))
        except json.JSONDecodeError as error:
            raise UserError(f"{path}:{error.lineno}: expected JSON: {error}") from None
        rows, unanswered = [], 0
        for number, article in enumerate(_listed(content, "data", f"{path}")):
            where = f"{path}: data[{number}]"
            title = tables.json_string(article.get("title", ""), "title", "text", where)
            for paragraph in _listed(article, "paragraphs", where):
                context = _text(paragraph, "context", where)
                for entry in _listed(paragraph, "qas", where):
                    question = _text(entry, "question", where)
                    of_question = f"{path}: the question {tables.short(entry.get('id', question))}"
                    answers = [
                        _answer(
                            of_question, context, _text(one, "text", of_question),
                            one.get("answer_start"),
                        )
                        for one in _listed(entry, "answers", of_question)
                    ]  # fmt: skip
                    unanswered += not answers
                    if answers:
                        rows.append((question, context, tuple(answers), title))
        self._note_unanswered(unanswered, path.name)
        if not rows:
            raise UserError(f"{path}: expected a question with an answer. Found none")
        return Split(*map(list, zip(*rows, strict=True)), origin=str(path))

    def _note_unanswered(self, count, where):
        if count:
            self.notes.append(f"{count:,} questions of {where} have no answer and were left out")

    def read_tfds(self, name):
        builder = tfds.open_builder(name, self.data_dir)
        names = self.question_column, self.context_column, "answers"
        features = tfds.require_features(name, builder.info.features, names)
        if {"text", "answer_start"} - {*getattr(features.pop("answers"), "feature", ())}:
            raise UserError(
                f"Expected in {name} answers with the features text and answer_start, as in squad"
            )
        from tensorflow_datasets import features as kinds

        if self.title_column in builder.info.features:
            features["title"] = kinds.Text()
        features |= {"text": kinds.Sequence(kinds.Text()), "answer_start": kinds.Sequence(np.int32)}
        datasets = tfds.load(name, builder, self.data_dir)

        def flat(row):
            return {**row, **row["answers"], "title": row.get(self.title_column, "")}

        splits = {}
        for part, official in tfds.official_splits(datasets).items():
            columns = tfds.read_columns(datasets[official].map(flat), features)
            origin = f"{name}, split {official}"
            splits[part] = self._split_of_tfds(dict(zip(features, columns, strict=True)), origin)
        return self.require_tfds(splits, name, datasets), tfds.about(builder)

    def _split_of_tfds(self, columns, origin):
        """The rows with answers; what was trimmed when the set was made is found again."""
        questions, contexts = columns[self.question_column], columns[self.context_column]
        titles = columns.get("title", [""] * len(questions))
        answers = [
            tuple(
                found
                for text, start in zip(texts, starts, strict=True)
                if (found := _nearest(context, text, int(start)))
            )
            for context, texts, starts in zip(
                contexts, columns["text"], columns["answer_start"], strict=True
            )
        ]
        self._note_unanswered(sum(not some for some in answers), origin)
        split = Split(questions, contexts, answers, titles, origin=origin)
        return split.take(row for row, some in enumerate(answers) if some)

    def check(self, splits):
        for split in splits.values():
            for row, texts in enumerate(zip(split.questions, split.contexts, strict=True)):
                if not all(text.strip() for text in texts):
                    raise UserError(
                        f"{split.where(row)}: expected a question and a context. Received an "
                        "empty one"
                    )
        return splits

    def groups(self, split):
        """Paragraphs of one title stay on one side; without two titles, a paragraph does."""
        title_of = {}  # a paragraph under two titles counts for the first
        for context, title in zip(split.contexts, split.titles, strict=True):
            title_of.setdefault(context, title)
        titles = [title_of[context] for context in split.contexts]
        if len(set(titles)) < 2:
            return super().groups(split)
        return super().groups(dataclasses.replace(split, contexts=titles))

    def _note_overlap(self, train, validation, test):
        known = {*train.contexts, *validation.contexts}
        count = sum(context in known for context in set(test.contexts))
        if count:
            self.notes.append(f"{count:,} of the test paragraphs also occur in the training data")


def _answer(where, context, text, start):
    """The pair of an answer and its start, or a `UserError` if it does not stand there."""
    try:
        first = int(start)
    except (TypeError, ValueError):
        first = -1
    if first < 0 or str(first) != str(start):
        raise UserError(
            f"{where}: expected as the start of an answer a number of characters from 0. Received: "
            f"{tables.short(start)}"
        )
    if not text.strip():
        raise UserError(f"{where}: expected an answer. Received an empty one")
    if context[first : first + len(text)] != text:
        there = context[first : first + len(text)]
        raise UserError(
            f"{where}: expected the answer {tables.short(text)} at the character {first} of the "
            f"context. There stands: {tables.short(there)}"
        )
    return text, first


def _nearest(context, text, start):
    """The answer where it stands nearest to a start, or `None` if it is not in the context."""
    if not text.strip():
        return None
    before = context.rfind(text, 0, max(0, start) + len(text))
    found = [at for at in (before, context.find(text, max(0, start))) if at >= 0]
    return (text, min(found, key=lambda at: abs(at - start))) if found else None


def _listed(node, name, where):
    """The list of this name in SQuAD's JSON."""
    found = node.get(name) if isinstance(node, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise UserError(
            f"{where}: expected SQuAD's layout, data, paragraphs and qas with answers. There is no "
            f"list of objects {name!r}"
        )
    return found


def _text(node, name, where):
    return tables.json_string(node.get(name), repr(name), "text", where)


def load(source, **options):
    """Returns the `Passages` of a source.

    A source without a validation split gets one cut from its training split, with all questions of
    a title, or else of a paragraph, on the same side. A source without a test split is tested on
    its validation split.

    Args:
        source: `"toy"`; or the path of a folder with `train.*`, `test.*` and perhaps `dev.*`
            (`validation.*`, `valid.*`), each csv, tsv or jsonl with a row for each answer, or
            SQuAD's json, plain or `.gz`, in UTF-8; or `"tfds:NAME"`, a set of TensorFlow Datasets
            with SQuAD's features.
        question_column, context_column, answer_column, start_column, title_column: Strings, the
            columns of tables; there need not be a title.
        seed, validation_fraction, limit, data_dir: See `dataset.Reader`.

    Raises:
        UserError: In one line, what is missing or wrong, with file and line.

    >>> data = load("toy", seed=0, limit=20)
    >>> text, start = data.train.answers[0][0]
    >>> data.train.contexts[0][start : start + len(text)] == text
    True
    """
    return PassageReader(**options).load(source)
