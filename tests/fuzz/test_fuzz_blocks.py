"""Blocks of any size against the whole: the same numbers, the same gradients."""

import numpy as np
from hypothesis import strategies as st

import keras_attention as ka
from tests.backend import BACKEND, run
from tests.fuzz.cases import cases
from tests.fuzz.strategies import calls
from tests.fuzz.test_fuzz_layers import assert_close

# By bytes alone blocks have at least 16 queries, and bands at least 32.
LENGTHS = (5, 7, 8, 9, 12, 17, 24, 40, 1)
KINDS = ("content", "self", "multi_head", "local", "location")
POLICIES = ("float32", "float32", "float32", "mixed_float16")
IS_COMPILED = {"tensorflow": [False] * 9 + [True], "jax": [True], "torch": [False]}[BACKEND]


@cases(
    0.1,
    call=calls(KINDS, POLICIES, LENGTHS, sizes=(1, 2)),
    block=st.sampled_from([1, 1024, 4096, 2**14]),
    rows=st.sampled_from([None, None, 1, 2, 3, 4, 5, 8, 11]),
    is_compiled=st.sampled_from(IS_COMPILED),
)
def test_blocks_give_the_numbers_and_gradients_of_the_whole(call, block, rows, is_compiled):
    layer = call.make()
    results = []
    for sizes in ({"threshold": None}, {"threshold": 0, "block": block, "rows": rows}):
        with ka.query_blocks(**sizes):
            results.append(run(layer, call.tensors(), jit=is_compiled, **call.flags()))
    answer = call.answer()
    assert_close(results[1][0], answer.output, call.tolerance, answer.is_sure)
    if not answer.is_sure.all():
        return  # rounding decides between two answers, and blocks may round the other way
    (_, weights, inputs), (_, block_weights, block_inputs) = results
    pairs = [*zip(block_weights, weights, strict=True)]
    pairs += [(block_inputs[name], inputs[name]) for name in inputs]
    for blocked, whole in pairs:
        assert np.isfinite(blocked.astype("float64")).all()
        assert_close(blocked, whole.astype("float64"), call.tolerance)
