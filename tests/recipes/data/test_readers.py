"""What every reader does: toy data, limits and seeds, and one clear line for what is wrong."""

import dataclasses
import io
import re

import numpy as np
import pytest

from recipes.data import captions, dataset, interactions, pairs, texts
from recipes.data.labels import LabelledDataset, LabelledReader
from recipes.data.toy import documents as toy_documents
from recipes.kit.errors import UserError

Image = pytest.importorskip("PIL.Image")


def _png():
    file = io.BytesIO()
    Image.new("RGB", (3, 3), "red").save(file, "PNG")
    return file.getvalue()


def _rows(header, rows):
    return "\n".join([header, *rows]) + "\n"


@dataclasses.dataclass
class Case:
    """A reader and a good folder for it."""

    load: object
    files: dict  # from names to text or bytes
    main: str  # the table that the tests make wrong
    column: str  # a column that the table has to have
    rows: str  # what a limit counts
    tfds: str  # a data set that it can read
    options: dict = dataclasses.field(default_factory=dict)


_TEXTS = _rows("text,label", [f"text {n},{'good' if n % 2 else 'bad'}" for n in range(30)])
_PAIRS = _rows("de,en", [f"der Hund {n},the dog {n}!" for n in range(30)])
_CAPTIONS = _rows(
    "split,image,caption",
    [f"{'test' if n % 3 else 'train'},{n}.png,A red wall {n}." for n in range(30)],
)
_INTERACTIONS = _rows(
    "user,item,time", [f"u{user},i{(user + n) % 20},{n}" for user in range(30) for n in range(5)]
)
CASES = {
    "texts": Case(
        texts.load, {"train.csv": _TEXTS, "test.csv": _TEXTS}, "test.csv", "label", "texts",
        "imdb_reviews",
    ),
    "pairs": Case(
        pairs.load, {"train.csv": _PAIRS, "test.csv": _PAIRS}, "test.csv", "en", "pairs",
        "ted_hrlr_translate/pt_to_en", {"source_language": "de", "target_language": "en"},
    ),
    "captions": Case(
        captions.load,
        {"captions.csv": _CAPTIONS, **{f"images/{n}.png": _png() for n in range(30)}},
        "captions.csv", "caption", "images", "coco_captions",
    ),
    "interactions": Case(
        interactions.load, {"interactions.csv": _INTERACTIONS}, "interactions.csv", "item", "users",
        "movielens/1m-ratings",
    ),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    case = CASES[request.param]
    case.name, case.folder = request.param, tmp_path / "data"
    for name, content in case.files.items():
        path = case.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return case


def load(case, source=None, seed=0, **options):
    return case.load(
        case.folder if source is None else source, seed=seed, **case.options, **options
    )


def fails(case, source=None, **options):
    """Returns the one line that the user sees."""
    with pytest.raises(UserError) as caught:
        load(case, source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ----------------------------------------------------------------------------- what is read


def test_facts_and_notes_make_the_text_for_the_model_card(case):
    data = load(case, limit=10)
    assert data.name == str(case.folder) and "from the files in data." in data.description
    assert f"only up to 10 {case.rows}" in str(data) or f"only 10 {case.rows}" in str(data)
    paragraphs = data.about.split("\n\n")
    assert paragraphs[:2] == [data.description, "As given by those who made the files."]
    assert paragraphs[2] == str(data).splitlines()[0] + "."
    assert paragraphs[3:] == [f"Note: {note}." for note in data.notes]
    assert str(data).splitlines()[1:] == [f"  Note: {note}" for note in data.notes]


def test_limit_and_seed_decide_what_is_read(case):
    once, again, other = (load(case, seed=seed, limit=10) for seed in (1, 1, 2))
    assert once.fingerprint == again.fingerprint != other.fingerprint
    assert load(case, limit=1000).notes == load(case).notes
    if case.rows == "users":
        assert once.examples == 10
    else:
        assert len(once.train) + len(once.validation) == len(once.test) == 10


def test_fingerprint_changes_with_the_files(case):
    before = load(case).fingerprint
    assert load(case).fingerprint == before
    path = case.folder / case.main
    start, end = re.fullmatch(r"(.*)\d(\D*)", path.read_text(), re.DOTALL).groups()
    path.write_text(f"{start}0{end}")  # another last number: a text, a sentence, a caption, a time
    assert load(case).fingerprint != before


def test_validation_is_cut_and_noted(case):
    data = load(case, validation_fraction=0.4)
    if case.rows == "users":
        return  # the last but one item of each user
    total = 10 if case.rows == "images" else 30
    assert len(data.validation) == 0.4 * total and len(data.train) == 0.6 * total
    assert f"the validation {case.rows} were cut from the training {case.rows}" in data.notes
    key = next(iter(data.train.columns))
    assert not set(data.train.columns[key]) & set(data.validation.columns[key])
    other = load(case, seed=1, validation_fraction=0.4)
    assert other.validation.columns[key] != data.validation.columns[key]


@pytest.mark.parametrize("name", ["texts", "pairs"])
def test_overlap_of_test_and_training_is_noted(name, tmp_path):
    case = CASES[name]
    for file, content in case.files.items():
        (tmp_path / file).write_text(content)
    train = tmp_path / "train.csv"
    plural = {"texts": "texts", "pairs": "sentences"}[name]
    note = f"also occur in the training {plural}"
    data = load(case, tmp_path)
    assert f"30 of the test {plural} {note}" in data.notes
    train.write_text("\n".join(train.read_text().split("\n")[:21]))
    assert f"20 of the test {plural} {note}" in load(case, tmp_path).notes
    train.write_text(train.read_text().replace(" ", " new "))
    assert not any(note in line for line in load(case, tmp_path).notes)


# ----------------------------------------------------------------------------- toy data

# SHA-256, which no change to the readers may change: figures of the recipes stand on these rows.
TOY = {
    "texts": "d27334de910a1ecedbe540403079828478cb2d94a475ebae47393ef335605104",
    "documents": "74098b2d7116a79e671945b6e8548a3c2daaa4d825b65c5cc67e8dce388b2a98",
    "pairs": "bec78eac80e1faba315a21dd1b8729536c2a186b3951971231245f7cccef8ab2",
    "captions": "22787295a4bc3d1ef7f24b9adc26164915bfdbf85ab28a44492f3669e0bb10ab",
    "interactions": "968ee5015e2fbceb2a45545788943fc8fe73090d4ba99beeff5f3b22026588c0",
}


@pytest.mark.parametrize("name", TOY)
def test_toy_data_are_the_same_for_every_seed_and_on_every_machine(name):
    options = {}
    case = CASES[name if name != "documents" else "texts"]
    if name == "documents":
        options["toy"] = toy_documents
    data = load(case, "toy", **options)
    assert data.licence == "Apache-2.0, as this project." and not data.notes
    assert data.fingerprint == load(case, "toy", seed=1, **options).fingerprint == TOY[name]


# What is drawn from toy data, likewise.
DRAWN = {
    ("texts", 0): "b528caa1281bf3be9fe8d2c98293d4532355747554045e35c6129191071a415b",
    ("texts", 3): "e4f8fce0650fdc23e81262f393850eae22b273f1d114760c41fcd46a675f112c",
    ("pairs", 0): "35d9912f12d060770f66882cf7e32dfd1d20b0cc80005da35d02cf82b2435a9a",
    ("pairs", 3): "39da2f6b825ded385d66c0c67147d1959c35bdd0c14a18aa120e00269a26bf02",
    ("captions", 0): "99c8e4bc213772f0db402a047bf3ef5c42ad1fc3e5a04205d7221a6530fc66de",
    ("captions", 3): "9e035af31fb3e4e8b4bc9b7dac0442d5c097c5591aa4f6653c969d4cdec28d83",
    ("interactions", 0): "3fbb38098e4d5345f84afab3606f84357b51267a7ebbbfbfbe40f05d88e4bd85",
    ("interactions", 3): "60a27f2f46f6284aed233c612d2bac3560cb8ad6891d736f0c91741d524e1d70",
}


@pytest.mark.parametrize(("name", "seed"), DRAWN)
def test_limit_draws_the_same_rows_on_every_machine(name, seed):
    assert load(CASES[name], "toy", seed=seed, limit=70).fingerprint == DRAWN[name, seed]


# Which rows a cut takes, by their number in the file.
CUT = {
    ("texts", 0): [5, 6, 9, 10, 20, 29],
    ("texts", 3): [0, 9, 11, 20, 25, 28],
    ("pairs", 0): [2, 8, 11, 18, 21, 25],
    ("pairs", 3): [0, 8, 11, 20, 23, 27],
    ("captions", 0): [6, 12, 18],
    ("captions", 3): [0, 18, 27],
}


@pytest.mark.parametrize(("case", "seed"), CUT, indirect=["case"])
def test_a_cut_takes_the_same_rows_on_every_machine(case, seed):
    data = load(case, seed=seed, limit=20, validation_fraction=0.3)
    assert [_number(key) for key in _keys(data.validation)] == CUT[case.name, seed]


def _keys(split):
    return next(iter(split.columns.values()))


def _number(key):
    return int(key.removesuffix(".png").split()[-1])


# ------------------------------------------------------------------------------ what is wrong


def test_missing_folder_and_a_file_instead(case):
    message = fails(case, case.folder / "nowhere")
    assert "Expected `toy`, `tfds:NAME` or a folder with " in message
    assert f"There is no folder {case.folder / 'nowhere'}" in message
    assert "Received a file" in fails(case, case.folder / case.main)


def test_missing_table(case):
    (case.folder / case.main).rename(case.folder / "a.parquet")
    message = fails(case)
    assert message.startswith("Expected ") and case.main in message
    assert "Found: " in message and "a.parquet" in message


def test_missing_column(case):
    path = case.folder / case.main
    path.write_text(path.read_text().replace(case.column, "other", 1))
    message = fails(case)
    assert f"{case.main}:1: expected a column named {case.column!r}. Found: " in message
    assert "'other'" in message


@pytest.mark.parametrize("has_header", [True, False])
def test_empty_table(case, has_header):
    path = case.folder / case.main
    path.write_text(path.read_text().split("\n")[0] * has_header + "\n")
    assert f"{case.main}: expected a row or more. The file is empty" in fails(case)


def test_not_utf8(case):
    path = case.folder / case.main
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:-1], lines[1].replace(lines[1][-2:], b"\xe9"), b""]))
    assert f"{case.main}:{len(lines)}: expected UTF-8 text" in fails(case)


