"""Clips of pictures: frames evenly sampled, from folders and from video files."""

import struct
import sys

import numpy as np
import pytest
from PIL import Image

from recipes.data import videos
from recipes.data.images import BrokenImage
from recipes.kit.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """A folder of nine images, each of its own grey."""
    clip = tmp_path / "clip"
    clip.mkdir()
    for number in range(9):
        Image.fromarray(np.full((6, 8, 3), 20 * number + 5, "uint8")).save(clip / f"{number}.png")
    (clip / "notes.txt").write_text("no image")
    return clip


def test_frames_of_a_folder(folder):
    frames = videos.read(folder, most=3, size=4)
    assert [frame.shape for frame in frames] == [(4, 4, 3)] * 3
    assert [int(frame.mean()) for frame in frames] == [5, 85, 165]
    assert len(videos.read(folder, most=20, size=4)) == 9
    assert videos.is_clip(folder) and not videos.is_clip(folder.parent)


def test_black_frames_are_none(folder):
    for number in (0, 4):
        Image.new("RGB", (8, 6)).save(folder / f"{number}.png")
    frames = videos.read(folder, most=3, size=4)
    assert [int(frame.mean()) for frame in frames] == [165]
    assert [isinstance(one, BrokenImage) for one in videos.Frames([folder], 3).images(4)] == [
        False, True, True,
    ]  # fmt: skip


def test_frames_are_in_the_order_of_their_numbers(folder):
    for number in range(9, 12):
        Image.fromarray(np.full((6, 8, 3), 20 * number + 5, "uint8")).save(folder / f"{number}.png")
    (folder / "._0.png").write_bytes(b"what macOS keeps beside a file")
    frames = videos.read(folder, most=20, size=4)
    assert [int(frame.mean()) for frame in frames] == list(range(5, 240, 20))


def test_a_split_has_gaps_where_a_clip_is_short_or_broken(folder):
    broken = folder.parent / "broken"
    broken.mkdir()
    (broken / "0.jpg").write_bytes(b"no image")
    frames = videos.Frames([folder, broken, lambda most, size: [np.ones((size, size, 3))]], 10)
    seen = list(frames.images(4))
    assert len(seen) == len(frames) == 30
    gaps = [isinstance(one, BrokenImage) for one in seen]
    assert gaps == [False] * 9 + [True] * 11 + [False] + [True] * 9
    assert seen[9].reason == "" and seen[10].name == str(broken)
    assert "not an image" in seen[10].reason


def test_without_its_package_a_video_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"a\.mp4 needs the package av: pip install .*video"):
        videos.read(tmp_path / "a.mp4", 3, 4)


@pytest.mark.parametrize(
    ("matrix", "bright"),
    [((1, 0, 0, 1), "left"), ((0, 1, -1, 0), "top"), ((-1, 0, 0, -1), "right"),
     ((0, -1, 1, 0), "bottom")],
)  # fmt: skip
def test_videos_are_turned_as_their_file_says(tmp_path, matrix, bright):
    """By the matrix of ISO 14496-12, 8.3.2, in the track's header: a phone films on its side."""
    path = tmp_path / "a.mp4"
    picture = np.zeros((32, 32, 3), "uint8")
    picture[:, :16] = 200
    write_video(path, [picture] * 3)
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    (a, b, c, d), one = matrix, 1 << 16
    content[start : start + 36] = struct.pack(
        ">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30
    )
    path.write_bytes(content)
    frame = videos.read(path, most=1, size=16)[0].mean(-1)
    means = {
        "left": frame[:, :8], "right": frame[:, 8:], "top": frame[:8], "bottom": frame[8:]
    }  # fmt: skip
    assert max(means, key=lambda side: means[side].mean()) == bright


def write_video(path, greys):
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for grey in greys:  # or whole pictures
            picture = np.broadcast_to(np.asarray(grey, "uint8"), (32, 32, 3))
            picture = np.ascontiguousarray(picture)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def test_frames_of_a_video_file(tmp_path):
    path = tmp_path / "a.avi"
    write_video(path, range(20, 220, 2))
    frames = videos.read(path, most=5, size=8)
    greys = [frame.mean() for frame in frames]
    assert len(frames) == 5 and frames[0].shape == (8, 8, 3)
    np.testing.assert_allclose(greys, [20, 70, 118, 166, 216], atol=12)
    path.write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"\w"):
        videos.read(path, most=5, size=8)
