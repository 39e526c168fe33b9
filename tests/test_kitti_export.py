import json
import shutil

import numpy as np
import pytest

from dataset import layout
from dataset.formats import read_calibration, read_occupancy_rows
from dataset.kitti_export import (
    COPIED,
    Entry,
    ExportOptions,
    export,
    plan_export,
    write_splits,
)
from dataset.occupancy_files import write_prediction
from tests.layout_files import write_tiny_unscenes3d

SCENES = {"scene_00005": "location_6", "scene_00000": "location_1", "scene_00006": "location_4_5"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return root, write_tiny_unscenes3d(root, scenes=SCENES, frames=2, image_size=(30, 48))


def run(root, out, entries, **options):
    export(root, out, entries, ExportOptions(**options), workers=1, progress=False)


def read_back(out):
    """Files of every frame by the stem that the export says it is."""
    found = {}
    for sequence in sorted((out / "sequences").iterdir()):
        for line in (sequence / "stems.txt").read_text().splitlines():
            number, stem = line.split()
            found[stem] = {path.parent.name: path for path in sequence.glob(f"*/{number}.*")}
    return found


def test_scenes_are_sequences_and_samples_frames(data):
    root, stems = data
    entries = plan_export(root)
    assert entries == [Entry(stem, f"{i // 2:04d}", f"{i % 2:06d}") for i, stem in enumerate(stems)]
    # A split keeps the numbers.
    assert plan_export(root, "train") == entries[2:4]
    assert plan_export(root, "test", "region") == entries[:2]


def test_all_files_come_back_as_they_were(data, tmp_path):
    root, stems = data
    run(root, tmp_path / "out", plan_export(root))
    found = read_back(tmp_path / "out")
    assert list(found) == stems
    for stem, files in found.items():
        assert set(files) == {"velodyne", "image_2", "calibs", "voxels"}
        for folder, name in COPIED.items():
            original = root / layout.relative_path(folder, stem)
            assert files[name].read_bytes() == original.read_bytes()
            assert files[name].suffix == original.suffix
        # Rows again, from the grid; background is 255 there.
        grid = np.load(files["voxels"])
        assert (grid.dtype, grid.shape) == (np.uint8, (256, 256, 32))
        voxels = np.argwhere(grid)
        label = grid[tuple(voxels.T)]
        rows = np.column_stack([voxels, np.where(label == 255, 0, label)])
        expected = read_occupancy_rows(root / layout.relative_path(layout.OCCUPANCY, stem))
        order = np.lexsort(expected.T[2::-1])
        np.testing.assert_array_equal(rows, expected[order])
        assert (grid == 255).sum() == 2
        read_calibration(files["calibs"])


def test_images_keep_their_format(tmp_path):
    root = tmp_path / "data"
    [stem] = write_tiny_unscenes3d(root, scenes={"a": "location_1"}, frames=1, sweeps=0)
    path = root / layout.relative_path(layout.IMAGES, stem)
    path.rename(path.with_suffix(".PNG"))
    run(root, tmp_path / "out", plan_export(root))
    assert [path.suffix for path in (tmp_path / "out").rglob("image_2/*")] == [".png"]


def test_float64_as_the_authors_write(data, tmp_path):
    root, stems = data
    entries = plan_export(root)[:1]
    for dtype in ("uint8", "float64"):
        run(root, tmp_path / dtype, entries, dtype=dtype)
    one, other = (
        np.load(read_back(tmp_path / dtype)[stems[0]]["voxels"]) for dtype in ("uint8", "float64")
    )
    assert other.dtype == np.float64
    np.testing.assert_array_equal(one, other)


def test_predictions_lie_beside_the_labels(data, tmp_path):
    root, stems = data
    dense = np.full((4, 4, 2), 11, np.uint8)
    write_prediction(tmp_path / "pred", stems[0], dense)
    np.save(tmp_path / f"pred/{stems[1]}.npy", np.array([[1, 2, 3, 4]]))
    entries = plan_export(root)[:2]
    run(root, tmp_path / "out", entries, labels=False, predictions=tmp_path / "pred")
    found = read_back(tmp_path / "out")
    assert "voxels" not in found[stems[0]]
    np.testing.assert_array_equal(np.load(found[stems[0]]["predictions"]), dense)
    sparse = np.load(found[stems[1]]["predictions"])
    assert (sparse.shape, sparse[1, 2, 3], sparse.sum()) == ((256, 256, 32), 4, 4)


def test_missing_predictions_and_files_are_named_first(data, tmp_path):
    root, stems = data
    (tmp_path / "pred").mkdir()
    with pytest.raises(FileNotFoundError, match="lacks predictions of 6 of 6 frames"):
        run(root, tmp_path / "out", plan_export(root), predictions=tmp_path / "pred")
    copy = shutil.copytree(root, tmp_path / "copy")
    (copy / layout.relative_path(layout.CLOUDS, stems[3])).unlink()
    with pytest.raises(FileNotFoundError, match=f"clouds/ lacks 1 of 6: {stems[3]}"):
        run(copy, tmp_path / "out", plan_export(copy))
    assert not (tmp_path / "out").exists()


def test_without_scenes_every_frame_is_in_one_sequence(tmp_path):
    write_tiny_unscenes3d(tmp_path, imagesets=(), frames=1, image_size=(30, 48))
    entries = plan_export(tmp_path)
    assert {entry.sequence for entry in entries} == {"0000"}
    assert [entry.frame for entry in entries] == [f"{i:06d}" for i in range(6)]
    assert sorted(entry.stem for entry in entries) == [entry.stem for entry in entries]


def test_a_sequence_keeps_the_names_of_an_earlier_export(tmp_path):
    write_tiny_unscenes3d(tmp_path, imagesets=(), frames=1, image_size=(30, 48))
    entries = plan_export(tmp_path)
    for part in (entries[3:], entries[:3], entries[:1]):  # One sequence, for there are no scenes.
        run(tmp_path, tmp_path / "out", part, labels=False)
    names = (tmp_path / "out/sequences/0000/stems.txt").read_text().splitlines()
    assert names == [f"{entry.frame} {entry.stem}" for entry in entries]


def test_splits_are_written_by_sequences(data, tmp_path):
    root, _ = data
    write_splits(root, tmp_path)
    assert json.loads((tmp_path / "splits.json").read_text()) == {
        "train": ["0001"],
        "val": ["0002"],
        "test": ["0000"],
    }
