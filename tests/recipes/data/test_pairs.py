"""Sentence pairs: what is read, how it is split, and one clear line for everything wrong."""

import functools

import pytest

from recipes.data import pairs
from recipes.data.toy import translation as toy_translation
from recipes.kit.errors import UserError
from tests.recipes.data import files

TRAIN = [
    ("der Hund schläft", "the dog sleeps"),
    ("die Katze trinkt Milch", "the cat drinks milk"),
    ("das Haus ist alt", "the house is old"),
    ("ein Kind lacht laut", "a child laughs loudly"),
]
TEST = [("die Katze schläft", "the cat sleeps"), ("das Haus ist alt", "the house is old")]


write = functools.partial(files.write, header=("de", "en"))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "train.csv", TRAIN)
    write(tmp_path / "val.csv", [("der Hund lacht", "the dog laughs")])
    write(tmp_path / "test2016.csv", TEST)
    return tmp_path


def load(source, source_language="de", target_language="en", **options):
    return pairs.load(
        source,
        source_language=source_language,
        target_language=target_language,
        **{"seed": 0, **options},
    )


def fails(*args, **options):
    """Returns the one line that the user sees."""
    with pytest.raises(UserError) as caught:
        load(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "csv.gz", "jsonl.gz"])
def test_formats(tmp_path, suffix):
    for name, rows in {"train": TRAIN, "dev": TEST, "test": TEST}.items():
        write(tmp_path / f"{name}.{suffix}", rows)
    data = load(tmp_path)
    assert list(zip(data.train.sources, data.train.targets, strict=True)) == TRAIN
    assert list(zip(data.test.sources, data.test.targets, strict=True)) == TEST
    assert data.validation == data.test


def test_the_columns_decide_the_direction(folder):
    data = load(folder, "en", "de")
    assert data.train.sources[0] == "the dog sleeps" and data.train.targets[0] == "der Hund schläft"
    assert "from en to de" in str(data)


def test_validation_is_cut_with_all_copies_of_a_sentence(folder):
    (folder / "val.csv").unlink()
    write(folder / "train.csv", TRAIN * 10)
    data = load(folder, validation_fraction=0.25)
    assert len(data.train) == 30 and len(data.validation) == 10
    assert not set(data.train.sources) & set(data.validation.sources)
    assert load(folder, validation_fraction=0.25).fingerprint == data.fingerprint
    assert load(folder, validation_fraction=0.25, seed=1).fingerprint != data.fingerprint


def test_limit(folder):
    data = load(folder, limit=2)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [2, 1, 2]
    assert "only 2 pairs of each split" in str(data)


def test_few_empty_sides_are_left_out_and_counted(folder):
    write(folder / "train.csv", [*TRAIN * 50, ("", "nothing"), ("nichts", "  ")])
    data = load(folder)
    assert len(data.train) == 200
    assert "2 pairs of" in str(data) and "train.csv with nothing in one language" in str(data)


def test_toy_is_the_same_for_every_seed():
    data = load("toy")
    assert data.source_language == "toy" and len(data.train) == 4000
    assert data.test.targets == [pair.target for pair in toy_translation.splits()[2]]
    assert data.fingerprint == load("toy", seed=1).fingerprint


# ------------------------------------------------------------------------------ what is wrong


def test_the_same_language_twice(folder):
    assert "Expected two languages. Received --source and --target de" in fails(folder, "de", "de")


def test_both_columns_hold_the_same(folder):
    write(folder / "train.csv", [(text, text) for text, _ in TRAIN])
    assert "train.csv: expected two languages. 4 of 4 rows" in fails(folder)


@pytest.mark.parametrize("name", ["val", "test2016"])
def test_a_file_with_the_languages_swapped(folder, name):
    write(folder / f"{name}.csv", [(english, german) for german, english in TEST])
    message = fails(folder)
    assert f"{name}.csv: the languages seem to be swapped. 100% of the words in 'de' are 'en'" in (
        message
    )


def test_many_empty_sides_name_the_first(folder):
    write(folder / "test2016.csv", [TEST[0], ("das Haus", " ")])
    message = fails(folder)
    assert (
        "test2016.csv:3: expected a sentence in 'en'. Received an empty one, as 1 of 2" in message
    )


def test_too_few_sentences_to_cut(folder):
    (folder / "val.csv").unlink()
    write(folder / "train.csv", TRAIN[:1] * 3)
    assert "two different sentences or more" in fails(folder)


# ------------------------------------------------------------------------------------ TFDS


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Our own sentences, stored as TensorFlow Datasets stores TED talks."""
    tfds = pytest.importorskip("tensorflow_datasets")
    folder = tmp_path_factory.mktemp("tfds")
    tfds.dataset_builders.store_as_tfds_dataset(
        name="ted_hrlr_translate",
        config="pt_to_en",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {"en": tfds.features.Text(), "pt": tfds.features.Text()}
        ),
        split_datasets={
            split: [(row, {"pt": one, "en": two}) for row, (one, two) in enumerate(rows)]
            for split, rows in {"train": TRAIN, "validation": TEST, "test": TEST[:1]}.items()
        },
        data_dir=folder,
        disable_shuffling=True,
    )
    return folder


def test_tfds(data_dir):
    data = load("tfds:ted_hrlr_translate/pt_to_en", "pt", "en", data_dir=data_dir)
    assert list(zip(data.train.sources, data.train.targets, strict=True)) == TRAIN
    assert len(data.validation) == 2 and len(data.test) == 1


def test_tfds_without_that_language(data_dir):
    message = fails("tfds:ted_hrlr_translate/pt_to_en", "de", "en", data_dir=data_dir)
    assert "Expected a text named 'de' (--source) in ted_hrlr_translate/pt_to_en" in message
    assert "Found: pt, en" in message
