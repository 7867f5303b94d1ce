"""Parts of networks that see images: whitened patches, residual stages, a convolutional stem."""

import numpy as np
from keras import layers

import keras_attention as ka

_PATCH = 2  # pixels along each side of a whitened patch
_LEAST_VARIANCE = 5e-4  # of a direction of patches, as a share of that of a pixel
_MOST_IMAGES = 5000  # that the patches are taken of


def standardized(image, images):
    """A layer's output: images with mean 0 and variance 1 in each channel.

    Args:
        image: Symbolic tensor `(B, H, W, 3)`, 0 to 255.
        images: uint8 array `(N, H, W, 3)`, to measure mean and variance.
    """
    some = images[:_MOST_IMAGES].astype("float32")
    return layers.Normalization(
        mean=some.mean(axis=(0, 1, 2)).tolist(),
        variance=np.maximum(some.var(axis=(0, 1, 2)), 1.0).tolist(),
        name="standardize",
    )(image)


def patch_filters(images):
    """Filters that whiten patches, float32 `(2, 2, 3, 24)`: their outputs do not correlate.

    The twelve eigenvectors of the patches' covariance, each divided by the root of its eigenvalue,
    and the same with the sign turned, for the ReLU that follows.

    Args:
        images: uint8 array `(N, H, W, 3)`.

    Reference: Jordan, 2024, section 3.2, https://arxiv.org/abs/2404.00498
    """
    some = images[:_MOST_IMAGES].astype("float32")
    some = (some - some.mean(axis=(0, 1, 2))) / np.maximum(some.std(axis=(0, 1, 2)), 1.0)
    steps = range(_PATCH)
    shifted = [
        some[:, row : row + 1 - _PATCH or None, column : column + 1 - _PATCH or None]
        for row in steps
        for column in steps
    ]
    patches = np.concatenate(shifted, axis=-1).reshape(-1, _PATCH**2 * 3)
    values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
    filters = vectors / np.sqrt(values + _LEAST_VARIANCE)  # a column each
    filters = np.concatenate([filters, -filters], axis=1)
    return filters.reshape(_PATCH, _PATCH, 3, -1).astype("float32")


def whitened(x, images):
    """A fixed convolution by `patch_filters(images)` of standardized images, then a ReLU."""
    filters = patch_filters(images)
    convolution = layers.Conv2D(
        filters.shape[-1],
        _PATCH,
        padding="same",
        use_bias=False,
        activation="relu",
        trainable=False,
        name="whiten",
    )
    convolution.build(x.shape)
    convolution.set_weights([filters])
    return convolution(x)


def convolution(x, filters, name, *, pool=False):
    """3 x 3 convolution, perhaps the maximum of each 2 x 2, normalization and ReLU."""
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
    if pool:
        x = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    # An epoch of few images has few steps: the averages follow sooner than Keras' own.
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def residual_stage(x, filters, name, attention=None):
    """Halves a grid, and adds to it what a convolution, weighed by an attention, finds there.

    Args:
        x: Symbolic tensor `(B, H, W, C)`.
        filters: Integer, of each convolution.
        name: String, of the stage.
        attention: `ka.ConvBlockAttention` or `None`.

    Returns:
        The grid `(B, H / 2, W / 2, filters)`, and the weights of its positions
        `(B, H / 2, W / 2)`, or `None` without attention.
    """
    x = convolution(x, filters, f"{name}_down", pool=True)
    found, weights = convolution(x, filters, f"{name}_residual"), None
    if attention is not None:
        found, weights = attention(found, return_attention_scores=True)
        weights = weights["spatial"]
    return layers.Add(name=f"{name}_add")([x, found]), weights


def positions(kind, grid):
    """The layer that adds positions to a grid `(B, H, W, C)` of known sides.

    Args:
        kind: `"sinusoidal"` or `"learned"`.
        grid: Tensor.
    """
    if kind == "sinusoidal":
        return ka.SinusoidalPositionEncoding2D(name="position")
    return ka.PositionEmbedding2D(*grid.shape[1:3], name="position")
