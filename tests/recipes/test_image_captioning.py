"""The captioning recipe, as its users run it."""

import functools
import io
import json
import shutil
import zipfile

import keras
import numpy as np
import pytest

from recipes import image_captioning as recipe
from recipes.data import captions as caption_data
from recipes.data.images import decode
from recipes.data.toy import scenes as toy_scenes
from recipes.kit import exports, flags
from recipes.parts import backbones, captioner
from recipes.text import words as caption_words
from recipes.text.words import END, PAD, START, UNKNOWN
from tests.backend import needs_tensorflow
from tests.recipes import browser
from tests.recipes.command import call_recipe, one_line
from tests.recipes.contract import RecipeContract

pytestmark = needs_tensorflow
Image = pytest.importorskip("PIL.Image")


QUICK = "--epochs 1 --parity-images 3 --no-baselines".split()
ONE_FORM = {"tflite": recipe.FORMS["tflite"]}  # where the others are not what is tested


SEARCH = functools.partial(captioner.beam_search, max_words=20, beams=3, length_penalty=1.3)
run = functools.partial(call_recipe, recipe)


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """Folder of a finished run on the toy scenes."""
    output = tmp_path_factory.mktemp("saved_models") / recipe.NAME
    recipe.train(recipe.Config(output=output, epochs=3, parity_images=50, explained=20))
    return output


@pytest.fixture(scope="module")
def scenes():
    return toy_scenes.splits()[2]


@pytest.fixture(scope="module")
def photo(scenes, tmp_path_factory):
    """A test scene as a file."""
    path = tmp_path_factory.mktemp("images") / "scene.png"
    Image.fromarray(scenes[0].image).save(path)
    return path


@pytest.fixture
def finished(toy_run):
    return toy_run


@pytest.fixture
def _asked(photo):
    """The contract asks about a photo."""
    TestContract.asked = (photo,)


@pytest.mark.usefixtures("_asked")
class TestContract(RecipeContract):
    recipe = recipe
    units = ("position",)
    files = ("attention.png", "vocabulary.txt")
    card = ("no attention", "by rule", "BLEU by sacrebleu")
    agreement = dict.fromkeys(recipe.FORMS, 0.9)
    bad_data = (
        ({"images/b.png": b"", "captions.csv": "split,image\n"}, r"captions\.csv"),
        (
            {"images/b.png": b"", "captions.csv": "split,image,caption\ntrain,a.png,A wall.\n"},
            r"captions\.csv:2: expected an image that is in images. Received: 'a.png'",
        ),
    )
    bad_flags = (
        (["--backbone", "MobilNet"], "MobileNet"),
        (["--beams", "0"], "--beams must be at least 1. Received: 0"),
    )
    tfds = ("coco_captions", "coco_caption")
    quick = (
        "--explained 0 --limit 40 --epochs 1 --units 16 --parity-images 2 --no-baselines".split()
    )
    broken = ("saved_model", "metrics.json", "vocabulary.txt")
    toy = {
        "scores": {"BLEU-4": 82.9279, "BLEU-3": 87.4522, "BLEU-2": 91.0691, "BLEU-1": 93.955},
        "baselines": {"caption of the nearest training image": 45.463, "no attention": 40.6436},
        "epochs": 3,
        "parameters": 244890,
    }


def test_scores_are_above_the_baselines(toy_run):
    metrics = json.loads((toy_run / "metrics.json").read_text())
    assert list(metrics["scores"]) == ["BLEU-4", "BLEU-3", "BLEU-2", "BLEU-1"]
    assert metrics["scores"]["BLEU-4"] >= 70
    assert set(metrics["baselines"]) == {"caption of the nearest training image", "no attention"}
    for name, scores in metrics["details"]["baseline_scores"].items():
        assert scores["BLEU-4"] == metrics["baselines"][name]
        for order, score in scores.items():
            assert metrics["scores"][order] > score + 5


