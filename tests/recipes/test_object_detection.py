"""The object detection recipe, as its users run it."""

import functools
import json
import zipfile

import numpy as np
import pytest

from recipes import object_detection as recipe
from recipes.data.toy import skies
from recipes.parts import detected
from recipes.parts.average_precision import overlaps
from recipes.parts.detector import COARSEST
from tests.backend import needs_tensorflow
from tests.recipes.command import call_recipe, one_line
from tests.recipes.contract import RecipeContract
from tests.recipes.data.test_captions import picture

pytestmark = needs_tensorflow
Image = pytest.importorskip("PIL.Image")

TEST = skies.splits()[2]
SETTINGS = {
    "filters": 16,
    "blocks": 0,
    "learning_rate": 0.004,
    "dropout": 0.0,
    "zoom": 0.0,
    "stretch": 0.0,
}
HEADER = "split,image,label,xmin,ymin,xmax,ymax\n"
ROWS = "train,a.png,cat,1,2,5,6\ntrain,b.png,cat,1,2,5,6\ntest,a2.png,cat,1,2,5,6\n"
IMAGES = {f"images/{name}.png": picture("red", (20, 10)) for name in ("a", "b", "a2")}
run = functools.partial(call_recipe, recipe)


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """Folder of a finished run on the toy skies."""
    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    settings = {"epochs": 6, "mirror": "both", "parity_images": 10, "baselines": False}
    recipe.train(recipe.Config(output=output, **SETTINGS, **settings))
    return output


@pytest.fixture
def finished(toy_run):
    return toy_run


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two test skies as files, twice as large."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(2):
        image = Image.fromarray(TEST[number].image)
        image.resize((2 * skies.WIDTH, 2 * skies.HEIGHT)).save(folder / f"{number}.png")
    return [folder / "0.png", folder / "1.png"]


class TestContract(RecipeContract):
    recipe = recipe
    files = ("found.png", detected.FILE)
    card = ("COCO's", "found.png", "a sign far", "| moon |")
    agreement = {"tflite_int8": 0.8}
    bad_data = (
        ({}, "train"),
        ({"boxes.csv": HEADER + ROWS}, "images"),
        ({"boxes.csv": HEADER + ROWS + "test,c.png,cat,1,2,5,6\n", **IMAGES}, r"csv:5: .*'c\.png'"),
        (
            {"boxes.csv": HEADER + ROWS + "test,a2.png,cat,1,2,50,6\n", **IMAGES},
            r"boxes\.csv:5: expected a box within a2\.png",
        ),
        (
            {"boxes.csv": HEADER + ROWS + "test,a2.png,,1,2,5,6\n", **IMAGES},
            r"boxes\.csv:5: expected a label",
        ),
        ({"boxes.csv": HEADER + ROWS, **IMAGES, "images/b.png": b"no"}, "cannot be read"),
    )
    bad_flags = (
        (["--height", "100"], "--height must be a multiple of 16. Received: 100"),
        (["--filters", "12"], "--filters must be a multiple of 8"),
        (["--overlap", "0"], "--overlap must be at least 0.05"),
    )
    tfds = ("voc/2007", "vocc/2007")
    quick = (
        "--limit 8 --epochs 1 --filters 8 --blocks 0 --batch-size 4 --parity-images 2 "
        "--no-baselines"
    ).split()
    broken = ("model.tflite", "metrics.json", detected.FILE)

    @pytest.fixture(autouse=True)
    def _asked(self, photos):
        self.asked = (photos[0],)


def found_in(folder, form="tflite", **options):
    read = detected.reader(folder, recipe.FORMS[form], **options)
    return [(sky, read(sky.image)) for sky in TEST]


def test_it_finds_what_is_drawn_and_tells_suns_from_moons_and_stars(toy_run):
    metrics = json.loads((toy_run / "metrics.json").read_text())
    assert list(metrics["scores"]) == ["mAP50", "mAP"]
    assert metrics["scores"]["mAP50"] >= 0.9 and metrics["scores"]["mAP"] >= 0.5
    assert {name: figures["AP50"] >= 0.85 for name, figures in of_class(metrics).items()} == {
        "moon": True, "ring": True, "star": True, "sun": True,
    }  # fmt: skip


def of_class(metrics):
    return metrics["details"]["of_class"]


def test_for_suns_and_moons_attention_looks_at_the_sign(toy_run):
    """The sign alone tells what a disc is: it is the place that decides, where there is one."""
    hits = []
    for sky, found in found_in(toy_run):
        np.testing.assert_allclose(found.weights.sum((1, 2)), 1, rtol=1e-3)
        for label, weights in zip(found.labels, found.weights, strict=True):
            if label in ("sun", "moon") and sky.kind != "star":
                row, column = np.unravel_index(weights.argmax(), weights.shape)
                middle = (column + 0.5) * COARSEST, (row + 0.5) * COARSEST
                # A part of the sign lies in the cell, or touches it.
                hits.append(np.abs(np.subtract(middle, sky.sign)).max() <= COARSEST / 2 + 7)
    assert len(hits) > 80 and np.mean(hits) >= 0.9


