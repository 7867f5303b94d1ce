"""The base class of all layers of the package."""

import functools
from typing import Any

import keras
from keras import ops

from keras_attention.types import Tensor


class BaseLayer(keras.layers.Layer):
    """A layer whose sub-layers, made in `build`, keep their state through saving and loading.

    - If a layer is frozen before it is built, or loaded or cloned frozen, the sub-layers that its
      `build` makes are frozen too.
    - Changes to sub-layers after `build` (frozen, quantized, LoRA) are saved, and repeated when the
      layer is loaded.
    - `floats` casts integer inputs to the compute dtype.
    - Added losses have the dtype in which Keras sums the losses of a model.

    Raises:
        ValueError: If the layer is called with a list of tensors, or with a ragged tensor, in place
            of a tensor.
    """

    def __new__(cls, *args, **kwargs):
        layer = super().__new__(cls, *args, **kwargs)
        build = layer.build

        @functools.wraps(build)
        def build_and_freeze(*args, **kwargs):
            build(*args, **kwargs)
            if not layer.trainable:
                # Freezes the new sub-layers: setting the same value again would change nothing.
                layer.trainable = True
                layer.trainable = False

        layer.build = build_and_freeze
        return layer

    def __call__(self, *args, **kwargs):
        listed = args[0] if len(args) == 1 and isinstance(args[0], list | tuple) else []
        if len(listed) > 1 and all(hasattr(x, "shape") for x in listed):
            raise ValueError(
                f"`{type(self).__name__}` must be called as `layer(query, value)`, each tensor an "
                f"argument, not as `layer([query, value])`. Received: a list of {len(listed)} "
                "tensors"
            )
        for x in (*args, *kwargs.values()):
            if hasattr(x, "row_splits"):
                raise ValueError(
                    f"`{type(self).__name__}` must be called with dense tensors: pass "
                    "`x.to_tensor()` of a ragged tensor x, and a padding mask. Received: "
                    f"{type(x).__name__}"
                )
        return super().__call__(*args, **kwargs)

    def add_loss(self, loss):
        floatx = keras.config.floatx()  # the dtype in which Keras sums the losses of a model
        super().add_loss(keras.tree.map_structure(lambda x: ops.cast(x, floatx), loss))

    def floats(self, *tensors: Tensor | None) -> Any:
        """The tensors, with integers and booleans cast to the compute dtype; `None` stays `None`.

        Keras casts only floats; attention weights cast to the uint8 of an image would be 0.
        """
        cast = [x if x is None or _is_float(x) else self._as_float(x) for x in tensors]
        return cast[0] if len(cast) == 1 else cast

    def _as_float(self, x):
        return ops.cast(x, self.compute_dtype)

    def get_build_config(self):
        config, changes = super().get_build_config(), {}
        for path, layer in layers_below(self):
            change = _change(layer, self.trainable)
            if change:
                changes[path] = change
        return {**config, "changes": changes} if config and changes else config

    def build_from_config(self, config):
        if not config:
            return
        config = dict(config)
        changes = config.pop("changes", {})
        if not self.built:
            super().build_from_config(config)
        for path, layer in layers_below(self):
            _repeat_change(layer, changes.get(path, {}))


def _is_float(x):
    return "float" in keras.backend.standardize_dtype(getattr(x, "dtype", type(x)))


def layers_below(layer, above="", seen=None):
    """Pairs of a path such as `"encoder/attention/query"` and a layer, each layer once."""
    seen = {id(layer)} if seen is None else seen
    for below in children(layer):
        if id(below) not in seen:
            seen.add(id(below))
            path = f"{above}/{below.name}" if above else below.name
            yield path, below
            yield from layers_below(below, path, seen)


def children(layer):
    """The layers directly inside a layer or a model."""
    return list(layer._layers)  # Keras has no public list of them, except for models


def _change(layer, is_trainable):
    """The changes to a sub-layer after `build`, as plain data."""
    change = {}
    if layer.trainable != is_trainable:
        change["trainable"] = layer.trainable
    if getattr(layer, "quantization_mode", None) is not None:
        given = getattr(layer, "quantization_config", None)
        change["quantize"] = {
            "mode": layer.quantization_mode,
            "config": None if given is None else keras.saving.serialize_keras_object(given),
        }
    if getattr(layer, "lora_enabled", False):
        change["enable_lora"] = {"rank": layer.lora_rank, "lora_alpha": layer.lora_alpha}
    return change


def _repeat_change(layer, change):
    if "enable_lora" in change and not layer.lora_enabled:
        layer.enable_lora(**change["enable_lora"])
    if "quantize" in change and layer.quantization_mode is None:
        mode, given = change["quantize"]["mode"], change["quantize"]["config"]
        given = None if given is None else keras.saving.deserialize_keras_object(given)
        layer.quantize(mode if given is None else None, config=given)
    if "trainable" in change:
        layer.trainable = change["trainable"]
