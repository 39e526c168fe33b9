import numpy as np
import pytest

from engine.viewer.voxels import (
    DARKEST,
    class_groups,
    error_groups,
    is_exposed,
    sky_light,
    unlabeled_border,
)
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE, UNSCENES3D

GRID = VoxelGrid((10.0, -4.0, -2.0), 0.5, (6, 8, 4))
TRUCK, CAR, MUDDY, TERRAIN, ROAD = (
    UNSCENES3D.index(name) for name in ("truck", "car", "muddy", "terrain", "driveable_surface")
)


@pytest.fixture
def scene():
    """A road, two voxels of a truck on it, one ignored voxel."""
    label = np.full(GRID.shape, FREE, np.uint8)
    label[:, :, 0] = ROAD
    label[2, 3, 1:3] = TRUCK
    label[5, 7, 3] = IGNORE
    return label


def by_name(groups):
    return {(group.name, group.is_ground): group for group in groups}


def test_each_class_is_a_group_with_its_voxels_at_their_places(scene):
    groups = by_name(class_groups(scene, GRID, UNSCENES3D))
    assert set(groups) == {("driveable_surface", True), ("truck", False)}
    truck = groups["truck", False]
    # Voxel (2, 3, 1) has its center at origin + 0.5 · (2.5, 3.5, 1.5).
    np.testing.assert_allclose(truck.centers_m, [[11.25, -2.25, -1.25], [11.25, -2.25, -0.75]])
    assert truck.num_voxels == 2
    assert groups["driveable_surface", True].num_voxels == 48


def test_an_empty_grid_has_no_groups():
    assert class_groups(np.zeros(GRID.shape, np.uint8), GRID, UNSCENES3D) == []
    assert class_groups(np.full(GRID.shape, IGNORE, np.uint8), GRID, UNSCENES3D) == []


def test_hidden_voxels_are_counted_but_not_drawn():
    label = np.full(GRID.shape, TERRAIN, np.uint8)
    (group,) = class_groups(label, GRID, UNSCENES3D)
    assert group.num_voxels == 6 * 8 * 4
    assert len(group.centers_m) == 6 * 8 * 4 - 4 * 6 * 2


def test_a_voxel_between_other_classes_is_drawn_for_they_may_be_hidden():
    label = np.full(GRID.shape, TERRAIN, np.uint8)
    label[3, 3, 2] = CAR
    groups = by_name(class_groups(label, GRID, UNSCENES3D))
    assert len(groups["car", False].centers_m) == 1


def test_colors_are_the_class_color_and_darker_below_others(scene):
    groups = by_name(class_groups(scene, GRID, UNSCENES3D))
    upper = groups["truck", False].colors[1]
    np.testing.assert_array_equal(upper, UNSCENES3D.colors[TRUCK])  # It sees the whole sky.
    road = groups["driveable_surface", True]
    below_truck = np.isclose(road.centers_m[:, :2], [11.25, -2.25]).all(1)
    assert road.colors[below_truck][0, 0] < 255
    assert road.colors[0, 0] == 255
    assert (road.colors[:, 0] >= np.floor(255 * DARKEST)).all()


def test_differences_fall_into_kinds(scene):
    prediction = scene.copy()
    prediction[2, 3, 2] = FREE  # missed
    prediction[2, 3, 1] = CAR  # wrong class
    prediction[4, 4, 1] = CAR  # invented
    prediction[0, 0, 0] = TERRAIN  # wrong class, on the ground
    prediction[5, 7, 3] = CAR  # where the label ignores
    groups = by_name(error_groups(prediction, scene, GRID, UNSCENES3D))
    counts = {key: group.num_voxels for key, group in groups.items()}
    assert counts == {
        ("correct", True): 47,
        ("missed", False): 1,
        ("invented", False): 1,
        ("wrong class", False): 1,
        ("wrong class", True): 1,
    }
    np.testing.assert_allclose(groups["missed", False].centers_m, [[11.25, -2.25, -0.75]])


def test_invented_ground_is_ground_by_the_prediction(scene):
    prediction = scene.copy()
    prediction[4, 4, 1] = MUDDY
    groups = by_name(error_groups(prediction, scene, GRID, UNSCENES3D))
    assert ("invented", True) in groups
    assert ("invented", False) not in groups


def test_a_truck_predicted_as_road_is_no_ground(scene):
    prediction = scene.copy()
    prediction[2, 3, 1] = ROAD
    assert ("wrong class", False) in by_name(error_groups(prediction, scene, GRID, UNSCENES3D))


def test_a_perfect_prediction_is_all_correct(scene):
    names = {group.name for group in error_groups(scene, scene, GRID, UNSCENES3D)}
    assert names == {"correct"}


def test_inputs_are_left_as_they_were(scene):
    before = scene.copy()
    class_groups(scene, GRID, UNSCENES3D)
    error_groups(scene, scene, GRID, UNSCENES3D)
    np.testing.assert_array_equal(scene, before)


def test_exposed_voxels_against_a_slow_loop():
    mask = np.random.default_rng(0).random((5, 6, 4)) < 0.8
    padded = np.pad(mask, 1)
    slow = np.zeros_like(mask)
    for x, y, z in np.argwhere(mask):
        at = padded[x : x + 3, y : y + 3, z : z + 3]
        slow[x, y, z] = not all(
            [at[0, 1, 1], at[2, 1, 1], at[1, 0, 1], at[1, 2, 1], at[1, 1, 0], at[1, 1, 2]]
        )
    np.testing.assert_array_equal(is_exposed(mask), slow)


def test_sky_light_is_whole_in_the_open_and_none_in_a_block():
    solid = np.ones((5, 5, 5), bool)
    voxels = np.array([[2, 2, 0], [2, 2, 4]])
    np.testing.assert_allclose(sky_light(solid, voxels), [0, 1])


def test_a_wall_takes_the_sky_on_its_side():
    solid = np.zeros((9, 9, 9), bool)
    solid[:, 5, :] = True  # beside the voxels with y = 4
    (light,) = sky_light(solid, np.array([[4, 4, 0]]))
    assert light == pytest.approx(1 - 6 / 17)  # 3 of the 8 azimuths, steep and flat


def test_only_unlabeled_voxels_beside_labeled_ones_are_the_edge():
    label = np.full((5, 5, 5), IGNORE, np.uint8)
    assert not len(unlabeled_border(label, VoxelGrid((0.0, 0.0, 0.0), 1.0, (5, 5, 5))))
    label[0, 2, 2], label[4, 4, 4] = FREE, 3
    centers = unlabeled_border(label, VoxelGrid((0.0, 0.0, 0.0), 1.0, (5, 5, 5)))
    assert sorted(map(tuple, (centers - 0.5).tolist())) == [
        *((0, 1, 2), (0, 2, 1), (0, 2, 3), (0, 3, 2), (1, 2, 2)),
        *((3, 4, 4), (4, 3, 4), (4, 4, 3)),
    ]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((6, 8, 5), np.uint8), r"shape \(6, 8, 5\) do not fill the grid"),
        (np.full(GRID.shape, 12, np.uint8), r"labels \[12\] are neither one of the 12 classes"),
    ],
)
def test_wrong_labels_are_rejected(labels, message):
    with pytest.raises(ValueError, match=message):
        class_groups(labels, GRID, UNSCENES3D)
    with pytest.raises(ValueError, match=message):
        error_groups(labels, labels, GRID, UNSCENES3D)
