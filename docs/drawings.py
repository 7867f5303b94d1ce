"""Draws the weights of each mechanism for docs/choose.md: python -m docs.drawings

Each picture shows what a layer really returns, on an example so small that one sees what it should
look at: letters that are alike, or steps that are near. Layers that learn are given weights that
solve the example.
"""

from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

import keras_attention as ka

PICTURES = Path(__file__).parent / "pictures"
# Seen on white and on black.
BLUE, ORANGE, GREY = "#2f7de1", "#ee8a2a", "#808895"
LETTERS = "ABCD"


def letters(text, alike=0.0):
    """`(1, T, 4)`: a vector for each letter, `alike` those of its neighbours in the alphabet."""
    place = np.array([LETTERS.index(letter) for letter in text])
    distance = np.abs(place[:, None] - np.arange(len(LETTERS)))
    return (np.where(distance == 0, 1.0, 0.0) + alike * (distance == 1))[None].astype("float32")


def near(steps):
    """`(1, T, 8)`: vectors that are the more alike the nearer their steps are."""
    angles = np.arange(steps)[:, None] / np.array([1.5, 3.0, 6.0, 12.0])
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[None].astype("float32")


def weights_of(layer, *tensors, **options):
    """The weights that a layer returns for the first example, as NumPy."""
    outputs = layer(*tensors, return_attention_scores=True, **options)
    return keras.tree.map_structure(lambda x: keras.ops.convert_to_numpy(x)[0], outputs[1])


QUERIES, VALUES = "ABCDABCD", "ABCADBACDB"


def of_letters(normalizer):
    layer = ka.ContentAttention("dot", normalizer=normalizer)
    query, value = 1.7 * letters(QUERIES, alike=0.55), 1.7 * letters(VALUES, alike=0.35)
    return weights_of(layer, query, value), QUERIES, VALUES


def content():
    return of_letters("softmax")


def sparsemax():
    return of_letters("sparsemax")


def hard():
    return of_letters("hard")


def self_attention():
    return weights_of(ka.SelfAttention("scaled_dot"), 2.2 * near(12)), None, None


def causal():
    layer = ka.SelfAttention("scaled_dot")
    text = "ABCADBACDB"
    return weights_of(layer, 3 * letters(text, alike=0.3), use_causal_mask=True), text, text


def window():
    layer = ka.SelfAttention("scaled_dot", window=3, num_global=1)
    return weights_of(layer, 1.2 * near(12)), None, None


def alibi():
    layer = ka.SelfAttention(score=ka.ScaledDotScore() + ka.ALiBiScore(slopes=[0.5]))
    return weights_of(layer, 0.3 * near(12), use_causal_mask=True), None, None


def location():
    """Each query names its position; the layer reads backwards, whatever the values are."""
    layer = ka.LocationAttention(max_length=12)
    query, value = np.eye(8, dtype="float32")[None], np.ones((1, 12, 4), "float32")
    layer.build(query.shape, value.shape)
    center = 11 - 1.5 * np.arange(8)
    layer.set_weights([4 * np.exp(-0.3 * (np.arange(12) - center[:, None]) ** 2)])
    return weights_of(layer, query, value), None, None


def local():
    layer = ka.LocalAttention(half_width=2, center="monotonic")
    return weights_of(layer, 2 * near(12), 2 * near(12)), None, None


def local_predicted():
    """The query tells how far the reading is; the layer predicts the step from it."""
    layer = ka.LocalAttention(half_width=3, units=1)
    query = np.linspace(-1, 1, 9, dtype="float32")[None, :, None]
    value = np.zeros((1, 12, 1), "float32")
    layer.build(query.shape, value.shape)
    layer.set_weights([np.array([[1.0]]), np.array([[3.5]])])
    return weights_of(layer, query, value), None, None


def monotonic():
    layer = ka.MonotonicAttention(units=4)
    query, value = letters("ABBCDD"), letters("BAADBBCADD")
    layer.build(query.shape, value.shape)
    match(layer.energy, 4, score=1.0)
    layer.gain.assign(6.0)
    layer.offset.assign(9.0)
    return weights_of(layer, query, value), "ABBCDD", "BAADBBCADD"


def match(energy, units, score):
    """Sets an additive score to find equal letters: a hidden unit is on where both have its own."""
    for dense in (energy.query_dense, energy.key_dense):
        kernel = np.zeros(dense.kernel.shape)
        kernel[:4, :4] = 4 * np.eye(4)
        dense.kernel.assign(kernel)
    bias = np.zeros(units)
    bias[:4] = -6
    energy.key_dense.bias.assign(bias)
    energy.score_dense.kernel.assign(np.full((units, 1), score))


