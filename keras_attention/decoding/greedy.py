"""Greedy search: the most probable token, step by step."""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_attention import checks
from keras_attention.decoding.stepper import Stepper, integer, pick, plain, write
from keras_attention.types import State, Tensor


def greedy_search(
    step: Callable[..., Any],
    start_token: int | Tensor,
    state: State,
    max_length: int,
    end_token: int | None = None,
    *,
    pad_token: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Greedy search: decodes the most probable token (argmax) at each step.

    One `ops.while_loop`: compiles under XLA and exports to SavedModel and TFLite, with an unknown
    batch size. A row stops at its `end_token`; the loop stops with its last row, and after
    `max_length` steps at most. Not differentiable.

    **The step** is any function `step(token, state) -> (logits, state)`: `token` is int32 `(B,)`,
    `logits` are `(B, V)` for the token after it. It may also return attention weights, as a third
    value, for `beam_search`. **The state** is any structure (dict, tuple, list, nested) of tensors
    whose first axis is the batch; every tensor with one entry per row, such as an encoder's output
    and its mask, belongs in it. Scalars, such as a step counter, and `None` are allowed too. The
    step returns it in the same structure, shapes and dtypes: a KV cache has its full length from
    the start. `step` also runs on rows that have ended; their outputs are ignored.

    Args:
        step: See above. It may be a method of a layer or model.
        start_token: Integer, or integers `(B,)`: the input of the first step, not returned.
        state: See above. Gives the batch size if `start_token` is a single integer.
        max_length: Positive integer L, the maximum number of tokens per row.
        end_token: Integer that ends a row, or `None`: each row gets `max_length` tokens.
        pad_token: Integer that fills a row after its end.

    Returns:
        A tuple of the tokens, int32 `(B, L)`, with the end token; their log-likelihood, float32
        `(B,)`; and their number, with the end token, int32 `(B,)`.

    Raises:
        ValueError: If `step` is not a function, or does not return logits `(B, V)` and the state in
            its structure, shapes and dtypes; if `max_length` is not positive; if a token is not an
            integer, or `end_token` is not in `[0, V)`; if `start_token` and `state` give no batch
            size, or different ones.

    Example:
        >>> follows = keras.ops.array([[0.0, 3.0, 0.0], [0.0, 0.0, 3.0], [3.0, 0.0, 0.0]])
        >>> def step(token, state):
        ...     return keras.ops.take(follows, token, axis=0), state
        >>> tokens, scores, lengths = ka.greedy_search(
        ...     step, start_token=[0, 1], state=None, max_length=4, end_token=2, pad_token=9
        ... )
        >>> print(keras.ops.convert_to_numpy(tokens))
        [[1 2 9 9]
         [2 9 9 9]]
        >>> print(keras.ops.convert_to_numpy(lengths))
        [2 1]

    Reference:
        Sutskever, Vinyals & Le, 2014, section 3.2 (a beam of size 1),
        https://arxiv.org/abs/1409.3215
    """
    stepper = Stepper(step, start_token, state, end_token)
    return decode(stepper, max_length, end_token, pad_token, _most_probable)


def _most_probable(log_probabilities, i):
    return ops.top_k(log_probabilities, 1)[1][:, 0]  # argmax of floats has no TFLite operator


def decode(stepper, max_length, end_token, pad_token, choose):
    """The loop of the searches with one hypothesis per row.

    Args:
        stepper: `Stepper`.
        max_length, end_token, pad_token: As in `greedy_search`.
        choose: Function `(log probabilities (B, V), step index) -> token (B,)`.
    """
    max_length = checks.positive_integer("max_length", plain(max_length))
    pad_token, end_token = integer("pad_token", pad_token), plain(end_token)
    token = stepper.token  # (B,)
    batch = ops.shape(token)[0]

    def is_running(i, token, tokens, scores, lengths, done, state):
        return ops.any(ops.logical_not(done))

    def body(i, token, tokens, scores, lengths, done, state):
        log_probabilities, state, _ = stepper(token, state)
        # A row that has ended still reads its own choices: the pad token may be outside of [0, V).
        token = ops.cast(choose(log_probabilities, i), "int32")
        log_probability = pick(log_probabilities, ops.expand_dims(token, -1))[:, 0]
        scores = scores + ops.where(done, 0.0, log_probability)
        tokens = write(tokens, i, ops.where(done, pad_token, token))
        lengths = lengths + ops.where(done, 0, 1)
        if end_token is not None:
            done = ops.logical_or(done, ops.equal(token, end_token))
        return i + 1, token, tokens, scores, lengths, done, state

    loop = (
        ops.zeros((), dtype="int32"),
        token,
        ops.full((batch, max_length), pad_token, dtype="int32"),
        ops.zeros((batch,), dtype="float32"),
        ops.zeros((batch,), dtype="int32"),
        ops.zeros((batch,), dtype="bool"),
        stepper.state,
    )
    loop = ops.while_loop(is_running, body, loop, maximum_iterations=max_length)
    _, _, tokens, scores, lengths, _, _ = loop
    return tokens, scores, lengths
