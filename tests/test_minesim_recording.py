"""MineSim's recordings: trucks that move, in clouds, images and truth alike."""

import numpy as np
import pytest

from dataset import formats, layout
from dataset.check.nearby import is_near_voxels
from dataset.check.registration import occupied_voxels
from dataset.class_mapping import read_mapping
from dataset.labeling.check import TRUTH
from dataset.labeling.drive import read_drive
from dataset.labeling.options import LabelOptions
from dataset.labeling.sweeps import SweepReader
from dataset.minesim.scene.mesh import box
from dataset.minesim.sensors.camera import CameraFrame
from dataset.minesim.sensors.raycast import Caster
from dataset.minesim.sensors.rig import Camera, Rig
from dataset.minesim.write import recording
from dataset.minesim.write.recording import (
    Mover,
    RecordingOptions,
    with_movers,
    write_recordings,
)
from tests.documents import REPOSITORY
from tests.minesim_world import tiny_world
from tools import make_minesim

TRUCK = 2


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    root = tmp_path_factory.mktemp("drives")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "world_of_scene", lambda *_, **__: tiny_world(seconds=2))
        options = RecordingOptions(1, 2, (96, 60), map_voxel_m=0.3, truth_rays=5_000)
        write_recordings(root, options, workers=1)
    return root / "drive_00000"


def test_a_recording_is_read_with_its_point_labels(drive):
    mapping = read_mapping(REPOSITORY / "config/labels/unscenes3d.json")
    found = read_drive(drive)
    sweep = SweepReader(found, LabelOptions(), mapping).read(0)
    assert len(found.stems) == 2
    assert sweep.is_moving.sum() > 100
    assert set(sweep.label[sweep.is_moving].tolist()) == {TRUCK}


def test_moving_points_lie_on_the_trucks_of_the_truth(drive):
    mapping = read_mapping(REPOSITORY / "config/labels/unscenes3d.json")
    found = read_drive(drive)
    sweep = SweepReader(found, LabelOptions(), mapping).read(0)
    path = drive / TRUTH / layout.relative_path(layout.OCCUPANCY, found.stems[0])
    rows = formats.read_occupancy_rows(path)
    points = sweep.points[sweep.is_moving, :3]
    index = np.floor(layout.LABEL_GRID.voxel_from_meters(points)).astype(np.int64)
    index = index[((index >= 0) & (index < layout.LABEL_GRID.shape)).all(axis=1)]
    truck = occupied_voxels(rows[rows[:, 3] == TRUCK])
    assert is_near_voxels(index, truck).mean() > 0.98
    assert not (drive / TRUTH / layout.relative_path(layout.OCCUPANCY, found.stems[1])).exists()


def test_the_truth_has_ground_that_the_drive_only_sees_from_far_away(drive):
    path = drive / TRUTH / layout.relative_path(layout.OCCUPANCY, read_drive(drive).stems[0])
    rows = formats.read_occupancy_rows(path)
    index = rows[rows[:, 3] != TRUCK, :3]
    x = layout.LABEL_GRID.meters_from_voxel(index + 0.5)[:, 0]
    assert (x > 65).sum() > 20  # Other layouts end 55 m from the last pose, 3 m ahead.


def test_trucks_change_the_image_and_its_depth(drive):
    found = read_drive(drive)
    depth = formats.read_depth_m(drive / TRUTH / f"depths/{found.stems[0]}.png")
    pixels = found.pixel_from_lidar @ [24.0, 0.0, 0.0, 1.0]  # On the truck ahead, about.
    column, row = (pixels[:2] / pixels[2]).astype(int)
    assert 15 < depth[row, column] < 30


def test_a_truck_is_drawn_where_it_is_and_nowhere_else():
    camera = Rig(Camera(96, 60)).camera
    mesh = box((4.0, 2.0, 2.0), (0.0, 0.0, 0.0), "paint", (0.8, 0.8, 0.8))
    pose = np.eye(4)
    pose[:3, 3] = 20.0, 3.0, 0.5
    up = np.tile(np.array([[0, 0, 1]], np.float32), (len(mesh.faces), 1))
    caster = Caster(mesh.vertices.astype(np.float32), mesh.faces)
    mover = Mover(mesh, caster, up, np.zeros((1, 3), np.float32), pose[None])
    world_from_cam = np.eye(4)
    world_from_cam[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]  # It looks along x, level.
    before = CameraFrame(np.zeros((60, 96, 3), np.uint8), np.full((60, 96), 50, np.float32))
    found = with_movers(before, [mover], 0, world_from_cam, camera)
    # Its rear, at x = 18 m, reaches from y = 2 to 4 m and from z = -0.5 to 1.5 m.
    focal = camera.p2[0, 0]
    left, right, top, bottom = (
        round(center - focal * meters / 18.0)
        for center, meters in ((48, 4.0), (48, 2.0), (30, 1.5), (30, -0.5))
    )
    is_truck = found.depth_m < 50
    assert found.depth_m[top + 1 : bottom - 1, left + 1 : right - 1] == pytest.approx(18.0)
    assert not is_truck[: top - 1].any()
    assert not is_truck[bottom + 1 :].any()
    assert not is_truck[:, : left - 1].any()
    assert not is_truck[:, right + 2 :].any()  # Its side is seen, too.
    assert (found.image.any(axis=2) == is_truck).all()


def test_options_out_of_range_are_refused(capsys):
    with pytest.raises(ValueError, match="0 to 2 movers, got 3"):
        RecordingOptions(1, 1, movers=3)
    with pytest.raises(ValueError, match="at least one drive and one frame"):
        RecordingOptions(0, 1)
    words = "--out x --scenes 1 --frames 1"
    for wrong, message in (
        ("--movers 1", "--movers can only be used with --layout recording"),
        ("--layout recording --val 1", "--val cannot be used with --layout recording"),
        ("--layout recording --patches", "--patches can only be used with --layout unscenes3d"),
    ):
        with pytest.raises(SystemExit):
            make_minesim.parse_arguments(f"{words} {wrong}".split())
        assert message in capsys.readouterr().err
