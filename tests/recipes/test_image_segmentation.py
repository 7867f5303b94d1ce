"""The image segmentation recipe, as its users run it."""

import functools
import json

import numpy as np
import pytest
from PIL import Image

from recipes import image_segmentation as recipe
from recipes.data import masks as mask_data
from recipes.data.toy import cells
from recipes.parts import mask_scores, segmented
from tests.recipes.command import call_recipe, one_line
from tests.recipes.contract import RecipeContract
from tests.recipes.data.test_masks import HALF, picture, saved

TEST = cells.splits()[2]
QUICK = (
    "--limit 8 --epochs 1 --width 2 --levels 2 --batch-size 4 --crops 1 --crop 16 --tile 64 "
    "--parity-images 1"
).split()
INDEX = "split,image\ntrain,a.png\ntrain,b.png\ntest,c.png\n"
PAIRS = {
    f"images/{name}{kind}.png": content
    for name in "abc"
    for kind, content in (("", picture(9)), (".mask", saved(HALF)))
}

run = functools.partial(call_recipe, recipe)


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """Folder of a finished run on toy data."""
    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    settings = {"epochs": 3, "width": 6, "levels": 3, "crops": 1, "learning_rate": 0.02}
    settings |= {"tile": 64, "parity_images": 8, "baselines": False}
    recipe.train(recipe.Config(output=output, **settings))
    return output


@pytest.fixture
def finished(toy_run):
    return toy_run


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """Paths of two test slides."""
    folder = tmp_path_factory.mktemp("slides")
    for number, slide in enumerate(TEST[:2]):
        Image.fromarray(slide.image).save(folder / f"{number}.png")
    return [folder / "0.png", folder / "1.png"]


class TestContract(RecipeContract):
    recipe = recipe
    files = ("gates.png",)
    card = ("gates.png", "Csurka", "Slides", "(1, 64, 64, 3)")
    bad_data = (
        ({}, "a table"),
        ({"index.csv": INDEX, **PAIRS, "images/c.mask.png": picture(0)}, "foreground.*test split"),
        (
            {"index.csv": INDEX.replace("c.png", "d.png"), **PAIRS},
            r"index\.csv:4: expected an image.*'d\.png'",
        ),
        ({"index.csv": "image\na.png\n", **PAIRS}, r"index\.csv:1: .*'split'"),
        (
            {"index.csv": INDEX, **PAIRS, "images/b.mask.png": picture(1, (5, 3))},
            r"index\.csv:3: b\.png: expected a mask of the size of its image, 6 x 4\. .*5 x 3",
        ),
    )
    bad_flags = (
        (["--width", "1"], "--width must be at least 2"),
        (["--invert", "nan"], "--invert must be at least"),
    )
    tfds = ("oxford_iiit_pet", "oxford_iit_pet")
    quick = (*QUICK, "--no-baselines")
    broken = ("saved_model", "metrics.json")

    @pytest.fixture(autouse=True)
    def _asked(self, slides):
        self.asked = (slides[0],)


def test_it_marks_what_only_the_surroundings_tell(toy_run):
    metrics = json.loads((toy_run / "metrics.json").read_text())
    assert list(metrics["scores"]) == ["dice", "iou", "boundary_f1"]
    assert metrics["scores"]["dice"] > 0.9
    history = (toy_run / "history.csv").read_text().splitlines()
    assert "val_dice" in history[0] and len(history) == 4


