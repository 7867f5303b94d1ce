"""Labelled texts: what is read, how it is split, and one clear line for everything wrong."""

import csv
import functools
import gzip

import numpy as np
import pytest

from recipes.data import texts
from recipes.data.toy import reviews as toy_reviews
from recipes.kit.errors import UserError
from tests.recipes.data import files

TRAIN = [
    ("A fine day at sea.", "good"),
    ("The boat was late, wet and cold.", "bad"),
    ("Warm soup on deck.", "good"),
    ("They lost my bag.", "bad"),
    ("The crew sang for us.", "good"),
    ("No seat for the whole trip.", "bad"),
]
TEST = [("A calm crossing.", "good"), ("I was sick.", "bad")]


write = functools.partial(files.write, header=("text", "label"))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "train.csv", TRAIN)
    write(tmp_path / "dev.csv", TEST)
    write(tmp_path / "test.csv", TEST)
    return tmp_path


def fails(source, **options):
    """Returns the one line that the user sees."""
    with pytest.raises(UserError) as caught:
        texts.load(source, seed=0, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --------------------------------------------------------------------------- what is read


def test_labels_that_differ_in_case_alone_are_told(folder):
    write(folder / "train.csv", [*TRAIN, ("More sun.", "Good"), ("More wind.", "Good")])
    data = texts.load(folder, seed=0)
    assert data.labels == ["Good", "bad", "good"]
    assert "'Good' and 'good' are two labels, as upper and lower case differ" in data.notes


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "csv.gz", "tsv.gz", "jsonl.gz"])
def test_formats(tmp_path, suffix):
    write(tmp_path / f"train.{suffix}", TRAIN)
    write(tmp_path / f"valid.{suffix}", TEST)
    write(tmp_path / f"test.{suffix}", TEST)
    data = texts.load(tmp_path, seed=0)
    assert data.labels == ["bad", "good"]
    assert data.train.texts == [row[0] for row in TRAIN]
    assert data.train.labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert data.train.labels.dtype == np.int32
    assert data.validation.texts == data.test.texts == [row[0] for row in TEST]


def test_quotes_line_breaks_and_a_byte_order_mark(folder):
    (folder / "train.csv").write_bytes(
        b"\xef\xbb\xbf" + b'text,label\r\n"He said ""no"",\r\nand left.",bad\r\n\r\nFine,good\r\n'
    )
    data = texts.load(folder, seed=0)
    assert data.train.texts == ['He said "no",\r\nand left.', "Fine"]


def test_tsv_takes_quotes_as_they_are(folder):
    (folder / "train.csv").unlink()
    (folder / "train.tsv").write_text('text\tlabel\n"Fine\tgood\nbad "boat\tbad\n')
    assert texts.load(folder, seed=0).train.texts == ['"Fine', 'bad "boat']


def test_fields_of_any_length(folder):
    before = csv.field_size_limit()
    write(folder / "train.csv", [("word " * 100_000, "good"), *TRAIN])
    assert len(texts.load(folder, seed=0).train.texts[0]) == 500_000
    assert csv.field_size_limit() == before


def test_an_empty_text_is_a_text(folder):
    write(folder / "test.csv", [("", "good"), *TEST])
    assert texts.load(folder, seed=0).test.texts[0] == ""


def test_other_column_names_and_further_columns(folder):
    for name, rows in (("train", TRAIN), ("dev", TEST), ("test", TEST)):
        rows = [("7", label, words) for words, label in rows]
        write(folder / f"{name}.csv", rows, header=("id", "stars", "review"))
    data = texts.load(folder, seed=0, text_column="review", label_column="stars")
    assert data.test.texts == ["A calm crossing.", "I was sick."]


def test_several_text_columns_are_paragraphs_of_one_text(folder):
    for name, rows in (("train", TRAIN), ("dev", TEST), ("test", [*TEST, ("", "bad")])):
        rows = [("A title", label, words) for words, label in rows]
        write(folder / f"{name}.csv", rows, header=("title", "label", "body"))
    data = texts.load(folder, seed=0, text_column="title, body")
    assert data.test.texts == [f"A title\n\n{words}" for words, _ in TEST] + ["A title"]
    assert "train.csv:1: expected a column named 'head'" in fails(folder, text_column="head,body")


