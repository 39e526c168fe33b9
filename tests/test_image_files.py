import cv2
import numpy as np
import pytest

from engine.pictures.image_files import write_image
from tests.images import RED, plain


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_image_is_written_in_its_colors_and_leaves_nothing_else(tmp_path, suffix):
    path = tmp_path / "deep" / f"frame.1{suffix}"
    write_image(path, plain(RED))
    read = cv2.imread(str(path))[..., ::-1]
    np.testing.assert_allclose(read, plain(RED), atol=0 if suffix == ".png" else 8)
    assert list(path.parent.iterdir()) == [path]


def test_other_image_formats_are_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"\.png or \.jpg"):
        write_image(tmp_path / "frame.tiff", plain(RED))
