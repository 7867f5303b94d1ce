"""Attention rollout through several layers."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt


@overload
def attention_rollout(
    maps: Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike],
    memory: None = None,
    cross: Collection[str | int] = (),
) -> np.ndarray: ...


@overload
def attention_rollout(
    maps: Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike],
    memory: npt.ArrayLike,
    cross: Collection[str | int],
) -> tuple[np.ndarray, np.ndarray]: ...


def attention_rollout(
    maps: Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike],
    memory: npt.ArrayLike | None = None,
    cross: Collection[str | int] = (),
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Attention rollout: multiplies the weights of stacked self-attention layers.

        R_0 = I;  R_l = A_l R_(l-1);  A_l = (W_l + I) / 2

    W_l is the mean over the heads of layer l, and I stands for the residual connection around it.
    Row t of the result says how much of each input step reached step t of the last layer; the
    weights of that layer alone are over steps that are mixtures already.

    Pooling: last, the weights P of a pooling layer over these steps, which has no residual, give
    `P R`. Square weights, Q = T, are taken for self-attention: multiply those of a pooling layer
    by the result yourself.

    Decoders: a decoder step is a mixture of the decoder's own input steps and of the encoder's.
    With `memory` M, the rollout of the encoder, a cross-attention layer mixes in what its steps
    hold, and self-attention layers multiply both parts:

        R_0 = [I | 0];  R_l = (R_(l-1) + [0 | W_l M]) / 2

    Masking: a row of zeros, as of padding, attends to itself; no other row attends to padding. In
    cross-attention such a row keeps its residual whole.

    Args:
        maps: The result of `ka.attention_maps`, or a list of weights from the first layer to the
            last; arrays `(B, T, T)` or `(B, H, T, T)`, in layers of `cross` `(B, T, S)` or
            `(B, H, T, S)`, and last perhaps a pooling layer's `(B, T)` or `(B, Q, T)`.
        memory: Array `(B, S, S_in)`, or `None` without cross-attention; such as the rollout of the
            encoder, or for each example `np.eye(S)` if no layer mixed the memory's steps.
        cross: Names of the cross-attention layers in `maps`, or their indices in a list.

    Returns:
        NumPy array `(B, T, T)`, each row summing to one; with a memory two arrays, `(B, T, T)` over
        the decoder's own input steps and `(B, T, S_in)` over the memory's, whose rows sum to one
        together if those of `memory` do. After pooling `(B, T)` or `(B, Q, T)`, and `(B, S_in)` or
        `(B, Q, S_in)`, with the sums of the pooling weights.

    Raises:
        ValueError: If there are no weights, they do not fit each other or the memory, or `memory`
            is given without `cross` or the reverse.

    Example:
        >>> inputs = keras.Input((None, 4))
        >>> attention = ka.MultiHeadAttention(num_heads=2, key_dim=3)
        >>> x = keras.layers.Add()([inputs, attention(inputs, inputs)])
        >>> model = keras.Model(inputs, keras.layers.Add()([x, ka.SelfAttention()(x)]))
        >>> maps = ka.attention_maps(model, keras.ops.ones((2, 5, 4)))
        >>> encoder_rollout = ka.attention_rollout(maps)
        >>> encoder_rollout.shape
        (2, 5, 5)

        A decoder over this encoder: the names of its blocks' maps tell which are over the memory.

        >>> inputs, memory = keras.Input((None, 8)), keras.Input((None, 4))
        >>> x = ka.TransformerDecoderBlock(16, num_heads=2)(inputs, memory)
        >>> decoder = keras.Model([inputs, memory], x)
        >>> batch = [keras.ops.ones((2, 3, 8)), keras.ops.ones((2, 5, 4))]
        >>> maps = ka.attention_maps(decoder, batch)
        >>> cross = [name for name in maps if name.endswith("/memory")]
        >>> own, encoder = ka.attention_rollout(maps, encoder_rollout, cross)
        >>> own.shape, encoder.shape
        ((2, 3, 3), (2, 3, 5))

    Reference:
        Abnar & Zuidema, 2020, section 3, eq. 1, https://arxiv.org/abs/2005.00928
        As in the paper, which has neither pooling nor cross-attention.
    """
    if (memory is None) == bool(len(cross)):
        given = "None" if memory is None else "an array"
        raise ValueError(
            "`memory` and `cross` must be given together: the cross-attention layers of `maps` and "
            f"what their memory holds. Received: memory={given}, cross={cross!r}"
        )
    if memory is not None:
        memory = np.asarray(memory, "float64")
        if memory.ndim != 3:
            raise ValueError(
                f"`memory` must have the shape (B, S, S_in). Received: memory.shape={memory.shape}"
            )
    layers = stacked_layers(maps, cross, memory)
    batch, steps = next(iter(layers.values())).shape[:2]
    own = np.broadcast_to(np.eye(steps), (batch, steps, steps))
    others = np.zeros((batch, steps, 0 if memory is None else memory.shape[-1]))
    rollout = np.concatenate([own, others], axis=-1)  # (B, T, T + S_in)
    for name, weights in layers.items():
        if name in cross:
            rollout[..., steps:] += weights @ memory
            rollout /= 1 + weights.sum(axis=-1, keepdims=True)  # 2, but 1 for a row of zeros
        elif is_pooling(weights):
            rollout = np.einsum("b...t,bts->b...s", weights, rollout)
        else:
            rollout = with_residual(weights) @ rollout
    return rollout if memory is None else (rollout[..., :steps], rollout[..., steps:])


