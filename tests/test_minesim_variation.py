"""Draws of conditions and sensors."""

from collections import Counter

import numpy as np
import pytest

from dataset.minesim.scene.environment import CONDITIONS
from dataset.minesim.sensors.lidar_models import LIDAR_MODELS
from dataset.minesim.sensors.rig import Camera, Rig
from dataset.minesim.write.variation import (
    Variation,
    describe,
    draw_condition,
    draw_patches,
    draw_rig,
    sensor_sentence,
)

SIZE = (96, 60)


def test_without_options_nothing_varies() -> None:
    for number in range(3):
        assert draw_condition(Variation(), 0, number) == "standard"
        assert draw_rig(Variation(), SIZE, 0, number) == Rig(Camera(*SIZE))
    assert draw_rig(Variation(lidars=("livox_hap",)), SIZE, 0, 0) == Rig(Camera(*SIZE))
    assert sensor_sentence(Rig(Camera(*SIZE))) == ""


def test_every_condition_and_model_is_drawn() -> None:
    every = Variation(conditions=CONDITIONS, lidars=tuple(LIDAR_MODELS), camera=True)
    drawn = Counter(draw_condition(every, 3, number) for number in range(120))
    assert set(drawn) == set(CONDITIONS)
    assert min(drawn.values()) > 8
    rigs = [draw_rig(every, SIZE, 3, number) for number in range(120)]
    assert {rig.lidar.name for rig in rigs} == set(LIDAR_MODELS)
    for rig in rigs:
        low, high = rig.lidar.height_m
        assert low <= rig.lidar_height_m <= high
    assert len({rig.camera for rig in rigs}) == 120


def test_patches_lie_in_their_share_of_the_scenes() -> None:
    def scenes(share: float) -> set[int]:
        return {n for n in range(200) if draw_patches(Variation(patches=share), 3, n)}

    assert scenes(0.0) == set()
    assert scenes(1.0) == set(range(200))
    assert 30 < len(scenes(0.25)) < 70
    assert scenes(0.25) < scenes(0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patches": 1.5}, "patches must be a share from 0 to 1, got 1.5"),
        ({"density": {"car": -1.0}}, "density must not be negative"),
        ({"density": {"hut": 2.0}}, "unknown class hut; known: .*car"),
    ],
)
def test_impossible_options_are_rejected(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        Variation(**options)


def test_an_option_does_not_shift_the_draws_of_another() -> None:
    both = Variation(conditions=CONDITIONS, lidars=("at128", "hdl_32e"), camera=True)
    lidar = Variation(lidars=("at128", "hdl_32e"))
    for number in range(4):
        first, second = (draw_rig(v, SIZE, 1, number) for v in (both, lidar))
        assert (first.lidar, first.lidar_height_m) == (second.lidar, second.lidar_height_m)


def test_varied_cameras_look_ahead_with_the_horizon_in_the_upper_half() -> None:
    for number in range(40):
        rig = draw_rig(Variation(camera=True), SIZE, 0, number)
        u, v, depth = (rig.pixel_from_lidar @ np.array([1e6, 0.0, 0.0, 1.0]))[:3]
        assert 0.3 * SIZE[0] < u / depth < 0.7 * SIZE[0]
        assert 0.2 * SIZE[1] < v / depth < 0.5 * SIZE[1]
        assert 44.0 < 2 * np.rad2deg(np.arctan(0.5 * SIZE[0] / rig.camera.focal_px[0])) < 80.0


def test_the_record_and_the_caption_name_the_sensors() -> None:
    rig = Rig(Camera(*SIZE, position_m=(-1.0, 0.0, 3.0)), LIDAR_MODELS["os1_128"], 2.5)
    about = describe("dust", rig)
    assert (about["condition"], about["lidar"], about["lidar_height_m"]) == ("dust", "os1_128", 2.5)
    assert sensor_sentence(rig) == (
        " The LiDAR is an Ouster OS1-128 at 2.5 m and the camera sees 59° from 3.0 m."
    )


def test_unknown_models_are_rejected() -> None:
    with pytest.raises(ValueError, match="unknown LiDAR sonar; known: livox_hap"):
        Variation(lidars=("sonar",))
