import numpy as np
import pytest

from dataset.minesim.write.nuscenes.plan import (
    LEAD_S,
    NuScenesOptions,
    drive_seconds,
    plan_scenes,
    sample_times_us,
    sweep_times_us,
)
from dataset.nuscenes.splits import official_scenes


def test_scenes_have_official_names_of_their_splits():
    plan = plan_scenes(NuScenesOptions(scenes=3, frames=1))
    assert plan.version == "v1.0-mini"
    assert plan.names == ("scene-0061", "scene-0553", "scene-0103")
    assert plan.splits == {"train": ("scene-0061", "scene-0553"), "val": ("scene-0103",)}


def test_the_mini_version_is_full_at_ten_scenes():
    ten = plan_scenes(NuScenesOptions(scenes=10, frames=1))
    assert (ten.version, len(ten.splits["train"]), len(ten.splits["val"])) == ("v1.0-mini", 8, 2)
    more = plan_scenes(NuScenesOptions(scenes=11, frames=1))
    assert more.version == "v1.0-trainval"
    assert set(more.splits["val"]) <= set(official_scenes("v1.0-trainval", "val"))
    assert len(more.names) == len(set(more.names)) == 11


def test_a_single_scene_is_for_training():
    assert plan_scenes(NuScenesOptions(scenes=1, frames=1)).splits["val"] == ()
    assert plan_scenes(NuScenesOptions(scenes=4, frames=1, val=2)).splits["val"] == (
        "scene-0103",
        "scene-0916",
    )


def test_samples_are_at_2_hz_with_some_jitter():
    times = sample_times_us(20, 3, np.random.default_rng(0))
    steps = np.diff(times)
    assert np.abs(steps - 500_000).max() <= 4_000
    assert len(set(steps.tolist())) > 5
    later = sample_times_us(20, 4, np.random.default_rng(0))
    assert (later - times == 3_600_000_000).all()  # Scenes are an hour apart.
    assert drive_seconds(20) > LEAD_S + (times[-1] - times[0]) * 1e-6


def test_sweeps_are_between_samples_and_belong_to_the_later_one():
    times = np.array([1_000_000, 1_500_000, 2_000_100])
    assert sweep_times_us(times, 1) == [
        (0, 1_000_000, True),
        (1, 1_250_000, False),
        (1, 1_500_000, True),
        (2, 1_750_050, False),
        (2, 2_000_100, True),
    ]
    assert [key for _, _, key in sweep_times_us(times, 0)] == [True] * 3
    assert len(sweep_times_us(times, 9)) == 21


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scenes": 0}, "at least 1, got 0 and 2"),
        ({"frames": 0}, "at least 1, got 2 and 0"),
        ({"seed": -1}, "seed must not be negative"),
        ({"sweeps": 10}, "sweeps must be between 0 and 9"),
        ({"lidar_columns": 0}, "lidar_columns must be at least 1"),
        ({"surface_step_m": 1.0}, "surface_step_m must be between"),
        ({"ground_cell_m": 5.0}, "ground_cell_m must be between"),
        ({"image_size": (160, 8)}, "at least 16×16"),
        ({"val": 2}, "cannot be split into 2 val"),
        ({"val": -1}, "cannot be split"),
        ({"scenes": 2000}, "nuScenes has"),
    ],
)
def test_rejects_invalid_options(wrong, message):
    with pytest.raises(ValueError, match=message):
        NuScenesOptions(**{"scenes": 2, "frames": 2, **wrong})