def with_residual(weights: np.ndarray) -> np.ndarray:
    """`A = (W + I) / 2`, and I in a row of zeros."""
    attention = weights + np.eye(weights.shape[-1])
    return attention / attention.sum(axis=-1, keepdims=True)  # by 2, but 1 for a row of zeros


def is_pooling(weights: np.ndarray) -> bool:
    """Whether these weights of `stacked_layers`, not of cross-attention, are a pooling layer's."""
    return weights.ndim == 2 or weights.shape[1] != weights.shape[2]


def stacked_layers(
    maps: Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike],
    cross: Collection[str | int] = (),
    memory: np.ndarray | None = None,
) -> dict[Any, np.ndarray]:
    """The weights of layers that follow each other, the mean over the heads.

    Returns:
        Dict from name or index to `(B, T, T)`, for `cross` `(B, T, S)`, from the first layer to the
        last, which may be a pooling layer's `(B, T)` or `(B, Q, T)`.

    Raises:
        ValueError: If there are no weights, or they do not fit each other or the memory.
    """
    named: dict[Any, Any] = dict(maps if isinstance(maps, Mapping) else enumerate(maps))
    if not named:
        raise ValueError("`maps` must hold the weights of at least one layer. Received: none")
    if any(name not in named for name in cross):
        raise ValueError(
            f"`cross` must hold names or indices of layers in `maps`, which are {list(named)}. "
            f"Received: cross={cross!r}"
        )
    layers = {name: np.asarray(weights, "float64") for name, weights in named.items()}
    layers = {name: w.mean(axis=1) if w.ndim == 4 else w for name, w in layers.items()}
    batch, steps = (*next(iter(layers.values())).shape, None, None)[:2]
    on_top = list(layers)[1:][-1:]  # a pooling layer needs one below
    shapes = {name: np.shape(weights) for name, weights in named.items()}
    for name, weights in layers.items():
        if memory is not None and name in cross:
            if len(memory) != batch or weights.shape != (batch, steps, memory.shape[1]):
                raise ValueError(
                    "The layers of `cross` must be over the steps of `memory`, (B, T, S) or "
                    f"(B, H, T, S). Received: {name!r} among {shapes}, memory.shape={memory.shape}"
                )
        elif weights.shape != (batch, steps, steps):
            ends = (*weights.shape[:1], *weights.shape[-1:])
            if name not in on_top or weights.ndim not in (2, 3) or ends != (batch, steps):
                raise ValueError(
                    "`maps` must be self-attention over the same steps in each layer, (B, T, T) or "
                    "(B, H, T, T), and last perhaps a pooling of these steps, (B, T) or (B, Q, T); "
                    "remove the others (cross-attention: see `memory` of `attention_rollout`). "
                    f"Received: {name!r} among {shapes}"
                )
    return layers
