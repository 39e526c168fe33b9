"""Labels of a whole recording, and the parts that they are made of."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset import formats, layout
from dataset.class_mapping import DROP, read_mapping
from dataset.labeling.cells import CellMap
from dataset.labeling.clip_map import build_clip_map
from dataset.labeling.drive import cut_clips, read_drive
from dataset.labeling.dust import is_dust
from dataset.labeling.evidence import Evidence, SilentDirections, ray_samples, thin_rays
from dataset.labeling.frame_labels import View, label_frame
from dataset.labeling.ground import fit_ground
from dataset.labeling.movers import find_moved
from dataset.labeling.options import LabelOptions
from dataset.labeling.overhead import overhead_of_camera, overhead_of_lidar, rim_of
from dataset.labeling.scoring import labels_at, passes_through, score_held_out, score_truth
from dataset.labeling.sweeps import SweepReader
from dataset.labeling.visibility import seen_by_camera, visible_depth
from tests.labeling_drive import (
    CAM_FROM_LIDAR,
    IMAGE_SIZE,
    LIDAR_HEIGHT_M,
    P2,
    SPEED_MPS,
    mover,
    write_drive,
)

ROOT = Path(__file__).parents[1]
OPTIONS = LabelOptions(vehicle_m=(-1.0, 1.0, -1.0, 1.0, -3.0, 1.0), range_m=40.0)
FRAMES = 20
GRID = layout.LABEL_GRID
DRIVEABLE, BARRIER, TRUCK, IGNORE = 11, 1, 2, 255
FRAME = 10
PROJECTION = np.eye(4)
PROJECTION[:3, :3] = P2
PROJECTION = PROJECTION @ CAM_FROM_LIDAR


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    root = tmp_path_factory.mktemp("drive") / "recording"
    write_drive(root, frames=FRAMES)
    return root


@pytest.fixture(scope="module")
def clip_map(recording):
    drive = read_drive(recording)
    reader = SweepReader(drive, OPTIONS)
    return reader, build_clip_map(reader, range(FRAMES), OPTIONS)


@pytest.fixture(scope="module")
def labels(clip_map):
    reader, found = clip_map
    pose = reader.drive.world_from_lidar[FRAME]
    view = View(reader.drive.pixel_from_lidar, IMAGE_SIZE)
    return label_frame(found, reader.read(FRAME), pose, view)


def _at(labels, *points):
    """Labels at points in the world of the recording, as the frame sees them."""
    moved = np.array(points, np.float32) - [SPEED_MPS * 0.1 * FRAME, 0, LIDAR_HEIGHT_M]
    return labels_at(labels.occupancy, moved.astype(np.float32)).tolist()


def test_ground_is_driveable_and_the_air_above_is_free(labels):
    assert _at(labels, [20, -1, -0.05], [25, 1, -0.05]) == [DRIVEABLE, DRIVEABLE]
    assert _at(labels, [20, -1, 1.0], [25, 1, 0.5]) == [0, 0]


def test_a_wall_is_the_rest_and_behind_it_nothing_is_observed(labels):
    assert _at(labels, [25, 8.1, 1.5]) == [BARRIER]
    assert _at(labels, [25, 11, 1.0], [25, 0, -1.0]) == [IGNORE, IGNORE]


def test_a_mover_is_where_it_is_now_and_leaves_no_trail(labels):
    (x, y, _), _ = mover(FRAME)
    assert _at(labels, [x, y + 1, 1.0]) == [BARRIER]
    assert _at(labels, [x + 1.5, y + 1, 0.8]) == [IGNORE]  # Inside, where rays passed at times.
    (x, y, _), _ = mover(18)
    assert _at(labels, [x, y + 1, 1.0]) == [0]


def test_movers_leave_trails_if_they_are_not_removed(recording):
    options = replace(OPTIONS, remove_movers=False)
    reader = SweepReader(read_drive(recording), options)
    found = build_clip_map(reader, range(FRAMES), options)
    labels = label_frame(found, reader.read(FRAME), reader.drive.world_from_lidar[FRAME], None)
    (x, y, _), _ = mover(18)
    assert _at(labels, [x, y + 1, 1.0]) == [BARRIER]


def test_depth_elevation_and_map_are_those_of_the_world(labels):
    depth = labels.depth.astype(float) / layout.DEPTH_UNITS_PER_M
    # The nearest point of a window of 3 pixels counts: the road 44 to 46 - 24 px below the horizon.
    assert depth[44, 30:60] == pytest.approx(2.7 * 84 / 21.5, rel=0.05)
    elevation = formats.elevation_from_units(labels.elevation)
    assert np.nanmedian(elevation) == pytest.approx(-LIDAR_HEIGHT_M, abs=0.01)
    assert labels.local_map[:, 2].min() == pytest.approx(-LIDAR_HEIGHT_M, abs=0.02)
    assert labels.pseudo_share > 0.99


def test_the_camera_sees_the_first_surface_and_not_behind_it():
    occupancy = np.zeros(GRID.shape, np.uint8)
    occupancy[64:] = IGNORE
    occupancy[40, 100:156] = BARRIER
    occupancy[20, 140, 13] = IGNORE
    seen = seen_by_camera(occupancy, PROJECTION, IMAGE_SIZE)
    assert seen[40, 128, 13]
    assert seen[20, 128, 13]
    assert not seen[42, 128, 13]
    assert not seen[20, 140, 13]
    assert not seen[20, 10, 13]  # Outside the image.


def test_hidden_points_do_not_show_through_the_gaps_of_a_near_surface():
    y, z = np.mgrid[-2:2:0.2, -1:1:0.2]
    wall = np.stack([np.full(y.size, 4.0), y.ravel(), z.ravel()], 1)
    behind = wall * [5.0, 5.0, 5.0]
    points = np.concatenate([wall, behind]).astype(np.float32)
    spacing = np.full(len(points), 0.2, np.float32)
    depth = visible_depth(points, spacing, PROJECTION, (300, 480), OPTIONS)
    assert set(np.unique(depth).tolist()) == {0, 1024}


def test_a_mapping_gives_point_labels_their_classes(recording, tmp_path):
    mapping = tmp_path / "mapping.json"
    mapping.write_text(json.dumps({"point_labels": {"7": "truck", "8": "drop"}, "moving": ["7"]}))
    root = recording.parent / "labeled"
    if not root.exists():
        write_drive(root, frames=1)
    stem = next((root / "clouds").iterdir()).stem
    points = np.fromfile(root / "clouds" / f"{stem}.bin", "<f4").reshape(-1, 4)
    source = np.where(points[:, 1] > 0, 7, 8).astype("<u4") | np.uint32(3 << 16)
    (root / "labels").mkdir(exist_ok=True)
    source.tofile(root / "labels" / f"{stem}.label")
    reader = SweepReader(read_drive(root), OPTIONS, read_mapping(mapping))
    sweep = reader.read(0)
    assert (sweep.points[:, 1] > 0).all()
    assert set(sweep.label.tolist()) == {TRUCK}
    assert sweep.is_moving.all()
    source[:-1].tofile(root / "labels" / f"{stem}.label")
    with pytest.raises(ValueError, match=r"uint32 for each of the \d+ points"):
        reader.read(0)
    (source * 0 + 9).tofile(root / "labels" / f"{stem}.label")
    with pytest.raises(ValueError, match=r"found 9: add it to that file"):
        reader.read(0)


def test_the_mappings_of_the_project_are_valid():
    for name in ("kitti", "unscenes3d"):
        mapping = read_mapping(ROOT / f"config/labels/{name}.json")
        assert mapping.moving
    assert read_mapping(ROOT / "config/labels/kitti.json").point_labels[1] == DROP


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"points": {}}, "expected an object with about, moving and"),
        ({"boxes": {"Car": "auto"}}, "for 'Car' in 'boxes', found 'auto'"),
        ({"masks": {"road": "terrain"}}, "expected numbers as keys of 'masks', found 'road'"),
        ({"masks": []}, "expected an object as 'masks', found list"),
    ],
)
def test_a_wrong_mapping_is_refused(tmp_path, content, message):
    path = tmp_path / "mapping.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_mapping(path)


def _with(recording, name, write):
    """A copy of the recording's first frame, with something added."""
    root = recording.parent / name
    stems = write_drive(root, frames=1)
    write(root, stems[0])
    return root


