"""Documents for language models: what is read, how it is split, and what is wrong in one line."""

import gzip
import json

import pytest

from recipes.data import corpora
from recipes.kit.errors import UserError

TEXT = "To be,\n\nor not\n"


def load(source, **options):
    return corpora.load(source, **{"seed": 0, **options})


def fails(*args, **options):
    with pytest.raises(UserError) as caught:
        load(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_text_file_is_one_document_with_its_blank_lines(tmp_path):
    (tmp_path / "train.txt.gz").write_bytes(gzip.compress(TEXT.replace("\n", "\r\n").encode()))
    (tmp_path / "valid.txt").write_text("that")
    (tmp_path / "test.txt").write_text("is", encoding="utf-8-sig")
    data = load(tmp_path)
    assert [split.texts for split in data.splits.values()] == [[TEXT], ["that"], ["is"]]
    assert data.examples == len(TEXT) and data.train.words == 4
    assert "1 / 1 / 1 documents to train, validate and test, of 15 / 4 / 2 characters" in str(data)
    assert not data.notes


def test_folders_and_tables_hold_a_document_each(tmp_path):
    (tmp_path / "train").mkdir()
    for name, text in (("b.txt", "two"), ("a.txt", "one"), ("notes.md", "no"), ("c.txt", "")):
        (tmp_path / "train" / name).write_text(text)
    (tmp_path / "test.jsonl").write_text("".join(json.dumps({"body": x}) + "\n" for x in "xyz"))
    (tmp_path / "dev.csv").write_text('id,body\n1,"p\n\nq"\n')
    data = load(tmp_path, text_column="body")
    assert data.train.texts == ["one", "two"]
    assert data.validation.texts == ["p\n\nq"] and data.test.texts == ["x", "y", "z"]


def test_without_a_test_split_the_figures_are_of_validation_and_a_note_says_so(tmp_path):
    (tmp_path / "train.txt").write_text(TEXT)
    (tmp_path / "val.txt").write_text("that")
    data = load(tmp_path)
    assert data.test == data.validation
    assert "the figures are of the validation text" in data.about


def test_the_end_of_one_document_is_cut_to_validate_on_and_some_of_many(tmp_path):
    (tmp_path / "train.txt").write_text(TEXT * 10)
    (tmp_path / "test.txt").write_text("that")
    data = load(tmp_path, validation_fraction=0.2)
    assert data.train.texts == [TEXT * 8] and data.validation.texts == [TEXT * 2]
    (tmp_path / "train.txt").unlink()
    (tmp_path / "train.tsv").write_text("text\n" + "".join(f"text {n}\n" for n in range(10)))
    data = load(tmp_path, validation_fraction=0.2)
    assert len(data.train) == 8 and len(data.validation) == 2
    assert sorted(data.train.texts + data.validation.texts) == [f"text {n}" for n in range(10)]


def test_limit_is_in_characters():
    data = load("toy", limit=120)
    assert [split.characters for split in data.splits.values()] == [120] * 3
    assert len(data.train) == 3 and "only up to 120 characters of each split" in str(data)


def test_what_is_wrong_is_named(tmp_path):
    assert "There is no folder" in fails(tmp_path / "none")
    (tmp_path / "train").mkdir()
    (tmp_path / "test.txt").write_text("a")
    assert "Expected .txt files in" in fails(tmp_path)
    (tmp_path / "train.txt").write_text("a")
    assert "Expected one of" in fails(tmp_path)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Our own text, stored as TensorFlow Datasets stores Tiny Shakespeare."""
    tfds = pytest.importorskip("tensorflow_datasets")
    folder = tmp_path_factory.mktemp("tfds")
    tfds.dataset_builders.store_as_tfds_dataset(
        name="tiny_shakespeare",
        version="1.0.0",
        features=tfds.features.FeaturesDict({"text": tfds.features.Text()}),
        split_datasets={
            split: [(0, {"text": TEXT + split})] for split in ("train", "validation", "test")
        },
        data_dir=folder,
        disable_shuffling=True,
    )
    return folder


def test_tfds(data_dir):
    data = load("tfds:tiny_shakespeare", data_dir=data_dir, text_column="body")
    assert data.train.texts == [TEXT + "train"] and data.test.texts == [TEXT + "test"]
