import numpy as np
import pytest

from dataset.lidar_height import estimate_height, ground_height_m


def street(height_m=1.8, slope=0.0, objects=0.3, seed=0, points=4000):
    """Ground ahead of a LiDAR with 2 cm of noise, and boxes of points on it."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(2, 40, points), rng.uniform(-15, 15, points)
    above = np.where(rng.random(points) < objects, rng.uniform(0, 2, points), 0)
    z = -height_m + slope * x + above + rng.normal(0, 0.02, points)
    return np.column_stack([x, y, z, 0 * x]).astype(np.float32)


@pytest.mark.parametrize("height_m", [0.5, 1.73, 2.7, 4.0])
@pytest.mark.parametrize("slope", [0.0, -0.1])
def test_the_height_of_the_origin_above_the_ground(height_m, slope):
    assert ground_height_m(street(height_m, slope)) == pytest.approx(height_m, abs=0.03)


def test_several_clouds_must_agree():
    found = estimate_height([street(1.7), street(1.8), street(1.75)])
    assert found.median_m == pytest.approx(1.75, abs=0.02)
    assert (found.lowest_m, found.highest_m) == pytest.approx((1.7, 1.8), abs=0.02)
    assert estimate_height([street(1.7), street(3.0)]) is None
    assert estimate_height([street(1.7), street(objects=1.0), street(objects=1.0)]) is None
    assert estimate_height([]) is None


@pytest.mark.parametrize(
    "cloud",
    [
        np.zeros((0, 4), np.float32),
        street(points=100),
        street(0.1),  # Too low for a LiDAR on a vehicle.
        street(slope=0.5),  # A wall of rock.
        street(objects=1.0),  # No ground.
        np.vstack([street(1.0), street(2.0)]),  # As much below the plane.
        street() + np.float32([500_000, 4_000_000, 0, 0]),  # UTM
    ],
)
def test_without_clear_ground_there_is_no_estimate(cloud):
    assert ground_height_m(cloud) is None