def test_integer_labels_are_ordered_as_numbers(folder):
    rows = [(f"text {number}", str(number)) for number in (10, 9, -1, 2)]
    for name in ("train", "dev", "test"):
        write(folder / f"{name}.csv", rows)
    data = texts.load(folder, seed=0)
    assert data.labels == ["-1", "2", "9", "10"]
    assert data.train.labels.tolist() == [3, 2, 0, 1]


def test_integer_labels_in_jsonl(folder):
    (folder / "train.csv").unlink()
    (folder / "train.jsonl").write_text('{"text":"a","label":1}\n\n{"text":"b","label":0}\n')
    for name in ("dev", "test"):
        write(folder / f"{name}.csv", [("c", "0"), ("d", "1")])
    assert texts.load(folder, seed=0).train.labels.tolist() == [1, 0]


# --------------------------------------------------------------------- validation and limit


@pytest.fixture
def large(tmp_path):
    """900 good and 100 bad texts, each twice, and no dev file."""
    rows = [(f"text {number}", "bad" if number < 100 else "good") for number in range(1000)]
    write(tmp_path / "train.csv", rows + rows)
    write(tmp_path / "test.csv", rows[90:110])
    return tmp_path


def test_validation_is_cut_with_the_shares_of_the_labels(large):
    data = texts.load(large, seed=0, validation_fraction=0.2)
    assert len(data.train) == 1600
    assert np.bincount(data.validation.labels).tolist() == [40, 360]


def test_copies_of_a_text_stay_on_one_side(large):
    data = texts.load(large, seed=0)
    assert not set(data.train.texts) & set(data.validation.texts)


def test_the_seed_decides_the_cut(large):
    once, again, other = (texts.load(large, seed=seed) for seed in (1, 1, 2))
    assert once.validation.texts == again.validation.texts
    assert once.fingerprint == again.fingerprint
    assert once.validation.texts != other.validation.texts
    assert once.fingerprint != other.fingerprint


def test_what_a_reader_of_the_score_should_know_is_noted(large):
    shown = str(texts.load(large, seed=0))
    assert "1,800 / 200 / 20 texts" in shown
    assert "20 of the test texts also occur in the training texts" in shown
    assert "validation texts were cut from the training texts" in shown


def test_limit_keeps_rare_labels(large):
    data = texts.load(large, seed=0, limit=20)
    assert len(data.train) + len(data.validation) == 20
    assert np.bincount(data.train.labels).min() >= 1
    assert len(data.test) == 20
    assert "only up to 20 texts" in str(data)


def test_limit_too_low(large):
    assert "--limit must leave two texts of each of the 2 labels. Received: 3" in fails(
        large, limit=3
    )


# ------------------------------------------------------------------------------ what is wrong


@pytest.mark.parametrize("name", ["train", "test"])
def test_missing_file(folder, name):
    (folder / f"{name}.csv").rename(folder / f"{name}.parquet")
    message = fails(folder)
    assert f"Expected a file {name}.csv, {name}.tsv or {name}.jsonl" in message
    assert f"{name}.parquet" in message


def test_two_files_for_one_split(folder):
    write(folder / "validation.jsonl", TEST)
    assert "Received: dev.csv and validation.jsonl" in fails(folder)


def test_missing_key_in_jsonl(folder):
    (folder / "test.csv").unlink()
    (folder / "test.jsonl").write_text('{"text": "a", "label": "bad"}\n{"text": "b"}\n')
    assert "test.jsonl:2: expected a column named 'label'. Found: 'text'" in fails(folder)


@pytest.mark.parametrize("content", ["", "text,label\n", "\n\n"])
def test_empty_file(folder, content):
    (folder / "train.csv").write_text(content)
    assert "train.csv: expected a row or more. The file is empty" in fails(folder)


@pytest.mark.parametrize("name", ["dev", "test"])
def test_label_that_training_never_sees(folder, name):
    write(folder / f"{name}.csv", [*TEST, ("How?", "odd")])
    message = fails(folder)
    assert f"{name}.csv:4: expected a label that occurs in" in message
    assert "Received: 'odd'" in message


