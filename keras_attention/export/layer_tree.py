"""The layers of a model by the names of their nodes in TensorFlow."""

from keras_attention.layer import children, layers_below


def along(model, scopes):
    """The layers along a list of TensorFlow's name scopes, from the outside in."""
    layers, here = [], model
    for scope in scopes:
        below = _named(here, scope)
        if below is not None:
            layers.append(below)
            here = below
    return layers


def _named(layer, scope):
    """The layer inside another that a scope is named after, or `None`."""
    inside = {}
    for _, below in layers_below(layer):
        inside.setdefault(below.name, below)
    inside |= {below.name: below for below in reversed(children(layer))}  # the nearest first
    # TensorFlow numbers a scope that it enters again: dense, dense_1, dense_2.
    stem, _, suffix = scope.rpartition("_")
    if suffix.isdigit() and stem in inside:
        return inside[stem]
    return inside.get(scope)
