"""What every layer of the package is, whatever else it is: the base of all classes."""

import functools

import keras
from keras import ops


class BaseLayer(keras.layers.Layer):
    """A layer whose sub-layers, made in `build`, are saved and loaded as they are.

    - A layer that is frozen before it is built, or loaded or cloned frozen, freezes what its
      `build` makes.
    - Of sub-layers that were changed after `build` (frozen, quantized, given low-rank parts) the
      change is saved, and made again when the layer is loaded.
    - `floats` casts integers at the door.
    - Lists and ragged tensors in the place of a tensor are refused in a sentence.
    - An added loss fits the model's, whatever dtype the layer computes in.
    """

    def __new__(cls, *args, **kwargs):
        layer = super().__new__(cls, *args, **kwargs)
        build = layer.build

        @functools.wraps(build)
        def build_and_freeze(*args, **kwargs):
            build(*args, **kwargs)
            if not layer.trainable:
                # Hands it down to the new sub-layers; the same value again would change nothing.
                layer.trainable = True
                layer.trainable = False

        layer.build = build_and_freeze
        return layer

    def __call__(self, *args, **kwargs):
        some = args[0] if len(args) == 1 and isinstance(args[0], list | tuple) else []
        if len(some) > 1 and all(hasattr(x, "shape") for x in some):
            raise ValueError(
                f"`{type(self).__name__}` must be called as `layer(query, value)`, its tensors one "
                f"after the other, not as `layer([query, value])`. Received: a list of {len(some)} "
                "tensors"
            )
        for x in (*args, *kwargs.values()):
            if hasattr(x, "row_splits"):
                raise ValueError(
                    f"`{type(self).__name__}` must be called with dense tensors: pass "
                    "`x.to_tensor()` of a ragged tensor x, and a mask of its steps. Received: "
                    f"{type(x).__name__}"
                )
        return super().__call__(*args, **kwargs)

    def add_loss(self, loss):
        floatx = keras.config.floatx()  # in which Keras adds the losses of a model up
        super().add_loss(keras.tree.map_structure(lambda x: ops.cast(x, floatx), loss))

    def floats(self, *tensors):
        """The tensors, integers and booleans among them in the dtype that the layer computes in.

        Keras casts floats alone, and a weight in an image's uint8 would be 0. `None` stays `None`.
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
            _make_again(layer, changes.get(path, {}))


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
    return list(layer._layers)  # Keras has no public way down into a layer that is no model


def _change(layer, is_trainable):
    """What was done to a sub-layer after it was made, as plain data."""
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


def _make_again(layer, change):
    if "enable_lora" in change and not layer.lora_enabled:
        layer.enable_lora(**change["enable_lora"])
    if "quantize" in change and layer.quantization_mode is None:
        mode, given = change["quantize"]["mode"], change["quantize"]["config"]
        given = None if given is None else keras.saving.deserialize_keras_object(given)
        layer.quantize(mode if given is None else None, config=given)
    if "trainable" in change:
        layer.trainable = change["trainable"]
