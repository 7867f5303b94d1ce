"""The types in the annotations of the package. Keras ships none: its layers are `Any` to a checker.

What cannot be said is said by a name: a `Tensor` is whatever the backend, NumPy or a list can give.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypedDict

# A tensor of the backend, a `keras.KerasTensor`, or anything that Keras converts to a tensor.
Tensor: TypeAlias = Any
# A tensor, or a tuple of it and of what was asked for beside it, such as the weights.
Outputs: TypeAlias = Any
# A tensor or a structure of tensors whose first axis is the batch: a memory, a state, a cache.
State: TypeAlias = Any

# Sizes of axes, `None` for an unknown one.
Shape: TypeAlias = Sequence[int | None]
# A name or a function `(scores, mask=None) -> weights`.
Normalizer: TypeAlias = str | Callable[..., Tensor]
# A name, a function of one tensor, or `None` for none.
Activation: TypeAlias = str | Callable[[Tensor], Tensor] | None
# What `keras.initializers.get` takes, and likewise below: a name, a config or an instance.
Initializer: TypeAlias = Any
Regularizer: TypeAlias = Any
Constraint: TypeAlias = Any


class NameAndType(TypedDict, total=False):
    """The keyword arguments that every Keras layer takes."""

    name: str | None
    dtype: Any  # a name, a `keras.DTypePolicy` or its config
    trainable: bool
    autocast: bool


class LayerOptions(NameAndType, total=False):
    """Those that a layer takes which names no `activity_regularizer` of its own."""

    activity_regularizer: Regularizer