REPEATS = "CABABABABD"


def location_sensitive():
    """A last unit is on for the step after the one that was looked at."""
    layer = ka.LocationSensitiveAttention(units=5, filters=1, kernel_size=3)
    text = letters(REPEATS)
    layer.build(text.shape, text.shape)
    match(layer.energy, 5, score=3.0)
    layer.energy.key_dense.bias.assign([-6, -6, -6, -6, -2])
    layer.location_conv.kernel.assign(np.array([1.0, 0.0, 0.0])[:, None, None])
    layer.location_dense.kernel.assign([[0, 0, 0, 0, 4.0]])
    return weights_of(layer, text, text), REPEATS, REPEATS


def coverage():
    """A last unit speaks against the steps that were looked at before."""
    layer = ka.CoverageAttention(units=5)
    queries, values = "AAAABBCC", "ABACABAC"
    fading = np.linspace(1, 0.6, 8, dtype="float32")[:, None]  # so that the first is found first
    query, value = letters(queries), letters(values) * fading
    layer.build(query.shape, value.shape)
    match(layer.energy, 5, score=30.0)
    layer.coverage_dense.kernel.assign([[0, 0, 0, 0, 1.5]])
    layer.energy.score_dense.kernel.assign(np.array([[30.0], [30], [30], [30], [-24]]))
    return weights_of(layer, query, value), queries, values


def gaussian_mixture():
    """Two windows; the query sets the stride, and here it walks, runs and walks."""
    layer = ka.GaussianMixtureAttention(num_components=2)
    query = np.array([0, 0, 0, 0.9, 0.9, 0, 0, 0], "float32")[None, :, None]
    value = np.ones((1, 12, 4), "float32")
    layer.build(query.shape, value.shape)
    importance, sharpness, stride = np.log([0.7, 0.3]), np.log([0.9, 0.15]), np.log([1.05, 1.05])
    kernel = np.array([[0, 0, 0, 0, 1.0, 1.0]])
    layer.set_weights([kernel, np.concatenate([importance, sharpness, stride])])
    return weights_of(layer, query, value), None, None


def adaptive():
    """The last column is the share of the sentinel, which "of" takes."""
    layer = ka.AdaptiveAttention(units=5)
    queries, values = ["A", "of", "C", "of", "D"], "BADCAD"
    ones = np.ones((1, len(values), 1), "float32")
    value = np.concatenate([letters(values), ones], axis=-1)  # a feature that is always on
    query = np.stack([letters(q)[0, 0] if q in LETTERS else np.zeros(4) for q in queries])[None]
    sentinel = np.zeros((1, len(queries), 5), "float32")
    sentinel[..., 4] = 1
    layer.build(query.shape, value.shape, sentinel.shape)
    for_query, for_key, for_sentinel = (np.zeros((n, 5)) for n in (4, 5, 5))
    for_query[:4, :4] = for_key[:4, :4] = 4 * np.eye(4)
    for_key[4] = [-6, -6, -6, -6, -2]
    for_sentinel[4] = [-6, -6, -6, -6, 2]
    layer.energy.query_dense.kernel.assign(for_query)
    layer.energy.key_dense.kernel.assign(for_key)
    layer.sentinel_dense.kernel.assign(for_sentinel)
    layer.energy.score_dense.kernel.assign(np.array([[3.0], [3], [3], [3], [1.5]]))
    weights = weights_of(layer, query.astype("float32"), value, sentinel)
    share = 1 - weights.sum(axis=-1, keepdims=True)
    return np.concatenate([weights, share], axis=-1), queries, [*values, "away"]


def pooling():
    """The learned query asks for opinions, the first feature of a word here."""
    words = ["the", "soup", "was", "cold", "but", "not", "bad"]
    value = np.zeros((1, len(words), 2), "float32")
    value[0, :, 0] = [0, 0.2, 0, 2.2, 0.5, 2.6, 3.0]
    layer = ka.AttentionPooling(score="dot")
    layer.build(value.shape)
    layer.set_weights([np.array([[1.0, 0.0]])])
    return weights_of(layer, value)[None], [""], words


