"""The action recognition recipe, as its users run it."""

import functools
import json
import re
import zipfile

import numpy as np
import pytest

from recipes import action_recognition as recipe
from recipes.data.toy import figures
from recipes.kit.explaining import ExplainConfig
from recipes.parts import clips, watched
from tests.recipes.command import call_recipe, one_line
from tests.recipes.contract import RecipeContract
from tests.recipes.data.test_motions import picture

TEST = figures.splits()[2]
FRAMES = "[[1, 2, 3, 4], [2, 2, 3, 5]]"
ROW = f'{{"label": "run", "frames": {FRAMES}}}\n{{"label": "sit", "frames": {FRAMES}}}\n'
GOOD = ROW + ROW.replace("5", "6") + ROW.replace("5", "7")
ODD = re.sub(r"\[\d, ", "[", GOOD)  # three numbers in a frame

run = functools.partial(call_recipe, recipe)


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """Folder of a finished run on the toy figures."""
    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    settings = {"epochs": 12, "units": 32, "dropout": 0.1, "input_dropout": 0.1}
    settings |= {"learning_rate": 0.01, "label_smoothing": 0.0, "parity_clips": 10}
    recipe.train(recipe.Config(output=output, **settings, baselines=False, explained=40))
    return output


@pytest.fixture
def finished(toy_run):
    return toy_run


@pytest.fixture(scope="module")
def poses(tmp_path_factory):
    """Path of a file with one clip of the toy test."""
    path = tmp_path_factory.mktemp("clips") / "clip.json"
    path.write_text(json.dumps({"frames": TEST[0].frames.tolist()}))
    return path


class TestContract(RecipeContract):
    recipe = recipe
    units = ("frame",)
    files = (clips.FILE,)
    card = ("Stick figures", "motion.json", "squat")
    bad_data = (
        ({}, "train"),
        ({"train.jsonl": GOOD}, "test"),
        ({"train.jsonl": "", "test.jsonl": GOOD}, r"train\.jsonl"),
        ({"train.jsonl": GOOD + '{"label": "run"}\n', "test.jsonl": GOOD}, r":7: .*'frames'"),
        (
            {"train.jsonl": GOOD.replace(", 4", ""), "test.jsonl": GOOD},
            r"train\.jsonl:1: expected frames",
        ),
        ({"clips.jsonl": GOOD}, r"clips\.jsonl:1: .*'split'"),
        ({"train.jsonl": ODD, "test.jsonl": ODD}, "--no-joints"),
    )
    bad_flags = (
        (["--encoder", "transformer", "--heads", "3"], "--heads must divide --units"),
        (["--swap", "1-x"], "--swap must be pairs such as 3-4,5-6"),
        (["--swap", "1-11"], "--swap must name joints from 0 to 10"),
        (["--swap", "1-2,2-3"], "--swap must name each joint once"),
        (["--dropout", "nan"], "--dropout must be at least"),
        (["--split", "0"], "--split must be at least 1"),
    )
    tfds = ("ucf101", "ucf102")
    quick = (
        "--explained 0 --no-baselines --limit 20 --epochs 1 --units 4 --blocks 1 --parity-clips 2"
    ).split()
    broken = ("model.tflite", "metrics.json", clips.FILE)

    @pytest.fixture(autouse=True)
    def _asked(self, poses):
        self.asked = (poses,)


def test_it_tells_the_action(toy_run):
    scores = json.loads((toy_run / "metrics.json").read_text())["scores"]
    assert next(iter(scores)) == "accuracy" and scores["accuracy"] > 0.95


def test_attention_lies_on_the_frames_that_decide(toy_run):
    watch = watched.Watcher.load(toy_run, recipe.NAME, "model.tflite")
    hits = []
    for row in TEST:
        weights = watch.run(frames=row.frames[None])["weights"][0]
        assert weights.sum() == pytest.approx(1, abs=1e-4)
        # A frame knows its neighbours: what begins or ends there may be seen one frame off.
        hits.append(row.start - 1 <= weights.argmax() < row.end + 1)
    assert np.mean(hits) >= 0.9


@pytest.mark.parametrize("form", recipe.FORMS)
def test_every_form_takes_any_batch_of_any_length(toy_run, form):
    watch = watched.Watcher.load(toy_run, recipe.NAME, recipe.FORMS[form])
    rows = TEST[:3]
    alone = [watch.run(frames=row.frames[None]) for row in rows]
    frames = np.zeros((3, 50, rows[0].frames.shape[1]), "float32")
    for padded, row in zip(frames, rows, strict=True):
        padded[: len(row.frames)] = row.frames
    together = watch.run(frames=frames)
    for number, (row, one) in enumerate(zip(rows, alone, strict=True)):
        np.testing.assert_allclose(
            together["probability"][number], one["probability"][0], atol=0.05
        )
        assert not together["weights"][number, len(row.frames) :].any()
        assert watch.facts.labels[one["probability"][0].argmax()] == row.label


