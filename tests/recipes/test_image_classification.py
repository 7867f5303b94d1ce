"""The image classification recipe, as its users run it."""

import functools
import json
import zipfile

import keras
import numpy as np
import pytest

from recipes import image_classification as recipe
from recipes.data.toy import marks
from recipes.kit import flags
from recipes.parts import classified
from tests.recipes.command import call_recipe, one_line
from tests.recipes.contract import RecipeContract
from tests.recipes.data.test_captions import picture

Image = pytest.importorskip("PIL.Image")

TEST = marks.splits()[2]
SMALL = {"width": 8, "stages": 2, "optimizer": "adamw", "learning_rate": 0.01, "shift": 0}

run = functools.partial(call_recipe, recipe)


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """Folder of a finished run on toy data."""
    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    settings = {"epochs": 5, "explained": 20, "parity_images": 50, **SMALL}
    recipe.train(recipe.Config(output=output, **settings))
    return output


@pytest.fixture
def finished(toy_run):
    return toy_run


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A test image as a file."""
    path = tmp_path_factory.mktemp("images") / "mark.png"
    Image.fromarray(TEST[0].image).save(path)
    return path


class TestContract(RecipeContract):
    recipe = recipe
    units = ("cell",)
    files = (classified.LABELS,)
    card = ("Guo et al.", "no attention", "circle", "labels.txt")
    bad_data = (
        ({}, "train/CLASS"),
        ({"list.csv": "a,b\n"}, r"Found: list\.csv"),
        ({"train.zip": "no zip", "test.zip": "no zip"}, r"test\.zip: expected a zip of images"),
        ({"sea.png": picture("blue")}, "train/CLASS"),
        ({"sea/0.png": picture("blue"), "sea/1.png": picture("blue")}, "two labels or more"),
    )
    bad_flags = (
        (["--architecture", "transformer", "--heads", "3"], "--heads must divide"),
        (["--architecture", "transformer", "--attention", "blocks"], "--attention blocks needs"),
        (["--stages", "6"], "--stages must be at most 5 for images of 32 x 32"),
    )
    tfds = ("cifar10", "cifar_10")
    quick = (
        "--limit 40 --epochs 1 --width 4 --stages 1 --parity-images 2 --no-baselines --explained 0"
    ).split()
    broken = ("saved_model", "metrics.json", classified.LABELS)

    @pytest.fixture(autouse=True)
    def _asked(self, photo):
        self.asked = (photo,)


def test_it_tells_the_classes(toy_run):
    metrics = json.loads((toy_run / "metrics.json").read_text())
    scores, baselines = metrics["scores"], metrics["baselines"]
    assert list(scores) == ["accuracy", "log_loss", "macro_f1", "calibration_error"]
    assert scores["accuracy"] > 0.97
    assert set(baselines) == {
        "most frequent label", "ridge regression on gradients and colours", "no attention",
    }  # fmt: skip
    assert scores["accuracy"] > baselines["ridge regression on gradients and colours"] + 0.2
    assert scores["accuracy"] >= baselines["no attention"] - 0.02
    assert set(metrics["details"]["classes"]) == set(marks.MARKS)


def hits(weights):
    """The share of test images whose largest weight lies within the cell of the mark."""
    found = []
    for row, of_image in zip(TEST, weights, strict=True):
        place = np.array(np.unravel_index(of_image.argmax(), of_image.shape))
        found.append(tuple(place * marks.CELLS // of_image.shape[0]) == row.cell)
    return np.mean(found)


def test_attention_lies_on_what_decides(toy_run):
    read = classified.reader(toy_run, "model.tflite")
    weights = [read(row.image)[2] for row in TEST]
    np.testing.assert_allclose(np.sum(weights, axis=(1, 2)), 1, rtol=1e-4)
    assert weights[0].shape == (8, 8)  # a mark's cell has four of these 64
    assert hits(weights) >= 0.9


@pytest.mark.parametrize("form", recipe.FORMS)
def test_every_form_takes_images_of_any_size(toy_run, form, tmp_path, capfd):
    paths = []
    for number, row in enumerate(TEST[:6]):
        paths.append(tmp_path / f"{number}.png")
        size = ((32, 32), (96, 64), (50, 200))[number % 3]
        Image.fromarray(row.image).resize(size, Image.Resampling.BICUBIC).save(paths[-1])
    assert run("predict", toy_run, *paths, "--form", form) == 0
    lines = capfd.readouterr().out.splitlines()
    for line, path, row in zip(lines, paths, TEST, strict=False):
        name, _, answer = line.partition(": ")
        label, probability = answer.split()
        assert name == str(path) and label == row.label and float(probability) > 0.5


def test_predict_draws_what_counted(toy_run, photo, tmp_path, capfd):
    png = tmp_path / "look.png"
    assert run("predict", toy_run, photo, "--png", png) == 0
    assert capfd.readouterr().out.startswith(f"{TEST[0].label} ")
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert run("predict", toy_run) == 2
    one_line(capfd, "Expected one image file or more")
    assert run("predict", toy_run, photo, photo, "--png", png) == 2
    one_line(capfd, "Expected a single image with --png. Received: 2")
    assert run("predict", toy_run, tmp_path / "none.png") == 2
    one_line(capfd, r"Cannot read .*none\.png")
    (tmp_path / "no.png").write_text("no image")
    assert run("predict", toy_run, tmp_path / "no.png") == 2
    one_line(capfd, r"Expected an image in .*no\.png")
    assert run("predict", toy_run, photo, "--png", tmp_path / "no" / "a.png") == 2
    one_line(capfd, "Cannot write --png")


def test_a_phone_needs_the_file_alone(toy_run):
    from ai_edge_litert.interpreter import Interpreter

    path = toy_run / "model_int8.tflite"
    with zipfile.ZipFile(path) as archive:
        labels = archive.read(classified.LABELS).decode().split("\n")
    call = Interpreter(model_path=str(path)).get_signature_runner("image")
    images = np.stack([row.image for row in TEST[:8]])
    found = call(image=images)["probability"].argmax(axis=1)  # a batch
    assert [labels[number] for number in found] == [row.label for row in TEST[:8]]


# ----------------------------------------------------------------------------------- networks

IMAGES = np.stack([row.image for row in TEST[:24]])
LABELS = np.eye(4, dtype="float32")[[sorted(marks.MARKS).index(row.label) for row in TEST[:24]]]


def build(**options):
    settings = {"width": 4, "heads": 2, "blocks": 1, "dropout": 0.0, "batch_size": 24, **options}
    config = flags.settle(recipe.Config(**settings), 24)
    keras.utils.set_random_seed(0)
    return config, *recipe.build_model(config, IMAGES, 4, config.attention)


def has(model, kind):
    return any(kind in type(layer).__name__ for layer in model.layers)


def check_weights(config, model):
    """Whether a network has the attention that it was asked for, and tells of it."""
    is_resnet, attention = config.architecture == "resnet", config.attention
    assert has(model, "ConvBlock") == (is_resnet and attention in ("both", "blocks"))
    outputs = model.predict_on_batch(IMAGES)
    np.testing.assert_allclose(outputs["probability"].sum(axis=1), 1, rtol=1e-5)
    weights = outputs["weights"]
    assert weights.shape == ((24, 4, 4) if is_resnet else (24, 8, 8))
    if attention == "none":
        np.testing.assert_allclose(weights, 1 / weights[0].size, rtol=1e-5)
    elif attention == "blocks":
        assert weights.min() > 0 and weights.max() < 1 and weights.std() > 1e-6
    else:
        np.testing.assert_allclose(weights.sum(axis=(1, 2)), 1, rtol=1e-5)
        assert weights.std() > 1e-6


@pytest.mark.parametrize(
    ("architecture", "attention", "optimizer"),
    [("resnet", "blocks", "sgd"), ("resnet", "none", "adamw"), ("transformer", "both", "adamw")],
)
def test_every_network_learns(architecture, attention, optimizer, recwarn):
    config, training, model = build(
        architecture=architecture, attention=attention, optimizer=optimizer, epochs=15,
        learning_rate=0.05 if optimizer == "sgd" else 0.01, label_smoothing=0.0,
    )  # fmt: skip
    recipe.compile_model(config, training, range(1))
    before = [np.array(weight) for weight in training.trainable_weights]
    history = training.fit(IMAGES, LABELS, batch_size=24, epochs=15, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]
    unmoved = [
        weight.path
        for weight, old in zip(training.trainable_weights, before, strict=True)
        if np.array_equal(weight, old)
    ]
    assert unmoved == []
    assert not [one for one in recwarn if "radient" in str(one.message)]
    check_weights(config, model)


@pytest.mark.parametrize(
    ("architecture", "attention"),
    [("resnet", "both"), ("resnet", "pooling"), ("transformer", "none")],
)
def test_other_networks_tell_of_their_attention(architecture, attention):
    config, _, model = build(architecture=architecture, attention=attention)
    check_weights(config, model)


def test_the_transformer_s_positions_may_be_learned():
    _, _, model = build(architecture="transformer", attention="pooling", position="learned")
    shapes = [tuple(w.shape) for w in model.get_layer("position").trainable_weights]
    assert shapes == [(8, 8), (8, 8)]


def test_the_twin_differs_by_attention_alone():
    shapes = []
    for attention in ("both", "none"):
        _, _, model = build(attention=attention)
        shapes.append(
            {
                weight.path: tuple(weight.shape)
                for weight in model.weights
                if "attention_" not in weight.path and "pooling" not in weight.path
            }
        )
    assert shapes[0] == shapes[1] and len(shapes[0]) > 20
    assert not has(model, "ConvBlock")
