"""Attention rollout through several layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def attention_rollout(maps: Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike]) -> np.ndarray:
    """Attention rollout: multiplies the weights of stacked self-attention layers.

        R_1 = A_1;  R_l = A_l R_(l-1);  A_l = (W_l + I) / 2

    W_l is the mean over the heads of layer l, and I stands for the residual connection around it.
    Row t of the result says how much of each input step reached step t of the last layer; the
    weights of that layer alone are over steps that are mixtures already. Weights of a pooling layer
    on top apply to the rows: `pooling_weights @ rollout`.

    Masking: a row of zeros, as of padding, attends to itself; no other row attends to padding.

    Args:
        maps: The result of `ka.attention_maps`, or a list of weights from the first layer to the
            last; arrays `(B, T, T)` or `(B, H, T, T)`.

    Returns:
        NumPy array `(B, T, T)`, each row summing to one.

    Raises:
        ValueError: If there are no weights, or they are not self-attention over the same steps.

    Example:
        >>> inputs = keras.Input((None, 4))
        >>> attention = ka.MultiHeadAttention(num_heads=2, key_dim=3)
        >>> x = keras.layers.Add()([inputs, attention(inputs, inputs)])
        >>> model = keras.Model(inputs, keras.layers.Add()([x, ka.SelfAttention()(x)]))
        >>> maps = ka.attention_maps(model, keras.ops.ones((2, 5, 4)))
        >>> ka.attention_rollout(maps).shape
        (2, 5, 5)

    Reference:
        Abnar & Zuidema, 2020, section 3, eq. 1, https://arxiv.org/abs/2005.00928
        As in the paper.
    """
    named = maps if isinstance(maps, dict) else dict(enumerate(maps))
    if not named:
        raise ValueError("`maps` must hold the weights of at least one layer. Received: none")
    rollout: Any = None
    for name, weights in named.items():
        weights = np.asarray(weights, "float64")
        if weights.ndim == 4:
            weights = weights.mean(axis=1)  # (B, T, T)
        square = weights.ndim == 3 and weights.shape[1] == weights.shape[2]
        if not square or (rollout is not None and weights.shape != rollout.shape):
            shapes = {name: np.shape(w) for name, w in named.items()}
            raise ValueError(
                "`maps` must be self-attention over the same steps in each layer, (B, T, T) or "
                f"(B, H, T, T); remove the others. Received: {name!r} among {shapes}"
            )
        attention = weights + np.eye(weights.shape[-1])
        attention /= attention.sum(axis=-1, keepdims=True)  # 2, but 1 for a row of zeros
        rollout = attention if rollout is None else attention @ rollout
    return rollout
