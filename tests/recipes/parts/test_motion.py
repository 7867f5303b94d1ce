"""The classifier of clips: features as their formula says, and padding that changes nothing."""

import itertools

import keras
import numpy as np
import pytest

from recipes.action_recognition import Config
from recipes.data.batches import pad_clips
from recipes.parts import motion

RNG = np.random.default_rng(0)
CLIPS = [RNG.normal(2, 1, (count, 8)).astype("float32") for count in (6, 1, 4)]


def features(clip):
    """Those of one clip, from the equations, frame by frame."""
    x = clip.reshape(len(clip), -1, 2).astype("float64")
    joints = x.shape[1]
    x = x - x.mean((0, 1))
    centre = x.mean(1)
    spread = np.mean([np.square(x[t] - centre[t]).sum() / joints for t in range(len(x))])
    x, centre = x / np.sqrt(spread), centre / np.sqrt(spread)
    rows = []
    for t in range(len(x)):
        slow, fast = (
            x[t + ahead] - x[t] if t + ahead < len(x) else np.zeros_like(x[t]) for ahead in (1, 2)
        )
        apart = [
            np.linalg.norm(x[t, i] - x[t, j]) for i, j in itertools.combinations(range(joints), 2)
        ]
        parts = x[t] - centre[t], slow, fast, centre[t], apart
        rows.append(np.concatenate([np.ravel(part) for part in parts]))
    return np.array(rows)


def test_features_are_those_of_the_equations():
    frames = pad_clips(CLIPS, 7)
    found = keras.ops.convert_to_numpy(motion.PoseFeatures()(frames, motion.is_there(frames)))
    assert found.shape == (3, 7, 6 * 4 + 2 + 6)
    for row, clip in zip(found, CLIPS, strict=True):
        np.testing.assert_allclose(row[: len(clip)], features(clip), rtol=1e-3, atol=1e-3)
        assert not row[len(clip) :].any()


def test_features_know_neither_place_nor_size():
    clip = CLIPS[0][None]
    moved = clip * 3.0 + np.tile([5.0, -2.0], 4).astype("float32")
    layer = motion.PoseFeatures()
    first, second = (
        keras.ops.convert_to_numpy(layer(x, motion.is_there(x))) for x in (clip, moved)
    )
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_statistics_are_those_of_all_frames():
    rows = np.concatenate([features(clip) for clip in CLIPS])
    mean, variance = motion.statistics(CLIPS, joints=True)
    np.testing.assert_allclose(mean, rows.mean(0), atol=1e-3)
    np.testing.assert_allclose(variance, rows.var(0) + 1e-4, rtol=1e-2, atol=1e-3)
    mean, _ = motion.statistics(CLIPS, joints=False)
    np.testing.assert_allclose(mean, np.concatenate(CLIPS).mean(0), rtol=1e-5)


def build(encoder="cnn", attention="tanh_dot", joints=True):
    config = Config(encoder=encoder, units=8, heads=2, blocks=2)
    scales = motion.statistics(CLIPS, joints)
    return motion.classifier(config, 8, 3, *scales, joints=joints, attention=attention)


@pytest.mark.parametrize("encoder", ["cnn", "gru", "transformer"])
def test_padding_and_other_clips_change_nothing(encoder):
    model = build(encoder)
    together = model(pad_clips(CLIPS, 9))
    for row, clip in enumerate(CLIPS):
        alone = model(clip[None])
        for name, tolerance in (("probability", 1e-4), ("weights", 1e-4)):
            found = keras.ops.convert_to_numpy(together[name])[row]
            wanted = keras.ops.convert_to_numpy(alone[name])[0]
            np.testing.assert_allclose(found[: len(wanted)], wanted, atol=tolerance)
            assert not found[len(wanted) :].any()
        assert keras.ops.convert_to_numpy(alone["weights"]).sum() == pytest.approx(1, abs=1e-4)


def test_without_attention_all_frames_count_alike():
    weights = keras.ops.convert_to_numpy(
        build(attention="none", joints=False)(pad_clips(CLIPS, 6))["weights"]
    )
    np.testing.assert_allclose(weights[2], [0.25] * 4 + [0.0] * 2, atol=1e-6)


def test_pictures_are_seen_one_by_one_and_black_ones_are_not_there():
    image = keras.Input((4, 4, 3))
    backbone = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image), name="backbone")
    scales = np.zeros(3), np.ones(3)
    config = Config(units=8, blocks=1)
    classify = motion.classifier(config, 3, 2, *scales, joints=False, attention="tanh_dot")
    frames = RNG.uniform(1, 2, (2, 5, 4, 4, 3)).astype("float32")
    frames[1, 3:] = 0
    found = motion.of_pictures(backbone, classify)(frames)
    wanted = classify(frames.mean((2, 3)))
    for name in ("probability", "weights"):
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-5)
    assert not np.array(found["weights"])[1, 3:].any()
