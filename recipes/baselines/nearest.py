"""Captions without a decoder: those of the most similar training image."""

from collections import Counter

import numpy as np

from recipes.data.captions import words


def captions(grids, texts, test_grids):
    """For each test image a caption of the most similar training image.

    Similar is what has a high cosine of the mean features. Of that image's captions it is the one
    that agrees most with its others, in words.
    """
    means = [
        np.concatenate([some.mean((1, 2), "float32") for some in np.array_split(all_, 50)])
        for all_ in (grids, test_grids)
    ]
    means = [mean / (np.linalg.norm(mean, axis=1, keepdims=True) + 1e-9) for mean in means]
    best = (means[1] @ means[0].T).argmax(1)
    return [_most_agreed(texts[row]) for row in best]


def _most_agreed(captions):
    bags = [Counter(words(caption)) for caption in captions]

    def agreement(bag):
        return sum(2 * (bag & other).total() / (bag.total() + other.total()) for other in bags)

    return " ".join(words(captions[int(np.argmax(list(map(agreement, bags))))]))
