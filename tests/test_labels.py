"""The label sets say what the data sets' authors say."""

import pytest

from utils.labels import IGNORE, NUSCENES, UNSCENES3D, label_set


def test_twelve_classes_with_nine_in_the_long_tail() -> None:
    assert UNSCENES3D.num_classes == 12
    assert UNSCENES3D.long_tail == (1, 2, 3, 4, 5, 6, 7, 8, 9)


def test_the_ground_is_what_one_drives_on() -> None:
    assert [UNSCENES3D.class_names[i] for i in UNSCENES3D.ground] == [
        "muddy",
        "terrain",
        "driveable_surface",
    ]
    assert NUSCENES.index("sidewalk") in NUSCENES.ground
    assert NUSCENES.index("car") not in NUSCENES.ground


def test_palette_is_the_official_one() -> None:
    palette = UNSCENES3D.palette()
    assert palette[UNSCENES3D.index("truck")].tolist() == [160, 32, 240]
    assert palette[UNSCENES3D.index("driveable_surface")].tolist() == [255, 0, 255]
    assert palette[IGNORE].tolist() == [200, 200, 200]


def test_unknown_names_are_rejected() -> None:
    assert label_set("unscenes3d") is UNSCENES3D
    with pytest.raises(ValueError, match="no class 'tank'"):
        UNSCENES3D.index("tank")
    with pytest.raises(ValueError, match="unknown label set 'kitti'"):
        label_set("kitti")


def test_nuscenes_has_free_the_sixteen_classes_and_others() -> None:
    assert label_set("nuscenes") is NUSCENES
    assert NUSCENES.num_classes == len(NUSCENES.colors) == 18
    assert NUSCENES.class_names[:5] == ("free", "barrier", "bicycle", "bus", "car")
    assert NUSCENES.index("driveable_surface") == 11
    assert NUSCENES.index("vegetation") == 16
    assert NUSCENES.index("others") == 17
    assert NUSCENES.common == ()
    assert len(set(NUSCENES.colors)) == 18
