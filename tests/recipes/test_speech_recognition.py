"""The speech recognition recipe, as its users run it."""

import functools
import io
import json
import zipfile

import numpy as np
import pytest

from recipes import speech_recognition as recipe
from recipes.data import speech as speech_data
from recipes.data.toy import tones
from recipes.parts import heard, listener
from tests.recipes.command import call_recipe, one_line
from tests.recipes.contract import RecipeContract
from tests.recipes.data.test_speech import tone, wav

TEST, LONG = tones.splits()[2:]
ROWS = "audio,text\n" + "a.wav,one two\nb.wav,two\n" * 3
SOUNDS = {"audio/a.wav": tone(3000), "audio/b.wav": tone(5)}

run = functools.partial(call_recipe, recipe)


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """Folder of a finished run on toy data."""
    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    settings = {"epochs": 6, "batch_size": 16, "units": 32, "filters": 8, "dropout": 0.1}
    settings |= {"learning_rate": 0.01, "beams": 2, "parity_utterances": 4, "baselines": False}
    settings["explained"] = 40
    recipe.train(recipe.Config(output=output, max_tokens=20, **settings))
    return output


@pytest.fixture
def finished(toy_run):
    return toy_run


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Paths of two wav files of the toy test."""
    folder = tmp_path_factory.mktemp("sounds")
    for number, row in enumerate(TEST[:2]):
        samples = (row.samples * 32767).astype("int16")
        (folder / f"{number}.wav").write_bytes(wav(samples, tones.RATE))
    return [folder / "0.wav", folder / "1.wav"]


class TestContract(RecipeContract):
    recipe = recipe
    units = ("step",)
    files = ("alignment.png", listener.FILE)
    card = ("jiwer", "alignment.png", "tones")
    agreement = {"tflite_int8": 0.75}  # one of four
    bad_data = (
        ({}, "train"),
        ({"train.csv": ROWS, **SOUNDS}, "test"),
        ({"train.csv": ROWS, "test.csv": ROWS + "c.wav,one\n", **SOUNDS}, r"test\.csv:8: .*c\.wav"),
        ({"train.csv": ROWS, "test.csv": ROWS}, r"train\.csv:2: .*'a\.wav'"),
        (
            {"train.csv": ROWS, "test.csv": ROWS, **SOUNDS, "audio/b.wav": b"RIFF"},
            r"\.csv:[2357]: b\.wav: expected a wav file",
        ),
        ({"list.csv": ROWS, **SOUNDS}, r"list\.csv:1: .*'split'"),
    )
    bad_flags = (
        (["--unseen-speaker", "ann"], "--unseen-speaker needs"),
        (["--dropout", "nan"], "--dropout must be at least"),
        (["--sample-rate", "8"], "--sample-rate must be at least"),
    )
    tfds = ("speech_commands", "speech_command")
    quick = (
        "--limit 20 --epochs 1 --units 4 --filters 2 --batch-size 10 --parity-utterances 2 "
        "--no-baselines --max-tokens 8 --beams 1 --direction forward --explained 0"
    ).split()
    broken = ("model.tflite", "metrics.json", listener.FILE)

    @pytest.fixture(autouse=True)
    def _asked(self, sound):
        self.asked = (sound[0],)


def test_it_writes_what_is_said_also_in_longer_sounds(toy_run):
    metrics = json.loads((toy_run / "metrics.json").read_text())
    scores = metrics["scores"]
    assert next(iter(scores)) == "word_error_rate"
    assert scores["word_error_rate"] < 0.1 and scores["long_word_error_rate"] < 0.4
    errors = metrics["details"]["errors"]
    assert errors["long"]["words"] == sum(len(row.text.split()) for row in LONG)
    for part, name in (("test", "word_error_rate"), ("long", "long_word_error_rate")):
        wrong = sum(errors[part][kind] for kind in ("substitutions", "deletions", "insertions"))
        assert wrong / errors[part]["words"] == pytest.approx(scores[name])
    assert metrics["details"]["greedy"]["word_error_rate"] < 0.1
    assert not metrics["details"]["streams"]


def test_attention_hears_each_word_where_it_is(toy_run):
    hear = heard.Hearing.load(toy_run, "model.tflite", "greedy")
    hits = []
    for row in [*TEST[:20], *LONG[:5]]:
        said = hear(row.samples)
        np.testing.assert_allclose(said.weights.sum(1), 1, rtol=1e-4)
        if said.text == row.text:
            # A step reaches three frames to each side, and a GRU knows what was before.
            hits += [
                start / tones.RATE - 0.06 <= time <= end / tones.RATE + 0.06
                for time, (start, end) in zip(said.times, row.segments, strict=True)
            ]
    assert len(hits) > 50 and np.mean(hits) > 0.9


def test_the_map_explains_which_word_is_written(toy_run):
    """A word is in its steps and nowhere else, and random steps seldom take them all."""
    metrics = json.loads((toy_run / "metrics.json").read_text())
    found = metrics["details"]["explanation"]["step"]
    assert found["verdict"] == "yes"
    figures = found["figures"]
    assert figures["attention"]["sufficiency"] < figures["random"]["sufficiency"] - 0.1


@pytest.mark.parametrize("form", recipe.FORMS)
def test_every_form_writes_the_text(toy_run, sound, form, capfd):
    for search in ("beam", "greedy"):
        assert run("predict", toy_run, *sound, "--form", form, "--search", search) == 0
        lines = capfd.readouterr().out.splitlines()
        wanted = [f"{path}: {row.text}" for path, row in zip(sound, TEST, strict=False)]
        assert lines == wanted


def test_answers_have_times_and_can_be_learned_from(toy_run, sound, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{sound[0]}\n\n{sound[1]}\n"))
    assert run("predict", toy_run, "--format", "jsonl") == 0
    first, second = map(json.loads, capfd.readouterr().out.splitlines())
    assert [first["text"], second["text"]] == [row.text for row in TEST[:2]]
    assert first["seconds"] == pytest.approx(len(TEST[0].samples) / tones.RATE, abs=1e-3)
    assert [token["token"] for token in first["tokens"]] == TEST[0].text.split()
    times = [token["time"] for token in first["tokens"]]
    assert times == sorted(times) and times[0] >= 0 and times[-1] <= first["seconds"]
    table = sound[0].parent / "list.csv"  # with paths beside it
    table.write_text("id,sound\n1,0.wav\n2,1.wav\n")
    command = ["predict", toy_run, "--file", table, "--audio-column", "sound", "--format", "tsv"]
    assert run(*command) == 0
    answers = tmp_path / "train.tsv"
    answers.write_text(capfd.readouterr().out)
    (tmp_path / "test.tsv").write_text(answers.read_text())
    data = speech_data.load(tmp_path, seed=0)
    assert data.test.texts == [row.text for row in TEST[:2]]
    table.unlink()


def test_predict_draws_where_each_token_was_heard(toy_run, sound, tmp_path, capfd):
    png = tmp_path / "heard.png"
    assert run("predict", toy_run, sound[0], "--png", png) == 0
    assert capfd.readouterr().out == f"{TEST[0].text}\n"
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert run("predict", toy_run, *sound, "--png", png) == 2
    one_line(capfd, "--png draws a single file. Received: 2")
    assert run("predict", toy_run, sound[0], "--png", tmp_path / "no" / "a.png") == 2
    one_line(capfd, "Cannot write --png")


def test_what_cannot_be_heard_is_one_line(toy_run, sound, tmp_path, capfd):
    assert run("predict", toy_run, tmp_path / "none.wav") == 2
    one_line(capfd, r"Cannot read .*none\.wav")
    (tmp_path / "no.wav").write_bytes(b"RIFF")
    assert run("predict", toy_run, tmp_path / "no.wav") == 2
    one_line(capfd, r"no\.wav: expected a wav file")
    assert run("predict", toy_run, sound[0], "--file", tmp_path / "list.csv") == 2
    one_line(capfd, "Received both")
    assert run("predict", toy_run, "--stream", sound[0]) == 2
    one_line(capfd, "--attention monotonic --direction forward")


def test_a_phone_needs_the_file_alone(toy_run):
    from ai_edge_litert.interpreter import Interpreter

    path = toy_run / "model.tflite"
    with zipfile.ZipFile(path) as archive:
        facts = json.loads(archive.read(listener.FILE))
    sounds = [row.samples for row in TEST[:2]]
    width = max(map(len, sounds))
    found = Interpreter(model_path=str(path)).get_signature_runner("audio_greedy")(
        audio=np.stack([np.pad(one, (0, width - len(one))) for one in sounds]),
        length=np.array(list(map(len, sounds)), "int32"),
    )
    texts = [
        facts["separator"].join(facts["tokens"][number] for number in row if number > 0)
        for row in found["ids"]
    ]
    assert texts == [row.text for row in TEST[:2]]  # any batch


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
def test_a_model_that_streams_and_what_it_is_compared_with(
    tmp_path, sound, capfd, monkeypatch, eagerly
):
    written, few = [], tones.splits(20, 8, 6, 2)

    def exported(*args, files=None, **kwargs):
        written.extend(files[listener.FILE] if files else [])
        return {}

    monkeypatch.setattr("recipes.kit.exports.export", exported)
    monkeypatch.setattr("recipes.data.toy.tones.splits", lambda: few)
    settings = (
        "--epochs 1 --units 4 --filters 2 --batch-size 10 --beams 1 --max-tokens 6 "
        "--attention monotonic --direction forward --tokens characters --explained 0"
    )
    output = tmp_path / "out"
    assert run("train", *settings.split(), "--output", output) == 0
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["details"]["streams"]
    assert set(metrics["baselines"]) == {
        "most frequent text", "linear classifier of frames", "the same, mean of all steps",
    }  # fmt: skip
    (output / listener.FILE).write_text(written[0])
    capfd.readouterr()
    assert run("predict", output, "--stream", "--format", "jsonl", sound[0]) == 0
    assert all(json.loads(line)["token"] for line in capfd.readouterr().out.splitlines())
    assert run("predict", output, "--stream", sound[0]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 1