def test_the_gates_open_on_the_tissue(toy_run):
    read = segmented.Reading.load(toy_run / "saved_model")
    hits, of_cells, of_dirt = [], [], []
    for slide in TEST:
        found = read(slide.image)
        assert list(found.gates) == ["gate_1", "gate_2"]
        for weights in found.gates.values():
            large = weights.repeat(64 // len(weights), 0).repeat(64 // len(weights), 1)
            assert weights.min() >= 0 and weights.max() <= 1
            hits.append(slide.region[np.unravel_index(large.argmax(), large.shape)])
            of_cells.append(large[slide.mask].mean())
            of_dirt.append(large[slide.dirt].mean())
    assert np.mean(hits) > 0.9
    assert np.mean(of_cells) > 2 * np.mean(of_dirt)


@pytest.mark.parametrize("form", recipe.FORMS)
def test_every_form_writes_masks_that_can_be_learned_from(toy_run, slides, form, tmp_path, capfd):
    wide = tmp_path / "wide.png"  # of a size that no tile fits
    image = np.concatenate([slide.image for slide in TEST[:3]], axis=1)[3:, :170]
    Image.fromarray(image).save(wide)
    images = tmp_path / "data" / "images"
    assert run("predict", toy_run, *slides, wide, "--form", form, "--masks", images) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith(f"{slides[0]}: ") and lines[2].endswith("% foreground")
    for path, slide in zip(slides, TEST, strict=False):
        with Image.open(images / f"{path.stem}.mask.png") as mask:
            assert set(np.unique(mask)) == {0, 255}
            assert mask_scores.dice(np.asarray(mask) > 0, slide.mask) > 0.9
        (images / path.name).write_bytes(path.read_bytes())
    (images / "wide.png").write_bytes(wide.read_bytes())
    rows = "".join(f"{s},{n}.png\n" for s, n in (("train", 0), ("dev", 1), ("test", "wide")))
    (images.parent / "index.csv").write_text("split,image\n" + rows)
    data = mask_data.load(images.parent, seed=0)
    wanted = np.concatenate([slide.mask for slide in TEST[:3]], axis=1)[3:, :170]
    assert mask_scores.dice(data.test.masks[0], wanted) > 0.85


def test_tiles_give_what_the_whole_image_gives(toy_run):
    whole = segmented.Reading.load(toy_run / "saved_model")
    image = np.concatenate([slide.image for slide in TEST[:4]], axis=1)[:60]
    tiled = segmented.Reading(whole.run, 128)
    for a, b in ((whole(image), tiled(image)), (whole(image[:50, :90]), tiled(image[:50, :90]))):
        assert (a.mask == b.mask).mean() > 0.995
        assert a.probability.shape == b.probability.shape
        assert [x.shape for x in a.gates.values()] == [x.shape for x in b.gates.values()]
        assert np.abs(a.gates["gate_1"] - b.gates["gate_1"]).mean() < 0.05


def test_the_graph_takes_batches_of_any_size_and_knows_their_statistics(toy_run):
    from recipes.kit import exports

    segment = exports.runner(toy_run / "saved_model", "segment")
    images = np.stack([slide.image for slide in TEST[:2]])[:, :61, :45]
    found = segment(image=images)
    assert found["probability"].shape == (2, 61, 45)
    read = segmented.Reading.load(toy_run / "saved_model")
    for row in range(2):
        alone = read(images[row]).probability
        np.testing.assert_allclose(found["probability"][row], alone, atol=1e-4)


def test_predict_draws_outline_and_gates(toy_run, slides, tmp_path, capfd):
    png = tmp_path / "a.png"
    assert run("predict", toy_run, slides[0], "--png", png) == 0
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert run("predict", toy_run, *slides, "--png", png) == 2
    one_line(capfd, "single image with --png. Received: 2")
    assert run("predict", toy_run, slides[0], "--png", tmp_path / "no" / "a.png") == 2
    one_line(capfd, "Cannot write --png")
    (tmp_path / "file").touch()
    assert run("predict", toy_run, slides[0], "--masks", tmp_path / "file") == 2
    one_line(capfd, "Cannot write --masks")
    assert run("predict", toy_run, slides[0], slides[0], "--masks", tmp_path / "out") == 2
    one_line(capfd, "different names with --masks. Received: 0 twice")
    assert run("predict", toy_run) == 2
    one_line(capfd, "Expected one image file or more")


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
def test_gates_are_compared_with_none(tmp_path, monkeypatch, eagerly):
    monkeypatch.setattr("recipes.kit.exports.export", lambda *args, **kwargs: {})
    for attention in recipe.ATTENTIONS:
        output = tmp_path / attention
        assert run("train", *QUICK, "--attention", attention, "--output", output) == 0
        metrics = json.loads((output / "metrics.json").read_text())
        wanted = {"Otsu's threshold", "no attention"} if attention == "gates" else {
            "Otsu's threshold"
        }  # fmt: skip
        assert set(metrics["baselines"]) == wanted
        # Half of the cells that it finds are dirt.
        assert 0.5 < metrics["baselines"]["Otsu's threshold"] < 0.8