def test_largest_weight_falls_on_the_thing_that_a_word_means(toy_run, scenes):
    _, read = recipe.reader(recipe.PredictConfig(folder=toy_run, form="tflite"))
    hits = {"colours": [], "shapes": []}
    for scene in scenes:
        caption, weights = read(scene.image)
        for word, weight in zip(caption.split(), weights, strict=False):
            for name, kind in (("colours", toy_scenes.COLOURS), ("shapes", toy_scenes.SHAPES)):
                if word in kind:
                    place = np.unravel_index(weight.argmax(), weight.shape)
                    hits[name].append(scene.place(word) == place)
    for found in hits.values():
        assert len(found) > 500
        assert np.mean(found) >= 0.9


# -------------------------------------------------------------------------------- the exports


def test_every_form_gives_the_keras_models_captions(toy_run, scenes):
    """Beam search in the SavedModel, greedy search in the TFLite files."""
    import keras_attention as ka

    model = keras.models.load_model(toy_run / "model.keras")
    vocabulary = (toy_run / "vocabulary.txt").read_text().split("\n")[:-1]
    images = np.stack([scene.image for scene in scenes[-50:]])
    grid = model.get_layer("backbone")(images.astype("float32"))
    greedy, _, _ = ka.greedy_search(
        captioner.next_word(model), START, captioner.first_state(model, grid), 21, END
    )
    expected = {
        "saved_model": caption_words.decode(vocabulary, SEARCH(model, grid)),
        "tflite": caption_words.decode(vocabulary, greedy),
    }
    for form in ("saved_model", "tflite", "tflite_float16", "tflite_int8"):
        _, read = recipe.reader(recipe.PredictConfig(folder=toy_run, form=form))
        found = [read(image)[0] for image in images]
        wanted = expected.get(form, expected["tflite"])
        same = np.mean([a == b for a, b in zip(found, wanted, strict=True)])
        assert same >= (0.98 if form in expected else 0.8), form


def test_saved_model_gives_text_and_weights(toy_run, scenes):
    import tensorflow as tf

    function = tf.saved_model.load(str(toy_run / "saved_model")).signatures["caption"]
    images = np.stack([scene.image for scene in scenes[:3]])
    outputs = function(image=tf.constant(images))
    vocabulary = (toy_run / "vocabulary.txt").read_text().split("\n")[:-1]
    texts = [text.decode() for text in outputs["caption"].numpy()]
    assert texts == caption_words.decode(vocabulary, outputs["ids"])
    weights = outputs["weights"].numpy()
    assert weights.shape == (3, 21, 5, 5)
    counted = outputs["ids"].numpy() != PAD
    np.testing.assert_allclose(weights.sum((2, 3)), counted, atol=1e-5)


def test_a_phone_can_write_a_caption_step_by_step(toy_run, scenes):
    """`encode` and `decode_step` give what `greedy` does in one call, with the file's own words."""
    from ai_edge_litert.interpreter import Interpreter

    path = toy_run / "model.tflite"
    with zipfile.ZipFile(path) as archive:
        words = archive.read("vocabulary.txt").decode().split("\n")
    interpreter = Interpreter(model_path=str(path))
    encode, step, greedy = map(
        interpreter.get_signature_runner, ("encode", "decode_step", "greedy")
    )
    image = scenes[0].image[None]
    expected = greedy(image=image)
    state, token, found, weights = encode(image=image), START, [], []
    while token != END:
        outputs = step(token=np.array([token], "int32"), **state)
        token = int(outputs["logits"][0].argmax())
        found.append(token)
        weights.append(outputs["weights"][0])
        state |= {name: outputs[f"next_{name}"] for name in state if f"next_{name}" in outputs}
    assert found == expected["ids"][0, : len(found)].tolist()
    np.testing.assert_allclose(weights, expected["weights"][0, : len(found)], atol=1e-4)
    caption = " ".join(words[token] for token in found[:-1])
    assert caption in scenes[0].captions


def test_attention_maps_reads_the_trained_model(toy_run, scenes):
    import keras_attention as ka

    model = keras.models.load_model(toy_run / "model.keras")
    inputs = {"image": scenes[0].image[None].astype("float32"), "words": np.array([[1, 5, 6, 2]])}
    weights = ka.attention_maps(model, inputs)["decoder"]
    assert weights.shape == (1, 3, 25)


# ------------------------------------------------------------------------------------ predict


