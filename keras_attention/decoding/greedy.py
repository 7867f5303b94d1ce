"""Greedy search: the most probable token, step by step."""

from keras import ops

from keras_attention import checks
from keras_attention.decoding.stepper import Stepper, integer, pick, plain, write


def greedy_search(step, start_token, state, max_length, end_token=None, *, pad_token=0):
    """Decodes by taking the most probable token at each step.

    One `ops.while_loop`: compiles under XLA and exports to SavedModel and TFLite, with an unknown
    batch. A row stops at its `end_token`, the loop when all rows have. Costs `max_length` steps
    at most. Not differentiable.

    **The step** is any function `step(token, state) -> (logits, state)`: `token` is int32 `(B,)`,
    `logits` are `(B, V)` for the token after it. It may also return attention weights, as a third
    value, for `beam_search`. **The state** is any structure (dict, tuple, list, nested) of tensors
    whose first axis is the batch; what the step reads row by row, such as an encoder's output and
    its mask, belongs in it. Scalars, such as a counter of steps, may be in it as well, and `None`.
    The step returns it in the same structure, shapes and dtypes: a cache has its full length from
    the start. Rows that have ended are still stepped; what they say is not written down.

    Args:
        step: See above. A method of a layer or model will do.
        start_token: Integer, or integers `(B,)`: what the first step reads. It is not part of the
            tokens returned.
        state: See above. Tells the size of the batch where `start_token` does not.
        max_length: Positive integer L, the most tokens a row can get.
        end_token: Integer that ends a row, or `None`: each row gets `max_length` tokens.
        pad_token: Integer that fills a row after its end.

    Returns:
        A tuple of the tokens, int32 `(B, L)`, with the end token; their log probability, summed,
        float32 `(B,)`; and how many there are, with the end token, int32 `(B,)`.

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
    """The loop of all searches that carry one hypothesis a row.

    Args:
        stepper: `Stepper`.
        max_length, end_token, pad_token: As in `greedy_search`.
        choose: Function `(log probabilities (B, V), number of the step) -> token (B,)`.
    """
    max_length = checks.positive_integer("max_length", plain(max_length))
    pad_token, end_token = integer("pad_token", pad_token), plain(end_token)
    token = stepper.token  # (B,)
    batch = ops.shape(token)[0]

    def some_go_on(i, token, tokens, scores, lengths, done, state):
        return ops.any(ops.logical_not(done))

    def body(i, token, tokens, scores, lengths, done, state):
        log_probabilities, state, _ = stepper(token, state)
        # A row that has ended reads its own choices on, as the pad token need not be a word.
        token = ops.cast(choose(log_probabilities, i), "int32")
        gain = pick(log_probabilities, ops.expand_dims(token, -1))[:, 0]
        scores = scores + ops.where(done, 0.0, gain)
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
    loop = ops.while_loop(some_go_on, body, loop, maximum_iterations=max_length)
    _, _, tokens, scores, lengths, _, _ = loop
    return tokens, scores, lengths
