"""How two texts are compared word by word: the three architectures of text matching.

vectors, weights = ARCHITECTURES["compare"](query, document, units=64)

`query` and `document` are `Text`s. Each architecture returns a list of vectors `(B, _)` that say
how they match, and the weights `(B, S, T)` by which each word of the document attends to the
query's, which sum to one. With `attention=False` it is the same network where the mean of the other
text's steps takes the place of what attention would find.
"""

import dataclasses
import typing

from keras import layers, ops

import keras_attention as ka


@dataclasses.dataclass(frozen=True)
class Text:
    """A text's steps, and the vectors of its words.

    Attributes:
        steps: `(B, T, D)`.
        known: `(B, T)`, True for what is no padding.
        vectors: `(B, T, E)`, alike for words of a like meaning.
    """

    steps: typing.Any
    known: typing.Any
    vectors: typing.Any

    def masked(self, x):
        """`x` `(B, T, _)` with zeros in place of padding."""
        return x * ops.cast(ops.expand_dims(self.known, -1), x.dtype)

    def mean(self, x):
        """The mean of the known steps of `x`, `(B, _)`."""
        count = ops.sum(ops.cast(self.known, x.dtype), axis=1, keepdims=True)
        return ops.sum(self.masked(x), axis=1) / ops.maximum(count, 1)

    def max(self, x):
        """The maximum of the steps of `x`, which is nowhere negative, `(B, _)`."""
        return ops.max(self.masked(x), axis=1)

    def convolved(self, x, units, sizes, name):
        """Maxima of convolutions over runs of so many steps, `(B, units * len(sizes))`."""
        x = self.masked(x)
        return layers.Concatenate()(
            [
                self.max(
                    layers.Conv1D(
                        units, size, padding="same", activation="relu", name=f"{name}_{size}"
                    )(x)
                )
                for size in sizes
            ]
        )


def dropout_of_components(x, rate, seed):
    """A factor `(B, 1, D)` that drops components of steps like `x` `(B, T, D)`.

    For both texts of a pair: a word that both have stays the same in each.
    """
    return layers.Dropout(rate, seed=seed)(ops.ones_like(x[:, :1]))


def _aligned(text, other, name, attention):
    """For each step of a text what it finds in the other, `(B, T, D)`, and the weights.

    Scores are products of words' vectors, one of which a layer turns. It begins as the identity: so
    each word first finds itself, if the other text has it, or else what is most alike.
    """
    if not attention:
        known = ops.expand_dims(ops.cast(other.known, text.steps.dtype), 1)  # (B, 1, S)
        equal = known / ops.maximum(ops.sum(known, axis=-1, keepdims=True), 1)
        weights = ops.ones_like(text.steps[:, :, :1]) * equal  # (B, T, S)
        return ops.matmul(weights, other.masked(other.steps)), weights
    turned = layers.Dense(
        other.vectors.shape[-1], use_bias=False, kernel_initializer="identity",
        name=f"{name}_score",
    )(other.vectors)  # fmt: skip
    return ka.ContentAttention("scaled_dot", name=name)(
        text.vectors, other.steps, key=turned,
        query_mask=text.known, value_mask=other.known, return_attention_scores=True,
    )  # fmt: skip


