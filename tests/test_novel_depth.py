"""Which frames look at which, what they measured, and how the errors are kept."""

import math
from collections import namedtuple

import pytest
import torch
from mmengine.model import BaseModel
from torch import Tensor

from dataset import layout
from dataset.nuscenes.index import CAMERAS
from dataset.sample import Sample
from engine.build.build import build_dataset, build_grid, novel_views
from engine.evaluation.novel_depth import (
    NovelViews,
    measured_by_pixels,
    measured_by_points,
    score_novel_depth,
)
from engine.metrics.depth import DepthMeter
from engine.metrics.depth_errors import DepthRule
from model.novel_view import ViewOptions
from model.unsocc import UnsOcc
from tests.layout_files import SCENES, world_from_imu, write_tiny_unscenes3d
from tests.novel_depth_config import write_config
from tests.nuscenes_files import write_tiny_nuscenes
from utils.config import load_config
from utils.console import start_logging
from utils.distributed import Process

ALONE = Process(0, 1, torch.device("cpu"))
Outputs = namedtuple("Outputs", ["logits"])


class Painter(UnsOcc):
    """Predicts the labels of the data set; ``shift`` voxels farther ahead and up."""

    def __init__(self, cfg, split, shift=(0, 0)):
        BaseModel.__init__(self)
        self.grid, self.shift = build_grid(cfg), shift
        frames = build_dataset(cfg, split, fields=("occupancy",))
        self.labels: dict[str, Tensor] = {s.stem: s.occupancy for s in frames}

    def infer(self, batch):
        labels = torch.stack([self.labels[stem] for stem in batch.stems])
        labels = labels.where(labels < 255, 0).roll(self.shift, dims=(1, 3)).long()
        logits = torch.nn.functional.one_hot(labels, 18).movedim(-1, 1)
        return Outputs(30.0 * logits.float())


@pytest.fixture(scope="module")
def unscenes3d(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unscenes3d")
    write_tiny_unscenes3d(folder, frames=4)
    return load_config(write_config(folder, "unscenes3d", folder))


@pytest.fixture(scope="module")
def nuscenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_tiny_nuscenes(folder / "nuscenes", samples=3)
    return load_config(write_config(folder, "nuscenes", folder / "nuscenes"))


def views_of(cfg, **options):
    return NovelViews(cfg, "train", **dict(frames=3, max_distance_m=50.0) | options)


def scores_of(cfg, shift=(0, 0), **options):
    meter = DepthMeter(DepthRule())
    views = views_of(cfg, **options)
    sharp = ViewOptions(size=(32, 64))
    score_novel_depth(Painter(cfg, "train", shift), views, meter, sharp, ALONE)
    return meter


def test_the_other_frames_of_a_scene_look_at_each(unscenes3d):
    views = views_of(unscenes3d)
    assert len(views) == 4
    sample, others = views[1]
    assert sample.stem == views.stems[1]
    assert sample.occupancy is None
    assert [other.stem for other in others] == [views.stems[0], views.stems[2], views.stems[3]]
    poses = [world_from_imu(2 * number)[:3, 3] for number in range(4)]
    apart = [math.dist(poses[1], poses[number]) for number in (0, 2, 3)]
    # The LiDAR sits beside the pose's point, which moves a little as the vehicle turns.
    assert [other.distance_m for other in others] == pytest.approx(apart, abs=0.05)


def test_frames_too_far_away_and_beyond_the_number_do_not_count(unscenes3d):
    assert [len(others) for _, others in views_of(unscenes3d, max_distance_m=2.0)] == [1, 2, 2, 1]
    assert [len(others) for _, others in views_of(unscenes3d, frames=1)] == [1, 1, 1, 1]
    limited = views_of(unscenes3d, limit=2)
    assert limited.stems == [views_of(unscenes3d).stems[i] for i in (0, 3)]


@pytest.mark.parametrize("name", ["unscenes3d", "nuscenes"])
def test_poses_and_projections_chain_through_the_world(name, request):
    cfg = request.getfixturevalue(name)
    sample, others = views_of(cfg)[0]
    fields = ("depth_m", "pixel_from_lidar", "world_from_lidar")
    there = build_dataset(cfg, "train", fields=fields)[1]
    point = torch.tensor([20.0, 3.0, -1.0, 1.0], dtype=torch.float64)
    assert others[0].distance_m > 1
    in_there = torch.linalg.inv(there.world_from_lidar) @ (sample.world_from_lidar @ point)
    expected = there.pixel_from_lidar[0].double() @ in_there
    found = others[0].pixel_from_lidar[0].double() @ point
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-5)  # pixels · meters


