import re

import numpy as np
import pytest

from dataset.cloud_rule import (
    KITTI_CLOUD,
    NUSCENES_CLOUD,
    UNSCENES3D_CLOUD,
    CloudRule,
    contradiction,
    estimated_intensity_max,
    likely_layout,
    normalized,
)

ROWS = 2520  # Divisible by 3 to 8, so that the bytes of every layout are whole rows.


def cloud(intensity_max=255.0, rows=ROWS):
    """A spinning LiDAR with 32 interleaved beams 2 m above a plane with walls 30 m away."""
    rng = np.random.default_rng(0)
    ring = np.arange(rows) % 32
    azimuth = np.linspace(-np.pi, np.pi, rows)
    elevation = np.deg2rad(-30 + 1.3 * ring)
    distance = np.where(elevation < -0.06, 2 / np.maximum(np.sin(-elevation), 0.06), 30)
    distance = distance * rng.uniform(0.95, 1.05, rows)
    flat = distance * np.cos(elevation)
    return np.column_stack(
        [
            flat * np.cos(azimuth),
            flat * np.sin(azimuth),
            distance * np.sin(elevation),
            intensity_max * rng.beta(2, 8, rows),
            ring,
        ]
    )


def found_in(points, rule, dtype="float32"):
    data = points.astype(dtype).tobytes()
    return contradiction(np.frombuffer(data, rule.number_type).reshape(-1, rule.columns), rule)


@pytest.mark.parametrize(
    ("points", "rule"),
    [
        (cloud()[:, :4], UNSCENES3D_CLOUD),
        (cloud(), NUSCENES_CLOUD),
        (cloud(1.0)[:, :4], KITTI_CLOUD),
        (cloud()[:, :3], CloudRule(255.0, columns=3)),
        (cloud()[:, :4] * [1, 1, 1, 0], UNSCENES3D_CLOUD),  # no intensity
        (cloud()[:, :4] * [1, 1, 1, 0] + [0, 0, 0, 0.5], UNSCENES3D_CLOUD),  # a constant one
        (cloud()[::32, :4], UNSCENES3D_CLOUD),  # a single beam
        (cloud()[::32, :4] * [1, 1, 0, 1], UNSCENES3D_CLOUD),  # in a plane
        (cloud()[:1, :4], UNSCENES3D_CLOUD),
        (cloud()[:20, :4], UNSCENES3D_CLOUD),
        (cloud()[:0, :4], UNSCENES3D_CLOUD),
        (np.zeros((ROWS, 4)), UNSCENES3D_CLOUD),
        (np.repeat(cloud()[:1, :4], ROWS, axis=0), UNSCENES3D_CLOUD),
        (cloud()[np.arange(ROWS) % 2 == 0, :4], CloudRule(None)),
        (
            np.round(cloud()[:, :4] / [1, 1, 1, 255]),
            UNSCENES3D_CLOUD,
        ),  # dark
    ],
)
def test_valid_clouds_contradict_nothing(points, rule):
    assert found_in(points, rule, rule.dtype) is None


def test_large_coordinates_are_valid_in_float64():
    rule = CloudRule(255.0, dtype="float64")
    assert found_in(cloud()[:, :4] + [500_000, 4_000_000, 100, 0], rule, "float64") is None


def extra(name):
    rng = np.random.default_rng(1)
    time, ring = np.linspace(0, 0.1, ROWS), np.arange(ROWS) % 32
    columns = {
        "5": [ring],
        "6": [ring, time],
        "7": rng.normal(size=(3, ROWS)),
        "8": [time, ring, rng.integers(0, 5000, ROWS), rng.integers(0, 255, ROWS)],
        "8 with zeros": np.zeros((4, ROWS)),
    }
    return np.column_stack([cloud()[:, :4], *columns[name]])


