"""Clips as numbers: options that do not go with the data."""

import types

import pytest

from recipes.data import motions
from recipes.kit.errors import UserError
from recipes.parts import clips
from tests.recipes.data.files import write


@pytest.mark.parametrize(
    ("numbers", "swap", "message"),
    [
        (2, "", "One joint has no posture: train with --no-joints"),
        (3, "", "Expected x and y of each joint, an even number"),
        (6, "0-3", "--swap must name joints from 0 to 2"),
        (6, "0-1,1-2", "--swap must name each joint once"),
        (6, "1-1", "--swap must name each joint once"),
        (6, "0--1", "--swap must be pairs"),
    ],
)
def test_options_that_the_frames_do_not_allow(tmp_path, numbers, swap, message):
    rows = [("run" if row % 2 else "sit", [[row + 1.0] * numbers]) for row in range(8)]
    for part in ("train", "test"):
        write(tmp_path / f"{part}.jsonl", rows, ("label", "frames"))
    data = motions.load(tmp_path, seed=0)
    config = types.SimpleNamespace(joints=True, swap=swap)
    with pytest.raises(UserError, match=message):
        clips.check(config, data)
    clips.check(types.SimpleNamespace(joints=False, swap=""), data)


def test_joints_that_were_not_seen_are_told(tmp_path):
    frame = [0, 0, 1.0, 2.0, 3.0, 4.0]  # the first joint is where places are counted from
    unseen = [0, 0, 0, 0, 3.0, 4.0]
    config = types.SimpleNamespace(joints=True, swap="")
    for frames, count in (([frame, frame], 0), ([frame, unseen], 1)):
        rows = [("run" if row % 2 else "sit", frames) for row in range(8)]
        for part in ("train", "dev", "test"):
            write(tmp_path / f"{part}.jsonl", rows, ("label", "frames"))
        data = motions.load(tmp_path, seed=0)
        clips.check(config, data)
        assert (
            sum("16.7% of the joints to train with lie at" in note for note in data.notes) == count
        )
