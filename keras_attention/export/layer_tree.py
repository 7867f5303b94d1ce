"""The layers inside a model, each with its path."""


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
