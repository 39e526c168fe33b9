import json
import re

import numpy as np
import pytest

from dataset.class_mapping import DROP, UNKNOWN, ClassMapping, read_mapping
from dataset.nuscenes.labels import POINT_CLASSES
from dataset.point_labels import read_point_classes, read_point_labels
from dataset.rellis3d.classes import point_classes
from utils.labels import NUSCENES, RELLIS3D, WILDOCC

OWN = ClassMapping(None, {0: UNKNOWN, 1: 1, 2: 2})


def test_numbers_become_classes_by_a_file_with_names_of_the_label_set(tmp_path):
    table = {"7": "bus", "8": "unknown", "9": "drop", "10": "car"}
    path = tmp_path / "mapping.json"
    path.write_text(json.dumps({"point_labels": table, "moving": ["10"]}))
    file = tmp_path / "1.0.label"
    np.array([7, 8, 9, 10 | 3 << 16], "<u4").tofile(file)  # The third object of class 10.
    found = read_point_classes(file, 4, read_mapping(path, NUSCENES))
    assert found.classes.tolist() == [NUSCENES.index("bus"), 0, DROP, NUSCENES.index("car")]
    assert found.is_moving.tolist() == [False, False, False, True]
    assert found.of(np.array([3, 0])).classes.tolist() == [4, 3]
    with pytest.raises(ValueError, match=r"expected one of unknown, drop, barrier.*found 'bus'"):
        read_mapping(path)


def test_files_of_another_type_and_length(tmp_path):
    file = tmp_path / "1_lidarseg.bin"
    np.array([0, 2, 1], "u1").tofile(file)
    assert read_point_classes(file, 3, OWN, "u1").classes.tolist() == [0, 2, 1]
    message = f"{file}: expected a uint8 for each of the 4 points of the cloud, found 3 bytes"
    with pytest.raises(ValueError, match=re.escape(message)):
        read_point_labels(file, 4, "u1")
    with pytest.raises(ValueError, match="expected a uint32 for each of the 3 points"):
        read_point_labels(file, 3)
    with pytest.raises(FileNotFoundError, match=r"2.label not found: each cloud needs"):
        read_point_labels(tmp_path / "2.label", 3)


def test_a_number_without_a_class_names_its_file_and_what_to_do(tmp_path):
    file = tmp_path / "1.0.label"
    np.array([1, 77], "<u4").tofile(file)
    message = (
        rf"{file}: expected the classes of the data set \(0, 1, 2\), found 77: .*point_mapping"
    )
    with pytest.raises(ValueError, match=message):
        read_point_classes(file, 2, OWN)
    path = tmp_path / "mapping.json"
    path.write_text(json.dumps({"point_labels": {"1": "car"}}))
    with pytest.raises(ValueError, match=rf"{file}.*'point_labels' of {path}.*add it to that file"):
        read_point_classes(file, 2, read_mapping(path))


def test_the_numbers_of_the_data_sets():
    assert sorted(POINT_CLASSES) == list(range(32))
    assert set(POINT_CLASSES.values()) == {UNKNOWN, DROP, *range(1, 17)}
    assert POINT_CLASSES[24] == NUSCENES.index("driveable_surface")
    tree, void, sky = 4, 0, 7
    assert point_classes(RELLIS3D)[tree] == RELLIS3D.index("tree")
    assert point_classes(WILDOCC)[1] == WILDOCC.index("others")
    for labels in (RELLIS3D, WILDOCC):
        assert point_classes(labels)[void] == UNKNOWN
        assert point_classes(labels)[sky] == DROP
