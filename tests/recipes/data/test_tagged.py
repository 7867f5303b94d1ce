"""Tagged sentences: what is read, how it is split, and one clear line for everything wrong."""

import functools
import gzip
import re

import pytest

from recipes.data import tagged
from recipes.kit.errors import UserError
from tests.recipes.data import files

TRAIN = [
    ("fly to Oslo", "O O B-city", "flight"),
    ("fly to New York", "O O B-city I-city", "flight"),
    ("what does it cost", "O O O O", "fare"),
    ("the fare to Bern", "O O O B-city", "fare"),
]
TEST = [("cost to Oslo", "O O B-city", "fare"), ("fly today", "O B-day", "flight")]
CONLL = "-DOCSTART- -X- O\n\nU.N. NNP I-ORG\nofficial NN O\n\n\nOslo\tNNP\tI-LOC\n"


write = functools.partial(files.write, header=("tokens", "tags", "intent"))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "train.csv", TRAIN)
    write(tmp_path / "dev.csv", TEST)
    write(tmp_path / "test.csv", TEST)
    return tmp_path


def fails(source, **options):
    """Returns the one line that the user sees."""
    with pytest.raises(UserError) as caught:
        tagged.load(source, seed=0, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["train.csv", "train.tsv.gz", "train.jsonl"])
def test_all_formats_are_read_alike(folder, name):
    (folder / "train.csv").unlink()
    write(folder / name, TRAIN)
    data = tagged.load(folder, seed=0)
    assert data.train.words[1] == ["fly", "to", "New", "York"]
    assert data.train.tag_lists[1] == ["O", "O", "B-city", "I-city"]
    assert data.train.intents == ["flight", "flight", "fare", "fare"]
    assert (data.tags, data.intents) == (["B-city", "I-city", "O"], ["fare", "flight"])
    assert "1 types of slots and 2 intents" in str(data)


def test_tags_that_the_training_does_not_have_are_told(folder):
    notes = tagged.load(folder, seed=0).notes
    assert any(re.match("1 of the test tags do not occur .* such as 'B-day'", x) for x in notes)


def test_one_task_needs_no_column_of_the_other(folder):
    write(folder / "train.csv", [row[:2] for row in TRAIN], header=("tokens", "tags"))
    data = tagged.load(folder, seed=0, tasks="slots")
    assert data.intents == [] and set(data.train.intents) == {""}
    assert "train.csv:1: expected a column named 'intent'" in fails(folder)
    write(folder / "train.csv", [row[::2] for row in TRAIN], header=("tokens", "intent"))
    data = tagged.load(folder, seed=0, tasks="intent")
    assert data.tags == [] and data.intents == ["fare", "flight"]
    toy = tagged.load("toy", seed=0, tasks="intent", limit=10)
    assert toy.tags == [] and len(toy.intents) == 4


def test_conll_columns(tmp_path):
    (tmp_path / "train.conll").write_text(CONLL)
    with gzip.open(tmp_path / "test.conll.gz", "wt") as file:
        file.write("Oslo B-LOC")
    (tmp_path / "dev.conll").write_text("Bern B-LOC\n")
    data = tagged.load(tmp_path, seed=0, tasks="slots")
    assert data.train.tokens == ["U.N. official", "Oslo"] and data.train.lines == [3, 7]
    assert data.train.tags == ["I-ORG O", "I-LOC"] and data.test.tags == ["B-LOC"]
    assert any("2 spans of the training split begin with I-" in note for note in data.notes)
    assert "a token per line hold no intent. Train with --tasks slots" in fails(tmp_path)
    (tmp_path / "train.conll").write_text("Oslo B-LOC\nBern\n")
    message = fails(tmp_path, tasks="slots")
    assert "train.conll:2: expected a token and its tag. Received: 'Bern'" in message
    (tmp_path / "train.conll").write_text("\n\n")
    assert "The file is empty" in fails(tmp_path, tasks="slots")
    (tmp_path / "test.conll.gz").unlink()
    assert "Expected a file test.conll, test.iob, " in fails(tmp_path, tasks="slots")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("fly to Oslo", "O O", "flight"), r"train\.csv:6: expected a tag .*3 tokens and 2 tags"),
        (("fly", "city", "flight"), r"train\.csv:6: expected O, B-TYPE or I-TYPE.*'city'"),
        (("fly", "O", "two\nlines"), r"train\.csv:6: expected an intent of one line"),
        (("", "O", "flight"), r"train\.csv:6: expected a value in 'tokens'"),
    ],
)
def test_bad_rows(folder, row, message):
    write(folder / "train.csv", [*TRAIN, row])
    assert re.search(message, fails(folder))


def test_nothing_to_learn(folder):
    write(folder / "train.csv", [("a b", "O O", "x"), ("c", "O", "y")])
    assert "Expected a tag other than O in" in fails(folder)
    write(folder / "train.csv", [row for row in TRAIN if row[2] == "fare"])
    assert "Expected two intents or more in" in fails(folder)
    assert "Expected different columns of tokens, tags and" in fails(folder, tags_column="tokens")


def test_sequences_of_tensorflow_datasets(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    features = tfds.features.FeaturesDict(
        {
            "tokens": tfds.features.Sequence(tfds.features.Text()),
            "ner": tfds.features.Sequence(tfds.features.ClassLabel(names=["O", "B-LOC", "I-LOC"])),
        }
    )
    names = enumerate(("Oslo", "Bern", "Köln"))
    rows = [(key, {"tokens": ["to", name], "ner": [0, 1]}) for key, name in names]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="names",
        version="1.0.0",
        features=features,
        split_datasets={"train": rows, "test": rows[:1]},
        data_dir=tmp_path,
        disable_shuffling=True,
    )
    data = tagged.load("tfds:names", seed=0, tasks="slots", tags_column="ner", data_dir=tmp_path)
    assert data.test.tokens == ["to Oslo"] and data.test.tags == ["O B-LOC"]
    assert sorted(data.train.tokens + data.validation.tokens)[1] == "to Köln"
