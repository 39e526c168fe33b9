import logging
from pathlib import Path

import numpy as np
import pytest

from dataset.layout import LABEL_GRID
from engine.evaluation.score_options import OCC3D, OCC3D_GRID, build_parser, rule_of, task_of
from engine.metrics.depth_errors import DepthRule
from utils.geometry import VoxelGrid
from utils.labels import UNSCENES3D

FOLDERS = ["--pred", "p", "--gt", "g", "--json", "j"]


def parsed(*options):
    return build_parser("scores").parse_args([*FOLDERS, *map(str, options)])


@pytest.fixture
def origins(tmp_path):
    np.save(tmp_path / "o.npy", np.zeros((1, 3)))
    return tmp_path / "o.npy"


def test_voxels_of_unscenes3d_are_scored_by_default():
    task = task_of(parsed())
    assert (task.labels, task.free_label, task.convention) == (UNSCENES3D, 0, "default")
    assert (task.voxels, task.rays, task.masks) == (True, None, None)


def test_classes_and_grid_of_occ3d():
    assert OCC3D.class_names[0] == "others"
    assert OCC3D.class_names[4] == "car"
    assert OCC3D.class_names[16:] == ("vegetation", "free")
    assert VoxelGrid((-40.0, -40.0, -1.0), 0.4, (200, 200, 16)) == OCC3D_GRID
    task = task_of(parsed("--layout", "occ3d"))
    assert (task.labels, task.free_label) == (OCC3D, 17)
    assert (task.form.shape, task.form.free_label) == ((200, 200, 16), 17)


def test_labels_may_be_coarsened():
    assert task_of(parsed()).form.coarsening == 1
    assert task_of(parsed("--coarsen", 4)).form.coarsening == 4
    with pytest.raises(ValueError, match=r"needs the labels 0 for free and 255 .* 17 and 255"):
        task_of(parsed("--coarsen", 2, "--layout", "occ3d"))


def test_rays_are_those_of_occ3d_unless_another_layout_is_named(origins):
    task = task_of(parsed("--metrics", "rayiou", "--origins", origins))
    assert (task.labels, task.free_label, task.voxels) == (OCC3D, 17, False)
    assert (task.rays.grid, task.rays.any_shape) == (OCC3D_GRID, False)
    both = task_of(parsed("--metrics", "occupancy", "rayiou", "--origins", origins))
    assert (both.labels, both.voxels) == (OCC3D, True)
    ours = task_of(parsed("--metrics", "rayiou", "--origins", origins, "--layout", "unscenes3d"))
    assert (ours.labels, ours.free_label, ours.rays.grid) == (UNSCENES3D, 0, LABEL_GRID)
    numbered = ["--num-classes", 5, "--free-label", 4, "--voxel-m", 0.5, "--corner-m", 1, 2, 3]
    task = task_of(parsed("--metrics", "rayiou", "--origins", origins, *numbered))
    assert (task.labels.num_classes, task.free_label) == (5, 4)
    assert task.rays.grid_of((7, 8, 9)) == VoxelGrid((1.0, 2.0, 3.0), 0.5, (7, 8, 9))


def test_a_mask_is_said_to_be_for_voxels_alone(origins, caplog):
    with caplog.at_level(logging.INFO):
        assert task_of(parsed("--mask", "m")).masks == Path("m")
    assert not caplog.text
    with caplog.at_level(logging.INFO, "engine.evaluation.score_options"):
        task_of(parsed("--mask", "m", "--metrics", "rayiou", "--origins", origins))
    assert "RayIoU has no mask" in caplog.text


def test_depth_rules():
    assert rule_of(parsed("--task", "depth")) == DepthRule(0.1, 80.0, "none")
    options = ["--min-depth", 0.001, "--max-depth", 50, "--median-scaling", "torch"]
    assert rule_of(parsed("--task", "depth", *options)) == DepthRule(0.001, 50.0, "torch")
    with pytest.raises(ValueError, match="0 < min < max, got 90–80 m"):
        rule_of(parsed("--task", "depth", "--min-depth", 90))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metrics", "rayiou"], "--metrics rayiou needs --origins"),
        (["--origins", "o.npy"], "--origins can only be used with --metrics rayiou"),
        (["--voxel-m", 1, "--corner-m", 0, 0, 0], "--voxel-m, --corner-m can only be used with"),
        (["--max-depth", 9], "--max-depth can only be used with --task depth"),
        (["--median-scaling", "none"], "--median-scaling can only be used with --task depth"),
    ],
)
def test_options_without_effect_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        task_of(parsed(*options))


@pytest.mark.parametrize("options", [["--mask", "m"], ["--convention", "ssc"], ["--free-label", 0]])
def test_options_of_grids_are_none_of_depth(options):
    with pytest.raises(ValueError, match=f"{options[0]} can only be used with --task occupancy"):
        rule_of(parsed("--task", "depth", *options))


def test_where_voxels_stand_takes_both_numbers(origins):
    for part in (["--voxel-m", 0.4], ["--corner-m", 0, 0, 0]):
        with pytest.raises(ValueError, match="--voxel-m and --corner-m must be given together"):
            task_of(parsed("--metrics", "rayiou", "--origins", origins, *part))


def test_origins_must_be_there():
    with pytest.raises(FileNotFoundError, match=r"--origins nowhere\.npy not found"):
        task_of(parsed("--metrics", "rayiou", "--origins", "nowhere.npy"))
