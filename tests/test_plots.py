import pytest
from PIL import Image

from engine.pictures.plots import DPI, new_figure, write_figure, write_heading


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_figure_is_written_whole_and_leaves_nothing_else(tmp_path, suffix):
    path = tmp_path / "deep" / f"figure.1{suffix}"
    write_figure(path, new_figure(4.0, 2.0))
    with Image.open(path) as image:
        assert image.size == (4 * DPI, 2 * DPI)
    assert list(path.parent.iterdir()) == [path]


def test_other_formats_are_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"\.png or \.jpg"):
        write_figure(tmp_path / "figure.tiff", new_figure(4.0, 2.0))
    assert not list(tmp_path.iterdir())


def test_the_heading_and_its_note_stand_at_the_ends_of_the_first_line():
    figure = new_figure(6.0, 2.0)
    write_heading(figure, "scene_1", "no label")
    figure.canvas.draw()
    heading, note = (text.get_window_extent() for text in figure.texts)
    assert heading.x0 < 0.05 * 6 * DPI < 0.9 * 6 * DPI < note.x1
    assert min(heading.y0, note.y0) > DPI