def test_painted_labels_agree_with_depth_labels_of_other_frames(unscenes3d):
    cfg = unscenes3d.copy()
    cfg.grid = dict(origin_m=(0.0, -38.4, -4.0), voxel_m=0.6, shape=(128, 128, 16))
    right = scores_of(cfg, limit=1).scores().total.errors
    wrong = scores_of(cfg, limit=1, shift=(0, 1)).scores().total.errors  # 0.6 m too high
    assert right.a1 > 0.95
    assert right.abs_rel < 0.1
    assert wrong.abs_rel > 2 * right.abs_rel


def test_painted_labels_agree_with_lidar_of_other_key_frames_in_six_cameras(nuscenes):
    cfg = nuscenes.copy()
    cfg.grid = dict(origin_m=(-40.0, -40.0, -1.0), voxel_m=0.4, shape=(200, 200, 16))
    right = scores_of(cfg, limit=1, frames=1).scores()
    wrong = scores_of(cfg, limit=1, frames=1, shift=(0, 2)).scores()
    for camera, mean in right.total.cameras.items():
        assert mean.left_out == 0
        assert mean.errors.a1 > 0.93, camera
    # The ground, most of what LiDAR sees, 0.8 m higher.
    assert wrong.total.errors.abs_rel > 1.5 * right.total.errors.abs_rel


def test_missing_scenes_are_warned_of_once(nuscenes, capsys):
    start_logging()
    views_of(nuscenes)
    assert capsys.readouterr().err.count("official scenes") == 1


def test_errors_are_kept_by_distance_and_camera(unscenes3d, nuscenes):
    scores = scores_of(unscenes3d).scores()
    # 1.2 m a frame: one, two and three frames apart, of four in a row.
    assert {at: mean.frames for at, mean in scores.by_distance.items()} == {2: 6, 3: 4, 4: 2}
    assert scores.total.frames == 12
    assert scores.total.cameras == {}
    scores = scores_of(nuscenes, frames=1).scores()
    assert set(scores.total.cameras) == set(CAMERAS)
    assert scores.total.frames == 3 * 6
    assert list(scores.by_distance) == [5]  # 8 m/s, 0.5 s, on a bend: a millimeter above 4 m.


def test_lidar_is_the_other_frames_own_cloud(nuscenes):
    _, others = views_of(nuscenes)[0]
    assert nuscenes.dataset.num_sweeps == 2
    frame = build_dataset(nuscenes, "train", fields=("points", "pixel_from_lidar"))[1]
    assert (frame.points[:, 4] > 0).any()
    own = Sample("a", points=frame.points[frame.points[:, 4] == 0])
    own.pixel_from_lidar = frame.pixel_from_lidar
    for found, expected in zip(others[0].measured, measured_by_points(own, (32, 64)), strict=True):
        assert len(found.depth_m) > 50
        torch.testing.assert_close(found, expected)


