"""The page of a captioner, which shows for each word where in the picture it was seen."""

import numpy as np

from recipes.data.images import decode
from recipes.kit import run_folder, web
from recipes.kit.errors import UserError
from recipes.text.words import END, PAD

_SAMPLES = 8  # images made by chance, on which the file is compared with the model


def write(config, recipe):
    """Writes the page.

    Args:
        config: A `web.WebConfig` with `images` and `max_words`.
        recipe: String, the recipe's name.
    """
    contents = [_read(path) for path in config.images]
    with web.new_page(config, recipe, ["vocabulary.txt"]) as page:
        vocabulary = run_folder.read_lines(config.folder / "vocabulary.txt")
        # Here, as it takes seconds, and what is wrong with the folders shows before them.
        from recipes.parts import caption_layers, captioner  # noqa: F401

        model = page.load_model()
        size = model.get_layer("backbone").input_shape[1]
        images = [_decoded(*pair, size) for pair in zip(config.images, contents, strict=True)]
        signature = captioner.greedy_signature(
            np.stack([*images, *_random_images(size)]), config.max_words, batch=1
        )
        page.export(model, [signature], bounds=captioner.BOUNDS)
        _, rows, columns, _ = model.get_layer("backbone").output_shape
        examples = {
            f"example_{number}{path.suffix}": content
            for number, (path, content) in enumerate(
                zip(config.images, contents, strict=True), start=1
            )
        }
        page.write(
            "captions",
            scripts=["images.js"],
            files={"vocabulary.txt": vocabulary, **examples},
            settings={
                "size": size, "rows": rows, "columns": columns, "ends": [PAD, END],
                "examples": list(examples),
            },
        )  # fmt: skip


def _read(path):
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}") from error


def _decoded(path, content, size):
    try:
        return decode(content, size)
    except ValueError as error:
        raise UserError(f"Expected an image in {path}: {error}") from error


def _random_images(size):
    """Patches of colour that run into each other."""
    coarse = np.random.default_rng(0).integers(0, 256, (_SAMPLES, 5, 5, 3), dtype="uint8")
    return [decode(image, size) for image in coarse]