def compare(query, document, *, units, dropout=0.0, seed=0, attention=True, max_steps=None):
    """Compare-aggregate: each word of the document beside what it finds in the query.

    The two are compared by their squared difference and their product, a layer mixes these, and
    convolutions over one to five steps with the maximum over time aggregate them.

    Reference:
        Wang & Jiang, 2017, equations 2, 3, 8 and 9, https://arxiv.org/abs/1611.01747
        There the softmax of the attention is over the query's words too.
    """
    found, weights = _aligned(document, query, "alignment", attention)
    steps = document.steps
    compared = layers.Concatenate()([ops.square(steps - found), steps * found])
    compared = layers.Dense(units, activation="relu", name="comparison")(compared)
    compared = layers.Dropout(dropout, seed=seed)(compared)
    return [document.convolved(compared, units // 2, range(1, 6), "aggregation")], weights


def decomposable(query, document, *, units, dropout=0.0, seed=0, attention=True, max_steps=None):
    """Decomposable attention: both texts' words beside what they find in the other, and summed.

    Reference:
        Parikh et al., 2016, equations 1 to 5, https://arxiv.org/abs/1606.01933
        Beside the sums there are the maxima; a product of both words is compared too.
    """
    compare_layer = layers.Dense(units, activation="relu", name="comparison")
    vectors, maps = [], []
    for number, (text, other, name) in enumerate(
        [(document, query, "alignment"), (query, document, "alignment_back")]
    ):
        found, weights = _aligned(text, other, name, attention)
        compared = layers.Concatenate()([text.steps, found, text.steps * found])
        compared = layers.Dropout(dropout, seed=seed + number)(compared)
        compared = text.masked(compare_layer(compared))
        vectors += [text.max(compared), ops.sum(compared, axis=1) / 20]
        maps.append(weights)
    return vectors, maps[0]


def abcnn(query, document, *, units, dropout=0.0, seed=0, attention=True, max_steps):
    """ABCNN-3: two convolutions over both texts, each told where the texts agree, twice.

    Before a convolution by a map of the attention's features (ABCNN-1), after it by weights of the
    pooling over windows (ABCNN-2). The vectors are the cosines and products of both texts' means at
    each level. Without attention it is the paper's BCNN.

    Reference:
        Yin et al., 2016, section 4.3, https://arxiv.org/abs/1512.05193
        The products are not in the paper; there a convolution has 50 units.
    """
    window, levels = 3, 2
    texts = query, document
    vectors = [_likeness(texts)]
    alignment = ka.ContentAttention("euclidean", name="alignment")
    weights = None
    for level in range(levels):
        if attention:
            feature_map = ka.AttentionFeatureMap(max_steps, name=f"feature_map_{level}")
            inputs = [
                layers.Concatenate()(
                    [text.steps, feature_map(
                        text.steps, other.steps, query_mask=text.known, value_mask=other.known
                    )]
                )
                for text, other in (texts, texts[::-1])
            ]  # fmt: skip
        else:
            inputs = [text.steps for text in texts]
        if weights is None:  # the same scores as those of the map, as weights that sum to one
            _, weights = alignment(
                document.steps, query.steps, query_mask=document.known, value_mask=query.known,
                return_attention_scores=True,
            )  # fmt: skip
        convolution = layers.Conv1D(
            units, window, padding="same", activation="tanh", name=f"convolution_{level}"
        )
        texts = [
            dataclasses.replace(text, steps=text.masked(convolution(text.masked(x))))
            for text, x in zip(texts, inputs, strict=True)
        ]
        vectors.append(_likeness(texts))
        if level + 1 < levels:
            pool = ka.WindowAttentionPooling(window, name=f"pooling_{level}")
            # Zeros stand around a text, as they do in its padding.
            around = layers.ZeroPadding1D(window // 2)
            mean = layers.AveragePooling1D(window, 1, name=f"pooling_{level}_mean")
            kept = dropout_of_components(texts[0].steps, dropout, seed)
            pooled = [
                pool(text.steps, other.steps, value_mask=text.known, query_mask=other.known)
                / window
                if attention
                else mean(around(text.steps))
                for text, other in (texts, texts[::-1])
            ]
            texts = [
                dataclasses.replace(text, steps=x * kept)
                for text, x in zip(texts, pooled, strict=True)
            ]
    return vectors, weights


def _likeness(texts):
    """The cosine of the means of two texts' steps, and their product: `(B, 1 + D)`."""
    means = [text.mean(text.steps) for text in texts]
    unit = [ops.normalize(mean, axis=-1, epsilon=1e-6) for mean in means]
    cosine = ops.sum(unit[0] * unit[1], axis=-1, keepdims=True)
    return layers.Concatenate()([cosine, means[0] * means[1]])


ARCHITECTURES = {"compare": compare, "decomposable": decomposable, "abcnn": abcnn}
