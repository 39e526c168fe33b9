from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from dataset.clouds import read_any_cloud
from dataset.nuscenes.labels import BENCHMARKS, read_occ3d
from dataset.sample import Sample
from engine.prediction.files import KINDS, FrameWriter, in_view, occupied_ply, with_points
from engine.prediction.predictor import PredictedGrid
from tests.model_inputs import GRID, make_batch
from utils.labels import FREE, IGNORE, NUSCENES, UNSCENES3D

STEM = "1718.5"


@pytest.fixture(scope="module")
def frame():
    batch = make_batch(1)
    sample = Sample(
        STEM,
        images=batch.images[0],
        points=batch.points[0],
        pixel_from_lidar=batch.pixel_from_lidar[0],
    )
    occupancy = np.zeros(GRID.shape, np.uint8)
    occupancy[:, :, 0] = 11
    occupancy[6:9, 5:8, 1] = 2
    half = np.full(GRID.shape, 0.5, np.float32)
    return sample, PredictedGrid(occupancy, half, 2 * half)


def test_each_kind_has_its_file(frame, tmp_path):
    FrameWriter(tmp_path, [*KINDS, "npy"], GRID, UNSCENES3D).write(*frame)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    own = {f"{STEM}.{kind}" for kind in ("npy", "npz", "ply", "png")}
    others = {f"confidence/{STEM}.npy", f"entropy/{STEM}.npy", f"points/{STEM}.png"}
    assert names == own | others
    np.testing.assert_array_equal(np.load(tmp_path / f"{STEM}.npy"), frame[1].occupancy)
    for kind, value in [("confidence", 0.5), ("entropy", 1.0)]:
        saved = np.load(tmp_path / kind / f"{STEM}.npy")
        assert (saved.dtype, saved.shape) == (np.float16, GRID.shape)
        assert (saved == value).all()


def test_unknown_kinds_and_none_are_rejected(tmp_path):
    for kinds in ([], ["npy", "jpg"]):
        with pytest.raises(ValueError, match="kinds of files must be among"):
            FrameWriter(tmp_path, kinds, GRID, UNSCENES3D)


def test_returns_need_both_sensors(frame, tmp_path):
    sample, predicted = frame
    writer = FrameWriter(tmp_path, ["points"], GRID, UNSCENES3D)
    for lacking in (replace(sample, points=None), replace(sample, images=None)):
        with pytest.raises(
            ValueError, match=rf"{STEM}: .* needs images and LiDAR points.*: leave this kind out"
        ):
            writer.write(lacking, predicted)


def test_npz_has_labels_and_masks(frame, tmp_path):
    FrameWriter(tmp_path, ["npz"], GRID, UNSCENES3D).write(*frame)
    with np.load(tmp_path / f"{STEM}.npz") as arrays:
        np.testing.assert_array_equal(arrays["semantics"], frame[1].occupancy)
        np.testing.assert_array_equal(arrays["mask_camera"], in_view(frame[0], GRID))
        np.testing.assert_array_equal(arrays["mask_lidar"], with_points(frame[0], GRID))


def test_npz_of_nuscenes_is_read_as_occ3d(tmp_path):
    grid = BENCHMARKS["occ3d"].grid
    occupancy = np.zeros(grid.shape, np.uint8)
    occupancy[:2, 0, 0] = 4, NUSCENES.index("others")
    nothing = np.zeros(grid.shape, np.float32)
    writer = FrameWriter(tmp_path, ["npz"], grid, NUSCENES)
    writer.write(Sample(STEM), PredictedGrid(occupancy, nothing, nothing))
    labels = read_occ3d(tmp_path / f"{STEM}.npz")
    np.testing.assert_array_equal(labels.occupancy, occupancy)
    assert not labels.mask_camera.any()
    assert not labels.mask_lidar.any()
    with np.load(tmp_path / f"{STEM}.npz") as arrays:
        assert arrays["semantics"][2, 0, 0] == 17  # Free, in Occ3D's numbers.


def test_ply_is_read_by_others(frame, tmp_path):
    occupancy = frame[1].occupancy.copy()
    occupancy[0, 0, 0] = IGNORE
    path = tmp_path / "a.ply"
    path.write_bytes(occupied_ply(occupancy, GRID, UNSCENES3D))
    cloud = trimesh.load(path)
    index = np.argwhere((occupancy != FREE) & (occupancy != IGNORE))
    np.testing.assert_allclose(cloud.vertices, GRID.meters_from_voxel(index + 0.5), atol=1e-6)
    expected = UNSCENES3D.palette()[occupancy[tuple(index.T)]]
    np.testing.assert_array_equal(cloud.visual.vertex_colors[:, :3], expected)
    assert len(read_any_cloud(path, {"intensity_max": 1.0})) == len(
        index
    )  # Our own reader of clouds.


def test_ply_of_an_empty_grid(tmp_path):
    path = tmp_path / "a.ply"
    path.write_bytes(occupied_ply(np.zeros(GRID.shape, np.uint8), GRID, UNSCENES3D))
    assert read_any_cloud(path, {"intensity_max": 1.0}).shape == (0, 4)


def test_masks_say_what_a_camera_could_see_and_what_the_lidar_hit(frame):
    sample, _ = frame
    seen = in_view(sample, GRID)
    # The camera looks along x from 1 m behind: 64 columns at 30 px see 46.8° to either side.
    assert seen[8, 7:9].any()
    assert not seen[0, 0].any()
    assert not seen[0, -1].any()
    assert 0.3 < seen.mean() < 0.9
    hit = with_points(sample, GRID)
    voxels = torch.floor(GRID.voxel_from_meters(sample.points[:, :3])).long()
    assert hit[tuple(voxels.T)].all()
    assert hit.sum() == len(torch.unique(voxels, dim=0))
    assert not in_view(Sample("a"), GRID).any()
    assert not with_points(Sample("a"), GRID).any()
