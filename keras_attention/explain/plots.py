"""Plots of attention weights. They need matplotlib: `pip install "keras-attention-layers[plot]"`.

Each function returns a new `matplotlib.figure.Figure`: save it with `figure.savefig("name.png")`,
or let a notebook show it.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = "Blues"
_TEXT = "#222222"
_GRID = "#ffffff"
_COLUMNS = 4  # panels side by side


def plot_attention(
    weights: npt.ArrayLike, words: Sequence[str], title: str | None = None
) -> "Figure":
    """Bar chart of the weights of the words of one text.

    Args:
        weights: Array `(S,)`, such as one row of the weights of `AttentionPooling`.
        words: List of S strings; empty strings are padding and not drawn.
        title: String or `None`.

    Returns:
        A figure, the words from top to bottom.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If the shapes do not fit.

    Example:
        >>> figure = ka.plot_attention([0.1, 0.7, 0.2], ["not", "bad", "."])
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['not', 'bad', '.']
    """
    weights, words = _checked(weights, 1, words)
    kept = [i for i, word in enumerate(words) if word]
    weights, words = weights[kept], [words[i] for i in kept]
    figure = _figure(6.4, 0.8 + 0.28 * len(words))
    axes = figure.subplots()
    largest = max(float(weights.max(initial=0.0)), 1e-9)
    colours = _colour_map(_COLOURS)(0.25 + 0.6 * np.clip(weights / largest, 0, 1))
    bars = axes.barh(range(len(words)), weights, color=colours, height=0.78)
    axes.bar_label(bars, fmt="%.2f", padding=4, color=_TEXT, fontsize=9)
    axes.set_yticks(range(len(words)), words)
    axes.set_ylim(max(len(words), 1) - 0.5, -0.5)  # reads from the top
    axes.set_xlim(0, 1.12 * largest)  # room for the numbers
    axes.set_xlabel("weight")
    axes.xaxis.set_major_locator(_few_ticks())
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if title:
        axes.set_title(title, loc="left")
    return figure


def plot_alignment(
    weights: npt.ArrayLike, queries: Sequence[str], values: Sequence[str], title: str | None = None
) -> "Figure":
    """Heat map of the weights of each query step over the value steps.

    Args:
        weights: Array `(T, S)`, or `(H, T, S)` for one panel per head.
        queries: List of T strings, down the side.
        values: List of S strings, along the top.
        title: String or `None`.

    Returns:
        A figure, darker for larger weights; all panels share one colour scale.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If the shapes do not fit.

    Example:
        >>> figure = ka.plot_alignment([[0.9, 0.1]], ["oui"], ["yes", "no"])
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
        ['yes', 'no']
    """
    weights = np.asarray(weights, "float64")
    panels = weights[None] if weights.ndim == 2 else weights
    panels, values = _checked(panels, 3, values)
    if len(queries) != panels.shape[1]:
        raise ValueError(_mismatch(panels, 1, queries))
    if not panels.size:
        raise ValueError(
            "`weights` must have at least one query and one value step. Received: "
            f"weights.shape={weights.shape}"
        )
    heads, rows, columns = panels.shape
    across = min(heads, _COLUMNS)
    down = math.ceil(heads / across)
    side, above = (0.08 * max(map(len, [*words, ""])) for words in (queries, values))  # in inches
    cell = 0.34 if heads == 1 else 0.26
    figure = _figure(
        side + across * (cell * columns + 0.2) + 0.8,
        down * (above + max(cell * rows, 0.8) + 0.3) + (0.35 if title else 0.0),
    )
    grid = figure.subplots(down, across, squeeze=False)
    top = max(float(panels.max()), 1e-9)
    for head, axes in enumerate(grid.flat):
        if head >= heads:
            axes.set_axis_off()
            continue
        image = axes.imshow(panels[head], cmap=_COLOURS, vmin=0, vmax=top, aspect="equal")
        axes.set_xticks(range(columns), values, rotation=90)
        axes.set_yticks(range(rows), queries if head % across == 0 else [""] * rows)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        # White lines between the cells.
        axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
        axes.grid(which="minor", color=_GRID, linewidth=1.5)
        axes.tick_params(which="minor", length=0)
        axes.spines[:].set_visible(False)
        if heads > 1:
            axes.set_xlabel(f"head {head + 1}")
    bar = figure.colorbar(image, ax=grid, shrink=0.9, aspect=25, pad=0.02)
    bar.set_label("weight")
    bar.outline.set_visible(False)
    bar.locator = _few_ticks()
    bar.update_ticks()
    if title:
        figure.suptitle(title)
    return figure


def plot_image_attention(
    image: npt.ArrayLike,
    weights: npt.ArrayLike,
    captions: Sequence[str] | None = None,
    title: str | None = None,
) -> "Figure":
    """Overlays of attention weights on an image.

    The image is unchanged where the weights are large, and grey and dark where they are small, in
    proportion to the largest weight of the panel.

    Args:
        image: Array `(height, width)` or `(height, width, 1 or 3)`, numbers from 0 to 1, or
            integers from 0 to 255.
        weights: Array `(H, W)` of one grid, or `(N, H, W)` for N panels, such as one per word of a
            caption; resized smoothly to the image.
        captions: List of N strings, or `None`.
        title: String or `None`.

    Returns:
        A figure, the image itself first.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If the shapes do not fit or are empty, or the image has other numbers.

    Example:
        >>> import numpy as np
        >>> image, weights = np.zeros((32, 32, 3)), np.ones((2, 4, 4))
        >>> figure = ka.plot_image_attention(image, weights, ["a", "cat"])
        >>> [axes.get_title() for axes in figure.axes]
        ['', 'a', 'cat']
    """
    image = _rgb(image)
    weights = np.asarray(weights, "float64")
    panels = weights[None] if weights.ndim == 2 else weights
    if captions is None:
        captions = [""] * (len(panels) if panels.ndim else 0)
    if panels.ndim != 3 or len(captions) != len(panels):
        raise ValueError(
            "`weights` must have the shape (H, W) or (panels, H, W), with one caption per panel. "
            f"Received: weights.shape={weights.shape}, captions={captions!r}"
        )
    if not panels.shape[1] * panels.shape[2]:
        raise ValueError(
            "`weights` must have at least one row and one column. Received: "
            f"weights.shape={weights.shape}"
        )
    height, width = image.shape[:2]
    across = min(len(panels) + 1, _COLUMNS)
    down = math.ceil((len(panels) + 1) / across)
    side, caption_height = 2.2, 0.35 if any(captions) else 0.08  # inches
    figure = _figure(
        across * side,
        down * (side * height / width + caption_height) + (0.4 if title else 0),
    )
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    grid.flat[0].imshow(image)
    for axes, panel, caption in zip(grid.flat[1:], panels, captions, strict=False):
        axes.imshow(_overlay(image, panel))
        axes.set_title(caption)
    if title:
        figure.suptitle(title)
    return figure


def plot_removal_curves(
    fractions: npt.ArrayLike, curves: Mapping[str, Mapping[str, npt.ArrayLike]], unit: str = "step"
) -> "Figure":
    """Curves of the probability while parts of the inputs are removed, and put back.

    Args:
        fractions: Array `(F,)`, the fractions of parts.
        curves: Dict from the name of a method to a dict of `"deletion"` and `"insertion"`, arrays
            `(F,)`, such as the `curves` of an `ExplanationReport`.
        unit: What a part is called, in the singular.

    Returns:
        A figure of two panels. The better a method, the sooner its curve falls in the first and
        rises in the second.

    Raises:
        ImportError: If matplotlib is missing.
    """
    fractions = 100 * np.asarray(fractions, "float64")
    figure = _figure(9.0, 3.6)
    panels = figure.subplots(1, 2, sharey=True)
    titles = {"deletion": "removed", "insertion": "kept"}
    for axes, (kind, label) in zip(panels, titles.items(), strict=True):
        for name, of_method in curves.items():
            is_floor = name in ("random", "uniform")
            width, style = 3.0 if name == "attention" else 1.2, "--" if is_floor else "-"
            axes.plot(fractions, of_method[kind], style, linewidth=width, label=name)
        axes.set_title(f"largest weights {label} first", fontsize="medium")
        axes.set_xlabel(f"{unit}s {label}, %")
        axes.grid(alpha=0.3)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    panels[0].set_ylabel("probability of the predicted class")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def _figure(width, height):
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Plots of attention need matplotlib, which cannot be imported: "
            'pip install "keras-attention-layers[plot]"'
        ) from error

    class NotebookFigure(Figure):
        def _repr_png_(self):
            """Shown by notebooks; theirs for figures needs pyplot."""
            picture = io.BytesIO()
            self.savefig(picture, bbox_inches="tight")
            return picture.getvalue()

    return NotebookFigure(figsize=(width, height), dpi=120, layout="constrained")


def _colour_map(name):
    import matplotlib

    return matplotlib.colormaps[name]


def _few_ticks():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5, steps=[1, 2, 5, 10])


def _checked(weights, rank, words):
    """The weights as an array and the words of its last axis as a list."""
    weights, words = np.asarray(weights, "float64"), list(words)
    if weights.ndim != rank or weights.shape[-1] != len(words):
        raise ValueError(_mismatch(weights, -1, words))
    return weights, words


def _mismatch(weights, axis, words):
    return (
        f"Axis {axis} of the weights must have one entry per word, and the weights must be those "
        f"of one example. Received: weights.shape={weights.shape}, {len(words)} words"
    )


def _rgb(image):
    """`(height, width, 3)`, from 0 to 1."""
    image = np.asarray(image)
    received = f"image.shape={image.shape}, image.dtype={image.dtype}"
    is_integer = np.issubdtype(image.dtype, np.integer)
    image = image / 255.0 if is_integer else image.astype("float64")
    image = image[..., None] if image.ndim == 2 else image
    if image.ndim != 3 or image.shape[-1] not in (1, 3) or not image.size:
        raise ValueError(
            "`image` must have the shape (height, width) or (height, width, 1 or 3). Received: "
            f"{received}"
        )
    if not (image.min() > -0.5 and image.max() < 1.5):  # resizing may overshoot a little
        scale = 255 if is_integer else 1
        low, high = scale * image.min(), scale * image.max()
        raise ValueError(
            "`image` must hold floats from 0 to 1, or integers from 0 to 255. Received: "
            f"{received}, numbers from {low:.3g} to {high:.3g}"
        )
    return np.clip(np.broadcast_to(image, (*image.shape[:2], 3)), 0, 1)


def _overlay(image, weights):
    """The image, grey and dark where the weights are small."""
    light = _resized(_resized(weights, image.shape[0]).T, image.shape[1]).T  # (height, width)
    light = np.clip(light / max(float(light.max()), 1e-9), 0, 1)[..., None]
    grey = 0.3 * image.mean(axis=-1, keepdims=True)
    return light * image + (1 - light) * grey


def _resized(x, size):
    """`x` resized to `size` rows, each a Gaussian mean of the rows of `x` around it."""
    positions = (np.arange(size) + 0.5) * len(x) / size - 0.5
    near = np.exp(-2.0 * np.square(positions[:, None] - np.arange(len(x))))
    return near / near.sum(axis=1, keepdims=True) @ x
