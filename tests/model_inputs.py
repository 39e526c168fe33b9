"""Small synthetic batches and networks for the tests of the network."""

from typing import Any

import torch
from torch import Tensor

from dataset.sample import Batch
from model.objective import TERMS
from utils.geometry import VoxelGrid
from utils.registry import MODELS

GRID = VoxelGrid(origin_m=(0.0, -8.0, -2.0), voxel_m=1.0, shape=(16, 16, 4))
IMAGE_SIZE = (32, 64)


def pinhole(height: int, width: int, focal_px: float, *, forward_m: float = 0.0) -> Tensor:
    """Projection of a camera that looks along x from ``forward_m`` before the LiDAR."""
    pixel_from_cam = torch.tensor(
        [
            [focal_px, 0.0, width / 2, 0.0],
            [0.0, focal_px, height / 2, 0.0],
            [0.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
    cam_from_lidar = torch.tensor(
        [
            [0.0, -1.0, 0.0, 0.0],
            [0.0, 0.0, -1.0, 0.0],
            [1.0, 0.0, 0.0, -forward_m],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
    return pixel_from_cam @ cam_from_lidar


def make_batch(size: int = 2, *, cameras: int = 1, num_points: int = 300, seed: int = 0) -> Batch:
    """Frames with ground, a block, points on both, and images of noise."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    occupancy = torch.zeros(size, *GRID.shape, dtype=torch.uint8)
    occupancy[:, :, :, 0] = 11
    for frame in range(size):
        occupancy[frame, 6 + frame : 9 + frame, 5:8, 1:3] = 2
    occupancy[:, :, :2] = 255
    points = []
    for frame in range(size):
        filled = torch.nonzero((occupancy[frame] > 0) & (occupancy[frame] < 255))
        chosen = torch.randint(len(filled), (num_points,), generator=generator)
        position = GRID.meters_from_voxel(filled[chosen] + uniform(num_points, 3))
        points.append(torch.cat([position, uniform(num_points, 1)], dim=1))
    height, width = IMAGE_SIZE
    images = (255 * uniform(size, cameras, 3, height, width)).to(torch.uint8)
    projections = [pinhole(height, width, 30.0, forward_m=-1.0 - i) for i in range(cameras)]
    return Batch(
        stems=[f"16.{frame}" for frame in range(size)],
        scenes=["scene"] * size,
        images=images,
        points=points,
        pixel_from_lidar=torch.stack(projections).expand(size, -1, -1, -1).contiguous(),
        occupancy=occupancy,
        depth_m=20 * uniform(size, cameras, height, width),
    )


def model_config(**changes: Any) -> dict[str, Any]:
    """A network that learns a batch in seconds."""
    parts = dict(
        image_encoder=dict(
            type="ImageEncoder", backbone="resnet18", stride=8, channels=16, num_stages=2
        ),
        lift=dict(
            type="Lift",
            bins=dict(min_m=1.0, max_m=21.0, num=8),
            channels=16,
            hidden_channels=16,
            evidence_channels=4,
        ),
        lidar_encoder=dict(
            type="LidarEncoder",
            subdivision=2,
            stage_channels=(8, 12, 16),
            channels=16,
            evidence_channels=4,
        ),
        fusion=dict(type="RenderFusion", channels=16, hidden_channels=8),
        decoder=dict(type="UNet3d", channels=(16, 24)),
        head=dict(type="OccupancyHead", channels=16),
        refinement=dict(type="GSRefinement", num_gaussians=200, hidden_channels=16),
    )
    weights = dict.fromkeys(TERMS, 1.0) | dict(depth=0.5)
    config = dict(
        type="UnsOcc",
        grid=GRID,
        labels="unscenes3d",
        modality="both",
        coarsening=2,
        parts=parts,
        loss=dict(weights=weights),
        rendering=dict(stride=4, ray_step=1, near_m=0.5, far_m=18.0, num_segments=12),
    )
    return config | changes


def make_model(seed: int = 0, **changes: Any) -> Any:
    """The network of ``model_config``, with weights of the seed."""
    torch.manual_seed(seed)
    return MODELS.build(model_config(**changes))
