"""Beam search: several hypotheses per row, of which the best are returned."""

import dataclasses
from collections.abc import Callable
from typing import Any

from keras import ops

from keras_attention import checks
from keras_attention.decoding.stepper import Stepper, integer, pick, plain, write
from keras_attention.types import State, Tensor

# The score of an empty hypothesis. Finite, as infinities make NaN; far below any real one.
_NONE = -1e30
# In place of a coverage of 0, whose logarithm is infinite.
_UNSEEN = 1e-20


def beam_search(
    step: Callable[..., Any],
    start_token: int | Tensor,
    state: State,
    max_length: int,
    end_token: int | None = None,
    *,
    num_beams: int = 4,
    n_best: int = 1,
    length_penalty: float = 0.0,
    coverage_penalty: float = 0.0,
    memory_mask: Tensor | None = None,
    early_stop: bool = False,
    no_repeat_ngram_size: int = 0,
    pad_token: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Beam search: decodes the `num_beams` most probable hypotheses of each row in parallel.

        score(Y) = log P(Y) / lp(Y) + cp(Y)
        lp(Y) = ((5 + |Y|) / 6)^length_penalty
        cp(Y) = coverage_penalty * sum_s log(min(sum_t p_ts, 1))

    `|Y|` is the number of tokens with the end token; p_ts is the attention weight of memory step s
    when token t was chosen. Live hypotheses have equal lengths and are ranked by log P. A
    hypothesis that ends among the K best of its step is finished; the best finished ones of each
    row are kept with their scores. One that reaches `max_length` is finished too. With one beam and
    no penalties this is `greedy_search`; with at least V ** L beams it is exhaustive.

    **When a row stops.** Log P can only fall and lp only rise, and the coverage penalty is never
    above zero, so log P / lp at `max_length` is an upper bound for a live hypothesis. A row stops
    when its `n_best` finished hypotheses reach that bound for all live ones: the result is that of
    the full search. The loop stops with its last row; no row depends on the others.

    **N-gram blocking.** With `no_repeat_ngram_size` n no hypothesis contains n tokens in a row
    twice: a token that would complete such a repeat is not a candidate. The start token is no part
    of a hypothesis, and the end token is always allowed. Log P stays the model's own: the remaining
    probabilities are not renormalized. A hypothesis without any allowed token is dropped.

    One `ops.while_loop`: compiles under XLA and exports to SavedModel and TFLite, with an unknown
    batch size. Each step runs on B * K rows; the search itself costs O(B K V) per step, and
    blocking O(B K (V + n L)).

    Args:
        step: As in `greedy_search`, called with B * K rows: every tensor with one entry per row
            must be part of the state. Tensors that it returns unchanged (the same object) are not
            reordered and cost nothing. With a coverage penalty it returns
            `(logits, state, weights)`, the weights `(B * K, S)`.
        start_token, state, max_length, end_token, pad_token: As in `greedy_search`.
        num_beams: Positive integer K, the number of hypotheses per row; may exceed V.
        n_best: Positive integer N, at most `num_beams`: the number of hypotheses returned per row.
        length_penalty: Number of at least 0, usually 0.6 to 1; a larger one favours longer
            hypotheses.
        coverage_penalty: Number of at least 0, usually 0.2.
        memory_mask: Boolean `(B, S)` or `(1, S)`, the steps of the memory that must be covered;
            required with `coverage_penalty`, an error without.
        early_stop: Whether a row stops as soon as `num_beams` of its hypotheses have finished, as
            in many libraries. Saves steps, but may miss a better hypothesis.
        no_repeat_ngram_size: Integer n of at least 0, the length of the n-grams that may occur
            once only in a hypothesis, usually 3; 0 for none.

    Returns:
        A tuple of the tokens, int32 `(B, N, L)`, best hypothesis first; their scores, float32
        `(B, N)`; and their lengths with the end token, int32 `(B, N)`. Where a row has fewer
        than N hypotheses, the missing ones have score -inf and length 0.

    Raises:
        ValueError: As in `greedy_search`; if `n_best` is above `num_beams`; if a penalty or
            `no_repeat_ngram_size` is negative; unless `coverage_penalty` and `memory_mask` are
            given together; if the mask is not boolean with two axes; if `step` returns no weights
            that fit it.

    Example:
        >>> first = keras.ops.log(keras.ops.array([[0.0, 0.6, 0.4, 0.0]]))
        >>> then = keras.ops.log(keras.ops.array([[0.0, 0.5, 0.0, 0.5], [0.0, 0.0, 0.1, 0.9]]))
        >>> logits = keras.ops.concatenate([first, then, first])  # token 3 ends
        >>> def step(token, state):
        ...     return keras.ops.take(logits, token, axis=0), state
        >>> for beams in (1, 2):
        ...     tokens, scores, lengths = ka.beam_search(
        ...         step, [0], None, max_length=2, end_token=3, num_beams=beams
        ...     )
        ...     p = keras.ops.exp(scores)
        ...     print(keras.ops.convert_to_numpy(tokens)[0, 0], f"{float(p[0, 0]):.2f}")
        [1 1] 0.30
        [2 3] 0.36

    Reference:
        Wu et al., 2016, section 7 and eq. 14, https://arxiv.org/abs/1609.08144
        Paulus, Xiong & Socher, 2018, section 2.5 (no trigram twice),
        https://arxiv.org/abs/1705.04304
        Differences: no pruning by a distance from the best, and a memory step without any weight
        counts as covered by 1e-20, as its logarithm would be infinite.
    """
    max_length = checks.positive_integer("max_length", plain(max_length))
    num_beams = checks.positive_integer("num_beams", plain(num_beams))
    n_best = checks.positive_integer("n_best", plain(n_best))
    pad_token, end_token = integer("pad_token", pad_token), plain(end_token)
    if n_best > num_beams:
        raise ValueError(
            "`n_best` must be at most `num_beams`. Received: "
            f"n_best={n_best}, num_beams={num_beams}"
        )
    checks.non_negative("length_penalty", length_penalty)
    checks.non_negative("coverage_penalty", coverage_penalty)
    no_repeat_ngram_size = integer("no_repeat_ngram_size", no_repeat_ngram_size)
    checks.non_negative("no_repeat_ngram_size", no_repeat_ngram_size)
    if (coverage_penalty > 0) != (memory_mask is not None):
        raise ValueError(
            "`coverage_penalty` and `memory_mask` go together. Received: "
            f"coverage_penalty={coverage_penalty}, "
            f"memory_mask={'None' if memory_mask is None else 'a mask'}"
        )
    if memory_mask is not None:
        memory_mask = ops.convert_to_tensor(memory_mask)
        checks.boolean("memory_mask", memory_mask)
        if len(memory_mask.shape) != 2:
            raise ValueError(
                "`memory_mask` must have the shape (batch, memory steps). "
                f"Received: memory_mask.shape={tuple(memory_mask.shape)}"
            )
    search = _BeamSearch(
        stepper=Stepper(step, start_token, state, end_token, num_beams),
        max_length=max_length,
        end_token=end_token,
        num_beams=num_beams,
        n_best=n_best,
        length_penalty=length_penalty,
        coverage_penalty=coverage_penalty,
        early_stop=early_stop,
        no_repeat_ngram_size=no_repeat_ngram_size,
    )
    return search.run(pad_token, memory_mask)


@dataclasses.dataclass(frozen=True)
class _BeamSearch:
    """The loop of `beam_search`, with these loop variables:

    live: the unfinished hypotheses, best first: `token` (B, K), `score` (B, K), which is log P,
        `tokens` (B, K, L), and with a coverage penalty `coverage` (B, K, S).
    finished: the best finished ones, best first: `score` (B, F), `tokens` (B, F, L) and
        `length` (B, F), where F is `n_best`, or K with `early_stop`.
    done: which rows have stopped, (B,).
    state: the state of the step, tensors (B K, ...).
    """

    stepper: Stepper
    max_length: int
    end_token: int | None
    num_beams: int
    n_best: int
    length_penalty: float
    coverage_penalty: float
    early_stop: bool
    no_repeat_ngram_size: int

    def run(self, pad_token, memory_mask):
        batch, beams = ops.shape(self.stepper.token)[0], self.num_beams
        size = beams if self.early_stop else self.n_best
        live = {
            "token": ops.broadcast_to(ops.expand_dims(self.stepper.token, -1), (batch, beams)),
            # All beams of a row start alike, so only the first of them counts.
            "score": ops.broadcast_to([[0.0] + [_NONE] * (beams - 1)], (batch, beams)),
            "tokens": ops.full((batch, beams, self.max_length), pad_token, dtype="int32"),
        }
        if self.coverage_penalty:
            # A masked step counts as covered from the start.
            padding = ops.cast(ops.logical_not(ops.cast(memory_mask, "bool")), "float32")
            steps = ops.shape(padding)[1]
            padding = ops.expand_dims(padding, 1)  # (B or 1, 1, S)
            live["coverage"] = ops.broadcast_to(padding, (batch, beams, steps))
        finished = {
            "score": ops.full((batch, size), _NONE, dtype="float32"),
            "tokens": ops.full((batch, size, self.max_length), pad_token, dtype="int32"),
            "length": ops.zeros((batch, size), dtype="int32"),
        }
        done = ops.zeros((batch,), dtype="bool")
        i = ops.zeros((), dtype="int32")
        loop = i, live, finished, done, self.stepper.state
        loop = ops.while_loop(
            self._is_running, self._step, loop, maximum_iterations=self.max_length
        )
        best = {key: x[:, : self.n_best] for key, x in loop[2].items()}
        # Of equal scores any may have come first: an empty entry may hold what never finished.
        is_real = _is_real(best["score"])
        tokens = ops.where(ops.expand_dims(is_real, -1), best["tokens"], pad_token)
        score = ops.where(is_real, best["score"], -float("inf"))
        return tokens, score, ops.where(is_real, best["length"], 0)

    def _is_running(self, i, live, finished, done, state):
        return ops.any(ops.logical_not(done))

    def _step(self, i, live, finished, done, state):
        rows = ops.reshape(live["token"], (-1,))  # (B K,)
        log_p, state, weights = self.stepper(rows, state)
        if self.coverage_penalty:
            live = live | {"coverage": live["coverage"] + self._by_beam(weights, live["coverage"])}
        if 0 < self.no_repeat_ngram_size < self.max_length:
            log_p = ops.where(self._repeats(i, live["tokens"], log_p), _NONE, log_p)
        score, parent, token = self._candidates(live["score"], log_p)  # (B, C)
        ends = ops.zeros_like(token, dtype="bool")
        if self.end_token is not None:
            ends = ops.equal(token, self.end_token)

        stops = ops.logical_or(ends, ops.equal(i, self.max_length - 1))
        stops = ops.logical_and(stops, ops.logical_not(ops.expand_dims(done, -1)))
        top = [x[:, : self.num_beams] for x in (score, parent, token, stops)]
        finished = self._finish(i, live, finished, *top)

        score, best = ops.top_k(ops.where(ends, _NONE, score), self.num_beams)  # (B, K)
        parent, token = pick(parent, best), pick(token, best)
        live = self._extend(i, live, parent, token) | {"token": token, "score": score}
        state = self._reorder(state, parent)
        done = ops.logical_or(done, self._is_done(score, finished["score"]))
        return i + 1, live, finished, done, state

    def _repeats(self, i, tokens, log_p):
        """Which tokens would complete an n-gram that a hypothesis has already, `(B K, V)`."""
        n, vocabulary = self.no_repeat_ngram_size, log_p.shape[-1]
        tokens = ops.reshape(tokens, (-1, self.max_length))  # (B K, L)
        # An n-gram has n - 1 tokens, here compared with the last of the hypothesis, and its end.
        ends = tokens[:, n - 1 :]  # (B K, E)
        positions = ops.arange(n - 1, self.max_length, dtype="int32")
        matches = ops.broadcast_to(ops.expand_dims(positions < i, 0), ops.shape(ends))
        for offset in range(n - 1):
            last = ops.take(tokens, [ops.maximum(i - (n - 1) + offset, 0)], axis=1)  # (B K, 1)
            matches = ops.logical_and(
                matches, ops.equal(tokens[:, offset:][:, : ends.shape[1]], last)
            )
        rows = ops.expand_dims(ops.arange(ops.shape(tokens)[0], dtype="int32"), -1)
        # A pad token may be no token of the vocabulary.
        index = rows * vocabulary + ops.where(matches, ends, 0)
        count = ops.scatter(
            ops.reshape(index, (-1, 1)),
            ops.reshape(ops.cast(matches, "float32"), (-1,)),
            (ops.shape(tokens)[0] * vocabulary,),
        )
        return ops.reshape(count, ops.shape(log_p)) > 0

    def _candidates(self, score, log_p):
        """The best continuations: log P, the beam they come from, and their token.

        Twice as many as beams: each beam has one continuation that ends, so at least K do not.
        """
        vocabulary = log_p.shape[-1]
        log_p = ops.reshape(log_p, (-1, self.num_beams, vocabulary))
        totals = ops.maximum(ops.expand_dims(score, -1) + log_p, _NONE)
        totals = ops.reshape(totals, (-1, self.num_beams * vocabulary))
        score, index = ops.top_k(totals, min(2, vocabulary) * self.num_beams)
        index = ops.cast(index, "int32")
        parent = ops.floor_divide(index, vocabulary)
        return score, parent, index - parent * vocabulary

    def _finish(self, i, live, finished, score, parent, token, stops):
        """The best of the finished hypotheses and of the candidates `(B, K)` that stop now."""
        length = ops.broadcast_to(i + 1, ops.shape(score))
        penalized = self._penalized(score, length)
        if self.coverage_penalty:
            coverage = ops.maximum(ops.minimum(live["coverage"], 1.0), _UNSEEN)
            missing = ops.sum(ops.log(coverage), axis=-1)  # (B, K)
            penalized = penalized + self.coverage_penalty * pick(missing, parent)
        stops = ops.logical_and(stops, _is_real(score))
        new = {
            "score": ops.where(stops, penalized, _NONE),
            "tokens": write(pick(live["tokens"], parent), i, token),
            "length": length,
        }
        # Those finished before come first, so that they win ties (but on PyTorch).
        both = {key: ops.concatenate([finished[key], new[key]], axis=1) for key in finished}
        score, best = ops.top_k(both["score"], finished["score"].shape[1])
        return {key: pick(x, best) for key, x in both.items()} | {"score": score}

    def _extend(self, i, live, parent, token):
        """Tokens and coverage of the beams that stay live."""
        extended = {"tokens": write(pick(live["tokens"], parent), i, token)}
        if self.coverage_penalty:
            extended["coverage"] = pick(live["coverage"], parent)
        return extended

    def _reorder(self, state, parent):
        """The state of each beam's parent; unchanged tensors are equal in all beams of a row."""
        first = ops.arange(ops.shape(parent)[0], dtype="int32") * self.num_beams  # (B,)
        parent = ops.reshape(parent + ops.expand_dims(first, -1), (-1,))  # (B K,)
        return tuple(
            x if n in self.stepper.constant or not len(x.shape) else ops.take(x, parent, axis=0)
            for n, x in enumerate(state)
        )

    def _is_done(self, live_score, finished_score):
        """Whether no live hypothesis can beat the finished ones, `(B,)`; see `beam_search`."""
        best = live_score[:, 0]
        bound = ops.where(_is_real(best), self._penalized(best, self.max_length), _NONE)
        done = finished_score[:, self.n_best - 1] >= bound
        if self.early_stop:
            done = ops.logical_or(done, _is_real(finished_score[:, -1]))
        return done

    def _penalized(self, score, length):
        """Log P over the length penalty (Wu 2016, eq. 14)."""
        if not self.length_penalty:
            return score
        return score / ops.power((5.0 + ops.cast(length, "float32")) / 6.0, self.length_penalty)

    def _by_beam(self, weights, coverage):
        """The step's attention weights `(B K, S)` as `(B, K, S)`."""
        if weights is None:
            raise ValueError(
                "`coverage_penalty` needs a `step` that returns `(logits, state, weights)`. "
                f"Received: coverage_penalty={self.coverage_penalty} and a step without weights"
            )
        sizes = tuple(weights.shape)
        steps = coverage.shape[-1]
        if len(sizes) != 2 or (None not in (sizes[1], steps) and sizes[1] != steps):
            raise ValueError(
                "`step` must return attention weights of the shape (rows, memory steps), with as "
                f"many steps as `memory_mask` has. Received: weights.shape={sizes}, "
                f"memory_mask.shape={(coverage.shape[0], steps)}"
            )
        return ops.reshape(ops.cast(weights, "float32"), ops.shape(coverage))


def _is_real(score):
    """Whether a score belongs to a hypothesis, not to an empty entry."""
    return score > _NONE / 2