@pytest.mark.parametrize("form", recipe.FORMS)
def test_predict(toy_run, scenes, photo, form, tmp_path, capfd):
    png = tmp_path / "look.png"
    assert run("predict", toy_run, photo, "--form", form, "--png", png) == 0
    assert capfd.readouterr().out.strip() in scenes[0].captions
    assert png.read_bytes()[:4] == b"\x89PNG"


def test_predict_squashes_any_image_and_names_several(toy_run, photo, tmp_path, capfd):
    large = tmp_path / "large.jpg"
    Image.open(photo).convert("L").resize((400, 300)).save(large)
    assert run("predict", toy_run, photo, large) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith(f"{photo}: ") and lines[1].startswith(f"{large}: ")


def test_predict_with_wrong_images(toy_run, photo, tmp_path, capfd):
    assert run("predict", toy_run) == 2
    one_line(capfd, "Expected one image file or more")
    assert run("predict", toy_run, tmp_path / "none.png") == 2
    one_line(capfd, "Cannot read .*none.png: No such file")
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo.read_bytes()[:500])
    assert run("predict", toy_run, broken) == 2
    one_line(capfd, "Expected an image in .*broken.png: .*truncated")
    assert run("predict", toy_run, photo, photo, "--png", tmp_path / "look.png") == 2
    one_line(capfd, "Expected a single image with --png. Received: 2")
    assert run("predict", toy_run, photo, "--png", tmp_path / "no" / "look.png") == 2
    one_line(capfd, "Cannot write --png")
    assert run("predict", toy_run, photo, "--png", tmp_path / "look.txt2") == 2
    one_line(capfd, "Cannot write --png")


def test_predict_with_a_wrong_folder(toy_run, photo, tmp_path, capfd):
    assert run("predict", tmp_path / "none", photo) == 2
    one_line(capfd, "Expected the folder of a trained model")
    folder = tmp_path / "run"
    shutil.copytree(toy_run, folder)
    for broken, form in (("model.tflite", "tflite"), ("saved_model/saved_model.pb", "saved_model")):
        (folder / broken).write_bytes(b"not what it was")
        assert run("predict", folder, photo, "--form", form) == 2
        one_line(capfd, "Cannot load")
    (folder / "vocabulary.txt").unlink()
    assert run("predict", folder, photo) == 2
    one_line(capfd, "has no vocabulary.txt")


# ---------------------------------------------------------------------------- kinds of attention


def small_model(attention, **options):
    backbone = backbones.load("small", 36)
    config = recipe.Config(
        **{"units": 16, "embedding_size": 8, "dropout": 0.3, "penalty": 0.1, **options}
    )
    config = flags.settle(config, 10)
    return config, *recipe.build_model(config, backbone, 30, attention)


BATCH = {
    "image": np.random.default_rng(0).integers(0, 255, (4, 36, 36, 3)).astype("uint8"),
    "words": np.array([[1, 7, 8, 9, 2], [1, 9, 2, 0, 0], [1, 5, 6, 2, 0], [0, 0, 0, 0, 0]]),
}


@pytest.mark.parametrize("attention", recipe.ATTENTIONS)
def test_steps_agree_with_the_whole_sequence(attention):
    _, _, model = small_model(attention)
    image = BATCH["image"].astype("float32")
    whole = model({"image": image, "words": BATCH["words"]})
    assert whole["weights"].shape == (4, 4, 3, 3)
    grid = model.get_layer("backbone")(image)
    state, step = captioner.first_state(model, grid), captioner.next_word(model)
    for t in range(2):
        logits, state, weights = step(BATCH["words"][:, t], state)
        np.testing.assert_allclose(logits[:3, 4:], whole["logits"][:3, t, 4:], atol=1e-5)
        expected = np.reshape(whole["weights"], (4, 4, 9))[:3, t]
        np.testing.assert_allclose(weights[:3, :9], expected, atol=1e-5)
        assert np.array(logits)[:, [PAD, START, UNKNOWN]].max() < -1e8
    tokens = SEARCH(model, grid)
    given = np.concatenate([np.ones((4, 1), "int32"), tokens], axis=1)
    again = model({"image": image, "words": given})["weights"]
    np.testing.assert_allclose(captioner.weights_of(model, grid, tokens), again, atol=1e-5)
    sums = np.sum(again, axis=(2, 3))[:, 0]
    assert (sums < 1).all() if attention == "adaptive" else np.allclose(sums, 1)