def test_wrong_number_of_fields(case):
    path = case.folder / case.main
    count = path.read_text().split("\n")[0].count(",") + 1
    path.write_text(path.read_text() + "alone\n")
    message = fails(case)
    line = len(path.read_text().split("\n")) - 1
    assert f"{case.main}:{line}: expected {count} fields. Received: 1" in message


# ------------------------------------------------------------------------------------ TFDS


def test_tfds_without_network(case, tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr("recipes.data.tfds.is_reachable", lambda url: False)
    if case.options:
        case = dataclasses.replace(case, options={"source_language": "pt", "target_language": "en"})
    message = fails(case, f"tfds:{case.tfds}", data_dir=tmp_path / "tfds")
    assert "network cannot be reached" in message
    assert f"tfds build {case.tfds}" in message
    assert not (tmp_path / "tfds").exists()


@pytest.mark.parametrize("name", ["", "huggingface:imdb", "imdb reviews"])
def test_tfds_malformed_name(case, name):
    assert "Expected tfds:NAME or tfds:NAME/CONFIG" in fails(case, f"tfds:{name}")


def test_tfds_unknown_name(case, tmp_path):
    message = fails(case, f"tfds:{case.tfds.split('/')[0]}z", data_dir=tmp_path)
    assert f"Did you mean {case.tfds.split('/')[0]}" in message


# ------------------------------------------------------------------------------- a new reader


@dataclasses.dataclass(frozen=True)
class Split(dataset.Split):
    questions: list[str]
    answers: list[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers(dataset.Dataset):
    plural = "questions"


@dataclasses.dataclass(kw_only=True)
class AnswerReader(dataset.Reader):
    split_class, dataset_class = Split, Answers
    columns = {"question": "text", "answer": "value"}
    key = "questions"


def test_a_reader_of_two_columns_needs_no_more_than_their_names(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("answer,question\n 4 ,2+2\n6,3+3\n6,3+3\n5,1+4\n")
    data = AnswerReader(seed=0, validation_fraction=0.4).load(tmp_path)
    train, validation = data.train, data.validation
    assert {len(train), len(validation)} in ({2}, {1, 3})
    assert not set(train.questions) & set(validation.questions)
    assert data.test.answers == ["4", "6", "6", "5"]
    assert data.test.where(1) == f"{tmp_path / 'test.csv'}:3"
    assert data.test.take([2, 0]).where(0) == f"{tmp_path / 'test.csv'}:4"
    assert str(data).split("\n")[0] == (
        f"{tmp_path}: {len(train)} / {len(validation)} / 4 questions to train, validate and test"
    )
    assert data.description == f"Questions from the files in {tmp_path.name}."
    assert data.notes == [
        "the validation questions were cut from the training questions",
        "4 of the test questions also occur in the training questions",
    ]
    assert data.examples == len(train)
    (tmp_path / "train.csv").write_text("answer,question\n4,2+2\n5,2+2\n")
    with pytest.raises(UserError, match=r"train.csv: expected two different questions or more"):
        AnswerReader(seed=0).load(tmp_path)


@dataclasses.dataclass(frozen=True)
class LabelledSplit(dataset.Split):
    questions: list[str]
    labels: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Questions(LabelledDataset):
    plural = "questions"


@dataclasses.dataclass(kw_only=True)
class QuestionReader(LabelledReader):
    split_class, dataset_class, key = LabelledSplit, Questions, "questions"
    columns = {"question": "text", "label": "value"}


def test_a_reader_of_labelled_rows_checks_labels_and_keeps_their_shares(tmp_path):
    rows = [f"Question {n}?,{'rare' if n % 4 == 0 else 'common'}" for n in range(40)]
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("\n".join(["question,label", *rows]))
    data = QuestionReader(seed=0, validation_fraction=0.2).load(tmp_path)
    assert data.labels == ["common", "rare"]
    assert np.bincount(data.validation.labels).tolist() == [6, 2]
    assert "32 / 8 / 40 questions to train, validate and test; 2 labels: common, rare" in str(data)
    with pytest.raises(UserError, match="--limit must leave two questions of each of the 2 labels"):
        QuestionReader(seed=0, limit=3).load(tmp_path)
    (tmp_path / "test.csv").write_text("question,label\nWhy?,odd\n")
    with pytest.raises(UserError, match=r"test.csv:2: expected a label that occurs in .*'odd'"):
        QuestionReader(seed=0).load(tmp_path)


def test_columns_may_be_arrays():
    split = texts.Split(["a", "b", "c"], np.array([1, 0, 1], np.int32), lines=[2, 3, 5])
    taken = split.take(range(1, 3))
    assert taken.texts == ["b", "c"] and taken.labels.tolist() == [0, 1]
    assert taken.labels.dtype == np.int32 and taken.lines == [3, 5]
    assert split.where(0) == ":2" and len(taken) == 2
