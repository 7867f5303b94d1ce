"""Attention maps of a captioner, to be tested; see `kit.explaining`.

The decision is the next word after those of a reference caption, at a step drawn for each image.
What is removed are positions of the image: they get its mean colour.
"""

import numpy as np

from recipes.data import captions as caption_data
from recipes.kit import explaining, flags, run_folder
from recipes.maps.arrays import softmax
from recipes.text import words as caption_words
from recipes.text.words import END, PAD

_BATCH = 16


def write(config, recipe, config_class):
    """Tests the maps of a trained captioner, writes a page; arguments as in `explaining.write`."""

    def of_folder(folder, settings):
        data = flags.call(caption_data.CaptionReader, settings).load(settings.data)
        from recipes.parts import backbones, captioner  # noqa: F401  (the layers of the model)

        vocabulary = run_folder.read_lines(folder / "vocabulary.txt")
        return maps_of(settings, run_folder.load_model(folder), data.test, vocabulary)

    explaining.write(config, recipe, config_class, of_folder, ["vocabulary.txt"])


def maps_of(config, model, split, vocabulary):
    """The maps of `config.explained` test images: of the positions of the grid.

    Args:
        config: A `recipes.image_captioning.Config`.
        model: Keras model of `image` `(B, size, size, 3)` and `words` `(B, 1 + T)` to a dict of
            `logits` `(B, T, V)` and `weights` `(B, T, H, W)`.
        split: `recipes.data.captions.Split`.
        vocabulary: List of words.

    Returns:
        List of `explaining.Maps`.
    """
    from keras_attention.explain.removal import Cells

    split = split.take(explaining.chosen(config.explained, len(split)))
    images = list(split.images(model.get_layer("backbone").input_shape[1]))
    whole = [row for row, image in enumerate(images) if isinstance(image, np.ndarray)]
    if not whole:
        return []
    split, images = split.take(whole), np.stack([images[row] for row in whole])
    rng = np.random.default_rng(explaining.SEED)
    captions = [
        of_image[0]
        for of_image in caption_words.encode(vocabulary, split.captions, config.max_words)
    ]
    # Up to the step, and there any word but padding, which is not read.
    captions = [row[: rng.integers(1, max(2, len(row)))] for row in captions]
    words = np.full((len(captions), 1 + max(map(len, captions))), PAD, "int32")
    for row, caption in zip(words, captions, strict=True):
        row[: len(caption)] = caption
        row[len(caption)] = END

    def read(inputs):
        outputs = model.predict_on_batch(
            {"image": inputs["image"].astype("float32"), "words": inputs["words"]}
        )
        rows = np.arange(len(inputs["words"]))
        last = (inputs["words"] != PAD).sum(axis=1) - 2
        return softmax(outputs["logits"][rows, last]), outputs["weights"][rows, last]

    def remove(inputs, keep):
        cells = Cells(inputs["image"], keep.shape[1:])
        return {**inputs, "image": cells.keep(slice(None), keep)}

    inputs = {"image": images, "words": words}
    found = [
        read({name: x[start : start + _BATCH] for name, x in inputs.items()})
        for start in range(0, len(images), _BATCH)
    ]  # fmt: skip
    probabilities, weights = (np.concatenate(part) for part in zip(*found, strict=True))
    headings = [
        f"{' '.join(vocabulary[number] for number in caption[1:])} [{vocabulary[best]}]"
        for caption, best in zip(captions, probabilities.argmax(axis=1), strict=True)
    ]
    return [
        explaining.Maps(
            lambda inputs: read(inputs)[0],
            inputs,
            weights,
            "position",
            list(images),
            headings,
            {"remove": remove, "batch_size": _BATCH},
            ", the next word of a reference caption at a step drawn for each",
        )
    ]
