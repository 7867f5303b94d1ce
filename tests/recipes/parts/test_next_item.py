"""The layers of the recommendation model."""

import keras
import numpy as np
import pytest

from recipes.parts.next_item import AllItems, TopUnseen

LOGITS = np.array([[5, 4, 3, 2, 1], [1, 2, 3, 4, 5]], "float32")
HISTORY = np.array([[0, 1, 3], [5, 4, 5]], "int32")


def test_the_best_that_are_not_in_the_history():
    items, best = TopUnseen(2)(LOGITS, HISTORY)
    assert np.array(items).tolist() == [[2, 4], [3, 2]]
    assert np.array(best).tolist() == [[4, 2], [3, 2]]


def test_padding_hides_nothing():
    items, _ = TopUnseen(5)(LOGITS, np.zeros((2, 4), "int32"))
    assert np.array(items).tolist() == [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]]


def test_where_too_few_are_left_those_of_the_history_come_last():
    items, best = TopUnseen(4)(LOGITS, HISTORY)
    assert np.array(items)[0, :3].tolist() == [2, 4, 5]
    assert np.array(best)[0, 3] == -1e9


def test_all_items():
    assert np.array(AllItems(3)(HISTORY)).tolist() == [[1, 2, 3]] * 2


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_save_and_load_in_a_model(tmp_path, policy):
    history = keras.Input((None,), dtype="int32")
    logits = keras.Input((5,))
    outputs = [*TopUnseen(2, dtype=policy)(logits, history), AllItems(5, dtype=policy)(history)]
    model = keras.Model([history, logits], outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    close = LOGITS + np.linspace(0, 0.001, 5, dtype="float32")  # equal in 16 bits
    for one, other in zip(model([HISTORY, close]), loaded([HISTORY, close]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert model.output_shape == [(None, 2), (None, 2), (None, 5)]
    assert loaded([HISTORY, close])[1].dtype == "float32"
