"""Steps with a cache against the causal call on everything at once."""

import dataclasses

import keras
import numpy as np
from hypothesis import strategies as st

from tests.backend import BACKEND, to_numpy
from tests.fuzz.cases import cases
from tests.fuzz.strategies import NORMALIZERS, SIZES, DrawnCall, calls, mask_array
from tests.fuzz.test_fuzz_layers import assert_close

INDICES = {
    "int": int,
    "NumPy's": np.int32,
    "tensor": lambda index: keras.ops.convert_to_tensor(index, "int32"),
}


@dataclasses.dataclass
class Decoding:
    """A causal call of all steps, and how to cut it into steps with a cache."""

    call: DrawnCall
    pieces: list  # numbers of steps
    spare: int  # slots of the cache that stay empty
    index: str
    return_weights: bool


@st.composite
def decodings(draw):
    pieces = draw(st.lists(st.sampled_from([1, 1, 2, 3]), min_size=1, max_size=4))
    pieces[0] = draw(st.sampled_from([pieces[0], 4]))
    steps, batch, size = (
        sum(pieces),
        draw(st.sampled_from([1, 2, 3, 0])),
        draw(st.sampled_from(SIZES)),
    )
    call = draw(calls(("multi_head",), ("float32",)))
    options = {**call.options, "normalizer": draw(st.sampled_from(NORMALIZERS))}
    if "window" in options:
        options["num_global"] = draw(st.integers(0, 2))
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    masks = {}
    padding = draw(st.sampled_from(["none", "left", "anywhere"]))
    if padding != "none":
        mask = mask_array(rng, (batch, steps), "most")
        if padding == "left":
            mask = np.arange(steps) >= rng.integers(0, pieces[0] + 1, (batch, 1))
        masks = {"query_mask": mask, "value_mask": mask}
    shape = (batch, steps, size)
    call = dataclasses.replace(
        call,
        options=options,
        dtypes={"query": "float32", "value": "float32"},
        shapes={"query": shape, "value": shape},
        masks=masks,
        seed=seed,
        use_causal_mask=True,
        of_itself=True,
    )
    index = draw(st.sampled_from(sorted(INDICES)))
    return Decoding(call, pieces, draw(st.integers(0, 3)), index, draw(st.booleans()))


def _compiled(function):
    if BACKEND == "torch":
        return function
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, reduce_retracing=True)


@cases(0.05, decoding=decodings())
def test_cached_steps_equal_the_causal_call(decoding):
    call = decoding.call
    layer, answer = call.make(), call.answer()
    x, mask = call.tensors()["query"], call.masks.get("query_mask")

    def step(x, cache, index, mask):
        return layer.step(x, cache, index, mask, return_attention_scores=decoding.return_weights)

    step = _compiled(step) if decoding.index == "tensor" else step
    steps = sum(decoding.pieces)
    cache, start = layer.initial_cache(len(x), steps + decoding.spare), 0
    for piece in decoding.pieces:
        here = slice(start, start + piece)
        of_piece = None if mask is None else keras.ops.convert_to_tensor(mask[:, here])
        chunk = keras.ops.convert_to_tensor(x[:, here])
        output, *weights, cache = step(chunk, cache, INDICES[decoding.index](start), of_piece)
        is_sure = answer.is_sure[:, here]
        assert_close(to_numpy(output), answer.output[:, here], call.tolerance, is_sure)
        if weights:
            expected = np.pad(answer.weights[:, :, here], [(0, 0)] * 3 + [(0, decoding.spare)])
            rows = np.broadcast_to(is_sure[:, None], expected.shape[:-1])
            assert_close(to_numpy(weights[0]), expected, call.tolerance, rows)
        start += piece


@cases(0.05, call=calls(("multi_head",), ("float32",)), use_compiled=st.booleans())
def test_a_memory_read_step_by_step_equals_the_call(call, use_compiled):
    options = {k: v for k, v in call.options.items() if k not in ("window", "num_global")}
    masks = {k: v for k, v in call.masks.items() if k != "attention_mask"}
    call = dataclasses.replace(
        call, options=options, score=None, rotary_base=None, masks=masks, use_causal_mask=False
    )
    layer, answer, tensors = call.make(), call.answer(), call.tensors()
    cache = layer.memory_cache(**{k: x for k, x in tensors.items() if not k.startswith("query")})
    step = _compiled(layer.step) if use_compiled else layer.step
    query, mask = tensors["query"], tensors.get("query_mask")
    if mask is not None:
        mask = np.broadcast_to(mask, query.shape[:2])
    for t in range(query.shape[1]):
        here = slice(t, t + 1)
        of_step = None if mask is None else keras.ops.convert_to_tensor(mask[:, here], "bool")
        chunk = keras.ops.convert_to_tensor(query[:, here])
        output, cache = step(chunk, cache, query_mask=of_step)
        assert_close(
            to_numpy(output), answer.output[:, here], call.tolerance, answer.is_sure[:, here]
        )
