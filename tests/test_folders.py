from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dataset.occupancy_files import GridForm
from engine.evaluation.folders import GridTask, RayTask, score_depth_maps, score_grids
from engine.metrics.confusion import Confusion
from engine.metrics.depth_errors import DepthRule, depth_errors
from engine.metrics.occupancy import occupancy_scores
from engine.metrics.ray_iou import RayCounts, ray_scores
from utils.geometry import VoxelGrid
from utils.labels import LabelSet

GRID = VoxelGrid((-4.0, -4.0, -1.0), 0.5, (16, 16, 6))
LABELS = LabelSet("four", ("a", "b", "c", "free"), colors=((0, 0, 0),) * 4)
STEMS = ("1.25", "1.5")
ORIGINS = np.array([[0.1, 0.2, 0.6], [-1.3, 0.7, 0.4]])


@pytest.fixture
def folders(tmp_path):
    """Predictions, labels, masks, and origins for each frame and for all."""
    rng = np.random.default_rng(0)
    for name in ("pred", "gt", "mask", "origins"):
        (tmp_path / name).mkdir()
    for number, stem in enumerate(STEMS):
        target = np.where(rng.random(GRID.shape) < 0.06, rng.integers(0, 3, GRID.shape), 3)
        np.save(tmp_path / f"gt/{stem}.npy", target)
        np.save(tmp_path / f"pred/{stem}.npy", np.roll(target, 1, axis=0))
        np.save(tmp_path / f"mask/{stem}.npy", rng.random(GRID.shape) < 0.5)
        np.save(tmp_path / f"origins/{stem}.npy", ORIGINS[: number + 1])
    np.save(tmp_path / "o.npy", ORIGINS)
    return tmp_path


def task(**options):
    return GridTask(LABELS, GridForm(None, 3), 3, 255, "default", **options)


def score(folder, **options):
    return score_grids(folder / "pred", folder / "gt", task(**options))


def loaded(folder, stem):
    return [np.load(folder / f"{side}/{stem}.npy") for side in ("pred", "gt", "mask")]


def test_voxels_that_a_mask_leaves_out_do_not_count(folders):
    confusion = Confusion(4)
    for stem in STEMS:
        confusion.update(*loaded(folders, stem))
    found = score(folders, masks=folders / "mask")
    assert found.occupancy == occupancy_scores(confusion, LABELS, free_label=3)
    assert found.occupancy != score(folders).occupancy
    assert found.rays is None
    (folders / "mask/1.5.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"mask .*1\.5\.npy not found"):
        score(folders, masks=folders / "mask")


def test_rays_have_no_mask(folders):
    rays = RayTask(folders / "o.npy", GRID)
    both = score(folders, rays=rays, masks=folders / "mask")
    alone = score(folders, rays=rays, voxels=False)
    assert both.rays == alone.rays
    assert alone.occupancy is None
    assert both.occupancy == score(folders, masks=folders / "mask").occupancy


@pytest.mark.parametrize("name", ["o.npy", "origins"])
def test_origins_for_all_frames_or_each(folders, name):
    counts = RayCounts(4, free_label=3)
    for number, stem in enumerate(STEMS):
        origins = ORIGINS if name == "o.npy" else ORIGINS[: number + 1]
        counts.update(*loaded(folders, stem)[:2], torch.from_numpy(origins), GRID)
    found = score(folders, rays=RayTask(folders / name, GRID), voxels=False)
    assert found.rays == ray_scores(counts, LABELS)
    assert 0 < found.rays.rayiou < 1


def test_origins_out_of_place_are_named_with_their_file(folders):
    np.save(folders / "o.npy", ORIGINS + 400_000)
    with pytest.raises(
        ValueError, match=r"o\.npy: the ray origin \(400000, 400000, 400001\) is far"
    ):
        score(folders, rays=RayTask(folders / "o.npy", GRID))
    (folders / "origins/1.5.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"ray origins .*origins/1\.5\.npy not found"):
        score(folders, rays=RayTask(folders / "origins", GRID))


def test_the_grid_of_a_shape():
    rays = RayTask(Path("o.npy"), GRID)
    assert rays.grid_of((16, 16, 6)) == GRID
    assert rays.grid_of((8, 8, 3)) == GRID.coarsen(2)
    for shape in ((16, 16, 5), (32, 32, 12), (8, 8, 6)):
        with pytest.raises(ValueError, match=r"RayIoU does not know the position of the .* voxels"):
            rays.grid_of(shape)
    free = RayTask(Path("o.npy"), GRID, any_shape=True)
    assert free.grid_of((3, 2, 1)) == VoxelGrid(GRID.origin_m, 0.5, (3, 2, 1))


def test_depth_maps_of_both_kinds_and_images_without_labels(tmp_path):
    rng = np.random.default_rng(1)
    rows = []
    for side in ("pred", "gt"):
        (tmp_path / side).mkdir()
    for stem in ("1.25", "1.5"):
        target = rng.integers(0, 90 * 256, (6, 8)).astype(np.uint16)
        pred = (target / 256 * 1.2 + 0.1).astype(np.float32)
        cv2.imwrite(str(tmp_path / f"gt/{stem}.png"), target)
        np.save(tmp_path / f"pred/{stem}.npy", pred)
        meters = torch.from_numpy((target / 256).astype(np.float32))
        rows.append(depth_errors(torch.from_numpy(pred), meters, DepthRule()))
    np.save(tmp_path / "gt/2.npy", np.zeros((6, 8)))
    np.save(tmp_path / "pred/2.npy", np.ones((6, 8)))
    total = score_depth_maps(tmp_path / "pred", tmp_path / "gt", DepthRule()).total
    assert tuple(total.errors) == pytest.approx(np.mean(rows, axis=0))
    assert (total.frames, total.left_out) == (2, 1)
    of_one = score_depth_maps(tmp_path / "pred", tmp_path / "gt", DepthRule(), ["1.5"]).total
    assert tuple(of_one.errors) == pytest.approx(rows[1])


def test_depth_maps_that_do_not_fit_are_named(tmp_path):
    for side, width in (("pred", 4), ("gt", 8)):
        (tmp_path / side).mkdir()
        np.save(tmp_path / side / "1.5.npy", np.ones((6, width)))
    with pytest.raises(
        ValueError, match=r"pred/1\.5\.npy against .*gt/1\.5\.npy: .* differ in shape"
    ):
        score_depth_maps(tmp_path / "pred", tmp_path / "gt", DepthRule())
    (tmp_path / "pred/1.5.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 frames lack a prediction in .*pred: 1\.5"):
        score_depth_maps(tmp_path / "pred", tmp_path / "gt", DepthRule())
    (tmp_path / "gt/1.5.npy").unlink()
    with pytest.raises(ValueError, match=r"no frame to score: no \*\.npy or \*\.png in"):
        score_depth_maps(tmp_path / "pred", tmp_path / "gt", DepthRule())