@pytest.mark.parametrize("form", recipe.FORMS)
def test_every_form_finds_the_boxes(toy_run, photos, form, capfd):
    assert run("predict", toy_run, photos[0], "--form", form, "--format", "jsonl") == 0
    answer = json.loads(capfd.readouterr().out)
    assert answer["image"] == str(photos[0])
    truth = TEST[0].boxes
    assert len(answer["boxes"]) >= len(truth)
    boxes = np.array([one["box"] for one in answer["boxes"]])
    for label, *box in truth:  # in pixels of the picture given, which is twice as large
        best = overlaps(2 * np.array(box), boxes)[0].argmax()
        assert overlaps(2 * np.array(box), boxes[best])[0, 0] > 0.5
        assert answer["boxes"][best]["label"] == label


def test_predict_writes_lines_and_a_picture(toy_run, photos, tmp_path, capfd):
    png = tmp_path / "found.png"
    assert run("predict", toy_run, photos[0], "--png", png) == 0
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) >= len(TEST[0].boxes)
    assert {line.split()[0] for line in lines} <= {"sun", "moon", "star", "ring"}
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert run("predict", toy_run, *photos) == 0
    lines = capfd.readouterr().out.splitlines()
    assert {line.split(": ")[0] for line in lines} == set(map(str, photos))
    assert run("predict", toy_run, photos[0], "--score", "1") == 0
    assert capfd.readouterr().out == "nothing found with a score of 1 or more\n"
    assert run("predict", toy_run, *photos, "--png", png) == 2
    one_line(capfd, "Expected a single image with --png. Received: 2")
    assert run("predict", toy_run, photos[0], "--png", tmp_path / "no" / "a.png") == 2
    one_line(capfd, "Cannot write --png")


def test_what_is_no_image_is_one_line(toy_run, tmp_path, capfd):
    assert run("predict", toy_run) == 2
    one_line(capfd, "Expected one image file or more")
    assert run("predict", toy_run, tmp_path / "none.png") == 2
    one_line(capfd, r"Cannot read .*none\.png")
    (tmp_path / "no.png").write_bytes(b"PNG")
    assert run("predict", toy_run, tmp_path / "no.png") == 2
    one_line(capfd, r"Expected an image in .*no\.png")


def test_a_phone_needs_the_file_alone(toy_run):
    from ai_edge_litert.interpreter import Interpreter

    path = toy_run / "model.tflite"
    with zipfile.ZipFile(path) as archive:
        labels = archive.read(detected.FILE).decode().split("\n")
    images = np.stack([sky.image for sky in TEST[:3]])
    size = np.array([images.shape[1:3]] * 3, "int32")
    found = Interpreter(model_path=str(path)).get_signature_runner("detect")(
        image=images, size=size
    )
    for row, sky in enumerate(TEST[:3]):  # any batch
        scores, kinds = found["scores"][row], found["classes"][row]
        assert (np.diff(scores) <= 0).all() and (scores > 0).sum() == found["count"][row]
        best = sorted(labels[number] for number in kinds[: len(sky.boxes)])
        assert best == sorted(box[0] for box in sky.boxes)


def test_agreement_counts_boxes():
    box, score, kind = np.array([[0.0, 0, 10, 10], [20, 0, 30, 9]]), np.array([0.9, 0.8]), [1, 0]
    one = box, score, np.array(kind)
    assert detected.agreement([one], [one]) == 1
    assert detected.agreement([one], [(box[:1], score[:1], np.array([1]))]) == pytest.approx(2 / 3)
    assert detected.agreement([one], [(box, score, np.array([1, 1]))]) == 0.5
    assert detected.agreement([one], [(np.add(box, [0, 0, 0, 3]), score, np.array(kind))]) == 0
    low = box, np.array([0.2, 0.1]), np.array(kind)
    assert detected.agreement([low], [low]) == 1  # nothing to compare


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
@pytest.mark.parametrize("attention", ["cbam", "none"])
def test_other_attention_and_what_it_is_compared_with(
    tmp_path, capfd, monkeypatch, eagerly, attention
):
    few = [skies.generate(8, seed=1)] * 3
    monkeypatch.setattr("recipes.data.toy.skies.splits", lambda: few)
    monkeypatch.setattr("recipes.parts.detected.export", lambda *args, **kwargs: {})
    settings = "--epochs 1 --filters 8 --batch-size 4 --most-boxes 5".split()
    output = tmp_path / "out"
    assert run("train", *settings, "--attention", attention, "--output", output) == 0
    metrics = json.loads((output / "metrics.json").read_text())
    expected = {"thresholds of colours"} | ({"no attention"} if attention != "none" else set())
    assert set(metrics["baselines"]) == expected
    assert ("of_class_without_attention" in metrics["details"]) == (attention != "none")
