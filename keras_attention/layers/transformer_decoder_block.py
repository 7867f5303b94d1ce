"""Transformer decoder block."""

from typing import Any, Unpack

import keras

from keras_attention import checks
from keras_attention.functional import masks
from keras_attention.layers.transformer_block import (
    TransformerBlock,
    attend,
    attention_layer,
    serialize,
)
from keras_attention.types import Activation, LayerOptions, Outputs, State, Tensor


@keras.saving.register_keras_serializable(package="keras_attention")
class TransformerDecoderBlock(TransformerBlock):
    """Transformer decoder block: causal self-attention, cross-attention, feed-forward network.

        y = norm(x + attention(x, x));  z = norm(y + memory_attention(y, memory))
        output = norm(z + feedforward(z))

    in post-norm; in pre-norm each norm comes first, as in `TransformerEncoderBlock`. Without a
    memory (a language model) there is no cross-attention. The first call decides, with a memory or
    without; later calls must do the same.

    **Decoding** step by step keeps the past keys and values in a KV cache of plain tensors; see
    `MultiHeadAttention` for the cache and for prompts of unequal lengths:

        cache = block.initial_cache(batch_size, max_length, memory, memory_mask)
        output, cache = block.step(prompt, cache, 0)  # (B, T, D)
        output, cache = block.step(x, cache, T)  # (B, 1, D), the same as the call's last step

    Masking: see the layer contract (docs/contract.md). The outputs of masked inputs are zeros; the
    mask of the inputs is passed on.

    Args:
        intermediate_dim: Positive integer, the size of the feed-forward network's hidden layer.
        num_heads: Positive integer that divides D, to make a `MultiHeadAttention` where no
            attention layer is given.
        attention: The self-attention, a layer called with `(query, value, use_causal_mask=True)`
            that returns D features, or `None`.
        memory_attention: The cross-attention, a layer called with `(query, value)` that returns D
            features, or `None`.
        activation: Activation of the hidden layer.
        dropout, norm_first, epsilon, seed: As in `TransformerEncoderBlock`.

    Call arguments:
        inputs: Float tensor `(B, T, D)`.
        memory: Float tensor `(B, S, M)`, such as an encoder's output, or `None`.
        mask, inputs_mask, memory_mask: Boolean masks, as in the contract.
        attention_mask: Boolean mask of the self-attention, as in the contract.
        segment_ids: Integers `(B, T)` of the inputs, as in the contract.
        return_attention_scores, training: As in the contract.

    Returns:
        A tensor `(B, T, D)`; with `return_attention_scores` also the weights, which are
        `(B, H, T, T)` without a memory, and with one a dict of `"inputs"` `(B, H, T, T)` and
        `"memory"` `(B, H, T, S)`.

    Raises:
        ValueError: If a number is out of range or `activation` unknown; if neither `num_heads` nor
            `attention` is given, or `num_heads` as well as both layers; if the memory does not fit
            the arguments or the first call; if `num_heads` does not divide D; if a layer belongs to
            another block, cannot be called as described or does not return D features; if a mask
            has a float dtype or another shape.

    Example:
        >>> block = ka.TransformerDecoderBlock(intermediate_dim=16, num_heads=2)
        >>> x, memory = keras.ops.ones((2, 3, 8)), keras.ops.ones((2, 5, 6))
        >>> output, weights = block(x, memory, return_attention_scores=True)
        >>> tuple(weights["inputs"].shape), tuple(weights["memory"].shape)
        ((2, 2, 3, 3), (2, 2, 3, 5))

        A language model as GPT, of one block: the prompt in one step, then one token at a time.

        >>> attention = ka.MultiHeadAttention(2, 4, position=ka.RotaryPositionEmbedding())
        >>> block = ka.TransformerDecoderBlock(16, attention=attention, norm_first=True)
        >>> embedding, head = keras.layers.Embedding(20, 8), keras.layers.Dense(20)
        >>> tokens = keras.ops.array([[3, 1, 4]])
        >>> at_once = block(embedding(tokens))  # builds the block
        >>> cache = block.initial_cache(batch_size=1, max_length=6)
        >>> output, cache = block.step(embedding(tokens), cache, 0)
        >>> for index in range(3, 6):
        ...     token = keras.ops.argmax(head(output[:, -1:]), axis=-1)  # (1, 1)
        ...     tokens = keras.ops.concatenate([tokens, token], axis=1)
        ...     output, cache = block.step(embedding(token), cache, index)
        >>> difference = output - block(embedding(tokens))[:, -1:]
        >>> bool(keras.ops.max(keras.ops.abs(difference)) < 1e-5)
        True

    Reference:
        Vaswani et al., 2017, sections 3.1, 3.3 and 5.4, https://arxiv.org/abs/1706.03762
        As in the paper, with dropout of the weights too.
        Xiong et al., 2020, section 3.1 (pre-norm), https://arxiv.org/abs/2002.04745
    """

    def __init__(
        self,
        intermediate_dim: int,
        num_heads: int | None = None,
        attention: keras.layers.Layer | None = None,
        memory_attention: keras.layers.Layer | None = None,
        activation: Activation = "relu",
        dropout: float = 0.0,
        norm_first: bool = False,
        epsilon: float = 1e-5,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(
            intermediate_dim,
            num_heads,
            attention,
            activation,
            dropout,
            norm_first,
            epsilon,
            seed,
            **kwargs,
        )
        self.memory_attention = attention_layer("memory_attention", memory_attention)
        if num_heads is None and attention is None:
            raise ValueError(
                "Give either `num_heads` or `attention`. Received: num_heads=None, attention=None"
            )
        if None not in (num_heads, attention, memory_attention):
            raise ValueError(
                "`num_heads` has no use where both attention layers are given. "
                f"Received: num_heads={num_heads}"
            )

    def build(self, inputs_shape, memory_shape=None):
        checks.sequence("inputs", inputs_shape)
        self.self_attention, self.attention_norm = self._build_attention(
            "attention", self.attention, inputs_shape, inputs_shape, use_causal_mask=True
        )
        self.uses_memory = memory_shape is not None
        if self.uses_memory:
            checks.sequence("memory", memory_shape)
            if self.num_heads is None and self.memory_attention is None:
                raise ValueError(
                    "A block that is called with a memory needs `num_heads` or `memory_attention`. "
                    f"Received: neither, and memory_shape={tuple(memory_shape)}"
                )
            self.cross_attention, self.memory_norm = self._build_attention(
                "memory_attention", self.memory_attention, inputs_shape, memory_shape, salt=1
            )
        elif self.memory_attention is not None:
            raise ValueError(
                "A block with a `memory_attention` must be called with a memory. Received: "
                f"memory=None, memory_attention={self.memory_attention}"
            )
        self._build_feedforward(inputs_shape)
        self.built = True

    def call(
        self,
        inputs: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        inputs_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        segment_ids: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Outputs:
        """Computes the block for a whole sequence, as in training; `step` decodes with a cache.

        Arguments not listed here: see the layer contract (docs/contract.md).

        Args:
            inputs: Float tensor `(B, T, D)`.
            memory: Float tensor `(B, S, M)`, or `None` as in the first call.

        Returns:
            The output `(B, T, D)`; with `return_attention_scores` a tuple of it and the weights,
            which are `(B, H, T, T)` without a memory, and with one a dict of `"inputs"`
            `(B, H, T, T)` and `"memory"` `(B, H, T, S)`.

        Raises:
            ValueError: If the first call had a memory and this one has none, or the reverse.
        """
        self._check_memory(memory is not None)
        inputs, memory = self.floats(inputs, memory)
        mask = masks.of_steps("inputs", inputs, mask=mask, inputs_mask=inputs_mask)  # (B, T)
        if self.uses_memory:
            memory_mask = masks.of_steps("memory", memory, memory_mask=memory_mask)

        def attention(x):
            return attend(
                self.self_attention,
                x,
                x,
                return_attention_scores,
                query_mask=mask,
                value_mask=mask,
                attention_mask=attention_mask,
                segment_ids=segment_ids,
                use_causal_mask=True,
                training=training,
            )

        def memory_attention(x):
            return attend(
                self.cross_attention,
                x,
                memory,
                return_attention_scores,
                query_mask=mask,
                value_mask=memory_mask,
                training=training,
            )

        x = masks.blank(inputs, mask)  # (B, T, D)
        x, weights = self._sublayer(x, self.attention_norm, attention, training)
        if self.uses_memory:
            x, over_memory = self._sublayer(x, self.memory_norm, memory_attention, training)
            weights = {"inputs": weights, "memory": over_memory}
        x = masks.blank(self._feedforward(x, training), mask)
        return (x, weights) if return_attention_scores else x

    def initial_cache(
        self,
        batch_size: int | Tensor,
        max_length: int,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> State:
        """An empty KV cache of the self-attention, and the memory's keys and values.

        Args:
            batch_size: Integer or scalar tensor B.
            max_length: Integer, the maximum number of prompt and generated steps together.
            memory: Float tensor `(B, S, M)`, or `None` as in the first call.
            memory_mask: Boolean `(B, S)`, or `None`.

        Returns:
            Dict of the KV caches `"inputs"` and, with a memory, `"memory"`, each as
            `MultiHeadAttention` has it.

        Raises:
            ValueError: If the block is not built, if it was built with a memory and gets none or
                the reverse, or if an attention layer has no cache.
        """
        self._check_memory(memory is not None)
        layers = [self.self_attention] + ([self.cross_attention] if self.uses_memory else [])
        for layer in layers:
            if not hasattr(layer, "memory_cache"):
                raise ValueError(
                    "Decoding with a cache needs attention layers that have one, as "
                    f"`MultiHeadAttention` has. Received: {layer}"
                )
        cache = {"inputs": self.self_attention.initial_cache(batch_size, max_length)}
        if self.uses_memory:
            cache["memory"] = self.cross_attention.memory_cache(memory, value_mask=memory_mask)
        return cache

    def step(
        self,
        inputs: Tensor,
        cache: State,
        index: int | Tensor,
        inputs_mask: Tensor | None = None,
        segment_ids: Tensor | None = None,
        return_attention_scores: bool = False,
    ) -> tuple[Any, ...]:
        """Computes the block for T new steps, with the KV cache.

        Args:
            inputs: Float tensor `(B, T, D)`: a prompt, or one step.
            cache: What `initial_cache` or the step before returned.
            index: Integer or scalar tensor, the position in the cache of the first of these steps.
            inputs_mask: Boolean `(B, T)`, or `None`; kept in the cache.
            segment_ids: Integers `(B, T)`, or `None`; as in `MultiHeadAttention.step`.
            return_attention_scores: Whether to return the weights too.

        Returns:
            A tuple of the output `(B, T, D)` and the new cache; with `return_attention_scores` the
            weights are between them, as in a call, but over all steps of the cache.

        Raises:
            ValueError: If the block is not built, if the cache is that of a block with a memory and
                this one has none or the reverse, or if the steps do not fit into the cache.
        """
        self._check_memory("memory" in cache)
        cache = dict(cache)
        segments = {} if segment_ids is None else {"segment_ids": segment_ids}

        def attention(x):
            output, weights, cache["inputs"] = self.self_attention.step(
                x, cache["inputs"], index, inputs_mask, return_attention_scores=True, **segments
            )
            return output, weights

        def memory_attention(x):
            return self.cross_attention.step(
                x, cache["memory"], query_mask=inputs_mask, return_attention_scores=True
            )[:2]

        x = masks.blank(keras.ops.cast(inputs, self.compute_dtype), inputs_mask)
        x, weights = self._sublayer(x, self.attention_norm, attention)
        if self.uses_memory:
            x, over_memory = self._sublayer(x, self.memory_norm, memory_attention)
            weights = {"inputs": weights, "memory": over_memory}
        x = masks.blank(self._feedforward(x), inputs_mask)
        return (x, weights, cache) if return_attention_scores else (x, cache)

    def _check_memory(self, has_memory):
        if not self.built:
            raise ValueError(
                f"Build or call the block {self.name!r} before it decodes step by step"
            )
        if has_memory != self.uses_memory:
            built, called = ("with", "without") if self.uses_memory else ("without", "with")
            raise ValueError(
                f"The block {self.name!r} was built {built} a memory and is now called {called} one"
            )

    def get_config(self):
        return {**super().get_config(), "memory_attention": serialize(self.memory_attention)}
