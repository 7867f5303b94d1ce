"""Networks from an image to a grid of features, and those features kept on disk.

backbone = load("MobileNet", 160)              # of keras.applications, with its ImageNet weights
backbone = load("my_backbone.keras", None)
grids, broken = cached_features(backbone, data.train, folder, key)
"""

import contextlib
import difflib
import hashlib
import inspect
import json
import socket
from pathlib import Path

import numpy as np

from recipes.data.images import BrokenImage, prepared
from recipes.kit.errors import UserError

SMALL = "small"
_BATCH = 64


def load(name, image_size=None, *, trainable=False):
    """Returns a model `"backbone"` from images `(B, size, size, 3)`, 0 to 255, to `(B, H, W, C)`.

    Args:
        name: `"small"`, convolutions to be trained; the name of a model of `keras.applications`,
            whose ImageNet weights are downloaded once; or the path of a `.keras` file that takes
            such images (any scaling is in it) and gives such a grid.
        image_size: Integer; by default the model's own, else 60 for `"small"` and 160. Larger
            images than a model was made for give a finer grid.
        trainable: Boolean, whether to train it; `"small"` always is.

    Raises:
        UserError: For a model that cannot be loaded or gives something else.
    """
    if name == SMALL:
        return _small(image_size or 60)
    if name.endswith(".keras"):
        model = _from_file(Path(name).expanduser())
        own = _own_size(model, name)
        if own and image_size and own != image_size:
            model = _of_any_size(model, name, image_size)
        return _as_backbone(model, name, image_size or own or 160, trainable)
    size = image_size or 160
    preprocess, model = _from_applications(name, size)
    return _as_backbone(model, name, size, trainable, preprocess)


def _small(size):
    """Convolutions without overlap: each place of the grid sees its own part of the image."""
    import keras
    from keras import layers

    image = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(image)
    for filters, kernel in ((128, 12), (64, 1)):
        x = layers.Conv2D(filters, kernel, strides=kernel, activation="relu")(x)
    return keras.Model(image, x, name="backbone")


def _from_file(path):
    import keras

    if not path.is_file():
        raise UserError(f"Expected a file as --backbone. There is no {path}")
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"Cannot load --backbone {path}: {reason}") from error


def _own_size(model, name):
    """The side of the images that a model was made for; `None` if it takes any."""
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] != 3:
        raise UserError(
            f"Expected a --backbone of images (B, height, width, 3). {name} takes {shape}"
        )
    if shape[1] != shape[2]:
        raise UserError(f"Expected a --backbone of square images. {name} takes {shape}")
    return shape[1]


def _of_any_size(model, name, size):
    """The model with its weights behind inputs whose height and width are open, tried at a size."""

    def opened(config):
        if isinstance(config, list | tuple):
            return type(config)(opened(part) for part in config)
        if not isinstance(config, dict):
            return config
        return {
            key: [value[0], None, None, value[3]]
            if key == "batch_shape" and len(value) == 4
            else opened(value)
            for key, value in config.items()
        }

    try:
        copy = type(model).from_config(opened(model.get_config()))
        copy.set_weights(model.get_weights())
        copy(np.zeros((1, size, size, 3), "float32"))
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"--backbone {name} takes images of its own size alone, {model.input_shape}: {reason}"
        ) from error
    return copy


def _applications():
    """Dict from the name of each model in `keras.applications` to where it is: its module."""
    import keras

    places = [module for module in vars(keras.applications).values() if inspect.ismodule(module)]
    return {
        name: place
        for place in (keras.applications, *places)
        for name, value in vars(place).items()
        if inspect.isfunction(value) and name[0].isupper()
    }


def _from_applications(name, size):
    """The preprocessing and the model of a name in `keras.applications`."""
    known = _applications()
    if name not in known:
        close = difflib.get_close_matches(name, known) or sorted(known)[:5]
        raise UserError(
            "Expected as --backbone a file that ends with .keras, or a model of "
            f"keras.applications, such as {' or '.join(close)}. Received: {name}"
        )
    module = known[name]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # where no network answers, say so soon
    try:
        model = getattr(module, name)(
            include_top=False, weights="imagenet", input_shape=(size, size, 3)
        )
    # `get_file` raises a bare Exception for a download that fails.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"Cannot load --backbone {name} with ImageNet weights: {reason}") from error
    finally:
        socket.setdefaulttimeout(before)
    # Without one the scaling is part of the model.
    return getattr(module, "preprocess_input", None), model


def _as_backbone(model, name, size, trainable, preprocess=None):
    """The model behind an input of one size, checked."""
    import keras

    image = keras.Input((size, size, 3), name="image")
    model.trainable = trainable
    try:
        grid = model(preprocess(image) if preprocess else image)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"--backbone {name} takes no images ({size}, {size}, 3): {reason}"
        ) from error
    shape = getattr(grid, "shape", None)
    if shape is None or len(shape) != 4 or None in shape[1:]:
        output = shape if shape is not None else type(grid).__name__
        raise UserError(
            "Expected a --backbone whose output is a grid of features (B, rows, columns, "
            f"features). {name} gives {output}"
        )
    backbone = keras.Model(image, grid, name="backbone")
    backbone.trainable = trainable
    for layer in _all_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # it keeps the statistics that it has learned
    return backbone


