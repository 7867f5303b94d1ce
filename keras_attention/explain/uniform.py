"""A model whose attention weighs all steps alike, to train and compare with."""

import contextlib

import keras

from keras_attention.explain.intercept import intercepted, paths_of_layers
from keras_attention.explain.permutation import has_normalizer, instead_of
from keras_attention.layer import layers_below
from keras_attention.layers.base import AttentionLayer
from keras_attention.layers.transformer_block import TransformerBlock, serialize


def with_uniform_attention(model: keras.Model) -> keras.Model:
    """A new, untrained model in which all attention weights are equal.

    The same architecture, but each attention layer of this package has the normalizer `"uniform"`,
    also inside blocks, wrappers, decoders and models. Compile and train it as the first, and
    compare: if it is as good, the task does not need attention, and the weights of the first can
    explain little. If it is worse, the weights carry something.

    All weights start anew. What came from elsewhere must be set again: a pretrained embedding, the
    vocabulary of an adapted `TextVectorization`. Gates without a normalizer, such as
    `ChannelAttention`, stay as they are, and so does the window of a `LocalAttention`.

    Args:
        model: A built model, functional or sequential; or of a class whose `get_config` holds its
            layers.

    Returns:
        A model of the same class, not compiled.

    Raises:
        ValueError: If the model has no attention layer with a normalizer; if it has one of Keras,
            or one such as `MonotonicAttention`, whose weights can't be made equal; if the class of
            a model makes an attention layer itself.

    Example:
        >>> features = keras.Input((None, 4))
        >>> pooled = ka.AttentionPooling(name="pool")(features)
        >>> model = keras.Model(features, keras.layers.Dense(2, activation="softmax")(pooled))
        >>> same = ka.with_uniform_attention(model)
        >>> print(ka.attention_maps(same, keras.random.normal((1, 4, 4)))["pool"])
        [[0.25 0.25 0.25 0.25]]

    Reference:
        Wiegreffe & Pinter, 2019, section 3.2, https://arxiv.org/abs/1908.04626
        As in the paper.
    """
    paths = paths_of_layers(model)
    if not any(map(has_normalizer, paths)):
        raise ValueError(
            "`model` must have an attention layer of `keras_attention` with a normalizer. "
            f"Received: model={model.name!r} with layers {[layer.name for layer in paths]}"
        )
    for layer in paths:
        # Without a normalizer: of Keras, or with weights of another kind.
        is_fixed = isinstance(layer, AttentionLayer) and not has_normalizer(layer)
        if is_fixed or instead_of(layer):
            raise ValueError(
                "`model` must have attention layers that take a normalizer. Received: "
                f"{layer.name!r}, a `{type(layer).__name__}`{instead_of(layer)}"
            )
    with contextlib.ExitStack() as stack:
        for layer in paths:
            if has_normalizer(layer):
                stack.enter_context(intercepted(layer, "get_config", _uniform_config))
            elif isinstance(layer, TransformerBlock):
                stack.enter_context(intercepted(layer, "get_config", _block_config(layer)))
        clone = keras.models.clone_model(model)
    if not clone.built and model.get_build_config():
        clone.build_from_config(model.get_build_config())
    for _, layer in layers_below(clone):
        if has_normalizer(layer) and layer.get_config()["normalizer"] != "uniform":
            raise ValueError(
                "`model` must get its attention layers from its config, as functional models do. "
                f"Received: model={model.name!r}, whose class makes {layer.name!r} itself"
            )
    return clone


def _uniform_config(original):
    return {**original(), "normalizer": "uniform"}


def _block_config(block):
    """The config of a block with the layers in it, also those that the block made itself."""

    def get_config(original):
        config = original()
        made = {"attention": "self_attention", "memory_attention": "cross_attention"}
        for name, attribute in made.items():
            layer = getattr(block, attribute, None)
            if layer is not None:
                config |= {name: serialize(layer), "num_heads": None}
        return config

    return get_config