def hierarchical():
    """A row a sentence: the word's weight times the sentence's."""
    rng = np.random.default_rng(3)
    value = rng.uniform(0, 1.2, (1, 6, 9, 2)).astype("float32")
    value[0, 2, 3] = value[0, 4, 6] = 2.4  # two words that decide
    layer = ka.HierarchicalAttention(word_encoder=None, sentence_encoder=None, score="dot")
    layer.build(value.shape)
    layer.set_weights([np.ones((1, 2)), np.ones((1, 2))])
    weights = weights_of(layer, value)
    return weights["sentences"][:, None] * weights["words"], None, None


def two_texts():
    first, second = "a dog runs on the grass".split(), "on grass runs a big dog".split()
    words = sorted({*first, *second})
    texts = [np.eye(len(words))[[words.index(w) for w in text]][None] for text in (first, second)]
    layer = ka.AttentionFeatureMap(max_length=10)
    first_text, second_text = (2 * text.astype("float32") for text in texts)
    return weights_of(layer, first_text, second_text), first, second


def spatial():
    """A grid in which two patches are bright; the convolution smooths and subtracts a constant."""
    rows, columns = np.mgrid[:12, :12]
    grid = sum(
        np.exp(-((rows - r) ** 2 + (columns - c) ** 2) / size)
        for r, c, size in ((3, 3, 4.0), (8, 8, 9.0))
    )
    inputs = np.stack([grid, np.zeros_like(grid)], axis=-1)[None].astype("float32") - 0.6
    layer = ka.SpatialAttention(kernel_size=3)
    layer.build(inputs.shape)
    kernel = np.zeros((3, 3, 2, 1))
    kernel[..., 1, 0] = 1.0  # of the maximum over the channels
    layer.set_weights([kernel])
    return weights_of(layer, inputs), None, None


# What stands along the sides, where it is not steps of a query and of values.
STEPS = ("← query steps", "value steps →")
AXES = {"hierarchical": ("← sentences", "words →"), "spatial": ("", "")}
DRAWN = {
    function.__name__: function
    for function in (
        content,
        sparsemax,
        hard,
        self_attention,
        causal,
        window,
        alibi,
        location,
        local,
        local_predicted,
        monotonic,
        location_sensitive,
        coverage,
        gaussian_mixture,
        adaptive,
        pooling,
        hierarchical,
        two_texts,
        spatial,
    )
}


def draw(weights, queries, values, axes):
    """A figure with a square a weight, the deeper the larger."""
    rows, columns = weights.shape
    texts = [*(queries or ""), *(values or "")]
    is_words = max(map(len, texts), default=0) > 1
    above = 1.6 if is_words else 0.8
    side = 1.9 if is_words and rows > 1 and queries else 0.8
    right = columns + (0.5 if is_words else 0.0)
    figure = Figure(figsize=(4, 4 * (rows + above) / (right + side)), dpi=120)
    plot = figure.add_axes((0, 0, 1, 1))
    plot.set(xlim=(-side, right), ylim=(rows, -above))
    plot.set_axis_off()
    shape = {"boxstyle": "round,pad=0,rounding_size=0.12", "linewidth": 0}
    top = weights.max()
    for row, column in np.ndindex(rows, columns):
        colour = ORANGE if values and values[column] == "away" else BLUE
        share = float(weights[row, column] / top)
        for face, alpha in ((GREY, 0.13), (colour, share)):
            box = FancyBboxPatch((column + 0.06, row + 0.06), 0.88, 0.88, fc=face, **shape)
            box.set_alpha(alpha)
            plot.add_patch(box)
    style = {"color": GREY, "fontsize": min(13, 110 / (columns + side))}
    for column, text in enumerate(values or ""):
        place = {"rotation": 45, "ha": "left"} if is_words else {"ha": "center"}
        plot.text(column + (0.3 if is_words else 0.5), -0.2, text, va="bottom", **place, **style)
    for row, text in enumerate(queries or ""):
        plot.text(-0.25, row + 0.5, text, ha="right", va="center", **style)
    if not values:
        plot.text(columns / 2, -0.4, axes[1], ha="center", va="center", **style)
    if not queries:
        down = {"rotation": 90, "ha": "center", "va": "center"}
        plot.text(-0.4, rows / 2, axes[0], **down, **style)
    return figure


def main():
    keras.utils.set_random_seed(0)
    for name, function in DRAWN.items():
        figure = draw(*function(), AXES.get(name, STEPS))
        figure.savefig(PICTURES / f"weights_{name}.png", transparent=True)


if __name__ == "__main__":
    main()