def test_boxes_give_classes_and_tracks_that_move(recording, tmp_path):
    mapping = tmp_path / "mapping.json"
    mapping.write_text(json.dumps({"boxes": {"Lorry": "truck"}}))
    root = recording.parent / "boxes"
    stems = write_drive(root, frames=3)
    boxes = {}
    for frame, stem in enumerate(stems):
        low, high = (np.array(corner) for corner in mover(frame))
        center = (low + high) / 2 - [SPEED_MPS * 0.1 * frame, 0, LIDAR_HEIGHT_M]
        size = (high - low).tolist()
        boxes[stem] = [
            {"class": "Lorry", "center": center.tolist(), "size": size, "yaw": 0.0, "track": 4}
        ]
    (root / "boxes.json").write_text(json.dumps(boxes))
    sweep = SweepReader(read_drive(root), OPTIONS, read_mapping(mapping)).read(0)
    inside = sweep.label == TRUCK
    assert inside.sum() > 20
    assert sweep.points[inside, 0] == pytest.approx(30.0, abs=3.2)
    assert (sweep.is_moving == inside).all()
    boxes[stems[0]][0]["class"] = "Van"
    (root / "boxes.json").write_text(json.dumps(boxes))
    with pytest.raises(ValueError, match="found 'Van'"):
        SweepReader(read_drive(root), OPTIONS, read_mapping(mapping)).read(0)
    del boxes[stems[0]][0]["yaw"]
    (root / "boxes.json").write_text(json.dumps(boxes))
    with pytest.raises(ValueError, match="center, class, size, yaw and optionally track"):
        SweepReader(read_drive(root), OPTIONS, read_mapping(mapping))