def _all_layers(layer):
    yield layer
    for inner in getattr(layer, "layers", ()):
        yield from _all_layers(inner)


def fingerprint(backbone):
    """String that changes with any weight or shape of a backbone."""
    digest = hashlib.sha256(repr((backbone.input_shape, backbone.output_shape)).encode())
    for weight in backbone.weights:
        digest.update(np.asarray(weight).tobytes())
    return digest.hexdigest()


def cached_features(backbone, split, folder, key, *, mirrored=False):
    """The grids of a split's images, from the cache or computed and put there.

    Args:
        backbone: As `load` returns it.
        split: A `recipes.data.captions.Split`.
        folder: Path of the cache. May be deleted at any time.
        key: String that names backbone, images and split.
        mirrored: Boolean, whether left and right are swapped in the images.

    Returns:
        float16 `(N, H, W, C)`, mapped into memory, with zeros for an image that cannot be read,
        and a list of those.
    """
    digest = hashlib.sha256(f"{key} {mirrored}".encode()).hexdigest()[:24]
    path, record = folder / f"{digest}.npy", folder / f"{digest}.json"
    try:
        broken = [BrokenImage(**image) for image in json.loads(record.read_text())]
        features = np.load(path, mmap_mode="r")
        if features.shape == (len(split), *backbone.output_shape[1:]):
            return features, broken
    except (OSError, ValueError, TypeError):
        pass  # not there, or not whole
    try:
        folder.mkdir(parents=True, exist_ok=True)
        broken = _extract(backbone, split, path, mirrored)
        record.write_text(json.dumps([vars(image) for image in broken]))
    except OSError as error:
        raise UserError(f"Cannot write the features to --cache {folder}: {error}") from error
    return np.load(path, mmap_mode="r"), broken


def _extract(backbone, split, path, mirrored):
    """Writes the grids of a split's images to a file, whole or not at all."""
    import keras

    size = backbone.input_shape[1]
    new = path.with_suffix(f".{np.random.default_rng().integers(2**31)}.new")
    shape = (len(split), *backbone.output_shape[1:])
    broken, images, rows = [], np.zeros((_BATCH, size, size, 3), "float32"), []
    progress = keras.utils.Progbar(len(split), verbose=2)
    with contextlib.ExitStack() as on_error:
        on_error.callback(new.unlink, missing_ok=True)
        features = np.lib.format.open_memmap(new, "w+", "float16", shape)

        def flush():
            # Always whole batches: another size would be compiled anew.
            grids = backbone.predict_on_batch(images[:, :, ::-1] if mirrored else images)
            features[rows] = np.clip(grids[: len(rows)], -6e4, 6e4)  # what float16 can hold
            rows.clear()

        for row, image in enumerate(split.images(size)):
            if isinstance(image, BrokenImage):
                broken.append(image)
                continue
            images[len(rows)] = image
            rows.append(row)
            if len(rows) == _BATCH:
                flush()
                progress.update(row + 1)
        if rows:
            flush()
        progress.update(len(split), finalize=True)
        features.flush()
        new.replace(path)
        on_error.pop_all()
    return broken


def look(backbone, data, folder, *, mirror=False):
    """What the model is given of all images, and the data without those that cannot be read.

    Args:
        backbone: What `load` returned.
        data: `recipes.data.captions.CaptionedImages`.
        folder: Path, where features are kept.
        mirror: Whether the training images are also seen in a mirror.

    Returns:
        Dict from the name of a split, and `"mirrored"` for the training images seen in a mirror,
        to an array with a row for each image: grids, or images where the backbone is trained. The
        data without the broken images.
    """
    seen, broken = {}, []
    key = None if backbone.trainable else fingerprint(backbone) + data.fingerprint
    for part, split in data.splits.items():
        if backbone.trainable:
            seen[part], some = prepared(split, backbone.input_shape[1])
        else:
            seen[part], some = cached_features(backbone, split, folder, f"{key} {part}")
        broken += some
    if mirror and backbone.trainable:
        seen["mirrored"] = seen["train"][:, :, ::-1]
    elif mirror:
        seen["mirrored"], _ = cached_features(
            backbone, data.train, folder, f"{key} train", mirrored=True
        )
    whole = data.without(broken)
    if broken:
        for name in seen:
            before, after = (
                d.splits["train" if name == "mirrored" else name] for d in (data, whole)
            )
            kept = set(after.names)
            seen[name] = seen[name][[row for row, n in enumerate(before.names) if n in kept]]
    return seen, whole
