"""The documents' Python that needs no trained recipe."""

import keras
import numpy as np
import pytest

from tests.backend import needs_tensorflow
from tests.documents import ROOT, run_blocks


def test_the_example_of_the_contract_holds():
    assert run_blocks(ROOT / "docs" / "contract.md")["weights"].shape == (2, 3, 5)


@needs_tensorflow  # JAX gives the same, but compiles all of it anew
def test_choose_a_layer_runs():
    names = run_blocks(ROOT / "docs" / "choose.md")
    assert names["tokens"].shape == (2, 20) and names["found"].shape == (2, 1, 10)
    assert names["shares"].shape == (2, 6, 9)


def test_the_first_page_runs():
    assert run_blocks(ROOT / "docs" / "index.md")["weights"].shape == (1, 4)


@pytest.mark.slow
def test_abcnn_beats_the_same_network_without_attention():
    accuracy = run_blocks(ROOT / "docs" / "abcnn.md")["accuracy"]
    assert accuracy["ABCNN-3"] > 0.8
    assert accuracy["ABCNN-3"] > accuracy["without attention"] + 0.2


@needs_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_loss_scale_of_the_documents_sees_every_occurrence_of_a_token(jit_compile):
    """Two texts of the same tokens: the first has a gradient past float16, the second has none."""
    checked = run_blocks(ROOT / "docs" / "performance.md")["CheckedLossScale"]
    keras.utils.set_random_seed(0)
    ids, target = np.array([[1, 2], [1, 2]]), np.array([[100.0], [0.0]])
    model = keras.Sequential(
        [
            keras.layers.Embedding(5, 4, dtype="mixed_float16"),
            keras.layers.GlobalAveragePooling1D(dtype="mixed_float16"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(checked(keras.optimizers.Adam()), "mse", jit_compile=jit_compile)
    model.fit(ids, target, epochs=12, verbose=0, shuffle=False)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert float(model.optimizer.dynamic_scale) < 2**15