@pytest.mark.parametrize("attention", recipe.ATTENTIONS)
def test_every_kind_of_attention_learns(attention):
    config, training, _ = small_model(attention, learning_rate=0.02, dropout=0.0, penalty=0.01)
    recipe.compile_model(config, training, 500)
    before = training.get_weights()
    losses = [
        float(training.train_on_batch(BATCH, BATCH["words"][:, 1:], return_dict=True)["loss"])
        for _ in range(30)
    ]
    assert losses[-1] < 0.5 * losses[0]
    names = [weight.path for weight in training.trainable_weights]
    changed = {
        weight.path for weight, old in zip(training.weights, before, strict=True)
        if not np.array_equal(weight, old)
    }  # fmt: skip
    unmoved = [name for name in names if name not in changed]
    assert unmoved == [] or (attention == "none" and all("attention" in n for n in unmoved))


def test_penalty_counts_in_the_loss():
    losses = []
    for penalty in (0.0, 1.0):
        keras.utils.set_random_seed(0)
        config, training, _ = small_model("soft", penalty=penalty, dropout=0.0)
        recipe.compile_model(config, training, 500)
        losses.append(training.test_on_batch(BATCH, BATCH["words"][:, 1:], return_dict=True))
    assert losses[1]["loss"] > losses[0]["loss"] + 1


