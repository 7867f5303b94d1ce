"""Batches of frames: what is padded, what is altered, and the same for the same seed and epoch."""

import numpy as np

from recipes.parts.speech_batches import Augmentation, SpeechBatches, pad_frames

RNG = np.random.default_rng(0)
LENGTHS = [9, 20, 14, 17, 8, 11, 30]
FRAMES = [RNG.normal(0, 1, (n, 5)).astype("float16") for n in LENGTHS]
IDS = [np.arange(4, 5 + n % 3) for n in LENGTHS]


def make(**options):
    return SpeechBatches(FRAMES, IDS, 3, **options)


def test_rows_are_padded_behind_and_labels_are_the_next_tokens():
    seen = 0
    for inputs, labels in (make()[index] for index in range(3)):
        frames, lengths, tokens = (inputs[name] for name in ("frames", "length", "tokens"))
        assert len(frames) == 3 and frames.shape[1] % 8 == 0
        for row in range(3):
            assert not frames[row, lengths[row] :].any()
            if lengths[row]:
                seen += 1
                which = LENGTHS.index(lengths[row])
                np.testing.assert_array_equal(frames[row, : lengths[row]], FRAMES[which])
                wanted = [1, *IDS[which]]
                assert tokens[row, : len(wanted)].tolist() == wanted
                assert labels[row, : len(wanted)].tolist() == [*IDS[which], 2]
            else:
                assert not tokens[row, 1:].any() and not labels[row, 1:].any()
    assert seen == len(FRAMES)


def test_rows_that_fill_a_batch_count_nothing():
    inputs, labels = max((make()[index] for index in range(3)), key=lambda b: (b[1] == 0).sum())
    assert (inputs["length"] == 0).sum() == 2
    assert not labels[inputs["length"] == 0].any()


def test_alterations_are_drawn_anew_each_epoch_and_repeat_with_the_seed():
    settings = {"augmentation": Augmentation(speed=0.2, warp=0.1, time_masks=1), "shuffle_seed": 3}

    def epochs(batches, count=2):
        for _ in range(count):
            yield np.concatenate([batches[i][0]["frames"].ravel() for i in range(3)])
            batches.on_epoch_end()

    first, second = epochs(make(**settings))
    again, _ = epochs(make(**settings))
    (resumed,) = epochs(make(**settings, epoch=1), 1)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(second, resumed)
    assert first.shape != second.shape or (first != second).any()


def test_what_the_first_two_batches_have_in_common_all_have():
    """Keras builds its pipeline from these two."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(10, 200, 64 * 8)
    sounds = [np.zeros((length, 3), "float32") for length in lengths]
    ids = [np.full(7 if length > 80 else 3, 5, "int32") for length in lengths]
    for seed in range(8):
        batches = SpeechBatches(sounds, ids, 8, shuffle_seed=seed)
        shapes = [
            (*inputs["frames"].shape, *inputs["tokens"].shape)
            for inputs, _ in (batches[index] for index in range(len(batches)))
        ]
        assert len(set(shapes)) > 2
        for axis, sizes in enumerate(zip(*shapes, strict=True)):
            assert len(set(sizes)) == 1 or sizes[0] != sizes[1], axis


def test_masks_cover_spans_and_bands():
    frames = np.tile(np.arange(10.0), (40, 1))
    rng = np.random.default_rng(0)
    masked = Augmentation(time_masks=1, time_mask=6, band_masks=1, band_mask=3)(frames, 40, rng)
    changed = masked != frames
    bands = changed.mean(0) > 0.9
    times = changed[:, ~bands].all(1)
    assert 0 < bands.sum() <= 3 and 0 < times.sum() <= 6
    np.testing.assert_array_equal(changed, bands[None] | times[:, None])
    assert np.ptp(np.flatnonzero(bands)) == bands.sum() - 1  # beside each other
    assert np.ptp(np.flatnonzero(times)) == times.sum() - 1


def test_speed_stretches_time_and_warp_frequencies():
    frames = np.tile(np.arange(20.0)[:, None], (1, 4))
    lengths = set()
    for seed in range(20):
        altered = Augmentation(speed=0.25)(frames, 24, np.random.default_rng(seed))
        lengths.add(len(altered))
        np.testing.assert_allclose(altered[:, 0], np.linspace(0, 19, len(altered)), atol=1e-4)
    assert min(lengths) < 18 and 22 < max(lengths) <= 24
    places = []
    for seed in range(5):
        warped = Augmentation(warp=0.2)(frames.T, 4, np.random.default_rng(seed))
        np.testing.assert_allclose(np.diff(warped[0, :10]), warped[0, 1], atol=1e-4)
        places.append(warped[0, 10])
    assert warped.shape == (4, 20) and min(places) < 9.5 and 10.5 < max(places) <= 12
    np.testing.assert_array_equal(Augmentation()(frames, 24, None), frames)


def test_padding_to_a_count_of_rows():
    padded, lengths = pad_frames(FRAMES[:2], 24, 3)
    assert padded.shape == (3, 24, 5) and lengths.tolist() == [9, 20, 0]
