"""What holds between backends, as docs/backends.md says it."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.backend import BACKEND
from tests.documents import ROOT

READ_WITH_TENSORFLOW = """if True:
    import sys
    import keras, numpy as np
    import keras_attention as ka
    model = keras.saving.load_model(sys.argv[1], compile=False)
    given = np.load(sys.argv[2])
    outputs = model.predict([given["ids"], given["words"]], verbose=0)
    np.testing.assert_allclose(outputs[0], given["decoded"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs[1], given["pooled"], rtol=1e-4, atol=1e-5)
    print(keras.backend.backend())
"""


@pytest.mark.skipif(BACKEND != "torch", reason="about PyTorch")
def test_what_was_trained_on_pytorch_gives_the_same_numbers_on_tensorflow(tmp_path):
    """Positions, random seeds, a loop over time and an optimizer's state, all in one file."""
    ids, words = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    embed = keras.layers.Embedding(11, 8, mask_zero=True)
    memory = ka.TransformerEncoderBlock(16, 2, dropout=0.1)(embed(ids))
    memory = ka.MultiHeadAttention(2, 4, position=ka.RotaryPositionEmbedding())(memory, memory)
    decoder = ka.AttentionDecoder(keras.layers.GRUCell(8), ka.CoverageAttention(6))
    score = ka.AdditiveScore(6) + ka.LocationScore(20)  # of 20 steps; its texts have 7
    pooled = ka.AttentionPooling(score=score)(memory)
    outputs = [decoder(embed(words), memory), keras.layers.Dense(3)(pooled)]
    model = keras.Model([ids, words], outputs)
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    given = [rng.integers(0, 11, (6, 7)), rng.integers(1, 11, (6, 4))]
    model.fit(given, [np.ones((6, 4, 8)), np.ones((6, 3))], epochs=2, verbose=0)
    decoded, pooled = model.predict(given, verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "given.npz", ids=given[0], words=given[1], decoded=decoded, pooled=pooled)
    out = subprocess.run(
        [sys.executable, "-c", READ_WITH_TENSORFLOW, "model.keras", "given.npz"],
        env=os.environ | {"KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert out.stdout == "tensorflow\n", out.stderr
