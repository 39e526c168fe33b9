from dataclasses import replace

import numpy as np
import pytest

from dataset import layout
from dataset.augment.parts import FrameParts
from dataset.augment.paste import PasteRanges, paste_object
from dataset.augment.rare_objects import objects_of, place_object
from dataset.augmentation import Choices
from dataset.lidar_depth import depth_of_points
from dataset.unscenes3d import UnScenes3D
from tests.flat_options import build_flat
from tests.layout_files import DRIVEABLE, TERRAIN, TRUCK, write_tiny_unscenes3d

GRID = layout.LABEL_GRID
SIZE = (120, 192)
FIELDS = ("images", "points", "pixel_from_lidar", "occupancy", "depth_m", "elevation_m")
GROUND_COLOR = (150, 130, 110)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    scenes = {"scene_00000": "location_1"}
    write_tiny_unscenes3d(folder, scenes=scenes, sweeps=0, image_size=SIZE)
    return folder


@pytest.fixture(scope="module")
def source(root):
    """A frame with a truck."""
    dataset = build_flat(UnScenes3D, root, split="train", fields=FIELDS, grid=GRID, image_size=SIZE)
    return dataset._read_parts(0, Choices())


def labels_of(points):
    return np.rint(points[:, 3] * 25.5).astype(int)


@pytest.fixture(scope="module")
def target(source):
    """The same frame without its truck."""
    is_truck = labels_of(source.points) == TRUCK
    hidden = depth_of_points(source.pixel_from_lidar, source.points[is_truck], SIZE) > 0
    image = source.image.copy()
    yellow = image[..., :2].astype(int).mean(axis=2) - image[..., 2] > 60
    image[yellow] = GROUND_COLOR
    occupancy = np.where(source.occupancy == TRUCK, np.uint8(0), source.occupancy)
    ground = np.flatnonzero((source.occupancy == DRIVEABLE).any(axis=(0, 1)))[0]
    occupancy[(source.occupancy == TRUCK).any(axis=2), ground] = DRIVEABLE
    return replace(
        source,
        image=image,
        depth_m=np.where(yellow | hidden, np.float32(0), source.depth_m),
        points=source.points[~is_truck],
        occupancy=occupancy,
    )


def flat(height=4):
    """Labels of an endless ground."""
    labels = np.zeros(GRID.shape, np.uint8)
    labels[..., height] = DRIVEABLE
    return labels


def with_box(x=100, y=120, height=4):
    labels = flat(height)
    labels[x : x + 8, y : y + 5, height + 1 : height + 6] = TRUCK
    return labels


# --- objects and places ---


def test_objects_are_groups_of_columns():
    labels = with_box()
    labels[30:33, 50:53, 5:7] = TRUCK
    labels[200, 200, 5] = TRUCK  # One column is too small.
    labels[5:90, 10, 5] = TRUCK  # 25 m are too long.
    found = list(objects_of(labels, TRUCK, rng()))
    assert sorted(int(each.voxels.sum()) for each in found) == [18, 200]
    assert {each.ground for each in found} == {4}
    assert not list(objects_of(labels, TERRAIN, rng()))
    without_ground = np.where(labels == TRUCK, labels, np.uint8(0))
    assert not list(objects_of(without_ground, TRUCK, rng()))


def test_an_object_keeps_its_place_and_stands_on_the_ground():
    (found,) = objects_of(with_box(), TRUCK, rng())
    place = place_object(flat(height=6), found, np.zeros(3), 0.0)
    expected = np.argwhere(with_box(height=6) == TRUCK)
    np.testing.assert_array_equal(np.unique(place.voxels, axis=0), expected)
    lifted = np.eye(4)
    lifted[2, 3] = 2 * GRID.voxel_m
    np.testing.assert_allclose(place.target_from_source, lifted, atol=1e-12)


@pytest.mark.parametrize("angle", [5.0, -17.0])
def test_a_turned_object_keeps_its_range_and_size(angle):
    axis_m = np.array([-1.0, 0.5, 2.0])
    (found,) = objects_of(with_box(), TRUCK, rng())
    place = place_object(flat(), found, axis_m, angle)
    middle = GRID.meters_from_voxel(place.voxels + 0.5).mean(axis=0)
    source = GRID.meters_from_voxel(np.argwhere(found.voxels) + 0.5).mean(axis=0)
    moved = place.target_from_source[:3, :3] @ source + place.target_from_source[:3, 3]
    # Centers of voxels are half a voxel off at most.
    np.testing.assert_allclose(middle, moved, atol=0.15)
    assert np.linalg.norm(moved[:2] - axis_m[:2]) == pytest.approx(
        np.linalg.norm(source[:2] - axis_m[:2])
    )
    assert len(place.voxels) == pytest.approx(found.voxels.sum(), rel=0.1)


