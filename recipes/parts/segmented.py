"""A segmentation network in use: masks in files, and pictures of its gates.

read = Reading.load(folder / "model.tflite")
found = read(image)                                # `Found`: probability, gates
answer(config, NAME, FORMS)                        # of a `PredictConfig` of the recipe
"""

import dataclasses
from pathlib import Path

import numpy as np

from recipes.data import images, masks
from recipes.kit import exports, run_folder
from recipes.kit.errors import UserError, writing
from recipes.kit.flags import argument, option

TILE = "tile"  # the signature of a part of an image
THRESHOLD = 0.5
_LARGEST = 1024  # pixels along a side that a SavedModel is given at once
_MARGIN = 32  # pixels of a tile that only its neighbour decides: they lack surroundings


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What `predict` can be told."""

    folder: Path = argument("folder that train wrote")
    images: tuple[Path, ...] = argument("image files to segment", nargs="*")
    masks: Path | None = option(
        None, "folder for the masks: NAME.mask.png of each image, 255 for foreground"
    )
    png: Path | None = option(
        None, "also draw the outline and the weights of each gate, for a single image"
    )


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found in an image.

    Attributes:
        probability: Float array `(H, W)`, that a pixel is foreground.
        gates: Dict from the name of a gate to its weights, `(h, w)`, finest first.
    """

    probability: np.ndarray
    gates: dict

    @property
    def mask(self):
        """Boolean `(H, W)`."""
        return self.probability > THRESHOLD