def test_boxes_of_kitti_are_read_in_the_frame_of_the_camera(recording, tmp_path):
    mapping = tmp_path / "mapping.json"
    mapping.write_text(json.dumps({"boxes": {"Truck": "truck"}}))
    (x, y, _), (end, left, top) = mover(0)
    # Camera: x right, y down, z ahead, at the LiDAR; the box is turned so that it points ahead.
    bottom = f"{-(y + left) / 2} {LIDAR_HEIGHT_M} {(x + end) / 2}"
    line = f"Truck 0 0 0 0 0 0 0 {top} {left - y} {end - x} {bottom} {-np.pi / 2}\n"

    def write(root, stem):
        (root / "label_2").mkdir()
        (root / "label_2" / f"{stem}.txt").write_text(line + "DontCare -1 -1 -10\n")

    root = _with(recording, "kitti_boxes", write)
    sweep = SweepReader(read_drive(root), OPTIONS, read_mapping(mapping)).read(0)
    inside = sweep.label == TRUCK
    assert inside.sum() > 20
    assert sweep.points[inside, 0] == pytest.approx(30.0, abs=3.2)
    assert not sweep.is_moving.any()  # One frame says nothing about motion.


TRACKLETS = """<?xml version="1.0" encoding="UTF-8" standalone="yes" ?>
<!DOCTYPE boost_serialization>
<boost_serialization signature="serialization::archive" version="9">
<tracklets class_id="0" tracking_level="0" version="0">
<count>1</count><item_version>1</item_version>
<item class_id="1" tracking_level="0" version="1">
<objectType>Truck</objectType><h>{height}</h><w>{width}</w><l>{length}</l>
<first_frame>0</first_frame>
<poses class_id="2" tracking_level="0" version="0">
<count>{count}</count><item_version>2</item_version>
{poses}</poses><finished>1</finished>
</item>
</tracklets>
</boost_serialization>
"""
TRACKLET = """<item class_id="3" tracking_level="0" version="2">
<tx>{x}</tx><ty>{y}</ty><tz>{z}</tz><rx>0</rx><ry>0</ry><rz>{yaw}</rz>
<state>2</state><occlusion>0</occlusion><occlusion_kf>0</occlusion_kf><truncation>0</truncation>
<amt_occlusion>0</amt_occlusion><amt_occlusion_kf>-1</amt_occlusion_kf>
<amt_border_l>0</amt_border_l><amt_border_r>0</amt_border_r><amt_border_kf>-1</amt_border_kf>
</item>
"""


def _write_tracklets(path, frames):
    poses = ""
    for frame in range(frames):
        low, high = (np.array(corner) for corner in mover(frame))
        x, y, _ = (low + high) / 2 - [SPEED_MPS * 0.1 * frame, 0, 0]
        # Turned by a quarter: its length is along y. The height is that of its bottom.
        poses += TRACKLET.format(x=x, y=y, z=-LIDAR_HEIGHT_M, yaw=np.pi / 2)
    width, length, height = high - low
    text = TRACKLETS.format(height=height, width=width, length=length, count=frames, poses=poses)
    path.write_text(text)


