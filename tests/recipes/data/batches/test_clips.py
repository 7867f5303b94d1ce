"""Batches of clips: what is padded, what is altered, and the same for the same seed and epoch."""

import numpy as np

from recipes.data.batches import ClipAugmentation, ClipBatches, pad_clips

RNG = np.random.default_rng(0)
CLIPS = [RNG.normal(3, 1, (count, 6)).astype("float32") for count in (4, 9, 7, 5, 9)]
LABELS = np.arange(5, dtype="int32")


def test_clips_are_padded_behind_to_one_width():
    batches = ClipBatches(CLIPS, LABELS, 2)
    seen = set()
    for index in range(len(batches)):
        frames, labels = batches[index]
        assert frames.shape == (len(labels), 9, 6) and frames.dtype == "float32"
        for row, label in zip(frames, labels, strict=True):
            count = len(CLIPS[label])
            np.testing.assert_array_equal(row[:count], CLIPS[label])
            assert not row[count:].any()
            seen.add(int(label))
    assert seen == set(range(5))
    assert pad_clips(CLIPS[:1], 6).shape == (1, 6, 6)


def test_alterations_are_drawn_anew_each_epoch_and_repeat_with_the_seed():
    altered = ClipAugmentation(noise=0.1, crop=0.3)

    def epochs(epoch=0):
        batches = ClipBatches(CLIPS, LABELS, 5, augmentation=altered, shuffle_seed=3, epoch=epoch)
        first = batches[0][0]
        batches.on_epoch_end()
        return first, batches[0][0]

    first, second = epochs()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, epochs()[0])
    np.testing.assert_array_equal(second, epochs(epoch=1)[0])
    unshuffled = ClipBatches(CLIPS, LABELS, 5, augmentation=altered)
    assert np.array_equal(np.sort(unshuffled[0][1]), LABELS)
    assert unshuffled[0][0][np.flatnonzero(unshuffled[0][1] == 1)[0]].tolist() == CLIPS[1].tolist()


def test_without_options_a_clip_stays_as_it_is():
    same = ClipAugmentation()(CLIPS[1], 9, np.random.default_rng(0))
    np.testing.assert_allclose(same, CLIPS[1], rtol=1e-5)


def test_a_mirror_swaps_sides_and_joints():
    x = np.array([[0, 0, 1, 2, 4, 6]], "float32")  # joints 1 and 2 are left and right
    found = {
        tuple(
            ClipAugmentation(mirror=True, pairs=((1, 2),))(x, 9, np.random.default_rng(seed))[0]
            .round(3)
            .tolist()
        )
        for seed in range(20)
    }
    middle = np.mean([0, 1, 4])
    mirrored = [2 * middle - 0, 0, 2 * middle - 4, 6, 2 * middle - 1, 2]
    assert found == {tuple(x[0].tolist()), tuple(np.round(np.float32(mirrored), 3).tolist())}


def test_a_turn_and_a_stretch_stay_within_their_limits():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        turned = ClipAugmentation(rotation=30)(CLIPS[1], 9, rng).reshape(-1, 2)
        before = CLIPS[1].reshape(-1, 2)
        a, b = before - before.mean(0), turned - turned.mean(0)
        np.testing.assert_allclose(
            np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1), rtol=1e-3, atol=1e-4
        )
        cosine = (a * b).sum() / np.square(a).sum()
        assert cosine >= np.cos(np.deg2rad(30.1))
        stretched = ClipAugmentation(stretch=0.2)(CLIPS[1], 9, rng).reshape(-1, 2)
        ratio = stretched.std(0) / before.std(0)
        assert (ratio > 0.79).all() and (ratio < 1.21).all()


def test_time_is_cut_stretched_and_thinned_but_one_frame_stays():
    clip = np.arange(1, 21, dtype="float32")[:, None].repeat(2, 1)
    lengths = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        new = ClipAugmentation(joints=False, crop=0.5, speed=0.3, frame_dropout=0.3)(clip, 22, rng)
        assert 1 <= len(new) <= 22 and (np.diff(new[:, 0]) >= 0).all()
        assert new.min() >= 1 and new.max() <= 20
        lengths.add(len(new))
        alone = ClipAugmentation(joints=False, frame_dropout=0.9)(clip[:1], 22, rng)
        np.testing.assert_array_equal(alone, clip[:1])
    assert min(lengths) < 12 < max(lengths)