@pytest.mark.parametrize(("row", "count"), [("alone", 1), ("one,two,three", 3)])
def test_wrong_number_of_fields(folder, row, count):
    # The quoted row before it spans two lines: lines are counted, not rows.
    (folder / "train.csv").write_text(f'text,label\n"a\nb",bad\n{row}\nc,good\n')
    assert f"train.csv:4: expected 2 fields. Received: {count}" in fails(folder)


def test_quote_that_never_closes(folder):
    (folder / "train.csv").write_text('text,label\na,bad\n"b,good\nc,bad\n')
    assert "train.csv:3: unexpected end of data" in fails(folder)


def test_empty_label(folder):
    (folder / "train.csv").write_text("text,label\na,bad\nb, \n")
    assert "train.csv:3: expected a value in 'label'" in fails(folder)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_not_utf8(folder, suffix):
    (folder / "test.csv").unlink()
    content = b"text,label\n" + b"fine,good\n" * 5000 + "caf\xe9,bad\n".encode("latin-1")
    path = folder / f"test.{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    assert f"test.{suffix}:5002: expected UTF-8 text" in fails(folder)


@pytest.mark.parametrize(
    "content",
    [b"text,label\n", gzip.compress(b"text,label\na,bad\n" * 99)[:-20]],
    ids=["not gzip", "cut off"],  # bytes would make names that hold the time
)
def test_broken_gzip(folder, content):
    (folder / "test.csv").unlink()
    (folder / "test.csv.gz").write_bytes(content)
    assert "test.csv.gz: the gzip file is broken" in fails(folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a", "label": ', "expected JSON"),
        ('["a", "bad"]', "expected a JSON object. Received: ['a', 'bad']"),
        ('{"text": 3, "label": "bad"}', "expected a string as text. Received: 3"),
        ('{"text": "a", "label": [1]}', "expected a string or a number as label. Received: [1]"),
        ('{"text": "\\ud800", "label": "bad"}', "expected text that can be written in UTF-8"),
    ],
)
def test_bad_line_in_jsonl(folder, line, message):
    (folder / "test.csv").unlink()
    (folder / "test.jsonl").write_text(f'{{"text": "a", "label": "bad"}}\n{line}\n')
    assert f"test.jsonl:2: {message}" in fails(folder)


def test_single_label(folder):
    write(folder / "train.csv", TRAIN[::2])
    assert "Expected two labels or more" in fails(folder)
    assert "Received only: good" in fails(folder)


def test_too_few_rows_to_cut_validation(folder):
    (folder / "dev.csv").unlink()
    write(folder / "train.csv", [*TRAIN[:3], TRAIN[1]])
    assert "two different texts or more with the label 'bad'" in fails(folder)


# ------------------------------------------------------------------------------------- toy


def test_toy_is_the_same_for_every_seed_and_in_the_order_of_the_reviews():
    data = texts.load("toy", seed=0)
    _, _, reviews = toy_reviews.splits()
    assert data.test.texts == [review.text for review in reviews]
    assert [data.labels[label] for label in data.test.labels] == [r.label for r in reviews]
    assert data.fingerprint == texts.load("toy", seed=1).fingerprint


