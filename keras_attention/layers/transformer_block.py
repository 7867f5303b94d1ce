"""Base of the transformer blocks: sub-layers with residuals and norms, and the feed-forward one."""

import weakref
from typing import Any, Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.layers.base import TracedLayer
from keras_attention.layers.multi_head_attention import MultiHeadAttention
from keras_attention.types import Activation, LayerOptions

# From a given attention layer to its block and role.
_owners: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


class TransformerBlock(TracedLayer):
    """Base of the transformer blocks.

        post-norm:  x = norm(x + dropout(f(x)))      pre-norm:  x = x + dropout(f(norm(x)))

    for each sub-layer f: attentions, and last the feed-forward network
    `f(x) = W_2 activation(W_1 x + b_1) + b_2`.

    Args:
        intermediate_dim, num_heads, attention, activation, dropout, norm_first, epsilon, seed: As
            in `TransformerEncoderBlock`.

    Raises:
        ValueError: If a number is out of range, `activation` is unknown, or `attention` is no
            layer.
    """

    def __init__(
        self,
        intermediate_dim: int,
        num_heads: int | None = None,
        attention: keras.layers.Layer | None = None,
        activation: Activation = "relu",
        dropout: float = 0.0,
        norm_first: bool = False,
        epsilon: float = 1e-5,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.intermediate_dim = checks.positive_integer("intermediate_dim", intermediate_dim)
        self.num_heads = checks.positive_integer("num_heads", num_heads, optional=True)
        self.attention = attention_layer("attention", attention)
        self.activation = keras.activations.get(activation)
        self.dropout = checks.fraction("dropout", dropout)
        self.norm_first = bool(norm_first)
        self.epsilon = checks.positive("epsilon", epsilon)
        self.seed = seed
        if self.dropout:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def get_config(self):
        return {
            **super().get_config(),
            "intermediate_dim": self.intermediate_dim,
            "num_heads": self.num_heads,
            "attention": serialize(self.attention),
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "norm_first": self.norm_first,
            "epsilon": self.epsilon,
            "seed": self.seed,
        }

    def _build_attention(self, name, given, inputs_shape, memory_shape, salt=0, **kwargs):
        """The given attention layer, or a new `MultiHeadAttention`, built; and its norm.

        The layer is called with the `kwargs`, which it must accept.
        """
        size = inputs_shape[-1]
        if given is not None:
            self._own(name, given)
        else:
            if size % self.num_heads:
                raise ValueError(
                    "`num_heads` must divide the number of features. Received: "
                    f"num_heads={self.num_heads}, inputs_shape={tuple(inputs_shape)}"
                )
            given = MultiHeadAttention(
                self.num_heads,
                size // self.num_heads,
                dropout=self.dropout,
                seed=None if self.seed is None else self.seed + salt,
                dtype=self.dtype_policy,
                name=name,
            )
        shapes = {"query": inputs_shape, "value": memory_shape}
        specs = {k: keras.KerasTensor(x, dtype=self.compute_dtype) for k, x in shapes.items()}
        # A symbolic call builds a layer whatever its `build` takes, and gives its output.
        try:
            output = given(**specs, **kwargs)
        except TypeError as error:
            raise ValueError(
                f"`{name}` must be a layer called with `({', '.join([*specs, *kwargs])})`, such as "
                f"`MultiHeadAttention`, or `None`. Received: {name}={given!r}, which says: {error}"
            ) from error
        if output.shape[-1] != size:
            raise ValueError(
                f"`{name}` must return as many features as it gets, for the residual. Received: "
                f"inputs_shape={tuple(inputs_shape)}, output of {name}: {tuple(output.shape)}"
            )
        return given, self._build_norm(f"{name}_norm", inputs_shape)

    def _own(self, name, layer):
        """Raises a `ValueError` if the layer already belongs to another block or sub-layer."""
        owner, role = _owners.setdefault(layer, (weakref.ref(self), name))
        if owner() is None:
            _owners[layer] = weakref.ref(self), name
        elif owner() is not self or role != name:
            raise ValueError(
                f"`{name}` must be a layer of its own: a model whose blocks share one cannot be "
                "loaded from a file. To use weights twice, call one block twice. Received: "
                f"{name}={layer!r}, which is the {role} of {owner()!r}"
            )

    def _build_feedforward(self, inputs_shape):
        self.hidden_dense = keras.layers.Dense(
            self.intermediate_dim, self.activation, dtype=self.dtype_policy, name="hidden"
        )
        self.output_dense = keras.layers.Dense(
            inputs_shape[-1], dtype=self.dtype_policy, name="output"
        )
        self.hidden_dense.build(inputs_shape)
        self.output_dense.build((*inputs_shape[:-1], self.intermediate_dim))
        self.feedforward_norm = self._build_norm("feedforward_norm", inputs_shape)

    def _build_norm(self, name, inputs_shape):
        norm = keras.layers.LayerNormalization(
            epsilon=self.epsilon, dtype=self.dtype_policy, name=name
        )
        norm.build(inputs_shape)
        return norm

    def _sublayer(self, x, norm, function, training=False):
        """One sub-layer with residual and norm; `function` returns its output and the weights."""
        output, weights = function(norm(x) if self.norm_first else x)
        output = ops.cast(output, x.dtype)  # a given layer may have its own precision
        if training and self.dropout:
            output = keras.random.dropout(output, self.dropout, seed=self.seed_generator)
        x = x + output  # not `ops.add`, which on TensorFlow may take one of them for a bias
        return (x if self.norm_first else norm(x)), weights

    def _feedforward(self, x, training=False):
        def function(x):
            return self.output_dense(self.hidden_dense(x)), None

        return self._sublayer(x, self.feedforward_norm, function, training)[0]


def attend(layer, query, value, return_attention_scores, **kwargs):
    """Calls an attention layer without arguments that are `None` or `False`: it may lack them."""
    kwargs = {name: x for name, x in kwargs.items() if x is not None and x is not False}
    if return_attention_scores:
        return layer(query=query, value=value, return_attention_scores=True, **kwargs)
    return layer(query=query, value=value, **kwargs), None


def attention_layer(name, layer):
    """An attention layer or `None`, from itself or its config; else raises a `ValueError`."""
    if isinstance(layer, dict):
        layer = keras.saving.deserialize_keras_object(layer)
    if layer is None or isinstance(layer, keras.layers.Layer):
        return layer
    raise ValueError(
        f"`{name}` must be a layer called with `(query, value)`, such as `MultiHeadAttention`, or "
        f"`None`. Received: {name}={layer!r}"
    )


def serialize(layer):
    """The config of a layer, or `None`."""
    return None if layer is None else keras.saving.serialize_keras_object(layer)
