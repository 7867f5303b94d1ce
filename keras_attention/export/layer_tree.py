"""The layers inside a model by the names that TensorFlow gives their nodes."""

from keras_attention.layer import children, layers_below


def along(model, scopes):
    """The layers that a list of TensorFlow's name scopes runs through, from the outside in."""
    found, here = [], model
    for scope in scopes:
        below = _called(here, scope)
        if below is not None:
            found.append(below)
            here = below
    return found


def _called(layer, scope):
    """The layer inside another whose name a scope bears, or `None`."""
    inside = {}
    for _, below in layers_below(layer):
        inside.setdefault(below.name, below)
    inside |= {below.name: below for below in reversed(children(layer))}  # the nearest first
    # TensorFlow numbers a scope that it enters again: dense, dense_1, dense_2.
    stem, _, number = scope.rpartition("_")
    if number.isdigit() and stem in inside:
        return inside[stem]
    return inside.get(scope)