def test_tracklets_of_kitti_give_classes_and_movers_in_all_frames(recording):
    root = recording.parent / "tracklets"
    write_drive(root, frames=3)
    _write_tracklets(root / "tracklet_labels.xml", 3)
    mapping = read_mapping(ROOT / "config/labels/kitti.json")
    reader = SweepReader(read_drive(root), OPTIONS, mapping)
    for frame in range(3):
        sweep = reader.read(frame)
        inside = sweep.label == TRUCK
        assert inside.sum() > 20
        (x, *_), _ = mover(frame)
        place = x - SPEED_MPS * 0.1 * frame
        assert sweep.points[inside, 0] == pytest.approx(place, abs=3.2)
        assert (sweep.is_moving == inside).all()


def test_wrong_tracklets_are_refused(recording):
    root = recording.parent / "wrong_tracklets"
    write_drive(root, frames=2)
    path = root / "tracklet_labels.xml"
    mapping = read_mapping(ROOT / "config/labels/kitti.json")
    _write_tracklets(path, 3)
    for change, message in (
        (lambda text: text, "in frames 0 to 1, as there are 2 clouds, found 'Truck' in frame 2"),
        (lambda text: text.replace("<h>1.6</h>", ""), "expected a number as <h> of each item"),
        (lambda text: text[:500], "expected XML, found"),
        (lambda text: text.replace("tracklets", "tracks"), "expected <tracklets>"),
    ):
        text = path.read_text()
        path.write_text(change(text))
        with pytest.raises(ValueError, match=message):
            SweepReader(read_drive(root), OPTIONS, mapping)
        path.write_text(text)


def test_boxes_to_drop_take_their_points_along(recording, tmp_path):
    mapping = tmp_path / "mapping.json"
    mapping.write_text(json.dumps({"boxes": {"Truck": "drop"}}))
    root = recording.parent / "dropped"
    write_drive(root, frames=1)
    _write_tracklets(root / "tracklet_labels.xml", 1)
    drive = read_drive(root)
    (x, y, _), (end, left, top) = mover(0)
    for reader, expected in (
        (SweepReader(drive, OPTIONS), True),
        (SweepReader(drive, OPTIONS, read_mapping(mapping)), False),
    ):
        px, py, pz = reader.read(0).points[:, :3].T
        inside = (px > x - 0.05) & (px < end) & (py > y - 0.05) & (py < left)
        assert (inside & (pz > 0.1 - LIDAR_HEIGHT_M) & (pz < top)).any() == expected


def test_tracks_have_boxes_between_their_frames(recording, tmp_path):
    mapping = tmp_path / "mapping.json"
    mapping.write_text(json.dumps({"boxes": {"Lorry": "truck"}}))
    root = recording.parent / "between"
    stems = write_drive(root, frames=13)

    def box(frame):
        low, high = (np.array(corner) for corner in mover(frame))
        center = (low + high) / 2 - [SPEED_MPS * 0.1 * frame, 0, LIDAR_HEIGHT_M]
        size = (high - low).tolist()
        return {"class": "Lorry", "center": center.tolist(), "size": size, "yaw": 0, "track": 1}

    def labels(frames, read):
        boxes = {stems[frame]: [box(frame)] for frame in frames}
        (root / "boxes.json").write_text(json.dumps(boxes))
        reader = SweepReader(read_drive(root), OPTIONS, read_mapping(mapping))
        return reader.read(read)

    complete, between = labels(range(13), 4), labels([0, 10], 4)
    assert (between.label == complete.label).all()
    assert (between.label == TRUCK).sum() > 20
    assert (between.is_moving == (between.label == TRUCK)).all()
    assert not labels([0, 12], 4).label.any()  # More than a second apart.


def test_masks_label_the_points_that_the_camera_sees_nearby(recording, tmp_path):
    mapping = tmp_path / "mapping.json"
    mapping.write_text(json.dumps({"masks": {"0": "driveable_surface", "1": "terrain"}}))

    def write(root, stem):
        mask = np.zeros(IMAGE_SIZE, np.uint8)
        mask[:, :48] = 1
        (root / "masks").mkdir()
        cv2.imwrite(str(root / "masks" / f"{stem}.png"), mask)

    root = _with(recording, "masks", write)
    sweep = SweepReader(read_drive(root), OPTIONS, read_mapping(mapping)).read(0)
    x, y, _ = sweep.points[:, :3].T
    in_view = (np.abs(y) < 0.5 * x) & (np.linalg.norm(sweep.points[:, :3], axis=1) < 30) & (x > 13)
    assert set(sweep.label[in_view & (y > 0.2)].tolist()) == {10}
    assert set(sweep.label[in_view & (y < -0.2)].tolist()) == {DRIVEABLE}
    assert not sweep.label[np.linalg.norm(sweep.points[:, :3], axis=1) > 30].any()
    for path in (root / "masks").iterdir():
        cv2.imwrite(str(path), np.zeros((9, 7), np.uint8))
    with pytest.raises(ValueError, match=r"expected the .* pixels of the image, found 7×9"):
        SweepReader(read_drive(root), OPTIONS, read_mapping(mapping)).read(0)