# ------------------------------------------------------------------------------------ TFDS


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Data sets of our own sentences, stored as TensorFlow Datasets stores the real ones."""
    tfds = pytest.importorskip("tensorflow_datasets")
    folder = tmp_path_factory.mktemp("tfds")

    def store(name, config, version, keys, splits, labels, **features):
        keys = keys.split(",")
        features |= {key: tfds.features.Text() for key in keys}
        features["label"] = tfds.features.ClassLabel(names=labels)
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            config=config,
            version=version,
            features=tfds.features.FeaturesDict(features),
            split_datasets={
                split: [
                    (
                        row,
                        {**dict.fromkeys(keys, words), "label": label}
                        | ({"idx": row} if "idx" in features else {}),
                    )
                    for row, (words, label) in enumerate(rows)
                ]
                for split, rows in splits.items()
            },
            data_dir=folder,
            disable_shuffling=True,
        )

    numbered = [(words, int(label == "good")) for words, label in TRAIN]
    unlabelled = [(words, -1) for words, _ in TEST]
    official = {"train": numbered, "test": numbered[:3], "unsupervised": unlabelled}
    store("imdb_reviews", "plain_text", "1.0.0", "text", official, ["neg", "pos"])
    competition = {"train": numbered, "validation": numbered[:2], "test": unlabelled}
    labels = ["negative", "positive"]
    store(
        "glue", "sst2", "2.0.0", "sentence", competition, labels, idx=tfds.features.Scalar(np.int32)
    )
    news = {"train": numbered, "test": numbered[:2]}
    store("ag_news_subset", None, "1.0.0", "title,description", news, labels)
    store("yelp_polarity_reviews", None, "0.2.0", "text", news, ["1", "2"])
    return folder


def test_tfds(data_dir):
    data = texts.load("tfds:imdb_reviews", seed=0, data_dir=data_dir)
    assert data.labels == ["neg", "pos"]
    assert data.test.texts == [row[0] for row in TRAIN[:3]]
    assert data.test.labels.tolist() == [1, 0, 1]
    assert len(data.train) + len(data.validation) == len(TRAIN)


def test_tfds_without_test_labels_tests_on_validation(data_dir):
    data = texts.load("tfds:glue/sst2", seed=0, data_dir=data_dir)
    assert data.test.texts == [row[0] for row in TRAIN[:2]]
    assert len(data.validation) == 2
    assert "the official validation split is the test here" in str(data)


def test_tfds_unknown_configuration(tmp_path):
    message = fails("tfds:glue/sst", data_dir=tmp_path)
    assert "glue has no configuration sst. It has: cola, sst2," in message


def test_tfds_unknown_version(tmp_path):
    message = fails("tfds:imdb_reviews:9.9.9", data_dir=tmp_path)
    assert "cannot load imdb_reviews:9.9.9: Dataset imdb_reviews cannot be loaded" in message


def test_tfds_without_a_text(tmp_path):
    assert "Found: none among image, label" in fails("tfds:mnist", data_dir=tmp_path)


@pytest.mark.parametrize("column", ["text", "title,description"])
def test_tfds_with_several_texts(data_dir, column):
    data = texts.load("tfds:ag_news_subset", seed=0, data_dir=data_dir, text_column=column)
    assert data.test.texts == [f"{words}\n\n{words}" for words, _ in TRAIN[:2]]
    assert "a text is its title and its description" in str(data)


def test_tfds_with_one_of_several_texts(data_dir):
    data = texts.load("tfds:ag_news_subset", seed=0, data_dir=data_dir, text_column="title")
    assert data.test.texts == [words for words, _ in TRAIN[:2]]


def test_tfds_labels_that_are_numbers(data_dir):
    data = texts.load("tfds:yelp_polarity_reviews", seed=0, data_dir=data_dir)
    assert data.labels == ["1", "2"]


def test_tfds_without_a_column_asked_for(tmp_path):
    message = fails("tfds:ag_news_subset", data_dir=tmp_path, text_column="title,body")
    assert "Expected text columns named title, body in ag_news_subset" in message
    assert "Found: title, description" in message


def test_a_download_that_fails(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")

    def load(name, data_dir, download):
        assert download
        raise ConnectionError("the server hung up\nhalfway")

    monkeypatch.setattr("recipes.data.tfds.is_reachable", lambda url: True)
    monkeypatch.setattr(tfds, "load", load)
    with pytest.raises(UserError, match="imdb_reviews could not be downloaded: the server hung up"):
        texts.load("tfds:imdb_reviews", seed=0, data_dir=tmp_path)


def test_columns_of_text_and_label_differ(folder):
    for columns in (
        {"text_column": "label"},
        {"text_column": "text,"},
        {"text_column": "text,text"},
    ):
        assert "Expected different columns of text and label. Received: --text" in fails(
            folder, **columns
        )


def test_labels_that_are_numbers_are_in_their_order_and_of_one_line(folder):
    rows = [("a", "10"), ("b", "9"), ("c", "2.5"), ("d", "9"), ("e", "10"), ("f", "2.5")]
    for name in ("train", "dev", "test"):
        write(folder / f"{name}.csv", rows)
    assert texts.load(folder, seed=0).labels == ["2.5", "9", "10"]
    write(folder / "train.csv", [("a", "5\nstars"), *rows])
    assert "train.csv:2: expected a label of one line. Received:" in fails(folder)
