"""A recorded key frame: what the loader says of it agrees with what its images show."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import predict
from dataset.nuscenes.dataset import NuScenes
from dataset.nuscenes.index import CAMERAS
from dataset.nuscenes.labels import BENCHMARKS
from engine.build.build import build_model
from tests.flat_options import build_flat
from tests.kitti_frame import VARIABLE
from tests.nuscenes_frame import IMAGE_SIZE, convert_frame, find_nuscenes
from utils.config import load_config
from utils.geometry import project_points
from utils.labels import NUSCENES

FRAME = find_nuscenes()
pytestmark = pytest.mark.skipif(
    FRAME is None, reason=f"no recorded nuScenes frame; set {VARIABLE} to the folder of it"
)
CONFIG = Path(__file__).parents[1] / "config/minesim/minesim_nuscenes.py"
STEM = "ca9a282c9e77460f8360f564131a8af5"
HALF_SIZE = (450, 800)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("real") / "nuscenes"
    convert_frame(FRAME, root)
    return root


def build(root, fields, **options):
    return build_flat(
        NuScenes, root, "train", grid=BENCHMARKS["occ3d"].grid, fields=fields, **options
    )


def test_the_frame_is_read(root):
    sample = build(root, ("images", "points", "depth_m", "world_from_lidar"))[0]
    assert sample.stem == STEM
    assert sample.images.shape == (6, 3, 256, 704)
    assert 25_000 < len(sample.points) < 28_000  # Of 34,688: a quarter meets the own roof.
    assert sample.world_from_lidar[0, 3] == pytest.approx(411.3, abs=0.1)
    # The street is about where the vehicle stands on it.
    near = sample.points[:, :2].norm(dim=1) < 8
    assert sample.points[near, 2].median().abs() < 0.15
    covered = (sample.depth_m > 0).float().mean(dim=(1, 2))
    assert ((covered > 0.01) & (covered < 0.05)).all()


def test_pixels_are_those_of_the_published_calibration(root):
    calibration = json.loads((FRAME / "calib.json").read_text(encoding="utf-8"))
    sample = build(root, ("pixel_from_lidar", "points"), image_size=IMAGE_SIZE, frame="lidar")[0]
    points = torch.cat([sample.points[:, :3], torch.ones(len(sample.points), 1)], dim=1).double()
    for camera, channel in enumerate(CAMERAS):
        cam_from_lidar = torch.tensor(calibration["cams"][channel]["lidar2cam"]).double()
        intrinsic = torch.tensor(calibration["cams"][channel]["K"]).double()
        projected = (points @ cam_from_lidar.T)[:, :3] @ intrinsic.T
        expected, depth = projected[:, :2] / projected[:, 2:], projected[:, 2]
        inside = ((expected >= 0) & (expected < torch.tensor([1600, 900]))).all(1) & (depth > 1)
        assert inside.sum() > 2500
        pixels, found_m = project_points(sample.pixel_from_lidar[camera].double(), points[:, :3])
        torch.testing.assert_close(pixels[inside], expected[inside], rtol=0, atol=0.05)
        torch.testing.assert_close(found_m[inside], depth[inside], rtol=0, atol=1e-3)


def edges_of_depth(path):
    """Returns (N, 3) at the near side of a jump in depth along a ring, in the LiDAR's frame."""
    cloud = np.fromfile(path, np.float32).reshape(-1, 5)
    cloud = cloud[(np.abs(cloud[:, :2]) >= 1.0).any(1)]
    azimuth = np.arctan2(cloud[:, 0], cloud[:, 1])
    found = []
    for ring in range(32):
        order = np.flatnonzero(cloud[:, 4] == ring)
        order = order[np.argsort(azimuth[order])]
        points = cloud[order, :3]
        range_m = np.hypot(points[:, 0], points[:, 1])
        jump_m = np.diff(range_m)
        is_beside = np.diff(azimuth[order]) < 0.02
        is_near = np.zeros(len(order), bool)
        is_near[:-1] |= is_beside & (jump_m > 0.1 * range_m[:-1] + 1.0)
        is_near[1:] |= is_beside & (-jump_m > 0.1 * range_m[1:] + 1.0)
        found.append(points[is_near])
    return torch.from_numpy(np.concatenate(found))


def test_edges_of_depth_lie_on_edges_of_the_images(root):
    """Poles, trunks and corners stand out in depth and in the image at the same pixels."""
    sample = build(root, ("images", "pixel_from_lidar"), image_size=HALF_SIZE, frame="lidar")[0]
    (cloud,) = (root / "samples" / "LIDAR_TOP").iterdir()
    points = edges_of_depth(cloud)
    assert len(points) > 500
    strength: dict[int, list[np.ndarray]] = {shift: [] for shift in range(-12, 13)}
    for camera in range(len(CAMERAS)):
        rgb = sample.images[camera].permute(1, 2, 0).numpy()
        gray = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1)
        edges = cv2.GaussianBlur(np.abs(cv2.Sobel(gray, cv2.CV_32F, 1, 0)), (0, 0), 1)
        pixels, depth = project_points(sample.pixel_from_lidar[camera], points)
        column, row = torch.floor(pixels[depth > 1]).long().T.numpy()
        for shift, found in strength.items():
            moved = column + shift
            inside = (moved >= 0) & (moved < HALF_SIZE[1]) & (row >= 0) & (row < HALF_SIZE[0])
            found.append(edges[row[inside], moved[inside]])
    mean = {shift: np.concatenate(found).mean() for shift, found in strength.items()}
    best = max(mean, key=mean.__getitem__)
    assert abs(best) <= 2, mean  # Of 800 pixels; with one pose for all sensors it would be five.
    assert all(mean[0] > 1.25 * mean[shift] for shift in (-12, -8, 8, 12)), mean


def test_a_network_predicts_and_draws_it(root, tmp_path):
    network = build_model(load_config(CONFIG))
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    words = f"--py-config {CONFIG} --resume-from {tmp_path / 'weights.pth'} --data-root {root}"
    words += f" --out {tmp_path / 'out'} --device cpu"
    predict.main(predict.parse_arguments(words.split()))
    occupancy = np.load(tmp_path / "out" / f"{STEM}.npy")
    assert (occupancy.dtype, occupancy.shape) == (np.uint8, (100, 100, 8))
    assert occupancy.max() <= NUSCENES.index("others")
    picture = cv2.imread(str(tmp_path / "out" / f"{STEM}.png"))
    assert picture.shape[1] > 1500
    assert picture.std() > 20
