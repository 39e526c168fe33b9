"""The label set of UnScenes3D says what the data set's authors say."""

import pytest

from utils.labels import IGNORE, UNSCENES3D, label_set


def test_twelve_classes_with_nine_in_the_long_tail() -> None:
    assert UNSCENES3D.num_classes == 12
    assert UNSCENES3D.long_tail == (1, 2, 3, 4, 5, 6, 7, 8, 9)


def test_palette_is_the_official_one() -> None:
    palette = UNSCENES3D.palette()
    assert palette[UNSCENES3D.index("truck")].tolist() == [160, 32, 240]
    assert palette[UNSCENES3D.index("driveable_surface")].tolist() == [255, 0, 255]
    assert palette[IGNORE].tolist() == [200, 200, 200]


def test_unknown_names_are_refused() -> None:
    assert label_set("unscenes3d") is UNSCENES3D
    with pytest.raises(ValueError, match="no class 'tank'"):
        UNSCENES3D.index("tank")
    with pytest.raises(ValueError, match="unknown label set 'kitti'"):
        label_set("kitti")