# ------------------------------------------------------------------------- a backbone of one's own


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of drawn scenes with captions, one of 121 broken, and a backbone for them."""
    folder = tmp_path_factory.mktemp("photos")
    lines = ["split,image,caption"]
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for number, scene in enumerate(toy_scenes.generate(121, seed=5)):
            file = io.BytesIO()
            Image.fromarray(scene.image).save(file, "JPEG")
            content = file.getvalue()
            archive.writestr(f"{number}.jpg", content[:300] if number == 7 else content)
            split = "train" if number < 100 else "dev" if number < 110 else "test"
            lines += [f"{split},{number}.jpg,{text} ." for text in scene.captions]
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    inputs = keras.Input((24, 24, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    x = keras.layers.Conv2D(8, 8, strides=8, activation="relu")(x)
    keras.Model(inputs, x).save(folder / "backbone.keras")
    return folder


def test_features_are_cached_and_a_training_that_was_cut_short_goes_on(
    photos, photo, tmp_path, capfd, monkeypatch
):
    """With adaptive attention in mixed precision."""
    arguments = ["train", "--data", photos, "--backbone", photos / "backbone.keras", "--mirror"]
    arguments += ["--cache", tmp_path / "cache", "--output", tmp_path / "out"]
    arguments += ["--attention", "adaptive", "--mixed-precision", *QUICK]

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(captioner, "describe", interrupt)  # after training
        assert run(*arguments) == 130
    output = capfd.readouterr()
    assert "skipped 1 of 121 images, which cannot be read: 7.jpg (" in output.out
    assert "The same command resumes after epoch 1." in output.err
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 4  # three splits and mirror images

    monkeypatch.setattr(exports, "FORMS", ONE_FORM)
    monkeypatch.setattr(backbones, "_extract", None)  # what is cached is not computed again
    assert run(*arguments) == 0
    assert "Resuming after the end of training" in capfd.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out"]
    assert "skipped 1 of 121 images" in (tmp_path / "out" / "README.md").read_text()
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["baselines"] == {}
    assert metrics["exports"]["model.tflite"]["agreement"] >= 0.98
    assert run("predict", tmp_path / "out", photo, "--form", "tflite") == 0
    model = keras.models.load_model(tmp_path / "out" / "model.keras")
    expected = keras.models.load_model(photos / "backbone.keras").get_weights()
    for weight, other in zip(model.get_layer("backbone").get_weights(), expected, strict=True):
        np.testing.assert_array_equal(weight, other)

    config = recipe.Config(
        data=str(photos), backbone=str(photos / "backbone.keras"), cache=tmp_path / "cache"
    )
    data = flags.call(caption_data.CaptionReader, config).load(config.data)
    seen, data = backbones.look(recipe.load_backbone(config), data, config.cache)
    assert {name: array.shape for name, array in seen.items()} == {
        "train": (99, 3, 3, 8), "validation": (10, 3, 3, 8), "test": (11, 3, 3, 8)
    }  # fmt: skip
    assert len(data.train) == 99


def test_fine_tuning_trains_the_backbone(photos):
    config = recipe.Config(
        data=str(photos), backbone=str(photos / "backbone.keras"), fine_tune=True, mirror=True
    )
    data = flags.call(caption_data.CaptionReader, config).load(config.data)
    config = flags.settle(config, 10)
    backbone = recipe.load_backbone(config)
    seen, whole = backbones.look(backbone, data, config.cache, mirror=True)
    assert {name: array.shape for name, array in seen.items()} == {
        "train": (99, 24, 24, 3), "mirrored": (99, 24, 24, 3),
        "validation": (10, 24, 24, 3), "test": (11, 24, 24, 3),
    }  # fmt: skip
    assert len(whole.train) == 99 and "7.jpg" not in whole.train.names
    before = backbone.get_weights()
    training, _ = recipe.build_model(config, backbone, 30, "soft")
    recipe.compile_model(config, training, 500)
    words = BATCH["words"]
    training.train_on_batch({"image": seen["train"][:4], "words": words}, words[:, 1:])
    assert not np.allclose(before[0], backbone.get_weights()[0])


# ------------------------------------------------------------------------------------- errors


def test_too_many_broken_images(photos, tmp_path, capfd):
    flags = ["--limit", 100, "--seed", 1, "--output", tmp_path / "out"]
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    with zipfile.ZipFile(data / "images.zip", "a") as archive, pytest.warns(UserWarning):
        archive.writestr("8.jpg", b"")
        archive.writestr("9.jpg", b"")
    assert run("train", "--data", data, "--backbone", "small", *flags) == 2
    one_line(capfd, r"\d of 121 images cannot be read, more than one in a hundred: .*\.jpg \(")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_backbone_of_the_wrong_output_rank(tmp_path, capfd):
    inputs = keras.Input((24, 24, 3))
    keras.Model(inputs, keras.layers.Flatten()(inputs)).save(tmp_path / "flat.keras")
    flags = ["--backbone", tmp_path / "flat.keras", "--output", tmp_path / "out"]
    assert run("train", *flags) == 2
    one_line(capfd, r"grid of features \(B, rows, columns, features\).*gives \(None, 1728\)")
    assert [path.name for path in tmp_path.iterdir()] == ["flat.keras"]


@pytest.mark.slow
def test_the_page_says_in_a_browser_what_predict_says(toy_run, scenes, photo, tmp_path):
    runtime, _ = browser.needed()
    command = ["web", toy_run, photo, "--output", tmp_path / "page", "--runtime", runtime]
    assert run(*command, web=(recipe.WebConfig, recipe.web)) == 0
    _, read = recipe.reader(recipe.PredictConfig(toy_run, form="tflite"))
    other = tmp_path / "other.png"
    Image.fromarray(scenes[1].image).save(other)
    with browser.open_page(tmp_path / "page") as page:
        page.click("#examples button")
        for path in (photo, other):
            caption, weights = read(decode(path.read_bytes(), 60))
            page.wait_for_function(
                "caption => document.getElementById('caption').textContent === caption", arg=caption
            )
            figures = page.locator("#panels figure").all()
            assert [figure.inner_text() for figure in figures] == ["the picture", *caption.split()]
            for figure, grid in zip(figures[1:], weights, strict=False):
                row, column = np.unravel_index(grid.argmax(), grid.shape)
                most = f"most at row {row + 1}, column {column + 1}: {grid.max():.3f}"
                assert figure.get_attribute("title") == most
            page.set_input_files("#image", other)
        (tmp_path / "no.png").write_text("no picture")
        page.set_input_files("#image", tmp_path / "no.png")
        page.wait_for_selector("#status.error")
        assert "no.png is no picture that this browser can read" in page.inner_text("#status")
        assert page.locator("#answer").is_hidden()
        page.click("#examples button")
        page.wait_for_selector("#status:not(.error)")
