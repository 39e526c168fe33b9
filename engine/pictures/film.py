"""Films: pictures one after another in an mp4 or GIF file."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import cv2.utils.logging as logs
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from utils.whole_files import new_file

SUFFIXES = (".mp4", ".gif")
CODECS = ("avc1", "vp09", "mp4v")
"""Four letters of the codecs of an mp4 file, the most widely played first: H.264, VP9, MPEG-4.
OpenCV's own wheel has the latter two; others may have H.264 too."""
_FFMPEG_LOG = "OPENCV_FFMPEG_LOGLEVEL"


def check_film(path: Path, size: tuple[int, int], fps: float | int) -> None:
    """Refuse a film that could not be written, before any picture is drawn.

    Args:
        path: The film, ``.mp4`` or ``.gif``.
        size: Width and height of its pictures [px].
        fps: Pictures a second.

    Raises:
        ValueError: If the ending, the size or the speed is at fault, or OpenCV has no codec.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"films are written as .mp4 or .gif, got {path}")
    if not 0 < fps <= 60:
        raise ValueError(f"a film has more than 0 and at most 60 pictures a second, got {fps}")
    if min(size) < 64 or (path.suffix == ".mp4" and (size[0] % 2 or size[1] % 2)):
        raise ValueError(f"a film needs at least 64 × 64 pixels, even numbers in mp4, got {size}")
    if path.suffix == ".mp4":
        with TemporaryDirectory() as folder:
            _open_mp4(Path(folder) / path.name, size, fps)[0].release()


def write_film(
    path: Path, pictures: Iterable[UInt8[np.ndarray, "height width 3"]], *, fps: float | int
) -> str:
    """Write RGB pictures of one size as a film; the file appears complete or not at all.

    Args:
        path: The film, ``.mp4`` or ``.gif``.
        pictures: Drawn one by one, as the film takes them; a GIF keeps them all until its end.
        fps: Pictures a second.

    Returns:
        What it was encoded with, for people.

    Raises:
        ValueError: If there is no picture, or as ``check_film`` says.
    """
    frames = iter(pictures)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"no picture for the film {path}")
    size = (first.shape[1], first.shape[0])
    check_film(path, size, fps)
    write = _write_gif if path.suffix == ".gif" else _write_mp4
    with new_file(path, ending=path.suffix) as partial:
        return write(partial, _chain(first, frames), size, fps)


def _write_mp4(
    path: Path, pictures: Iterable[np.ndarray], size: tuple[int, int], fps: float | int
) -> str:
    writer, codec = _open_mp4(path, size, fps)
    try:
        for picture in pictures:
            writer.write(np.ascontiguousarray(picture[..., ::-1]))
    finally:
        writer.release()
    return codec


def _write_gif(
    path: Path, pictures: Iterable[np.ndarray], size: tuple[int, int], fps: float | int
) -> str:
    del size
    # An octree keeps rare classes' colours, which the usual median cut blends into common ones;
    # dithering would flicker.
    method, dither = Image.Quantize.FASTOCTREE, Image.Dither.NONE
    frames = [
        Image.fromarray(picture).quantize(256, method=method, dither=dither) for picture in pictures
    ]
    duration_ms = round(1000 / fps)
    frames[0].save(
        path, format="GIF", save_all=True, append_images=frames[1:], duration=duration_ms, loop=0
    )
    return "GIF"


def _open_mp4(path: Path, size: tuple[int, int], fps: float | int) -> tuple[cv2.VideoWriter, str]:
    """A writer with the first codec that works.

    Raises:
        ValueError: If none does.
    """
    with _quiet():
        for codec in CODECS:
            code = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, size)
            if writer.isOpened():
                return writer, codec
            writer.release()
    raise ValueError(
        f"this OpenCV has no video codec for mp4 (tried {', '.join(CODECS)}): install the wheel "
        "'pip install opencv-python', or write a .gif, which needs no codec"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV and FFmpeg from reporting each codec that they lack."""
    level, told = logs.getLogLevel(), os.environ.get(_FFMPEG_LOG)
    logs.setLogLevel(logs.LOG_LEVEL_SILENT)
    os.environ.setdefault(_FFMPEG_LOG, "-8")
    try:
        yield
    finally:
        logs.setLogLevel(level)
        if told is None:
            os.environ.pop(_FFMPEG_LOG, None)


def _chain(first: np.ndarray, others: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    yield first
    yield from others
