from dataclasses import replace

import numpy as np
import pytest

from dataset.minesim.scene.world import SceneObject
from dataset.minesim.sensors.rig import Camera
from dataset.minesim.write.captions import caption, objects_in_view
from tests.minesim_world import tiny_world

CAMERA = Camera(480, 300)
START = np.eye(4)


def _thing(name, x, y, z=1.0, size=2.0):
    return SceneObject(name, 1, np.array([x, y, z]), np.full(3, size), 0.0)


def _depth(value):
    return np.full((300, 480), value, np.float32)


def _world(*things, sky="clear", dust=0.0, snow=False):
    return replace(tiny_world(sky=sky, dust=dust, snow=snow), objects=things)


def test_names_visible_objects_and_their_side():
    world = _world(_thing("haul truck", 20, 6), _thing("sign", 20, -6), _thing("sign", 20, -7))
    text = caption(world, START, _depth(21.0), CAMERA)
    assert text == (
        "A haul road runs through open ground under a clear sky. "
        "A haul truck on the left and two signs on the right can be seen."
    )


def test_occluded_or_distant_objects_are_not_named():
    hidden, behind, far = _thing("pickup", 40, 0), _thing("pickup", -20, 0), _thing("pickup", 95, 0)
    assert not objects_in_view(_world(hidden, behind, far), START, _depth(15.0), CAMERA)
    text = caption(_world(hidden), START, _depth(15.0), CAMERA)
    assert text.endswith("No objects are near.")


def test_a_sign_is_seen_by_the_board_above_its_posts():
    world, depth = _world(_thing("sign", 20, 0, z=2.0, size=4.0)), _depth(60.0)
    assert not objects_in_view(world, START, depth, CAMERA)
    depth[:150] = 20.0  # Its board; below, the camera looks through between the posts.
    assert objects_in_view(world, START, depth, CAMERA)


def test_objects_outside_the_image_are_not_named():
    beside, above = _thing("pickup", 5, 30), _thing("pickup", 10, 0, z=20.0)
    assert not objects_in_view(_world(beside, above), START, _depth(8.0), CAMERA)


@pytest.mark.parametrize(
    ("names", "phrase"),
    [
        (["excavator"], "An excavator ahead can"),
        (["person"] * 2, "Two people ahead can"),
        (["cone"] * 9, "Several cones ahead can"),
    ],
)
def test_counts_in_english(names, phrase):
    world = _world(*(_thing(name, 20, 0) for name in names))
    assert phrase in caption(world, START, _depth(21.0), CAMERA)


@pytest.mark.parametrize(
    ("sky", "dust", "snow", "phrase"),
    [
        ("dusk", 0.0, False, "A haul road runs through open ground at dusk."),
        ("hazy", 0.8, False, "in hazy light with dust in the air."),
        ("night", 0.0, False, "at night, lit by headlights and light masts."),
        ("low_sun", 0.0, False, "toward a low sun."),
        ("overcast", 0.0, True, "A snow-covered haul road runs through open ground under an over"),
    ],
)
def test_describes_the_weather(sky, dust, snow, phrase):
    assert phrase in caption(_world(sky=sky, dust=dust, snow=snow), START, _depth(9.0), CAMERA)


@pytest.mark.parametrize(
    ("height", "phrase"),
    [
        (lambda xy: np.where(xy[:, 1] > 10, 8.0, 0.0), "along a high wall on the left"),
        (lambda xy: np.where(xy[:, 1] < -10, 8.0, 0.0), "along a high wall on the right"),
        (lambda xy: np.where(np.abs(xy[:, 1]) > 10, 8.0, 0.0), "between high walls"),
    ],
)
def test_describes_the_roadside(height, phrase):
    world = replace(_world(), height_m=height)
    assert phrase in caption(world, START, _depth(9.0), CAMERA)


@pytest.mark.parametrize(
    ("changes", "phrase"),
    [
        ({"condition": "dust", "dust": 0.5}, "under a clear sky through plumes of dust."),
        ({"condition": "wet"}, "under a clear sky after rain and is wet."),
        ({"lens_seed": 1}, "under a clear sky, seen through a dirty lens."),
    ],
)
def test_describes_the_condition(changes, phrase):
    world = _world()
    world = replace(world, environment=replace(world.environment, **changes))
    assert phrase in caption(world, START, _depth(9.0), CAMERA)
