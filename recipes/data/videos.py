"""Clips of pictures: video files, or folders of images in the order of their names.

pictures = read(path, most=16, size=160)       # uint8 (160, 160, 3) each, evenly sampled
frames = Frames(paths, most=16)                # for `backbones.cached_features`
len(frames)                                    # 16 for each clip; where it has fewer: a gap
"""

import dataclasses
import re

import numpy as np

from recipes.data import images
from recipes.kit.errors import UserError

VIDEOS = (".mp4", ".m4v", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def is_clip(path):
    """Whether a path is a video file, or a folder that has images."""
    if path.is_dir():
        return bool(_images(path))
    return path.suffix.lower() in VIDEOS


def read(path, most, size):
    """The frames of a clip, evenly sampled, without black ones.

    Args:
        path: Path of a video file or of a folder of images.
        most: Integer, how many frames, at most.
        size: Integer, the side of the square that each is squashed to.

    Returns:
        List of uint8 arrays `(size, size, 3)`.

    Raises:
        ValueError: If it cannot be read.
        UserError: If PyAV is missing, which reads video files.
    """
    if path.is_dir():
        files = _images(path)
        rows = evenly(len(files), most)
        return seen(images.decode(files[row].read_bytes(), size) for row in rows)
    return seen(_read_video(path, most, size))


def seen(frames):
    """List of these frames without those that are black all over: for the models they are none."""
    return [frame for frame in frames if frame.any()]


def _images(folder):
    """The images of a folder in the order of their names, in which 10 comes behind 9."""
    found = [
        one
        for one in folder.iterdir()
        if one.suffix.lower() in IMAGES and not one.name.startswith(".")
    ]
    return sorted(found, key=lambda one: (_in_parts(one.stem), one.name))


def _in_parts(name):
    """Text and numbers of a name in turn.

    >>> _in_parts("a12b")
    ['a', 12, 'b']
    """
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]


def evenly(count, most):
    """Numbers of at most `most` of `count` frames, evenly from the first to the last.

    >>> evenly(9, 3), evenly(2, 3)
    ([0, 4, 8], [0, 1])
    """
    return np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()


def _read_video(path, most, size):
    try:
        import av
    except ImportError:
        raise UserError(f'Reading {path} needs the package av: pip install -e ".[video]"') from None
    kept, step = [], 1  # every `step`-th frame: a film need not fit into memory
    try:
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number % step:
                    continue
                kept.append(images.decode(_upright(frame), size))
                if len(kept) > 4 * most:
                    kept, step = kept[::2], 2 * step
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
    if not kept:
        raise ValueError("no frame")
    return [kept[row] for row in evenly(len(kept), most)]


def _upright(frame):
    """The picture of a frame, turned as the file says: phones store what they film on its side."""
    quarters = round(getattr(frame, "rotation", 0) / 90)  # counterclockwise
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), quarters))


@dataclasses.dataclass(frozen=True)
class Frames:
    """The frames of clips one after another, `most` of each, as a split of images.

    Attributes:
        clips: List of paths, or of functions `(most, size)` to the frames of a clip.
        most: Integer.
    """

    clips: list
    most: int

    def __len__(self):
        return len(self.clips) * self.most

    def images(self, size):
        """Yields each frame as uint8, or a `BrokenImage` where a clip has no more of them."""
        for clip in self.clips:
            try:
                frames = clip(self.most, size) if callable(clip) else read(clip, self.most, size)
                reason = ""
            except (ValueError, OSError) as error:
                frames, reason = [], str(error)
            yield from frames
            for _ in range(self.most - len(frames)):
                yield images.BrokenImage(str(clip), reason)
