import pytest

from dataset import layout
from dataset.check.findings import FrameReport, Level
from dataset.check.pairs import PAIRS, check_pairs, file_to_blame, lowest_usual

SOUND = {
    "points_near_occupied": 1.0,
    "voxels_labeled": 0.97,
    "label_gain": 0.0,
    "points_near_map": 0.97,
    "depth_agrees": 0.99,
    "depth_close": 0.9,
    "depth_gain": 0.0,
    "elevation_agrees": 1.0,
    "elevation_close": 0.98,
    "elevation_offset_m": 0.0,
    "elevation_gain": 0.0,
    "label_near_map": 1.0,
    "elevation_near_map": 1.0,
    "road_ahead": 1.0,
}


def reports(count=6, **changes):
    frames = [FrameReport(str(i), measures=dict(SOUND)) for i in range(count)]
    frames[2].measures.update(changes)
    return frames


def found(frames):
    return [(f.level, f.check, f.path) for frame in frames for f in frame.findings]


@pytest.mark.parametrize(
    ("changes", "check", "path"),
    [
        (dict(voxels_labeled=0.7), "voxels_labeled", "occ/2.npy"),
        (dict(label_gain=0.05), "label_gain", "occ/2.npy"),
        (dict(road_ahead=0.1), "road_ahead", "occ/2.npy"),
        (dict(points_near_map=0.8), "points_near_map", "localmap_clouds/2.bin"),
        (dict(depth_gain=0.2), "depth_gain", "depths/2.png"),
        (dict(elevation_offset_m=-0.3), "elevation_offset_m", "elevation/2.png"),
        (dict(voxels_labeled=0.7, label_near_map=0.6), "voxels_labeled", "occ/2.npy"),
        (
            dict(label_near_map=0.6, elevation_near_map=0.5),
            "disagrees",
            "localmap_clouds/2.bin",
        ),
        (dict(voxels_labeled=0.7, depth_close=0.5), "disagrees", "clouds/2.bin"),
    ],
)
def test_the_file_that_most_others_disagree_with_is_to_blame(changes, check, path):
    frames = reports(**changes)
    check_pairs(frames)
    assert found(frames) == [(Level.WARNING, check, path)]
    message = frames[2].findings[0].message
    assert "expected" in message
    assert all(name not in message for name in SOUND)


def test_values_that_no_data_set_has_are_errors():
    frames = reports(points_near_occupied=0.1, label_gain=0.5)
    check_pairs(frames)
    assert found(frames) == [(Level.ERROR, "points_near_occupied", "occ/2.npy")]


def test_a_file_with_an_error_explains_its_disagreements():
    frames = reports(voxels_labeled=0.7, depth_close=0.5)
    frames[2].error("range_m", layout.CLOUDS, "in millimeters")
    check_pairs(frames)
    assert found(frames) == [(Level.ERROR, "range_m", "clouds/2.bin")]
    frames = reports(depth_gain=0.3)
    frames[2].warn("calibration", layout.CALIBS, "another camera")
    check_pairs(frames)
    assert found(frames) == [(Level.WARNING, "calibration", "calibs/2.txt")]


def test_noisy_data_sets_have_wider_margins():
    frames = reports(9)
    for i, frame in enumerate(frames):
        frame.measures["voxels_labeled"] = 0.5 + 0.05 * i
    lowest = lowest_usual(frames)
    # Median 0.7, of the deviations 0.1.
    assert lowest["voxels_labeled"] == pytest.approx(0.2)
    assert lowest["depth_close"] == pytest.approx(0.78)
    assert "label_gain" not in lowest


def test_labels_come_before_others_among_equals():
    by_label = {(pair.label, pair.other): pair for pair in PAIRS}
    depth = by_label[layout.DEPTHS, layout.CLOUDS]
    assert file_to_blame({depth}) == layout.DEPTHS
    assert file_to_blame({depth, by_label[layout.OCCUPANCY, layout.CLOUDS]}) == layout.CLOUDS