# Evidence.


def test_evidence_counts_hits_passes_and_passes_outside():
    evidence = Evidence(np.array([-1.0, -5, -5]), np.array([20.0, 5, 5]), 0.5)
    origin = np.zeros(3, np.float32)
    near, far = np.array([[5.2, 0.2, 0.2]], np.float32), np.array([[15.2, 0.2, 0.2]], np.float32)
    nothing = np.zeros((0, 3), np.float32)
    for hits in (far, near, near, far, far):
        evidence.add(origin, np.repeat(hits, 2, axis=0), hits, nothing, 0.5)
    counts = evidence.at(near)
    assert (counts.hits.tolist(), counts.passes.tolist()) == ([2], [3])
    assert counts.absences_outside.tolist() == [3]
    assert evidence.passes_at(near / 2).tolist() == [5]
    assert evidence.passes_at(np.array([[-50, 0, 0], [19, 4, 4]], np.float32)).tolist() == [0, 0]
    evidence.add(origin, nothing, nothing, far, 0.5)
    counts = evidence.at(near)
    assert (counts.passes.tolist(), counts.absences.tolist()) == ([3], [4])


def _evidence(seen):
    """Evidence of rays along x: per cloud whether it hits a wall of 2 m near or one far."""
    evidence = Evidence(np.array([-1.0, -5, -5]), np.array([20.0, 5, 5]), 0.3)
    y, z = (axis.ravel() for axis in np.mgrid[-1:1:0.1, -1:1:0.1])
    near = np.stack([np.full(y.size, 5.2), y, z], 1).astype(np.float32)
    nothing = np.zeros((0, 3), np.float32)
    for is_near in seen:
        hits = near if is_near else 3 * near
        evidence.add(np.zeros(3, np.float32), hits, hits, nothing, 0.3)
    return evidence, near


@pytest.mark.parametrize(
    ("seen", "moved"),
    [
        ("0001110000", True),  # It drove by: 7 passes outside of 3 hits.
        ("0001111110", True),  # It drives away: fewer passes than hits, but in order.
        ("1010101010", False),  # Foliage: as many passes as in between hits.
        ("1000000001", True),  # Dust: most clouds pass, although in between.
        ("1111111111", False),
        ("0001111111111", False),  # Not enough for either.
    ],
)
def test_what_was_passed_often_or_in_order_has_moved(seen, moved):
    evidence, near = _evidence([cloud == "1" for cloud in seen])
    voxels = find_moved(near, evidence, LabelOptions(mover_passes=3))
    assert voxels.hold(near).all() == moved
    assert voxels.hold(near).any() == moved
    assert not voxels.hold(near + 3).any()


def test_little_evidence_in_a_voxel_is_backed_by_what_is_around_it():
    evidence, near = _evidence([False] * 4 + [True])
    # Seen once only, in the last cloud, which no later ray passes; its lower neighbors did.
    above = near + np.array([0, 0, 2.1], np.float32)
    above = above[above[:, 2] < 1.25]
    nothing = np.zeros((0, 3), np.float32)
    evidence.add(np.zeros(3, np.float32), above, above, nothing, 0.3)
    every = np.concatenate([near, above])
    assert find_moved(every, evidence, LabelOptions()).hold(above).all()
    assert not find_moved(above, evidence, LabelOptions()).hold(above).any()


def test_what_is_out_of_view_above_a_mover_is_hidden():
    mover_points = np.array([[10.0, 0.1, -1.0], [10.0, 0.1, 1.0]], np.float32)
    behind = np.array([[30.0, 0.1, 1.0]], np.float32)
    overhead = overhead_of_lidar(mover_points, np.concatenate([mover_points, behind]))
    points = np.array(
        [
            [12.0, 0.1, 2.0],  # Above the highest point of the direction.
            [12.0, 0.1, 1.0],  # Below.
            [8.0, 0.1, 2.0],  # In front.
            [30.0, 0.1, 6.0],  # Far behind.
            [12.0, 3.0, 2.0],  # In another direction.
        ],
        np.float32,
    )
    assert overhead.hides(points, 5.0).tolist() == [True, False, False, False, False]
    assert overhead.hides(points, np.inf).tolist() == [True, False, False, True, False]


