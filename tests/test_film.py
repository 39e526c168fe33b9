import cv2
import numpy as np
import pytest
from PIL import Image

from engine.pictures import film
from engine.pictures.film import check_film, write_film

COLORS = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]


def images(size=(96, 64)):
    for color in COLORS:
        yield np.full((size[1], size[0], 3), color, np.uint8)


def test_an_mp4_has_all_images_in_their_colors(tmp_path):
    path = tmp_path / "deep" / "film.mp4"
    assert write_film(path, images(), fps=5) in film.CODECS
    assert list(path.parent.iterdir()) == [path]
    reader = cv2.VideoCapture(str(path))
    assert reader.get(cv2.CAP_PROP_FPS) == pytest.approx(5)
    for color in COLORS:
        found, frame = reader.read()
        assert found
        # Codecs store brightness and color apart, and lose a little of both.
        np.testing.assert_allclose(frame[32, 48, ::-1], color, atol=25)
    assert not reader.read()[0]


def test_a_gif_has_all_images_and_keeps_a_rare_color(tmp_path):
    rare = np.full((64, 96, 3), 128, np.uint8)
    rare[..., 0] = np.arange(96)
    rare[:2, :2] = (255, 0, 0)
    path = tmp_path / "film.gif"
    assert write_film(path, [rare, *images()], fps=4) == "GIF of 256 colors"
    with Image.open(path) as gif:
        assert gif.n_frames == 4
        assert gif.info["duration"] == 250
        first = np.asarray(gif.convert("RGB")).astype(int)
    assert np.abs(first[0, 0] - (255, 0, 0)).max() < 40


def test_the_frames_of_a_gif_share_one_palette_of_so_many_colors(tmp_path):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (64, 96, 3), dtype=np.uint8) for _ in range(3)]
    sizes = []
    for colors in (256, 16):
        path = tmp_path / f"{colors}.gif"
        assert write_film(path, noise, fps=4, colors=colors) == f"GIF of {colors} colors"
        sizes.append(path.stat().st_size)
        found = set()
        with Image.open(path) as gif:
            for number in range(3):
                gif.seek(number)
                found |= set(map(tuple, np.asarray(gif.convert("RGB")).reshape(-1, 3).tolist()))
        assert len(found) <= colors
    assert sizes[1] < 0.7 * sizes[0]


def test_what_stands_still_does_not_flicker(tmp_path):
    """A gradient keeps its colors while something else changes."""
    still = np.zeros((64, 96, 3), np.uint8)
    still[:32] = np.linspace(100, 180, 96)[None, :, None]
    frames = []
    for color in COLORS:
        frames.append(still.copy())
        frames[-1][32:] = color
    write_film(tmp_path / "film.gif", frames, fps=4)
    with Image.open(tmp_path / "film.gif") as gif:
        shown = []
        for number in range(len(COLORS)):
            gif.seek(number)
            shown.append(np.asarray(gif.convert("RGB"))[:32])
    np.testing.assert_array_equal(shown[0], shown[1])
    np.testing.assert_array_equal(shown[0], shown[2])
    # 80 levels of gray fit into the palette: each is within one bin of 8.
    assert np.abs(shown[0].astype(int) - still[:32]).max() <= 8


@pytest.mark.parametrize(
    ("name", "size", "fps", "message"),
    [
        ("film.avi", (96, 64), 4, r"a film must be .mp4 or .gif, got .*film.avi"),
        ("film.mp4", (96, 64), 0, "more than 0 and at most 60 images per second, got 0"),
        ("film.mp4", (97, 64), 4, r"and even sizes for mp4, got \(97, 64\)"),
        ("film.gif", (96, 32), 4, "at least 64 × 64 pixels"),
    ],
)
def test_a_film_that_cannot_be_is_rejected_before_it_is_drawn(tmp_path, name, size, fps, message):
    with pytest.raises(ValueError, match=message):
        check_film(tmp_path / name, size, fps)


@pytest.mark.parametrize("colors", [1, 257])
def test_a_palette_that_no_gif_has_is_rejected(tmp_path, colors):
    with pytest.raises(ValueError, match=f"a GIF must have 2 to 256 colors, got {colors}"):
        check_film(tmp_path / "film.gif", (96, 64), 4, colors=colors)


def test_without_a_codec_one_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(film, "CODECS", ("none",))
    with pytest.raises(ValueError, match=r"no video codec for mp4 \(tried none\).*or write a .gif"):
        check_film(tmp_path / "film.mp4", (96, 64), 4)
    assert not list(tmp_path.iterdir())
    check_film(tmp_path / "film.gif", (96, 64), 4)


def test_a_film_without_images_is_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"no images for the film .*film.mp4"):
        write_film(tmp_path / "film.mp4", [], fps=4)


def test_an_mp4_that_lost_images_is_an_error(tmp_path, monkeypatch):
    class Full:
        """Loses all images but the first, as OpenCV does on a full disk."""

        def __init__(self, writer):
            self.writer, self.release = writer, writer.release

        def write(self, image):
            self.writer.write(image)
            self.write = lambda image: None

    opened = film._open_mp4

    def open_full(*args):
        writer, codec = opened(*args)
        return Full(writer), codec

    monkeypatch.setattr(film, "check_film", lambda *_, **options: None)
    monkeypatch.setattr(film, "_open_mp4", open_full)
    with pytest.raises(OSError, match=r"film\.mp4: only 1 of 3 images were written; is the disk"):
        write_film(tmp_path / "film.mp4", images(), fps=5)
    assert list(tmp_path.iterdir()) == []


def test_what_fails_leaves_no_file(tmp_path):
    def broken():
        yield from images()
        raise ValueError("a frame is broken")

    for name in ("film.mp4", "film.gif"):
        with pytest.raises(ValueError, match="a frame is broken"):
            write_film(tmp_path / name, broken(), fps=4)
    assert not list(tmp_path.iterdir())
