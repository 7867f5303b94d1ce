"""The toy figures: what decides stands in the frames that say so, and nowhere else."""

import numpy as np
import pytest

from recipes.data.toy import figures


@pytest.fixture(scope="module")
def rows():
    return figures.generate(300, seed=0)


def test_sizes_and_frames():
    splits = figures.splits(train=20, validation=5, test=10)
    assert [len(split) for split in splits] == [20, 5, 10]
    clips = [clip for split in splits for clip in split]
    assert len({clip.name for clip in clips}) == 35
    for clip in clips:
        assert clip.frames.dtype == "float32" and clip.frames.shape[1] == 2 * len(figures.JOINTS)
        assert 0 < clip.start < clip.end <= len(clip.frames) and 6 <= clip.end - clip.start < 9


def _lengths(clip):
    """What tells the classes apart in single frames, in shares of the torso's length."""
    x = clip.frames.reshape(len(clip.frames), -1, 2)
    at = {name: x[:, number] for number, name in enumerate(figures.JOINTS)}
    torso = np.linalg.norm(at["neck"] - at["hip"], axis=1).mean()
    return {
        "bow": np.abs(at["neck"] - at["hip"])[:, 0] / torso,
        "kick": np.abs(at["foot_1"] - at["hip"])[:, 0] / torso,
        "squat": -(at["foot_2"] - at["hip"])[:, 1] / torso,
        "wave": (at["neck"] - at["hand_1"])[:, 1] / torso,
    }


def test_the_frames_that_decide_hold_the_action_and_the_others_do_not(rows):
    for label in figures.CLASSES:
        inside, outside, others = [], [], []
        for clip in rows:
            values = _lengths(clip)[label]
            decides = (np.arange(len(values)) >= clip.start) & (np.arange(len(values)) < clip.end)
            if clip.label == label:
                inside.append(values[decides].max())
                outside.append(values[~decides].max())
            else:
                others.append(values[~decides].max())
        assert np.min(inside) > np.quantile(outside, 0.95)
        # Outside of them a clip looks the same, whatever its class.
        assert np.mean(outside) == pytest.approx(np.mean(others), abs=0.1)


def test_the_same_seed_gives_the_same(rows):
    again = figures.generate(300, seed=0)
    np.testing.assert_array_equal(again[-1].frames, rows[-1].frames)
    assert figures.generate(1, seed=1)[0].name != rows[0].name