def test_places_that_do_not_fit():
    (found,) = objects_of(with_box(), TRUCK, rng())
    taken = flat()
    taken[103, 122, 7] = 1
    assert place_object(taken, found, np.zeros(3), 0.0) is None
    assert (
        place_object(np.zeros(GRID.shape, np.uint8), found, np.zeros(3), 0.0) is None
    )  # No ground.
    assert place_object(flat(height=31), found, np.zeros(3), 0.0) is None  # Above the grid.
    assert place_object(flat(), found, np.zeros(3), 100.0) is None  # Outside the grid.
    steep = flat()
    steep[104:] = 0
    steep[104:, :, 12] = DRIVEABLE
    assert place_object(steep, found, np.zeros(3), 0.0) is None


# --- all parts of a frame ---


def yellowness(image):
    return image[..., :2].astype(float).mean(axis=-1) - image[..., 2]


@pytest.mark.parametrize("turn_deg", [0.0, 12.0])
def test_points_labels_pixels_and_depth_agree(source, target, turn_deg):
    for seed in range(3):
        pasted = paste_object(target, source, TRUCK, turn_deg, rng(seed))
        is_truck = labels_of(pasted.points) == TRUCK
        points = pasted.points[is_truck]
        assert len(points) == (labels_of(source.points) == TRUCK).sum()
        index = np.floor(GRID.voxel_from_meters(points[:, :3].astype(float))).astype(int)
        # A turned voxel is looked up by its center, so points at its rim miss it.
        assert (pasted.occupancy[tuple(index.T)] == TRUCK).mean() > (0.6 if turn_deg else 0.99)
        projected = points[:, :3] @ pasted.pixel_from_lidar[:3, :3].T
        projected += pasted.pixel_from_lidar[:3, 3]
        column, row = np.floor(projected[:, :2] / projected[:, 2:]).astype(int).T
        inside = (row >= 0) & (row < SIZE[0]) & (column >= 0) & (column < SIZE[1])
        assert inside.mean() > 0.9
        row, column = row[inside], column[inside]
        assert (yellowness(pasted.image[row, column]) > 60).mean() > 0.75
        error_m = np.abs(pasted.depth_m[row, column] - projected[inside, 2])
        assert (pasted.depth_m[row, column] > 0).all()
        assert np.median(error_m) < 0.1


def test_what_lies_behind_is_hidden(source, target):
    pasted = paste_object(target, source, TRUCK, 0.0, rng())
    kept = pasted.points[labels_of(pasted.points) != TRUCK]
    assert len(kept) <= len(target.points)
    behind = np.array([[20.0, -2.9, -1.5, 0.4]], np.float32)  # Behind the truck, as high as it.
    beside = np.array([[20.0, 6.0, -1.5, 0.4]], np.float32)
    more = replace(target, points=np.concatenate([target.points, behind, beside]))
    pasted = paste_object(more, source, TRUCK, 0.0, rng())
    rows = set(map(tuple, pasted.points.tolist()))
    assert tuple(beside[0].tolist()) in rows
    assert tuple(behind[0].tolist()) not in rows
    covered = np.isnan(pasted.elevation_m) & ~np.isnan(target.elevation_m)
    assert not covered.any()  # The truck is nearer than the elevation cells.


def test_objects_behind_others_are_not_pasted(source, target):
    wall = np.stack(np.meshgrid([8.0], np.arange(-4, 0, 0.03), np.arange(-2.6, 1, 0.03)), axis=-1)
    wall = np.hstack([wall.reshape(-1, 3), np.full((wall.size // 3, 1), 0.4)]).astype(np.float32)
    hidden = replace(target, points=np.concatenate([target.points, wall]))
    assert paste_object(hidden, source, TRUCK, 0.0, rng()) is None


def test_an_object_without_points_is_not_pasted(source, target):
    blind = replace(source, points=source.points[labels_of(source.points) != TRUCK])
    assert paste_object(target, blind, TRUCK, 0.0, rng()) is None
    assert paste_object(target, target, TRUCK, 0.0, rng()) is None


def test_one_sensor_is_enough(source, target):
    def only(parts, *names):
        return FrameParts(**{name: getattr(parts, name) for name in (*names, "occupancy")})

    for names in (("points",), ("image", "depth_m", "pixel_from_lidar")):
        pasted = paste_object(only(target, *names), only(source, *names), TRUCK, 0.0, rng())
        assert (pasted.occupancy == TRUCK).sum() == (source.occupancy == TRUCK).sum()
        assert [name for name in names if getattr(pasted, name) is None] == []


def test_the_inputs_are_not_changed(source, target):
    names = ("points", "occupancy", "image", "depth_m", "elevation_m")
    before = {name: getattr(target, name).copy() for name in names}
    paste_object(target, source, TRUCK, 10.0, rng())
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(target, name), value)


def test_objects_are_as_bright_as_the_frame(source, target):
    night = replace(target, image=target.image // 4)
    pasted = paste_object(night, source, TRUCK, 0.0, rng())
    changed = (pasted.image != night.image).any(axis=2)
    assert changed.sum() > 50
    assert pasted.image[changed].mean() < 0.5 * source.image[changed].mean()


def test_negative_ranges_are_rejected():
    with pytest.raises(ValueError, match="objects must be at least 0, got -1"):
        PasteRanges(objects=-1)
