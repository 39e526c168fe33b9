import cv2
import numpy as np
import pytest
from PIL import Image

from engine.pictures import film
from engine.pictures.film import check_film, write_film

COLORS = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]


def pictures(size=(96, 64)):
    for color in COLORS:
        yield np.full((size[1], size[0], 3), color, np.uint8)


def test_an_mp4_has_all_pictures_in_their_colors(tmp_path):
    path = tmp_path / "deep" / "film.mp4"
    assert write_film(path, pictures(), fps=5) in film.CODECS
    assert list(path.parent.iterdir()) == [path]
    reader = cv2.VideoCapture(str(path))
    assert reader.get(cv2.CAP_PROP_FPS) == pytest.approx(5)
    for color in COLORS:
        found, frame = reader.read()
        assert found
        # Codecs store brightness and colour apart, and lose a little of both.
        np.testing.assert_allclose(frame[32, 48, ::-1], color, atol=25)
    assert not reader.read()[0]


def test_a_gif_has_all_pictures_and_keeps_a_rare_color(tmp_path):
    rare = np.full((64, 96, 3), 128, np.uint8)
    rare[..., 0] = np.arange(96)
    rare[:2, :2] = (255, 0, 0)
    path = tmp_path / "film.gif"
    assert write_film(path, [rare, *pictures()], fps=4) == "GIF"
    with Image.open(path) as gif:
        assert gif.n_frames == 4
        assert gif.info["duration"] == 250
        first = np.asarray(gif.convert("RGB")).astype(int)
    assert np.abs(first[0, 0] - (255, 0, 0)).max() < 40


@pytest.mark.parametrize(
    ("name", "size", "fps", "message"),
    [
        ("film.avi", (96, 64), 4, r"films are written as .mp4 or .gif, got .*film.avi"),
        ("film.mp4", (96, 64), 0, "more than 0 and at most 60 pictures a second, got 0"),
        ("film.mp4", (97, 64), 4, r"at least 64 × 64 pixels, even numbers in mp4, got \(97, 64\)"),
        ("film.gif", (96, 32), 4, "at least 64 × 64 pixels"),
    ],
)
def test_a_film_that_cannot_be_is_refused_before_it_is_drawn(tmp_path, name, size, fps, message):
    with pytest.raises(ValueError, match=message):
        check_film(tmp_path / name, size, fps)


def test_without_a_codec_one_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(film, "CODECS", ("none",))
    with pytest.raises(ValueError, match=r"no video codec for mp4 \(tried none\).*or write a .gif"):
        check_film(tmp_path / "film.mp4", (96, 64), 4)
    assert not list(tmp_path.iterdir())
    check_film(tmp_path / "film.gif", (96, 64), 4)


def test_a_film_without_pictures_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no picture for the film .*film.mp4"):
        write_film(tmp_path / "film.mp4", [], fps=4)


def test_what_fails_leaves_no_file(tmp_path):
    def broken():
        yield from pictures()
        raise ValueError("a frame is broken")

    for name in ("film.mp4", "film.gif"):
        with pytest.raises(ValueError, match="a frame is broken"):
            write_film(tmp_path / name, broken(), fps=4)
    assert not list(tmp_path.iterdir())
