"""What sequence-to-sequence models share; the searches run in the tests of the recipe."""

import numpy as np
import pytest

from recipes import translation as recipe
from recipes.kit.errors import UserError
from recipes.parts import seq2seq
from recipes.text.languages import END, START


def test_pairs_must_be_short_enough():
    config = recipe.Config(max_pieces=8, batch_size=4)
    long = [np.arange(4, 14, dtype="int32")] * 3
    with pytest.raises(UserError, match="to train of at most --max-pieces 8 pieces. Received: non"):
        seq2seq.make_batches(config, {"train": [long, long], "validation": [long, long]})


def test_batches_begin_targets_and_leave_out_what_is_too_long(capsys):
    config = recipe.Config(max_pieces=6, batch_size=2)
    rows = [np.arange(4, 4 + length, dtype="int32") for length in (2, 3, 9)]
    ids = {"train": [rows, rows], "validation": [rows, rows]}
    batches = seq2seq.make_batches(config, ids)
    assert "1 train pairs of more than 6 pieces are left out" in capsys.readouterr().out
    inputs, labels = batches["validation"][0]
    assert inputs["source"][:, :4].tolist() == [[4, 5, END, 0], [4, 5, 6, END]]
    assert inputs["target"][:, :4].tolist() == [[START, 4, 5, 0], [START, 4, 5, 6]]
    assert labels[:, :4].tolist() == [[4, 5, END, 0], [4, 5, 6, END]]
    np.testing.assert_array_equal(labels[:, 4:], 0)
