import json
import os

import numpy as np
import pytest

from dataset import layout, statistics
from dataset.statistics import (
    NUM_BINS,
    PUBLISHED_SHARES,
    Statistics,
    columns_of,
    empty_statistics,
    fingerprint_of,
    frame_statistics,
    object_centers,
    split_statistics,
)
from tests.layout_files import write_tiny_unscenes3d
from utils.labels import UNSCENES3D

ROWS = np.array(
    [
        # Two trucks, far apart; a speck of one column is no object.
        *[[100, 128, z, 2] for z in range(3)],
        [101, 129, 0, 2],  # Touches by a corner.
        *[[200, y, 0, 2] for y in range(100, 104)],
        [10, 10, 0, 2],
        # Ground, and background that is ignored.
        *[[x, 128, 0, 11] for x in range(1, 6)],
        [255, 0, 31, 0],
    ]
)


def test_a_frame_worked_by_hand():
    found = frame_statistics(ROWS)
    assert found.frames == 1
    assert found.counts.tolist() == [1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 5]
    assert found.shares[2] == pytest.approx(9 / 14)
    assert found.shares[0] == 0
    assert found.frames_with.tolist() == [1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    # x = 100.5 · 0.3 = 30.15 m; x = 60.15 m with y = −7.95 m; the speck 3.15 m, −35.25 m.
    objects = np.zeros(NUM_BINS, int)
    objects[[3, 6]] = 1
    np.testing.assert_array_equal(found.objects[2], objects)
    assert found.objects.sum() == 2
    assert found.voxels[2].tolist() == [0, 0, 0, 5, 0, 0, 4, 0, 0]
    assert found.voxels[11].tolist() == [5, 0, 0, 0, 0, 0, 0, 0, 0]


def test_the_far_corner_is_in_the_last_bin():
    corner = np.array([[255, 255, 0, 10], [255, 0, 0, 10]])
    assert frame_statistics(corner).voxels[10].tolist() == [0] * 8 + [2]


def test_objects_are_what_touches_seen_from_above():
    columns = columns_of(ROWS, 2)
    assert columns.sum() == 7
    centers = object_centers(columns)
    assert sorted(centers.tolist()) == [[100.5, 128.5], [200.0, 101.5]]
    assert object_centers(np.zeros((256, 256), bool)).shape == (0, 2)


def test_surfaces_are_no_objects():
    rows = np.array([[x, 10, 0, label] for label in (10, 11) for x in range(5)])
    assert frame_statistics(rows).objects.sum() == 0


def test_counts_of_frames_add_up():
    one = frame_statistics(ROWS)
    both = sum([one, one], empty_statistics())
    assert both.frames == 2
    np.testing.assert_array_equal(both.voxels, 2 * one.voxels)
    np.testing.assert_array_equal(both.frames_with, 2 * one.frames_with)
    np.testing.assert_allclose(both.shares, one.shares)
    assert empty_statistics().shares.sum() == 0


def test_published_shares_are_of_all_classes():
    assert set(PUBLISHED_SHARES) == set(UNSCENES3D.class_names[1:])
    assert sum(PUBLISHED_SHARES.values()) == pytest.approx(1.0, abs=1e-3)


def test_counts_survive_json():
    one = frame_statistics(ROWS)
    again = Statistics.from_json(json.loads(json.dumps(one.to_json())))
    assert again.to_json() == one.to_json()
    with pytest.raises(ValueError, match="expected counts with the shapes"):
        Statistics.from_json(one.to_json() | {"frames_with": [1]})


@pytest.fixture
def data(tmp_path):
    stems = write_tiny_unscenes3d(tmp_path, frames=1, sweeps=0)
    return tmp_path, stems


def count(root, stems):
    return split_statistics(root, stems, "train", workers=1, progress=False)


def test_counts_are_kept_until_a_label_changes(data, monkeypatch):
    root, stems = data
    first = count(root, stems)
    assert first.frames == 3
    kept = json.loads((root / "statistics/train.json").read_text())
    assert kept["frames"] == 3
    assert [path.name for path in (root / "statistics").iterdir()] == ["train.json"]

    reads = []
    read = statistics.read_occupancy_rows
    monkeypatch.setattr(
        statistics, "read_occupancy_rows", lambda path: reads.append(path) or read(path)
    )
    assert count(root, stems).to_json() == first.to_json()
    assert reads == []
    path = root / layout.relative_path(layout.OCCUPANCY, stems[1])
    np.save(path, ROWS)
    os.utime(path, ns=(0, 0))
    changed = count(root, stems)
    assert len(reads) == 3
    assert changed.counts.sum() < first.counts.sum()
    assert count(root, stems[:2]).frames == 2


def test_every_change_has_another_fingerprint(data):
    root, stems = data
    path = root / layout.relative_path(layout.OCCUPANCY, stems[0])
    seen = {fingerprint_of(root, stems), fingerprint_of(root, stems[::-1])}
    seen.add(fingerprint_of(root, stems[:2]))
    os.utime(path, ns=(1, 1))
    seen.add(fingerprint_of(root, stems))
    path.write_bytes(path.read_bytes() + b"0")
    os.utime(path, ns=(1, 1))
    seen.add(fingerprint_of(root, stems))
    assert len(seen) == 5


@pytest.mark.parametrize("content", ["{", '{"fingerprint": 0}', "[]", None])
def test_a_damaged_file_is_counted_again(data, content, caplog):
    root, stems = data
    path = root / "statistics/train.json"
    first = count(root, stems)
    if content is None:
        kept = json.loads(path.read_text())
        content = json.dumps(kept | {"voxels": [[1]]})
    path.write_text(content)
    assert count(root, stems).to_json() == first.to_json()
    assert json.loads(path.read_text())["frames"] == 3


def test_a_folder_that_cannot_be_written_is_only_warned_of(data, caplog):
    root, stems = data
    (root / "statistics").write_text("a file, not a folder")
    assert count(root, stems).frames == 3
    assert "the counts could not be cached" in caplog.text


def test_a_missing_label(data):
    root, stems = data
    with pytest.raises(FileNotFoundError, match=r"9\.9\.npy"):
        count(root, [*stems, "9.9"])
