"""Video files: mp4 or GIF."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import cv2.utils.logging as logs
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from utils.whole_files import name_full_disk, new_file

SUFFIXES = (".mp4", ".gif")
MAX_COLORS = 256
"""Maximum size of a GIF's palette."""
CODECS = ("avc1", "vp09", "mp4v")
"""FourCC of the codecs for mp4, most widely supported first: H.264, VP9, MPEG-4.
OpenCV's wheel on PyPI has the latter two; other builds may have H.264 too."""
_FFMPEG_LOG = "OPENCV_FFMPEG_LOGLEVEL"


def check_film(
    path: Path, size: tuple[int, int], fps: float | int, *, colors: int = MAX_COLORS
) -> None:
    """Check that a film can be written, before any image is drawn.

    Args:
        path: The film, ``.mp4`` or ``.gif``.
        size: Width and height of its images [px].
        fps: Images per second.
        colors: Size of a GIF's palette.

    Raises:
        ValueError: If suffix, size, speed or palette is out of range, or OpenCV has no codec.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a film must be .mp4 or .gif, got {path}")
    if not 0 < fps <= 60:
        raise ValueError(f"a film needs more than 0 and at most 60 images per second, got {fps}")
    if min(size) < 64 or (path.suffix == ".mp4" and (size[0] % 2 or size[1] % 2)):
        raise ValueError(
            f"a film needs at least 64 × 64 pixels, and even sizes for mp4, got {size}"
        )
    if not 2 <= colors <= MAX_COLORS:
        raise ValueError(f"a GIF must have 2 to {MAX_COLORS} colors, got {colors}")
    if path.suffix == ".mp4":
        with TemporaryDirectory() as folder:
            _open_mp4(Path(folder) / path.name, size, fps)[0].release()


def write_film(
    path: Path,
    images: Iterable[UInt8[np.ndarray, "height width 3"]],
    *,
    fps: float | int,
    colors: int = MAX_COLORS,
) -> str:
    """Write RGB images of one size as a film; the file appears complete or not at all.

    Args:
        path: The film, ``.mp4`` or ``.gif``.
        images: Consumed one by one, so a generator can draw them.
        fps: Images per second.
        colors: Size of a GIF's palette; fewer make a smaller file.

    Returns:
        A description of the encoding for the log.

    Raises:
        ValueError: If there is no image, or ``check_film`` fails.
    """
    frames = iter(images)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"no images for the film {path}")
    size = (first.shape[1], first.shape[0])
    check_film(path, size, fps, colors=colors)
    with new_file(path, ending=path.suffix) as partial:
        if path.suffix == ".gif":
            return _write_gif(partial, chain([first], frames), fps=fps, colors=colors)
        return _write_mp4(partial, chain([first], frames), size, fps)


def _write_mp4(
    path: Path, images: Iterable[np.ndarray], size: tuple[int, int], fps: float | int
) -> str:
    writer, codec = _open_mp4(path, size, fps)
    count = 0
    try:
        for image in images:
            count += 1
            writer.write(np.ascontiguousarray(image[..., ::-1]))
    finally:
        writer.release()
    # OpenCV reports no error of the disk.
    film = cv2.VideoCapture(str(path))
    written = int(film.get(cv2.CAP_PROP_FRAME_COUNT))
    film.release()
    if written != count:
        raise OSError(f"only {max(written, 0)} of {count} images were written; is the disk full?")
    return codec


def _write_gif(path: Path, images: Iterable[np.ndarray], *, fps: float | int, colors: int) -> str:
    """Write a GIF whose images share one palette, so that static parts do not flicker."""
    counts = ColorCounts()
    with TemporaryDirectory() as folder:
        spooled: list[Path] = []
        for image in images:
            counts.add(image)
            spooled.append(Path(folder) / f"{len(spooled)}.png")
            with name_full_disk(spooled[-1]):
                Image.fromarray(image).save(spooled[-1], compress_level=1)
        palette = counts.palette(colors)
        # Dithering would flicker and make the file larger.
        first, *others = (_with_palette(file, palette) for file in spooled)
        first.save(
            path,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=round(1000 / fps),
            loop=0,
        )
    return f"GIF of {colors} colors"


class ColorCounts:
    """Color histogram of a sequence of images, with bins of 8 levels per channel."""

    def __init__(self) -> None:
        self._counts = np.zeros(2**15, dtype=np.int64)
        self._sums = np.zeros((3, 2**15))

    def add(self, image: UInt8[np.ndarray, "height width 3"]) -> None:
        """Count the pixels of an RGB image."""
        red, green, blue = channels = image.reshape(-1, 3).T
        bins = (red.astype(np.int32) >> 3 << 10) | (green.astype(np.int32) >> 3 << 5) | (blue >> 3)
        self._counts += np.bincount(bins, minlength=2**15)
        for total, channel in zip(self._sums, channels, strict=True):
            total += np.bincount(bins, weights=channel, minlength=2**15)

    def palette(self, colors: int) -> Image.Image:
        """Return an image with a palette of this many colors, chosen by median cut.

        Colors are weighted by the square root of their pixel count. With the count itself, rare
        classes would be blended into common ones.
        """
        bins = np.flatnonzero(self._counts)
        means = np.rint(self._sums[:, bins] / self._counts[bins]).astype(np.uint8).T
        weights = np.ceil(np.sqrt(self._counts[bins])).astype(np.int64)
        pixels = means.repeat(weights, axis=0)[None]
        return Image.fromarray(pixels).quantize(colors, method=Image.Quantize.MEDIANCUT, kmeans=2)


def _with_palette(file: Path, palette: Image.Image) -> Image.Image:
    with Image.open(file) as image:
        return image.quantize(palette=palette, dither=Image.Dither.NONE)


def _open_mp4(path: Path, size: tuple[int, int], fps: float | int) -> tuple[cv2.VideoWriter, str]:
    """Open a writer with the first codec that works.

    Raises:
        ValueError: If none works.
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
    """Silence the reports of OpenCV and FFmpeg about missing codecs."""
    level, previous = logs.getLogLevel(), os.environ.get(_FFMPEG_LOG)
    logs.setLogLevel(logs.LOG_LEVEL_SILENT)
    os.environ.setdefault(_FFMPEG_LOG, "-8")
    try:
        yield
    finally:
        logs.setLogLevel(level)
        if previous is None:
            os.environ.pop(_FFMPEG_LOG, None)