def test_points_outside_an_image_and_behind_it_are_left_out():
    projection = torch.tensor(
        [[10.0, 0, 5, 0], [0, 10.0, 4, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )  # of an image of 8×10
    points = torch.tensor(
        [[0.0, 0, 2, 9], [1.0, 0, 2, 9], [0.9, -0.1, 2, 9], [0.0, 0, -2, 9], [0.0, 0.9, 2, 9]]
    )
    (found,) = measured_by_points(
        Sample("a", points=points, pixel_from_lidar=projection[None]), (8, 10)
    )
    torch.testing.assert_close(found.pixels, torch.tensor([[5.0, 4.0], [9.5, 3.5]]))
    assert found.depth_m.tolist() == [2.0, 2.0]


def test_labels_count_at_the_centers_of_their_pixels():
    depth_m = torch.zeros(2, 3, 4)
    depth_m[1, 2, 3] = 6.0
    none, one = measured_by_pixels(Sample("a", depth_m=depth_m))
    assert len(none.depth_m) == 0
    assert one.pixels.tolist() == [[3.5, 2.5]]


def test_processes_share_the_frames(unscenes3d):
    meter = DepthMeter(DepthRule())
    network, views = Painter(unscenes3d, "train"), views_of(unscenes3d)
    for rank in range(2):
        process = Process(rank, 2, torch.device("cpu"))
        before = set(meter.images)
        score_novel_depth(network, views, meter, ViewOptions(size=(4, 8)), process)
        assert len(set(meter.images) - before) == 6
    whole = scores_of(unscenes3d)
    assert meter.images.keys() == whole.images.keys()


def test_scenes_of_one_frame_have_no_novel_view(tmp_path):
    write_tiny_unscenes3d(tmp_path, frames=1)
    cfg = load_config(write_config(tmp_path, "unscenes3d", tmp_path))
    with pytest.raises(ValueError, match="has only one frame"):
        views_of(cfg)
    with pytest.raises(ValueError, match="has only one frame"):
        build_dataset(cfg, "train", training=True)


def test_a_lone_frame_among_others_is_left_out_and_said(tmp_path, caplog):
    scenes = SCENES | {"scene_00001": "location_1"}
    stems = write_tiny_unscenes3d(tmp_path, scenes=scenes, imagesets=("lists", "scene_info"))
    (tmp_path / layout.IMAGESETS / "train.txt").write_text("\n".join([*stems[:2], stems[-1]]))
    cfg = load_config(write_config(tmp_path, "unscenes3d", tmp_path))
    assert views_of(cfg).stems == stems[:2]
    assert "1 of 3 frames are the only ones of their scenes" in caplog.text


def test_drives_must_be_known(tmp_path):
    write_tiny_unscenes3d(tmp_path, imagesets=("lists",))
    cfg = load_config(write_config(tmp_path, "unscenes3d", tmp_path))
    with pytest.raises(ValueError, match=r"neighbors need the drive of each frame"):
        views_of(cfg)


def test_wrong_options_are_rejected(unscenes3d):
    for wrong in (dict(limit=-1), dict(max_distance_m=0.0)):
        with pytest.raises(ValueError, match=r"limit >= 0 .* and a positive distance"):
            views_of(unscenes3d, **wrong)
    with pytest.raises(ValueError, match="number of neighbors must be positive, got 0"):
        views_of(unscenes3d, frames=0)
    with pytest.raises(ValueError, match=r"within the distance limit; raise it"):
        scores_of(unscenes3d, max_distance_m=0.5)
    cfg = unscenes3d.copy()
    cfg.dataset = dict(type="ToyFrames")
    with pytest.raises(ValueError, match="ToyFrames has no depth to score novel views against"):
        views_of(cfg)


def test_training_reads_neighbors_where_the_network_looks_from_them(unscenes3d):
    assert novel_views(unscenes3d) == 2
    sample = build_dataset(unscenes3d, "train", training=True)[0]
    assert sample.neighbors.depth_m.shape == (2, 1, 32, 64)
    assert build_dataset(unscenes3d, "val")[0].neighbors is None
    blind = unscenes3d.copy()
    blind.modality = "lidar"
    assert build_dataset(blind, "train", training=True)[0].neighbors is None
