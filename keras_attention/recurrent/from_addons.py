"""Migration of trained attention weights from TensorFlow Addons."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_attention.layers.content_attention import ContentAttention
from keras_attention.scores.additive import AdditiveScore
from keras_attention.scores.bilinear import BilinearScore


def attention_from_addons(weights: Mapping[str, Any], **kwargs: Any) -> ContentAttention:
    """`ContentAttention` with the weights of Addons' `LuongAttention` or `BahdanauAttention`.

    Computes the same attention weights, also for `scale=True` and `normalize=True`: scale and norm
    are multiplied into the kernels. The scores of Addons, for memory m, query q and Keras kernels:

        Luong:     score = g (q . m K_m)
        Bahdanau:  score = g v / |v| . tanh(m K_m + q K_q + b)           without normalize v . tanh

    Args:
        weights: Dict of name to array, as in a checkpoint: names that end in
            `memory_layer/kernel` and, for Luong with `scale=True`, `attention_g`; for Bahdanau
            `query_layer/kernel`, `attention_v` and, with `normalize=True`, `attention_g` and
            `attention_b`. Other names are ignored.
        kwargs: Further arguments of `ContentAttention`.

    Returns:
        The built layer.

    Raises:
        ValueError: If `memory_layer/kernel` is missing, for Bahdanau also if `query_layer/kernel`
            is missing or has another number of columns.

    Example:
        >>> kernel = keras.ops.ones((6, 4))  # of a memory of 6 features, for queries of 4
        >>> layer = ka.attention_from_addons({"decoder/memory_layer/kernel:0": kernel})
        >>> layer(keras.ops.ones((2, 3, 4)), keras.ops.ones((2, 5, 6))).shape == (2, 3, 6)
        True

    Reference:
        https://github.com/tensorflow/addons, `tfa/seq2seq/attention_wrapper.py`, as of 0.23
    """
    arrays = {}
    for name, array in weights.items():
        parts = name.split(":")[0].split("/")
        for wanted in ("memory_layer/kernel", "query_layer/kernel", *_VECTORS):
            if parts[-wanted.count("/") - 1 :] == wanted.split("/"):
                arrays[wanted] = np.asarray(array, "float32")
    if "memory_layer/kernel" not in arrays:
        raise ValueError(
            "`weights` must hold `memory_layer/kernel`, and for Bahdanau's attention also "
            f"`query_layer/kernel` and `attention_v`. Received: names {sorted(weights)}"
        )
    memory_kernel = arrays["memory_layer/kernel"]  # (D_memory, units)
    if "attention_v" in arrays:
        return _bahdanau(memory_kernel, arrays, kwargs)
    kernel = arrays.get("attention_g", np.float32(1)) * memory_kernel.T  # (units, D_memory)
    return _built(BilinearScore(), kernel.shape[0], memory_kernel.shape[0], [kernel], kwargs)


_VECTORS = ("attention_v", "attention_g", "attention_b")


def _bahdanau(memory_kernel, arrays, kwargs):
    query_kernel, v = arrays.get("query_layer/kernel"), arrays["attention_v"]
    if query_kernel is None or query_kernel.shape[1] != memory_kernel.shape[1]:
        raise ValueError(
            "`query_layer/kernel` must have as many columns as `memory_layer/kernel`. Received: "
            f"shapes {None if query_kernel is None else query_kernel.shape} and "
            f"{memory_kernel.shape}"
        )
    kernels = [query_kernel, memory_kernel]
    if "attention_b" in arrays:  # normalize=True
        v = arrays["attention_g"] * v / np.sqrt(np.sum(np.square(v)))
        kernels.append(arrays["attention_b"])
    score = AdditiveScore(units=len(v), use_bias="attention_b" in arrays)
    sizes = query_kernel.shape[0], memory_kernel.shape[0]
    return _built(score, *sizes, [*kernels, v[:, None]], kwargs)


def _built(score, query_size, memory_size, weights, kwargs):
    layer = ContentAttention(score, **kwargs)
    layer.build((None, None, query_size), (None, None, memory_size))
    layer.set_weights(weights)
    return layer