def test_answers_in_words_as_json_and_drawn(toy_run, poses, tmp_path, capfd):
    png = tmp_path / "seen.png"
    assert run("predict", toy_run, poses, "--png", png) == 0
    label, probability = capfd.readouterr().out.split()
    assert label == TEST[0].label and float(probability) > 0.5
    assert png.read_bytes()[:4] == b"\x89PNG"
    table = tmp_path / "clips.jsonl"
    table.write_text("".join(json.dumps({"poses": row.frames.tolist()}) + "\n" for row in TEST[:3]))
    command = ["predict", toy_run, table, "--frames-column", "poses", "--format", "jsonl"]
    assert run(*command) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["label"] for line in lines] == [row.label for row in TEST[:3]]
    for line, row in zip(lines, TEST, strict=False):
        assert len(line["weights"]) == len(row.frames)
        assert max(line["probabilities"], key=line["probabilities"].get) == line["label"]
    assert run(*command, "--png", png) == 2
    one_line(capfd, "--png draws a single clip. Received: 3")
    assert run("predict", toy_run, poses, "--png", tmp_path / "no" / "a.png") == 2
    one_line(capfd, "Cannot write --png")


def test_what_is_no_clip_is_one_line(toy_run, tmp_path, capfd):
    path = tmp_path / "a.json"
    for content, message in (
        ("no", "expected JSON"),
        ('{"poses": []}', "as 'frames'"),
        ("[[1, 2]]", "expected 22 numbers in a frame. Received: 2"),
        ("[1]", "list of equally long lists"),
    ):
        path.write_text(content)
        assert run("predict", toy_run, path) == 2
        one_line(capfd, message)
    assert run("predict", toy_run, tmp_path / "none.json") == 2
    one_line(capfd, r"Cannot read .*none\.json")
    assert run("predict", toy_run, tmp_path / "a.mp4") == 2
    one_line(capfd, "Expected a json or jsonl file, as in training")
    assert run("predict", toy_run) == 2
    one_line(capfd, "Expected one clip or more")


def test_a_phone_needs_the_file_alone(toy_run):
    with zipfile.ZipFile(toy_run / "model.tflite") as archive:
        facts = json.loads(archive.read(clips.FILE))
    assert facts["labels"] == list(figures.CLASSES)
    # The bones that are found are those that were drawn.
    bones = {frozenset((figures.JOINTS[a], figures.JOINTS[b])) for a, b in facts["bones"]}
    drawn = {("hip", "neck"), ("neck", "head"), ("knee_1", "foot_1"), ("elbow_2", "hand_2")}
    assert len(bones) == 10 and len(bones & set(map(frozenset, drawn))) >= 3


@pytest.fixture
def videos(tmp_path):
    """A folder of clips of pictures, bright or dark, and the path of a network that sees them."""
    import keras

    for part, count in (("train", 6), ("test", 3)):
        for number in range(count):
            for label, colour in (("dark", 40), ("light", 200)):
                for frame in range(3 + number % 2):
                    folder = tmp_path / "data" / part / label / f"clip{number}"
                    picture(folder / f"{frame}.png", colour + number + frame)
    image = keras.Input((8, 8, 3))
    keras.Model(image, keras.layers.Rescaling(1 / 100)(image)).save(tmp_path / "see.keras")
    return tmp_path


def test_pictures_are_seen_by_a_frozen_network(videos, capfd, monkeypatch):
    forms = {"tflite": "model.tflite", "saved_model": "saved_model"}  # the others alike
    monkeypatch.setattr("recipes.kit.exports.FORMS", forms)
    command = (
        "train --epochs 2 --units 4 --blocks 1 --batch-size 4 --max-frames 4 --parity-clips 2 "
        "--learning-rate 0.05 --explained 0"
    ).split()
    places = ["--data", videos / "data", "--output", videos / "out", "--cache", videos / "cache"]
    assert run(*command, *places, "--backbone", "small") == 2
    one_line(capfd, "--backbone must be a network with trained weights")
    assert run(*command, *places, "--backbone", videos / "see.keras") == 0
    metrics = json.loads((videos / "out" / "metrics.json").read_text())
    assert set(metrics["baselines"]) == {
        "most frequent label", "logistic regression over statistics", "no attention",
    }  # fmt: skip
    assert metrics["baselines"]["logistic regression over statistics"] == 1.0
    assert len(list((videos / "cache").glob("*.npy"))) == 3
    capfd.readouterr()
    clip = videos / "data" / "test" / "light" / "clip0"
    png = videos / "seen.png"
    for form in forms:
        assert run("predict", videos / "out", clip, "--form", form, "--png", png) == 0
        assert capfd.readouterr().out.split()[0] in ("dark", "light")
    assert png.read_bytes()[:4] == b"\x89PNG"
    (videos / "empty").mkdir()
    assert run("predict", videos / "out", videos / "empty") == 2
    one_line(capfd, "expected images in the folder")
    explain = {"explain": (ExplainConfig, recipe.explain)}
    assert run("explain", videos / "out", "--examples", 10, "--shown", 1, **explain) == 0
    broken = videos / "data" / "test" / "dark" / "clip1"
    for file in broken.iterdir():
        file.write_bytes(b"no image")
    assert run(*command, *places, "--backbone", videos / "see.keras", "--seed", "1") == 2
    one_line(capfd, r"Expected frames in each clip. Cannot read .*clip1: not an image")
