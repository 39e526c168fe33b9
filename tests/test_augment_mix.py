from dataclasses import replace

import numpy as np
import pytest

from dataset import layout
from dataset.augment.mix import MixChoices, MixRanges, mix, pixel_rays
from dataset.augment.parts import FrameParts

SIZE = (40, 60)
SECTOR = MixChoices(sector_deg=(-10.0, 15.0))
BANDS = MixChoices(bands_deg=(3.0, 1.0))
WIDE_BANDS = MixChoices(bands_deg=(9.0, 1.0))
CAMERA_M = np.array([0.5, 0.2, 0.7])


def projection():
    """A camera that looks forward and a little down, beside the LiDAR."""
    pitch = np.deg2rad(4.0)
    axes = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0.0]])
    turn = np.array(
        [[np.cos(pitch), 0, -np.sin(pitch)], [0, 1, 0], [np.sin(pitch), 0, np.cos(pitch)]]
    )
    cam_from_lidar, pixel_from_cam = np.eye(4), np.eye(4)
    cam_from_lidar[:3, :3] = axes @ turn
    cam_from_lidar[:3, 3] = -cam_from_lidar[:3, :3] @ CAMERA_M
    pixel_from_cam[:3, :3] = [[50, 0, 30], [0, 50, 20], [0, 0, 1]]
    return pixel_from_cam @ cam_from_lidar


def frame(value):
    """A frame whose parts all have one value."""
    rng = np.random.default_rng(value)
    points = rng.uniform((1, -38, -4), (76, 38, 5), (3000, 3))
    return FrameParts(
        image=np.full((*SIZE, 3), value, np.uint8),
        depth_m=np.full(SIZE, value, np.float32),
        pixel_from_lidar=projection(),
        points=np.column_stack([points, np.full(len(points), value)]).astype(np.float32),
        occupancy=np.full(layout.LABEL_GRID.shape, value, np.uint8),
        elevation_m=np.full((204, 217), -2.0 - 0.01 * value, np.float32),
    )


def test_the_viewpoint_is_the_camera():
    np.testing.assert_allclose(frame(1).viewpoint_m(), CAMERA_M, atol=1e-12)
    assert not replace(frame(1), pixel_from_lidar=None).viewpoint_m().any()


def test_rays_go_through_their_pixels():
    matrix = projection()
    positions = CAMERA_M + 20.0 * pixel_rays(matrix, SIZE)
    projected = positions @ matrix[:3, :3].T + matrix[:3, 3]
    rows, columns = np.indices(SIZE) + 0.5
    np.testing.assert_allclose(projected[..., 0] / projected[..., 2], columns, atol=1e-3)
    np.testing.assert_allclose(projected[..., 1] / projected[..., 2], rows, atol=1e-3)


def test_directions_by_hand():
    angles = np.deg2rad([-11.0, -9.0, 0.0, 14.0, 16.0, 180.0])
    rays = np.stack([np.cos(angles), np.sin(angles), np.zeros(6)], axis=-1)
    assert SECTOR.is_other(rays).tolist() == [False, True, True, True, False, False]
    angles = np.deg2rad([-3.0, 0.0, 2.0, 5.0, 8.0])  # Bands begin at −2, 1, 4 and 7 degrees.
    rays = np.stack([np.cos(angles), np.zeros(5), np.sin(angles)], axis=-1)
    assert BANDS.is_other(rays).tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("choices", [SECTOR, WIDE_BANDS])
def test_image_depth_points_and_labels_are_cut_along_the_same_rays(choices):
    mixed = mix(frame(1), frame(2), choices)
    np.testing.assert_array_equal(mixed.image[..., 0], mixed.depth_m)
    assert set(np.unique(mixed.image)) == {1, 2}
    grid = layout.LABEL_GRID
    index = np.argwhere(np.ones(grid.shape, bool))[::97]
    centers_m = grid.meters_from_voxel(index + 0.5)
    for positions, values in (
        (mixed.points[:, :3], mixed.points[:, 3]),
        (centers_m, mixed.occupancy[tuple(index.T)]),
    ):
        assert set(np.unique(values)) == {1, 2}
        projected = positions @ mixed.pixel_from_lidar[:3, :3].T + mixed.pixel_from_lidar[:3, 3]
        front = projected[:, 2] > 0.1
        column, row = np.floor(projected[front, :2] / projected[front, 2:]).astype(int).T
        inside = (row >= 0) & (row < SIZE[0]) & (column >= 0) & (column < SIZE[1])
        seen = mixed.image[row[inside], column[inside], 0]
        assert inside.sum() > 300
        # Only pixels on the border of a region show two frames.
        assert (seen == values[front][inside]).mean() > 0.9


def test_elevation_is_that_of_the_direction():
    mixed = mix(frame(1), frame(2), SECTOR)
    heights = np.unique(mixed.elevation_m)
    np.testing.assert_allclose(heights, [-2.02, -2.01], atol=1e-6)
    cells = layout.elevation_grid((204, 217)).centers_m().numpy() - CAMERA_M[:2]
    azimuth_deg = np.rad2deg(np.arctan2(cells[..., 1], cells[..., 0]))
    is_other = (azimuth_deg >= -10) & (azimuth_deg < 15)
    np.testing.assert_array_equal(mixed.elevation_m < -2.015, is_other)


def test_frames_may_lack_parts():
    only = {"points": frame(1).points}
    mixed = mix(FrameParts(**only), FrameParts(points=frame(2).points), SECTOR)
    assert mixed.image is mixed.occupancy is None
    assert set(np.unique(mixed.points[:, 3])) == {1, 2}


def test_draws_follow_the_probabilities():
    rng, ranges = np.random.default_rng(0), MixRanges(sector_prob=0.25, bands_prob=0.5)
    draws = [ranges.draw(rng) for _ in range(4000)]
    # Four standard deviations of a share among 4,000.
    assert np.mean([d.sector_deg is not None for d in draws]) == pytest.approx(0.25, abs=0.028)
    assert np.mean([d.bands_deg is not None for d in draws]) == pytest.approx(0.5, abs=0.032)
    widths = [d.sector_deg[1] - d.sector_deg[0] for d in draws if d.sector_deg]
    assert 20.0 <= min(widths) < 21.0
    assert 89.0 < max(widths) <= 90.0
    assert not any(MixRanges().draw(rng).is_on for _ in range(10))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sector_prob": 1.5}, r"sector_prob must be in \[0, 1\]"),
        ({"sector_prob": 0.6, "bands_prob": 0.6}, "at most 1 together, got 0.6 and 0.6"),
        ({"bands_deg": (0.0, 3.0)}, "bands_deg must be 0 < min <= max"),
    ],
)
def test_bad_ranges_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        MixRanges(**options)
