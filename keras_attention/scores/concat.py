"""Concat score: of query, key and their combinations."""

from typing import Unpack

import keras
from keras import ops

from keras_attention import checks
from keras_attention.scores.score import Score
from keras_attention.types import Activation, Initializer, LayerOptions, State, Tensor

_PAIRWISE = {
    "q*k": ops.multiply,
    "q-k": ops.subtract,
    "|q-k|": lambda query, key: ops.abs(query - key),
}
_TERMS = ("q", "k", *_PAIRWISE)


@keras.saving.register_keras_serializable(package="keras_attention")
class ConcatScore(Score):
    """Concat score (Luong): a learned function of query, key and their combinations.

        score(q, k) = v . activation(W [t_1; t_2; ...] + b)      with a hidden layer, or
        score(q, k) = w . [t_1; t_2; ...]                        linear, for `activation=None`

    A linear score of `[q; k]` is `w_q . q + w_k . k`: its first term is the same for every key and
    cancels in a softmax, so the weights would not depend on the query. Without a hidden layer
    `"q,k"` alone is therefore an error; use a combination such as `"q,k,q*k"`.

    The products of the `q` and `k` terms are shared among all pairs; every other term costs
    O(T S D U) time and O(T S max(D, U)) memory.

    Args:
        combination: Comma-separated terms among `q`, `k`, `q*k`, `q-k`, `|q-k|`. The last three
            need queries and keys of the same size.
        units: Positive integer U, the size of the hidden layer; `None` for the size of the key.
        activation: Activation of the hidden layer; `None` for the linear score.
        use_bias: Whether to add b.
        kernel_initializer: Initializer of W, v and w.

    Raises:
        ValueError: If `combination` has an unknown or repeated term; if `units` is not a positive
            integer or `None`; without `activation`, if no term is of both query and key or `units`
            is given; if query and key differ in size where they must not.

    Example:
        >>> score = ka.ConcatScore("q,k,q*k", activation=None)
        >>> score(keras.ops.ones((2, 3, 4)), keras.ops.ones((2, 5, 4))).shape == (2, 3, 5)
        True

    Reference:
        Luong, Pham & Manning, 2015, section 3.1 (concat), https://arxiv.org/abs/1508.04025
        The default is the paper's. Combinations: Seo et al., 2017, section 2, item 4,
        https://arxiv.org/abs/1611.01603 (`"q,k,q*k"`, linear).
    """

    def __init__(
        self,
        combination: str = "q,k",
        units: int | None = None,
        activation: Activation = "tanh",
        use_bias: bool = False,
        kernel_initializer: Initializer = "glorot_uniform",
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**kwargs)
        terms = combination.replace(" ", "").split(",") if isinstance(combination, str) else []
        if not terms or len(set(terms)) < len(terms) or not set(terms) <= set(_TERMS):
            raise ValueError(
                f"`combination` must list different terms out of {', '.join(_TERMS)}. "
                f"Received: combination={combination!r}"
            )
        self.terms = terms
        self.combination = combination
        self.units = checks.positive_integer("units", units, optional=True)
        self.activation = keras.activations.get(activation)
        if activation is None and not set(terms) & set(_PAIRWISE):
            raise ValueError(
                "A linear score needs a term of both query and key, such as 'q,k,q*k': without "
                "one the weights do not depend on the query. "
                f"Received: combination={combination!r}, activation=None"
            )
        if activation is None and units is not None:
            raise ValueError(
                f"A linear score has no hidden layer. Received: activation=None, units={units}"
            )
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    @property
    def _is_linear(self):
        return self.activation is keras.activations.linear

    def build(self, query_shape, key_shape):
        pairwise = [term for term in self.terms if term in _PAIRWISE]
        if pairwise:
            self.check_same_size(query_shape, key_shape)
        units = 1 if self._is_linear else self.units or key_shape[-1]
        self.term_dense = []
        for index, term in enumerate(self.terms):
            dense = self._dense(units, f"term_{index}", use_bias=self.use_bias and index == 0)
            dense.build(query_shape if term == "q" else key_shape)
            self.term_dense.append(dense)
        if not self._is_linear:
            self.score_dense = self._dense(1, "score")
            self.score_dense.build((None, units))
        self.built = True

    def prepare_key(self, key: Tensor) -> State:
        """A list of the projected key, if a term is `k`, and of the key itself for other terms."""
        layers = dict(zip(self.terms, self.term_dense, strict=True))
        projected = [layers["k"](key)] if "k" in layers else []  # (..., S, U)
        return projected + ([key] if set(self.terms) & set(_PAIRWISE) or not projected else [])

    def compare(self, query: Tensor, prepared: State, start: int | Tensor) -> Tensor:
        """The scores `(..., T, S)`; see `Score.compare`."""
        query_step = ops.expand_dims(query, -2)  # (..., T, 1, D)
        prepared = [ops.expand_dims(x, -3) for x in prepared]  # (..., 1, S, _)
        hidden = 0.0
        for term, dense in zip(self.terms, self.term_dense, strict=True):
            if term == "q":
                part = dense(query_step)
            elif term == "k":
                part = prepared[0]
            else:
                part = dense(_PAIRWISE[term](query_step, prepared[-1]))  # (..., T, S, U)
            hidden = hidden + part  # (..., T, S, U) by broadcasting
        if not self._is_linear:
            hidden = self.score_dense(self.activation(hidden))
        scores = ops.squeeze(hidden, -1)
        if len(self.terms) == 1 and self.terms[0] in "qk":  # only of the query or only of the key
            pairs = (*ops.shape(query)[:-1], ops.shape(prepared[0])[-2])
            scores = ops.broadcast_to(scores, pairs)
        return scores

    @property
    def pair_size(self) -> int:
        """How many numbers are computed for each pair of a query and a key."""
        pairwise = [
            dense.kernel.shape[0]
            for term, dense in zip(self.terms, self.term_dense, strict=True)
            if term in _PAIRWISE
        ]
        return self.term_dense[0].kernel.shape[1] + sum(pairwise)

    def get_config(self):
        return {
            **super().get_config(),
            "combination": self.combination,
            "units": self.units,
            "activation": None if self._is_linear else keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