def test_the_rim_of_a_mover_is_what_no_point_is_above():
    side = np.array([[10.0, 0.1, z] for z in (-1.0, 0.8, 1.0)], np.float32)
    assert rim_of(side, side).tolist() == side[1:].tolist()  # Slopes of 0.08 and 0.1.
    above = np.array([[30.0, 0.1, 6.0]], np.float32)
    assert not len(rim_of(side, np.concatenate([side, above])))


def test_a_camera_sees_nothing_above_the_rim_of_a_mover():
    # From a camera, the rim falls from a slope of 0.1 to -0.1 within three degrees.
    degrees = np.radians([10.5, 11.5, 12.5])
    slopes = np.array([0.1, 0.0, -0.1])
    rim = 10 * np.stack([np.cos(degrees), np.sin(degrees), slopes], 1).astype(np.float32)
    overhead = overhead_of_camera(rim)

    def at(degree, slope, distance_m):
        azimuth = np.radians(degree)
        point = np.array([[np.cos(azimuth), np.sin(azimuth), slope]]) * distance_m
        return bool(overhead.hides(point.astype(np.float32), np.inf)[0])

    assert at(11.5, -0.05, 50)  # Above the lower side of the rim.
    assert not at(10.5, -0.05, 50)  # Below the rim there and in the next direction.
    assert at(9.5, 0.12, 50)  # The next direction counts.
    assert not at(8.5, 0.12, 50)
    assert not at(11.5, 0.2, 5)  # In front of it.


def _cloud_of_walls(dust):
    """A cloud with a wall of 60 by 20 degrees 20 m ahead, and dust in front of it."""
    azimuth, elevation = np.meshgrid(np.arange(-30, 30, 0.5), np.arange(-10, 10, 0.5))
    azimuth, elevation = np.radians(azimuth.ravel()), np.radians(elevation.ravel())
    wall = np.stack([0 * azimuth + 1, np.tan(azimuth), np.tan(elevation)], 1) * 20
    return np.concatenate([np.reshape(dust, (-1, 3)), wall]).astype(np.float32)


def test_single_points_that_all_rays_pass_are_dust():
    dust = [[3.0, 0.3, 0.2], [5.0, 1.0, -0.3]]
    points = _cloud_of_walls(dust)
    assert np.flatnonzero(is_dust(points, 0.02)).tolist() == [0, 1]
    assert not is_dust(points, 0.0).any()
    assert not len(is_dust(points[:0], 0.02))


def test_dust_against_the_sky_is_found_by_the_typical_number_of_points():
    above = np.array([[3.0, 0.0, 2.5]])  # Nothing is behind it.
    assert np.flatnonzero(is_dust(_cloud_of_walls(above), 0.02)).tolist() == [0]


def test_thin_things_are_no_dust():
    # A pole of one point in each half degree of elevation, 5 m ahead.
    elevation = np.radians(np.arange(-10, 10, 0.5))
    pole = np.stack([0 * elevation + 5, 0 * elevation, 5 * np.tan(elevation)], 1)
    assert not is_dust(_cloud_of_walls(pole), 0.02).any()


def test_dust_is_neither_in_the_map_nor_in_the_labels(recording):
    root = recording.parent / "dusty"
    stems = write_drive(root, frames=2)
    spot = [6.0, 0.0, 0.0]  # In the air, 2.7 m above the road.
    for stem in stems:
        path = root / "clouds" / f"{stem}.bin"
        rows = np.fromfile(path, "<f4").reshape(-1, 4)
        np.concatenate([[[*spot, 0.1]], rows]).astype("<f4").tofile(path)
    drive = read_drive(root)
    for share, expected in ((0.0, BARRIER), (0.02, IGNORE)):
        options = replace(OPTIONS, dust_share=share)
        reader = SweepReader(drive, options)
        assert reader.read(0).is_dust.any() == (share > 0)
        found = build_clip_map(reader, range(2), options)
        labels = label_frame(found, reader.read(0), drive.world_from_lidar[0], None)
        label = labels_at(labels.occupancy, np.array([spot], np.float32))[0]
        assert (label == BARRIER) == (expected == BARRIER)


