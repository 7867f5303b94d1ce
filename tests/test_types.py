"""The annotations: every public signature has them, and a type checker uses them."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest
from mypy import api as mypy

import keras_attention as ka
from tests.backend import of_no_backend

pytestmark = of_no_backend

ROOT = Path(__file__).parent.parent
# What Keras calls, not users.
OF_KERAS = {
    "add_loss",
    "build",
    "build_from_config",
    "compute_mask",
    "compute_output_shape",
    "compute_output_spec",
    "from_config",
    "get_build_config",
    "get_config",
}
# What a type checker must refuse, with the kind of error at the end of the line, and nothing else.
PROGRAM = """
import keras
import numpy as np

import keras_attention as ka

x = keras.ops.ones((2, 3, 4))
layer = ka.ContentAttention(score="additive", normalizer="sparsemax", window=3, name="near")
context, weights = layer(x, x, return_attention_scores=True)
score: ka.Score = ka.ScaledDotScore() + ka.ALiBiScore()
ka.MultiHeadAttention(4, 16, num_key_value_heads=2, position=score, dtype="mixed_bfloat16")
ka.AttentionPooling(activity_regularizer="l2")
ka.ExportableRNN(keras.layers.GRUCell(3), return_sequences=True)
decoder = ka.AttentionDecoder(keras.layers.GRUCell(7), ka.ContentAttention(score))
state = decoder.initial_state(x)
output, weights, state = decoder.step(x[:, 0], state)
tokens, scores, lengths = ka.beam_search(decoder.step, 1, state, 20, num_beams=4)
ka.faithfulness(lambda ids: np.ones((2, 2)), [[1, 2]], np.ones((1, 2)))["sufficiency"].mean()
ka.export_model(keras.Model(x, x), "folder", x, formats=("tflite",))["forms"]


class DistanceScore(ka.Score):
    def __init__(self, scale: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def compare(self, query, key, start):
        return -self.scale * query


ka.SelfAttention(DistanceScore(2.0))

ka.ContentAttention(scor="additive")  # call-arg
ka.ContentAttention(score=3)  # arg-type
ka.MultiHeadAttention(4)  # call-arg
ka.MultiHeadAttention(num_heads="4", key_dim=16)  # arg-type
ka.AttentionPooling(num_queries=2, trainabel=False)  # call-arg
ka.AttentionPooling(dropout="0.1")  # arg-type
decoder.step(x)  # call-arg
layer.call(x, x, return_attention_scores="yes")  # arg-type
ka.beam_search(decoder.step, 1, state, 20, beams=4)  # call-arg
ka.export_model(keras.Model(x, x), "folder", x, formats=3)  # arg-type
ka.plot_attention([0.1, 0.9], 3)  # arg-type
ka.attention_maps(keras.Model(x, x), x).shape  # attr-defined
"""


def _functions(exported):
    """The functions that a user calls of something exported, from name to function."""
    if not inspect.isclass(exported):
        return {exported.__name__: inspect.unwrap(exported)}
    found = {}
    for name, value in inspect.getmembers_static(exported):
        value = value.fget if isinstance(value, property) else value
        is_public = name == "__init__" or not (name.startswith("_") or name in OF_KERAS)
        if (
            is_public
            and inspect.isfunction(value)
            and "keras_attention" in (value.__module__ or "")
        ):
            found[name] = value
    return found


@pytest.mark.parametrize("name", ka.__all__)
def test_every_public_signature_is_annotated(name):
    functions = _functions(getattr(ka, name))
    if dataclasses.is_dataclass(getattr(ka, name)):
        del functions["__init__"]  # made of the annotated fields
    for name, function in functions.items():
        signature = inspect.signature(function)
        missing = [
            parameter.name
            for parameter in signature.parameters.values()
            if parameter.name != "self" and parameter.annotation is parameter.empty
        ]
        if signature.return_annotation is signature.empty:
            missing.append("return")
        assert not missing, f"annotate {missing} of `{name}`"


def test_a_checker_refuses_wrong_calls_and_no_others(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    shown, trouble, _ = mypy.run(
        [
            str(program),
            f"--config-file={ROOT / 'pyproject.toml'}",
            f"--cache-dir={ROOT / '.mypy_cache'}",  # that of `make lint`: a second run is fast
        ]
    )
    assert not trouble
    lines = PROGRAM.splitlines()
    expected = {i: line.split("# ")[1] for i, line in enumerate(lines, 1) if "  # " in line}
    found = dict(re.findall(r"program\.py:(\d+): error: .*\[([\w-]+)\]$", shown, re.MULTILINE))
    assert {int(line): code for line, code in found.items()} == expected, shown
