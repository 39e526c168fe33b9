import numpy as np
import pytest

from dataset.nuscenes.labels import BENCHMARKS
from engine.evaluation.nuscenes_grids import SCENE_RANGES_M, evaluated_grid


@pytest.mark.parametrize("name", BENCHMARKS)
def test_by_default_it_is_the_benchmarks_own(name):
    found = evaluated_grid(name)
    assert found.grid == found.fine == BENCHMARKS[name].grid
    assert found.is_native
    assert evaluated_grid(name, BENCHMARKS[name].grid.voxel_m).is_native
    assert found.labels.num_classes == (18 if name == "occ3d" else 17)
    assert found.labels.class_names[0] == "free"
    assert found.labels.class_names[16] == "vegetation"


def test_the_seeds_command_means_occ3ds_own_grid():
    assert evaluated_grid("occ3d", 0.4, 4) == evaluated_grid("occ3d")
    assert evaluated_grid("openoccupancy", 0.2, 5).is_native


@pytest.mark.parametrize(
    ("name", "resolution", "scene_size", "shape"),
    [
        ("openoccupancy", 0.4, 0, (256, 256, 20)),
        ("openoccupancy", 0.4, 1, (200, 200, 16)),
        ("openoccupancy", 0.4, 3, (200, 200, 18)),
        ("openoccupancy", 0.2, 3, (400, 400, 36)),
        ("openoccupancy", 0.8, 4, (100, 100, 8)),
        ("openoccupancy", 0.2, 6, (512, 512, 45)),
        ("openoccupancy", 0.4, None, (256, 256, 20)),
        ("occ3d", None, 5, (256, 256, 20)),
        ("occ3d", 1.6, 4, (50, 50, 4)),
        ("surroundocc", 1.0, None, (100, 100, 8)),
    ],
)
def test_other_ranges_and_larger_voxels(name, resolution, scene_size, shape):
    low, high = np.array(
        (BENCHMARKS[name].grid.origin_m, BENCHMARKS[name].grid.end_m)
        if scene_size is None
        else SCENE_RANGES_M[scene_size]
    )
    found = evaluated_grid(name, resolution, scene_size)
    assert found.grid.shape == shape
    assert not found.is_native
    np.testing.assert_allclose(found.grid.origin_m, low)
    np.testing.assert_allclose(found.grid.end_m, high)


@pytest.mark.parametrize(
    ("name", "resolution", "scene_size", "message"),
    [
        ("occ3d", 0.2, 4, r"--resolution must be a multiple .* occ3d, 0\.4 m, got 0\.2"),
        ("occ3d", 0.5, None, r"--resolution must be a multiple .* got 0\.5"),
        ("occ3d", 0.0, None, r"--resolution must be .* got 0"),
        ("occ3d", float("nan"), None, r"--resolution must be .* got nan"),
        ("occ3d", 0.4, 1, r"--scene-size 1: .* of occ3d, 0\.4 m .*: give 4, 5 or leave"),
        ("openoccupancy", 0.2, 2, r"--scene-size 2: .* give 0, 1, 3, 4, 5, 6 or leave"),
        ("surroundocc", 0.5, 4, r"--scene-size 4: .*: leave it out for"),
        ("openoccupancy", 0.4, 6, r"2 does not divide the 512×512×45 voxels"),
        ("occ3d", 0.4, 7, "--scene-size must be 0–6, got 7"),
        ("kitti", 0.4, 4, "unknown labels 'kitti'"),
    ],
)
def test_what_would_cut_voxels_is_rejected(name, resolution, scene_size, message):
    with pytest.raises(ValueError, match=message):
        evaluated_grid(name, resolution, scene_size)


def test_in_words():
    assert evaluated_grid("occ3d").describe() == ("of occ3d: 200×200×16 voxels of 0.4 m")
    assert evaluated_grid("openoccupancy", 0.4, 4).describe() == (
        "of openoccupancy: 200×200×16 voxels of 0.4 m (labels coarsened by 2), "
        "from (-40, -40, -1) m"
    )