def test_voxels_that_were_hit_need_more_passes_to_be_free(clip_map):
    reader, found = clip_map
    pose = reader.drive.world_from_lidar[FRAME]
    (x, y, _), _ = mover(18)
    trail = [x + 0.1, y + 1, 1.0]
    free = {}
    for ratio in (0.0, 1000.0):
        changed = replace(found, options=replace(OPTIONS, free_ratio=ratio))
        labels = label_frame(changed, reader.read(FRAME), pose, None)
        free[ratio] = _at(labels, trail, [20, -1, 1.0])
    assert free == {0.0: [0, 0], 1000.0: [IGNORE, 0]}


def test_rays_end_a_margin_before_the_point():
    ends = np.array([[10.0, 0, 0], [0, 0.2, 0]], np.float32)
    samples = np.concatenate(list(ray_samples(np.zeros(3, np.float32), ends, 0.5, 1.0)))
    assert samples[:, 0].tolist() == [0.5 + k for k in range(9)]
    assert not samples[:, 1:].any()


def test_thinned_rays_end_in_different_voxels():
    ends = np.array([[0.1, 0, 0], [0.2, 0, 0], [1.1, 0, 0], [2.1, 0, 0]], np.float32)
    assert thin_rays(ends, 1.0, 10).tolist() == [0, 2, 3]
    assert thin_rays(ends, 1.0, 2).tolist() == [0, 3]


def test_directions_are_silent_once_they_had_a_point():
    silent = SilentDirections()
    ahead = np.array([[10.0, 0.05, 0.05]], np.float32)
    aside = np.array([[0.0, 10.0, 0.05]], np.float32)
    assert not len(silent.find(np.concatenate([ahead, aside]), 40.0))
    found = silent.find(aside, 40.0)
    assert np.linalg.norm(found, axis=1) == pytest.approx(40.0)
    assert (found @ [1, 0, 0] > 39.9).all()


# Map and ground.


def test_cells_average_points_and_vote_on_classes():
    cells = CellMap(1.0)
    points = np.array([[0.2, 0, 0.4], [0.4, 0, 0.5], [-3.5, 0, 0.5]], np.float32)
    cells.add(points, np.array([11, 0, 0], np.uint8))
    cells.add(points[:1], np.array([11], np.uint8))
    cells.add(points[:2], np.array([2, 2], np.uint8))
    found = cells.finish()
    assert found.count.tolist() == [1, 5]
    assert found.points[1, 0] == pytest.approx((3 * 0.2 + 2 * 0.4) / 5)
    assert found.label.tolist() == [0, 2]  # Two votes each: the smaller class.
    with pytest.raises(ValueError, match="correct the poses"):
        cells.add(np.array([[1e6, 0, 0]], np.float32), np.zeros(1, np.uint8))


def test_a_surface_on_the_border_of_two_cells_stays_one():
    cells = CellMap(0.1)
    z = np.array([0.19, 0.205, 0.21])
    cells.add(np.stack([0 * z, 0 * z, z], 1).astype(np.float32), np.zeros(3, np.uint8))
    found = cells.finish()
    assert found.points[:, 2] == pytest.approx([z.mean()], abs=1e-5)


def test_ground_stops_at_a_step_and_closes_small_gaps_only():
    x, y = (a.ravel() for a in np.mgrid[0:20:0.15, 0:12:0.15])
    z = np.where(y > 6, 1.0, 0.02 * x)
    gap = ((np.abs(x - 10) < 0.3) | (np.abs(x - 15) < 1.0)) & (y < 6)
    points = np.stack([x, y, z], 1)[~gap].astype(np.float32)
    path = np.array([[1.0, 3.0, 0.0], [18.0, 3.0, 0.36]])
    ground = fit_ground(points, path, LabelOptions())
    where = np.array([[5, 3, 0], [10, 3, 0], [15, 3, 0], [5, 9, 0]], np.float32)
    height, is_driveable = ground.at(where)
    assert height[:2] == pytest.approx([0.1, 0.2], abs=0.03)
    assert np.isnan(height[2:]).all()
    assert is_driveable.tolist() == [True, True, False, False]


def test_steep_ground_is_terrain():
    x, y = (a.ravel() for a in np.mgrid[0:20:0.15, 0:12:0.15])
    z = np.maximum(y - 6, 0) * 0.4
    points = np.stack([x, y, z], 1).astype(np.float32)
    ground = fit_ground(points, np.array([[1.0, 3, 0], [18, 3, 0]]), LabelOptions())
    height, is_driveable = ground.at(np.array([[5, 3, 0], [5, 10, 0]], np.float32))
    assert height[1] == pytest.approx(1.6, abs=0.1)
    assert is_driveable.tolist() == [True, False]