@dataclasses.dataclass(frozen=True)
class Reading:
    """A network that marks images of any size, the large ones tile by tile.

    Attributes:
        run: Function of `image` `(1, H, W, 3)`, `mean` `(1,)` and `deviation` `(1,)` to a dict of
            arrays.
        side: Integer, pixels along each side of the only size that it takes; `None` for any.
    """

    run: object
    side: int | None

    @classmethod
    def load(cls, path):
        """Loads a form of a run folder."""
        run = exports.runner(path, TILE)
        side = run.shapes["image"][1]
        return cls(run, None if side is None else int(side))

    def __call__(self, image):
        """`Found` of a uint8 image `(H, W, 3)`."""
        rows, columns = image.shape[:2]
        side = self.side or _LARGEST
        mean, deviation = (np.array([value]) for value in images.statistics(image))
        if self.side is None and max(rows, columns) <= side:
            outputs = self.run(image=image[None], mean=mean, deviation=deviation)
            return found_of({name: x[0] for name, x in outputs.items()}, rows, columns)
        heights, widths = spans(rows, side), spans(columns, side)
        # Its edge goes on to the end of the last tile.
        missing = [
            (0, parts[-1][0] + side - n)
            for parts, n in zip((heights, widths), (rows, columns), strict=True)
        ]
        padded = np.pad(image, [*missing, (0, 0)], "edge")
        whole = {}
        for top, *vertical in heights:
            for left, *horizontal in widths:
                tile = padded[None, top : top + side, left : left + side]
                outputs = self.run(image=tile, mean=mean, deviation=deviation)
                for name, (part,) in outputs.items():
                    scale = side // len(part)
                    if name not in whole:
                        whole[name] = np.zeros([n // scale for n in padded.shape[:2]], "float32")
                    first, last = (n // scale for n in vertical)
                    start, end = (n // scale for n in horizontal)
                    whole[name][first:last, start:end] = part[
                        first - top // scale : last - top // scale,
                        start - left // scale : end - left // scale,
                    ]
        return found_of(whole, rows, columns)


def spans(length, side):
    """Where tiles begin along a side, and from where to where each decides.

    >>> spans(300, 128)
    [(0, 0, 96), (64, 96, 160), (128, 160, 224), (192, 224, 320)]
    >>> spans(100, 128)
    [(0, 0, 128)]
    """
    margin = min(_MARGIN, side // 4)
    step = side - 2 * margin
    starts = range(0, max(1, -(-max(0, length - side) // step) * step + 1), step)
    ends = [start + side - margin for start in starts][:-1]
    return [
        (start, first, last)
        for start, first, last in zip(starts, [0, *ends], [*ends, starts[-1] + side], strict=True)
    ]


def found_of(outputs, rows, columns):
    """`Found` of a dict of arrays of an image, perhaps with more behind its edge."""
    outputs = dict(outputs)
    probability = outputs.pop("probability")[:rows, :columns]
    gates = {}
    for name, weights in sorted(outputs.items()):
        level = int(name.rpartition("_")[2]) - 1
        gates[name] = weights[: -(-rows >> level), : -(-columns >> level)]
    return Found(probability, gates)


def at_scale(read, image, longest_side):
    """`Found` of an image that is shrunk as those to train with were; its mask has its own size.

    Args:
        read: A `Reading`.
        image: uint8 `(H, W, 3)`.
        longest_side: Integer, or `None` where none was shrunk.
    """
    rows, columns = image.shape[:2]
    if longest_side is None or max(rows, columns) <= longest_side:
        return read(image)
    from PIL import Image

    small, _ = masks.shrink(image, np.zeros((rows, columns), bool), longest_side)
    found = read(small)
    large = Image.fromarray(found.probability.astype("float32"))
    large = large.resize((columns, rows), Image.Resampling.BILINEAR)
    return dataclasses.replace(found, probability=np.asarray(large))


def answer(config, recipe, forms):
    """Prints which share of each image is foreground; writes masks and a picture if asked."""
    metrics = run_folder.find_run(config.folder, recipe=recipe, files=[forms[config.form]])
    if not config.images:
        raise UserError("Expected one image file or more. Received none")
    if config.png and len(config.images) > 1:
        raise UserError(f"Expected a single image with --png. Received: {len(config.images)}")
    stems = [path.stem for path in config.images]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if config.masks and twice:
        raise UserError(f"Expected images of different names with --masks. Received: {twice} twice")
    read = Reading.load(config.folder / forms[config.form])
    for path in config.images:
        image = images.read_file(path)
        found = at_scale(read, image, metrics.get("settings", {}).get("longest_side"))
        print(f"{path}: {found.mask.mean():.1%} foreground", flush=True)
        if config.masks:
            write_mask(config.masks / f"{path.stem}.mask.png", found.mask)
        if config.png:
            with writing("--png", config.png):
                draw(image, found, config.png)


def write_mask(path, mask):
    """Writes a mask as a PNG of 0 and 255."""
    from PIL import Image

    with writing("--masks", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask.astype("uint8") * np.uint8(255)).save(path)


def draw(image, found, path):
    """Draws an image with the outline of what was found, and its gates from the finest on."""
    from matplotlib.figure import Figure

    from recipes.parts.mask_scores import boundary

    outlined = image.copy()
    outlined[boundary(found.mask)] = (255, 220, 0)
    figure = Figure(figsize=(3.2 * (1 + len(found.gates)), 3.4), layout="constrained")
    first, *others = figure.subplots(1, 1 + len(found.gates), squeeze=False)[0]
    first.imshow(outlined, interpolation="nearest")
    first.set_title(f"outline: {found.mask.mean():.1%} foreground")
    for axes, (name, weights) in zip(others, found.gates.items(), strict=True):
        drawn = axes.imshow(weights, cmap="magma", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(name.replace("_", " "))
    if others:
        figure.colorbar(drawn, ax=others, label="weight")
    for axes in (first, *others):
        axes.axis("off")
    figure.savefig(path, dpi=120)


def card(config):
    """The words of the model card, for the recipe's `Config`."""
    gates = (
        "An attention gate weighs each position of a skip connection, from 0 (closed) to 1 (open), "
        "by the coarser features below it; `gate_1` is the finest.\n\n"
        if config.attention == "gates"
        else "It has no attention gates.\n\n"
    )
    return {
        "What it does": (
            "Returns, for each pixel of an image of any size, the probability that it is "
            f"foreground. Above {THRESHOLD} it belongs to the mask. {gates}"
            "![Outlines in a test image, and the gates](gates.png)"
        ),
        "How it was measured": (
            "`dice` and `iou` are computed for each test image, and averaged. So is `boundary_f1`, "
            "the F1 of boundary pixels, which count as correct within two pixels of the other "
            "boundary (Csurka et al., 2013). Otsu's threshold divides the grey values of each "
            "image into two groups; the smaller group is the foreground. `no attention` is the "
            "same network without gates, trained in the same way."
        ),
        "Limits": (
            "It was trained on images of one kind, scale and colour, and is less accurate on "
            "others. It neither separates objects that touch nor counts them. It does not show "
            "where it is wrong. It is not a medical device: do not diagnose anybody by its masks."
        ),
        "How to use": (
            "    python -m recipes.image_segmentation predict FOLDER a.png --masks OUT\n\n"
            "`segment` of the SavedModel takes `image`, uint8 `(B, H, W, 3)` of any size, and "
            "gives `probability` `(B, H, W)` and the gates. The TFLite files have the signature "
            f"`tile`: `image`, uint8 `(1, {config.tile}, {config.tile}, 3)`, and `mean` and "
            "`deviation`, float32 `(1,)`, of all values of the whole image, the deviation at "
            "least 1. Larger images are cut into overlapping tiles, whose outer "
            f"{min(_MARGIN, config.tile // 4)} pixels are dropped where another tile covers them: "
            "see `recipes/parts/segmented.py`."
        ),
    }