@pytest.mark.parametrize("name", ["5", "6", "7", "8", "8 with zeros"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_other_columns_are_named(name, dtype):
    message = found_in(extra(name), UNSCENES3D_CLOUD, dtype)
    assert message.startswith("expected rows of 4 float32")
    assert message.endswith(f"the numbers look like rows of {name[0]} {dtype}")


@pytest.mark.parametrize("dtype", ["float64", "float16"])
@pytest.mark.parametrize("columns", [3, 4])
def test_other_number_types_are_named(dtype, columns):
    message = found_in(cloud()[:, :columns], UNSCENES3D_CLOUD, dtype)
    assert message.endswith(f"the numbers look like rows of {columns} {dtype}")


@pytest.mark.parametrize(
    "rule",
    [CloudRule(255.0, columns=width) for width in (3, 5, 6, 8)]
    + [CloudRule(255.0, dtype=dtype) for dtype in ("float64", "float16")],
)
def test_a_wrong_rule_is_contradicted_by_the_usual_layout(rule):
    assert found_in(cloud()[:, :4], rule).endswith("the numbers look like rows of 4 float32")


def test_a_layout_is_found_from_bytes_alone():
    assert likely_layout(cloud()[:1501].astype("float32").tobytes()) == CloudRule(None, columns=5)
    assert likely_layout(cloud()[:50].astype("float32").tobytes()) is None  # Too few rows.
    assert likely_layout(np.random.default_rng(0).bytes(40_000)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda points: points * [1000, 1000, 1000, 1], "coordinates over a span of"),
        (lambda points: points * [1, 1, 1, 1 / 255], "of 0–255, found none above 0."),
        (lambda points: points * [1, 1, 1, 0.0115 / 255], "of 0–255, found none above 0.0"),
        (lambda points: points * [1, 1, 1, 100], "of 0–255, found .* % above, up to"),
        (lambda points: points - [0, 0, 0, 40], "at least 0, found .* % below"),
        (lambda points: points * [1, 1, 1, np.nan], "finite intensities"),
        (lambda points: np.where(points > 20, np.inf, points), "found NaN or infinity"),
        (lambda points: np.column_stack([points[:, :3], cloud()[:, 4]]), "0 to 3. .* ring"),
        (lambda points: np.column_stack([points[:, :3], np.linspace(0, 9, ROWS)]), "times"),
    ],
)
def test_what_no_lidar_measures_is_said(change, message):
    found = contradiction(change(cloud()[:, :4]), UNSCENES3D_CLOUD)
    assert found is not None
    assert re.search(message, found), found


def test_tiny_intensities_contradict_the_unit_1_and_small_fields_a_large_one():
    tiny = cloud(0.0115)[:, :4]
    assert "of 0–1, found none above" in contradiction(tiny, KITTI_CLOUD)
    assert contradiction(tiny, CloudRule(0.0115)) is None
    assert "of 0–65535" in contradiction(np.round(cloud()[:, :4]), CloudRule(65535.0))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([0, 0], None),
        ([0, 0.3, 1], 1),
        ([0, 2, 90], 255),
        ([256, 4000], 65535),
        ([1e5], 1e5),
        ([0, 0.0115], 0.0115),
    ],
)
def test_the_unit_is_estimated_from_the_largest_value(values, expected):
    assert estimated_intensity_max(np.array(values, np.float64)) == expected


def test_normalized_points_have_intensities_from_0_to_1():
    points = np.array([[1, 2, 3, 51, 7], [4, 5, 6, 256, 7], [0, 0, 0, -1, 7]], np.float32)
    expected = [[1, 2, 3, 0.2], [4, 5, 6, 1], [0, 0, 0, 0]]
    np.testing.assert_array_equal(normalized(points, 255.0), np.array(expected, np.float32))
    assert normalized(points[:, :3], 255.0)[:, 3].max() == 0
    assert normalized(points.astype(np.float64), 1.0).dtype == np.float64


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(intensity_max=0.0), "intensity_max must be a number above 0, got 0.0"),
        (dict(intensity_max=float("nan")), "got nan"),
        (dict(intensity_max=1.0, columns=2), "columns must be from 3 to 64, got 2"),
        (dict(intensity_max=1.0, dtype="int8"), "dtype must be one of .*got 'int8'"),
    ],
)
def test_impossible_rules_are_rejected(fields, message):
    with pytest.raises(ValueError, match=message):
        CloudRule(**fields)
