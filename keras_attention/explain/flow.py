"""Attention flow through several layers."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from keras_attention.explain.rollout import is_pooling, stacked_layers, with_residual

_UNIT = 2**30  # the integer capacity that stands for 1: a flow of 1 still fits 32 bits


def attention_flow(
    maps: Mapping[str, npt.ArrayLike] | Sequence[npt.ArrayLike],
    steps: Sequence[int] | None = None,
) -> np.ndarray:
    """Attention flow: how much can flow through stacked self-attention layers, from step to step.

    The steps of all layers are the nodes of a network. From step t of layer l an edge leads to each
    step s below it, with the capacity

        A_l[t, s];  A_l = (W_l + I) / 2

    W_l is the mean over the heads of layer l, and I stands for the residual connection around it.
    The result at (t, s) is the maximum flow from step t of the last layer to input step s: the most
    that can have come from there. It is at least `ka.attention_rollout`, which shares out what each
    step holds. Each s has a flow of its own, so rows do not sum to one; compare within a row. Where
    the attention is spread over many steps, flows are near 1 and alike.

    Pooling: weights of a pooling layer may come last, as in `ka.attention_rollout`; they are the
    capacities of the first edges, without a residual. Cross-attention is not supported.

    Masking: a row of zeros, as of padding, sends to itself; nothing else reaches padding.

    Cost: for each example one maximum flow for each t and s that a path joins, over up to
    `(L - 2) T^2` edges of L layers: for 4 layers of 32 steps some seconds an example on one CPU
    core, for 6 layers of 64 steps up to half a minute. `steps` computes fewer. Through one or two
    layers the flow is a sum, which costs next to nothing and needs no SciPy.

    Args:
        maps: The result of `ka.attention_maps`, or a list of weights from the first layer to the
            last; non-negative arrays `(B, T, T)` or `(B, H, T, T)`, and last perhaps a pooling
            layer's `(B, T)` or `(B, Q, T)`.
        steps: Indices of the steps of the last layer, or of the queries of a pooling layer
            `(B, Q, T)`, that flows start from, such as `[0]` for a class token; `None` for all.

    Returns:
        NumPy array `(B, T, T)`, or `(B, len(steps), T)`; after pooling `(B, T)` or `(B, Q, T)`. The
        flows are from 0 to 1 if the rows of pooling weights sum to at most one. Through three
        layers and more capacities are rounded down to multiples of 2^-30, about 1e-9.

    Raises:
        ImportError: If there are more than two layers and SciPy is missing.
        ValueError: If there are no weights, they do not fit each other, or they are negative or not
            finite; if `steps` holds others than steps of the last layer.

    Example:
        >>> inputs = keras.Input((None, 4))
        >>> attention = ka.MultiHeadAttention(num_heads=2, key_dim=3)
        >>> x = keras.layers.Add()([inputs, attention(inputs, inputs)])
        >>> model = keras.Model(inputs, keras.layers.Add()([x, ka.SelfAttention()(x)]))
        >>> maps = ka.attention_maps(model, keras.ops.ones((2, 5, 4)))
        >>> ka.attention_flow(maps).shape
        (2, 5, 5)

    Reference:
        Abnar & Zuidema, 2020, section 3, https://arxiv.org/abs/2005.00928
        As in the paper; the authors' code divides each row by its sum. Pooling is not in the paper.
    """
    capacities = []  # (B, T, T) from the first layer up; of a pooling layer (B, Q, T)
    for name, weights in stacked_layers(maps).items():
        if not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError(
                "`maps` must hold finite numbers that are not negative. Received: others in "
                f"{name!r}"
            )
        capacities.append(weights if is_pooling(weights) else with_residual(weights))
    is_vector = capacities[-1].ndim == 2  # the result has no axis of steps or queries
    if is_vector:
        capacities[-1] = capacities[-1][:, None]
    if steps is not None:
        capacities[-1] = capacities[-1][:, _checked_steps(steps, capacities[-1], is_vector)]
    *below, top = capacities
    flows = top.copy()
    if below:
        for example, layers in enumerate(zip(top, *below, strict=True)):
            flows[example] = _flows(*layers)
    return flows[:, 0] if is_vector else flows


def _checked_steps(steps, top, is_vector):
    """The steps as a list."""
    steps, count = list(steps), top.shape[1]
    if is_vector:
        raise ValueError(
            "`steps` must be `None` where the last weights are (B, T), one vector for each "
            f"example. Received: steps={steps}"
        )
    if not all(isinstance(i, int | np.integer) and -count <= i < count for i in steps):
        raise ValueError(
            f"`steps` must be integers from {-count} to {count - 1}, steps of the last layer. "
            f"Received: steps={steps}"
        )
    return steps


def _flows(top, first, *between):
    """Maximum flows `(R, T)` of one example, from each row of the last layer to each input step."""
    flows = np.zeros(top.shape)
    if not between:  # each step between has one edge from t and one to s: the smaller limits it
        for t, row in enumerate(top):
            flows[t] = np.minimum(row[:, None], first).sum(axis=0)
        return flows
    try:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import maximum_flow
    except ImportError as error:
        raise ImportError(
            "Attention flow through more than two layers needs SciPy, which cannot be imported: "
            'pip install "keras-attention-layers[explain]"'
        ) from error

    # More than 1 cannot leave a step. Rows of a pooling layer may have any sum, and SciPy may have
    # 32 bits for the whole flow.
    top = np.minimum(top, 1.0)
    unit = _UNIT / max(1.0, top.sum(axis=-1).max(initial=0.0))
    top, first = ((unit * x).astype("int32") for x in (top, first))  # rounded down
    between = (unit * np.stack(between[::-1])).astype("int32")  # from above
    # Nodes: the source, the steps of each layer but the last from above, the sink. The edges of the
    # source and to the sink are those of one row and one column; those between are shared.
    steps = len(first)
    layer, _, to = np.nonzero(between)
    sink = 1 + (len(between) + 1) * steps
    columns = [1 + np.arange(steps), 1 + (layer + 1) * steps + to, np.full(steps, sink)]
    columns = np.concatenate(columns).astype("int32")
    inner = np.count_nonzero(between, axis=-1).ravel()
    starts = np.concatenate([[0, steps], inner, np.ones(steps, "int32"), [0]])
    starts = np.cumsum(starts).astype("int32")  # of each node's edges
    inner = between[between > 0]
    is_joined = top > 0  # whether a path leads from a row to a step
    for capacities in [*between, first]:
        is_joined = is_joined @ (capacities > 0)
    for t, s in np.argwhere(is_joined):
        edges = np.concatenate([top[t], inner, first[:, s]])
        network = csr_array((edges, columns, starts), shape=(sink + 1, sink + 1))
        flows[t, s] = maximum_flow(network, 0, sink, method="dinic").flow_value
    return flows / unit
