"""Multi-head attention by fused kernels of other libraries, with the same projections.

Weights are those of `keras.layers.MultiHeadAttention`, in its order: query, key and value, each
`(D, H, K)` with a bias `(H, K)`, and output `(H, K, D)` with a bias `(D)`.
"""

import warnings

import numpy as np

from benchmarks import compiled


def torch_attention(weights, work, inputs, window=None, is_causal=False):
    """What an entry's `build` returns, with PyTorch's `scaled_dot_product_attention`.

    Args:
        weights: List of arrays.
        work: `"forward"` or `"training"`.
        inputs: Function from a length to an array `(B, T, D)`.
        window: Positive integer, or `None`. The kernel has no windows: it gets a mask `(T, T)`.
        is_causal: Whether the mask is causal.
    """
    import torch
    from torch.nn import functional

    # Its build for GPUs complains where there is none.
    warnings.filterwarnings("ignore", "CUDA initialization")
    on_gpu = compiled.is_on_gpu()
    kind = {
        "device": "cuda" if on_gpu else "cpu",
        "dtype": torch.bfloat16 if on_gpu else torch.float32,
    }
    is_training = work == "training"
    heads = weights[0].shape[1]
    matrices, biases = [], []
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        size = int(np.prod(np.shape(bias)))
        matrices.append(torch.tensor(np.reshape(kernel, (-1, size)).T.copy(), **kind))
        biases.append(torch.tensor(np.reshape(bias, -1), **kind))
    parameters = [p.requires_grad_(is_training) for p in (*matrices, *biases)]

    def call(x):
        batch, steps, _ = x.shape
        projected = [
            functional.linear(x, matrix, bias).view(batch, steps, heads, -1).transpose(1, 2)
            for matrix, bias in zip(matrices[:3], biases[:3], strict=True)
        ]
        mask = None
        if window is not None:
            places = torch.arange(steps, device=x.device)
            mask = (places[:, None] - places).abs() < window
        context = functional.scaled_dot_product_attention(
            *projected, attn_mask=mask, is_causal=is_causal
        )
        context = context.transpose(1, 2).reshape(batch, steps, -1)
        return functional.linear(context, matrices[3], biases[3])

    def prepare(length):
        x = torch.tensor(inputs(length), **kind).requires_grad_(is_training)

        def run():
            if is_training:
                return torch.autograd.grad(call(x).float().square().mean(), [x, *parameters])
            with torch.inference_mode():
                return call(x)

        return run

    return prepare


def jax_attention(weights, work, inputs, window=None, is_causal=False):
    """The same with `jax.nn.dot_product_attention`: cuDNN's kernel on a GPU."""
    import jax
    import jax.numpy as jnp

    weights = [jnp.asarray(weight, compiled.dtype()) for weight in weights]
    implementation = "cudnn" if compiled.is_on_gpu() else "xla"
    band = None if window is None else (window - 1, window - 1)

    def call(weights, x):
        query, key, value = (
            jnp.einsum("btd,dhk->bthk", x, kernel) + bias
            for kernel, bias in zip(weights[:6:2], weights[1:6:2], strict=True)
        )
        context = jax.nn.dot_product_attention(
            query,
            key,
            value,
            is_causal=is_causal,
            local_window_size=band,
            implementation=implementation,
        )
        return jnp.einsum("bthk,hkd->btd", context, weights[6]) + weights[7]

    def loss(weights, x):
        return jnp.mean(jnp.square(call(weights, x).astype("float32")))

    function = jax.jit(jax.grad(loss, argnums=(0, 1)) if work == "training" else call)

    def prepare(length):
        x = jnp.asarray(inputs(length), compiled.dtype())
        if compiled.is_on_gpu():
            return lambda: function(weights, x)
        return lambda: jax.block_until_ready(function(weights, x))

    return prepare
