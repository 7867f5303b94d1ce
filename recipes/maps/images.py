"""Attention maps of a classifier of images, to be tested; see `kit.explaining`.

What is removed are cells of the grid: they get the image's mean colour.
"""

from recipes.data import labelled_images
from recipes.kit import explaining, flags, run_folder

_BATCH = 64


def write(config, recipe, config_class):
    """Tests the maps of a trained model, writes a page; arguments as in `explaining.write`."""

    def of_folder(folder, settings):
        data = flags.call(labelled_images.ImageReader, settings).load(settings.data)
        model = run_folder.load_model(folder)
        images, data = labelled_images.in_memory(data, model.input_shape[1])
        return maps_of(settings, model, images["test"], data)

    explaining.write(config, recipe, config_class, of_folder)


def maps_of(config, model, images, data):
    """The maps of `config.explained` test images: of the cells of the grid.

    Args:
        config: A `recipes.image_classification.Config`.
        model: Keras model of `image` to a dict of `probability` `(B, C)` and `weights` `(B, H, W)`.
        images: uint8 `(N, size, size, 3)`, the test images.
        data: `recipes.data.labelled_images.LabelledImages`.

    Returns:
        List of `explaining.Maps`; without attention an empty one.
    """
    if config.attention == "none" or not config.explained:
        return []
    rows = explaining.chosen(config.explained, len(images))
    images = images[rows]
    found = model.predict(images, batch_size=_BATCH, verbose=0)
    headings = [
        f"{data.labels[probability.argmax()]} {probability.max():.3f} (true: {data.labels[label]})"
        for probability, label in zip(found["probability"], data.test.labels[rows], strict=True)
    ]
    return [
        explaining.Maps(
            lambda some: model.predict_on_batch(some)["probability"],
            images,
            found["weights"],
            "cell",
            list(images),
            headings,
            {"batch_size": _BATCH},
        )
    ]
