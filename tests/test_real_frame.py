"""A frame that nobody here made: recorded by other sensors, on another continent."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import predict
from dataset import layout
from dataset.formats import read_calibration
from dataset.reading import Reading
from dataset.unscenes3d import UnScenes3D
from engine.build.build import build_model
from tests.kitti_frame import VARIABLE, find_kitti
from tools.convert_kitti import LIDAR_HEIGHT_M, convert_frame
from utils.config import load_config
from utils.geometry import project_points

STEM = "000001"
REPOSITORY = Path(__file__).parents[1]
CONFIG = REPOSITORY / "config/minesim/minesim_occ.py"
WEIGHTS = REPOSITORY / "assets/checkpoints/minesim_demo.safetensors"
"""Of both sensors; a network that has learned nothing stands in for those of one."""
GROUND = (9, 10, 11)

KITTI = find_kitti()
pytestmark = pytest.mark.skipif(
    KITTI is None, reason=f"no recorded KITTI frame; set {VARIABLE} to the folder of kitti_object/"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("kitti")
    convert_frame(KITTI, STEM, root, LIDAR_HEIGHT_M)
    return root


def test_calibration_is_that_of_kitti_with_the_inverse_it_lacks(root):
    calibration = read_calibration(root / layout.relative_path(layout.CALIBS, STEM))
    # By KITTI's own text: f = 721.5 px, and the LiDAR lies 0.81 m before the IMU.
    imu_from_lidar = calibration.imu_or_world_from_lidar
    assert imu_from_lidar[0, 3] == pytest.approx(0.81, abs=0.01)
    moved = LIDAR_HEIGHT_M - layout.LIDAR_HEIGHT_M  # The origin of the layout is higher.
    straight_ahead = calibration.pixel_from_lidar @ [20.0, 0, moved, 1]
    pixel = straight_ahead[:2] / straight_ahead[2]
    np.testing.assert_allclose(pixel, [609.6, 172.9], atol=12)  # About the principal point.


def test_points_fall_on_the_image_and_only_forward_ones_are_left(root):
    frames = UnScenes3D(
        root,
        "all",
        Reading(
            dict(origin_m=(0.0, -38.4, -4.0), voxel_m=1.2, shape=(64, 64, 8)),
            ("images", "points", "pixel_from_lidar"),
            image_size=(96, 320),
        ),
    )
    sample = frames[0]
    assert (sample.stem, len(frames)) == (STEM, 1)
    points = sample.points[:, :3]
    assert 10_000 < len(points) < 60_000
    assert (points[:, 1].abs() < points[:, 0] * np.tan(np.deg2rad(60.1))).all()
    pixels, depth = project_points(sample.pixel_from_lidar[0], points)
    in_view = ((pixels >= 0) & (pixels < torch.tensor([320, 96]))).all(-1) & (depth > 0)
    assert 0.4 < in_view.float().mean() < 0.9  # The camera sees 81 of the 120 degrees.


@pytest.mark.parametrize("modality", ["both", "camera", "lidar"])
def test_the_demo_network_predicts_and_draws_it(root, tmp_path, modality):
    weights = WEIGHTS
    if modality != "both":
        weights = tmp_path / "weights.pth"
        network = build_model(load_config(CONFIG, {"modality": modality}))
        torch.save(network.state_dict(), weights)
    words = f"--py-config {CONFIG} --resume-from {weights} --data-root {root} --out {tmp_path}/out"
    options = f"--device cpu --cfg-options modality={modality} runtime.num_workers=0"
    predict.main(predict.parse_arguments(f"{words} {options}".split()))
    occupancy = np.load(tmp_path / "out" / f"{STEM}.npy")
    assert (occupancy.dtype, occupancy.shape) == (np.uint8, (64, 64, 8))
    assert occupancy.max() < 12
    if modality == "both":  # It has only seen a simulated mine; the ground ahead is ground anyway.
        ahead = occupancy[8:25, 30:34]  # 10 to 30 m ahead, 2.4 m to each side.
        assert np.isin(ahead, GROUND).any(-1).mean() > 0.9
    picture = cv2.imread(str(tmp_path / "out" / f"{STEM}.png"))
    assert picture.shape[1] > 1500
    assert picture.std() > 20
