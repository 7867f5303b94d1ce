"""Models in mixed precision, rebuilt in float32: TFLite's kernels have no half precision."""

import keras

from keras_attention.export.errors import ExportError
from keras_attention.export.layer_tree import layers_below

_HALF = ("float16", "bfloat16")


def in_float32(model):
    """The model if it computes in float32, else a copy in float32 with equal weights.

    The copy is made from the model's config with each dtype policy replaced by float32, while
    float32 is the global policy, for sub-layers without their own policy. Layers must therefore be
    registered and return their arguments in `get_config`.

    Raises:
        ExportError: If the model has no config, or its weights are quantized.
    """
    layers = {model.name: model} | dict(layers_below(model))
    quantized = [path for path, layer in layers.items() if _is_quantized(layer)]
    if quantized:
        raise ExportError(
            f"Layer `{quantized[0]}` is quantized, which TFLite's converter cannot read. Export "
            "the model as it was before `quantize`, with a form such as `tflite_int8`."
        )
    if not any(_in_half(layer) for layer in layers.values()):
        return model
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        copy = type(model).from_config(_float32(model.get_config()))
        if not copy.built:
            copy.build_from_config(model.get_build_config())
    except Exception as error:
        raise ExportError(
            f"Model `{model.name}` computes in half precision and cannot be rebuilt in float32 "
            f"from its config: {error}. Build it in float32 yourself, set its weights to those of "
            "this model, and export that."
        ) from error
    finally:
        keras.config.set_dtype_policy(policy)
    copy.set_weights(model.get_weights())
    return copy


def _in_half(layer):
    return layer.compute_dtype in _HALF or layer.variable_dtype in _HALF


def _is_quantized(layer):
    return getattr(layer.dtype_policy, "quantization_mode", None) is not None


def _float32(config):
    """A copy of a config in which each dtype or policy of half precision is float32."""
    if isinstance(config, dict):
        if config.get("class_name") in ("DTypePolicy", "DTypePolicyMap"):
            return keras.saving.serialize_keras_object(keras.DTypePolicy("float32"))
        return {key: _float32(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_float32(value) for value in config)
    halves = (*_HALF, *(f"mixed_{half}" for half in _HALF))
    return "float32" if isinstance(config, str) and config in halves else config