# Drives.


def test_clips_are_cut_at_gaps_and_by_length(recording):
    drive = read_drive(recording)
    times = drive.times_s.copy()
    times[13:] += 10
    options = replace(OPTIONS, clip_s=1.0, context_s=0.55)
    clips = cut_clips(replace(drive, times_s=times), options)
    assert [clip.scene for clip in clips] == [0, 0, 1]
    assert [frame for clip in clips for frame in clip.frames] == list(range(FRAMES))
    assert clips[0].context == range(int(clips[0].frames[-1]) + 6)
    assert clips[2].context == range(13, 20)
    assert [key for clip in clips for key in clip.keys] == [0, 5, 10, 13, 18]


def test_poses_in_other_units_are_refused(tmp_path):
    stems = write_drive(tmp_path, frames=3)
    lines = [f"{stem} {9000 * n} 0 0 0 0 0 1\n" for n, stem in enumerate(stems)]
    (tmp_path / "poses.txt").write_text("".join(lines))
    with pytest.raises(ValueError, match=r"positions in meters .*, found a vehicle at \d+ m/s"):
        read_drive(tmp_path)


def test_images_of_two_sizes_are_refused(tmp_path):
    stem = write_drive(tmp_path, frames=2)[1]
    path = tmp_path / f"images/{stem}.png"
    assert cv2.imwrite(str(path), cv2.imread(str(path))[:50])
    with pytest.raises(ValueError, match=rf"images: expected images of one size.*{path.name}"):
        read_drive(tmp_path)


def test_missing_poses_and_stems_that_are_no_times_are_refused(tmp_path):
    stem = write_drive(tmp_path, frames=1)[0]
    (tmp_path / "poses.txt").rename(tmp_path / "other.txt")
    with pytest.raises(FileNotFoundError, match="expected the pose of each frame"):
        read_drive(tmp_path)
    (tmp_path / "poses.txt").write_text("2.0 0 0 0 0 0 0 1\n")
    with pytest.raises(ValueError, match="found none of their stems"):
        read_drive(tmp_path)
    for folder, end in (("clouds", ".bin"), ("images", ".png")):
        (tmp_path / folder / f"{stem}{end}").rename(tmp_path / folder / f"first{end}")
    (tmp_path / "poses.txt").write_text("first 0 0 0 0 0 0 1\n")
    with pytest.raises(ValueError, match="expected the time in seconds as name of each frame"):
        read_drive(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"rest": "car"}, "rest: expected one of"), ({"range_m": 0.0}, "range_m: expected"),
     ({"fill_m": -1.0}, "fill_m: expected a number of at least 0"),
     ({"clip_s": float("nan")}, "clip_s: expected a number above 0, got nan"),
     ({"range_m": float("inf")}, "range_m: expected a number above 0, got inf"),
     ({"map_voxel_m": 100.0}, "map_voxel_m: expected at most 0.3"),
     ({"vehicle_m": (1.0, -2.5, -1.2, 1.2, -3.0, 0.3)}, "vehicle_m: expected x, y and z, each")],
)  # fmt: skip
def test_options_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        LabelOptions(**change)


# Scores.


def test_a_ray_through_something_counts_and_the_surface_it_ends_on_does_not():
    occupancy = np.zeros(GRID.shape, np.uint8)
    occupancy[100:103, 128, 13] = BARRIER
    end = np.array([[30.4, 0.1, 0.1], [60.0, 0.1, 0.2], [60.0, 10.0, 0.2]], np.float32)
    passed, deep = passes_through(occupancy, end)
    assert passed.tolist() == [False, True, False]
    assert not deep.any()  # It is one voxel wide.
    occupancy[100:103, 127:130, 12:15] = BARRIER
    assert passes_through(occupancy, end)[1].tolist() == [False, True, False]
    score = score_held_out(occupancy, np.concatenate([end, [[-5, 0, 0]]]).astype(np.float32))
    assert (score.ended, score.in_occupied, score.in_free) == (3, 1, 2)


def test_truth_is_compared_where_both_are_known_and_nearby():
    label, truth = np.zeros((2, *GRID.shape), np.uint8)
    label[10, 128, 5:8], truth[10, 128, 6:9] = [11, 11, IGNORE], [10, 11, 10]
    label[50, 128, 20] = truth[250, 128, 5] = 1
    score = score_truth(label, truth)
    counts = (score.both, score.only_label, score.only_truth, score.same_class, score.stray)
    assert counts == (1, 2, 1, 0, 1)
