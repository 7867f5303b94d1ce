"""`keras-attention info`: what is in the file of a model."""

import json
import zipfile

import keras
import numpy as np

from keras_attention.explain.intercept import returns_weights
from keras_attention.layer import layers_below
from keras_attention.machine import versions
from keras_attention_command.files import load_model
from keras_attention_command.table import table


def run(arguments):
    """Prints what is in the file."""
    model = load_model(arguments.model, arguments.modules)
    layers = dict(layers_below(model))
    rows = [
        ("model", f"{model.name} ({type(model).__name__})"),
        *_tensors("input", getattr(model, "inputs", None)),
        *_tensors("output", getattr(model, "outputs", None), getattr(model, "output_names", None)),
        ("parameters", f"{model.count_params():,}, {_trainable(model):,} of them trainable"),
        ("precision", ", ".join(sorted({x.dtype_policy.name for x in layers.values()}))),
        ("size", f"{arguments.model.stat().st_size:,} bytes"),
        ("saved", _saved(arguments.model)),
        ("read by", f"Keras on {keras.backend.backend()}: {_versions()}"),
    ]
    print(table(rows, left=2))
    attention = {path: layer for path, layer in layers.items() if returns_weights(layer)}
    print(f"\nattention layers: {len(attention)}")
    if attention:
        print(table([_row(path, layer) for path, layer in attention.items()], left=4))


def _versions():
    return ", ".join(f"{name} {version}" for name, version in versions().items())


def _tensors(kind, tensors, names=None):
    if not tensors:
        return [(kind, "unknown: the model is a subclassed one")]
    names = names or [x.name for x in tensors]
    return [
        (kind, f"{name}  {x.dtype} {_shape(x.shape)}")
        for name, x in zip(names, tensors, strict=True)
    ]


def _trainable(model):
    return int(sum(np.prod(x.shape, dtype="int64") for x in model.trainable_variables))


def _saved(path):
    """The date and the version of Keras that the file itself names."""
    with zipfile.ZipFile(path) as archive:
        metadata = json.loads(archive.read("metadata.json"))
    return f"{metadata.get('date_saved', '?')}, by Keras {metadata.get('keras_version', '?')}"


def _row(path, layer):
    """Path, class, parameters and the shapes that the layer was built with."""
    return (
        path,
        type(layer).__name__,
        f"{layer.count_params():,} parameters",
        ", ".join(f"{name} {_shape(shape)}" for name, shape in _built_with(layer)),
    )


def _built_with(layer):
    """Pairs of an argument and its shape."""
    config = layer.get_build_config() or {}
    if "input_shape" in config:
        return [("input", config["input_shape"])]
    shapes = config.get("shapes_dict", {})
    return [(name.removesuffix("_shape"), shape) for name, shape in shapes.items() if shape]


def _shape(shape):
    """A shape as Keras writes it, also one of a config, which is a list.

    >>> _shape([None, 3])
    '(None, 3)'
    """
    return str(tuple(shape))
