"""Synthetic frames of a config's size, for benchmarks without a data set.

The scene is rolling ground between two slopes, with boxes on it: about as many labeled voxels as in
a real frame. LiDAR points are where the rays of a forward-looking sensor hit them, so the number of
occupied voxels is realistic, too. Images are noise. These frames are useful only for timing.
"""

from math import cos, gcd, pi, sin

import torch
from jaxtyping import Float, UInt8
from mmengine.config import Config
from torch import Tensor

from dataset.augmentation import Choices
from dataset.minesim.sensors.lidar_models import LIVOX_HAP
from dataset.minesim.sensors.rig import REFERENCE_SIZE, Camera, Rig
from dataset.sample import Batch
from dataset.transforms import image_transform
from engine.build.build import build_grid, fields_of, has_elevation
from model.render.first_hit import first_hit
from model.render.rays import Rays, pixel_centers, pixel_rays
from utils.geometry import VoxelGrid
from utils.labels import FREE, label_set

POINTS_PER_SWEEP = 60_000
SWEEP_S = 0.1
GROUND_SHARE, WAVE_SHARE, SLOPE_SHARE = 0.14, 0.04, 0.45
"""Heights of the ground, its waves and the slopes, as shares of the grid's height."""
GROUND_M = -2.6
"""Height of the flat elevation map [m]."""
NUM_CAMERAS = {"NuScenes": 6}
"""Cameras of a data set, evenly around the vehicle; by default one, at the front."""
NUM_BOXES = 6
ROUGHNESS = 0.7
"""Maximum depth of points below voxel faces, in voxels."""


def synthetic_batch(
    cfg: Config, size: int, *, device: torch.device | str = "cpu", seed: int = 0
) -> Batch:
    """Build a batch with the fields that training the config's network needs.

    Args:
        cfg: The config: its grid, classes, modality, image size and number of sweeps.
        size: Number of frames.
        device: Device of the batch.
        seed: Random seed; the frames are the same on any device.
    """
    grid, fields = build_grid(cfg), fields_of(cfg.modality, training=True)
    generator = torch.Generator().manual_seed(seed)
    num_classes = label_set(cfg.labels).num_classes
    occupancy = torch.stack([surfaces(grid, num_classes, generator) for _ in range(size)])
    occupancy = occupancy.to(device)
    batch = Batch([f"synthetic_{i}" for i in range(size)], [""] * size, occupancy=occupancy)
    if "points" in fields:
        sweeps = cfg.dataset.get("num_sweeps", 1)
        batch.points = [scan(labels, grid, sweeps, generator) for labels in occupancy]
    if "images" in fields:
        height, width = cfg.dataset.image_size
        cameras = cameras_of(cfg)
        images = torch.randint(256, (size, cameras, 3, height, width), generator=generator)
        batch.images = images.to(torch.uint8).to(device)
        projections = network_projections(cfg).to(device).expand(size, cameras, 4, 4)
        batch.pixel_from_lidar = projections.contiguous()
        depth_m = [depth_maps(occupancy, grid, of, (height, width)) for of in projections.unbind(1)]
        batch.depth_m = torch.stack(depth_m, dim=1)
    if has_elevation(cfg):
        shape = cfg.model.parts.elevation.cells.shape
        batch.elevation_m = torch.full((size, *shape), GROUND_M, device=device)
    return batch


def surfaces(
    grid: VoxelGrid, num_classes: int, generator: torch.Generator
) -> UInt8[Tensor, "X Y Z"]:
    """Generate the labels of a scene: ground one voxel thick, and hollow boxes on it."""
    across, height = torch.linspace(0, 1, grid.shape[1]), grid.shape[2]
    along = torch.linspace(0, 1, grid.shape[0])[:, None]
    phase = 6.3 * torch.rand(2, generator=generator)
    waves = torch.sin(9 * along + phase[0]) * torch.cos(7 * across + phase[1])
    slope = ((across - 0.5).abs() - 0.38).clamp(0, 0.12) / 0.12
    ground = GROUND_SHARE + WAVE_SHARE * waves + SLOPE_SHARE * slope
    z = (ground * height).long().clamp(0, height - 1)
    occupancy = torch.zeros(grid.shape, dtype=torch.uint8)
    label = torch.where(slope > 0, num_classes - 2, num_classes - 1).to(torch.uint8)
    occupancy.scatter_(2, z[..., None], label.expand(z.shape)[..., None])
    for box in range(NUM_BOXES):
        # About 7 × 4 × 3 m in a grid of 76.8 × 76.8 × 9.6 m.
        extent = [max(n // share, 1) for n, share in zip(grid.shape, (11, 20, 3), strict=True)]
        place = torch.tensor([0.2, 0.25]) + 0.5 * torch.rand(2, generator=generator)
        x, y = (place * torch.tensor(grid.shape[:2])).long().tolist()
        low = (x, y, int(z[x, y]) + 1)
        outer = tuple(slice(start, start + n) for start, n in zip(low, extent, strict=True))
        inner = tuple(slice(side.start + 1, side.stop - 1) for side in outer)
        occupancy[outer] = 1 + box % (num_classes - 3)
        occupancy[inner] = FREE
    return occupancy


def scan(
    occupancy: UInt8[Tensor, "X Y Z"], grid: VoxelGrid, sweeps: int, generator: torch.Generator
) -> Float[Tensor, "P F"]:
    """Cast LiDAR rays at the surfaces; return x, y, z [m], intensity 0–1, age [s] of sweeps.

    Args:
        occupancy: The scene.
        grid: Its grid.
        sweeps: Number of sweeps of ``POINTS_PER_SWEEP`` points; with 2 or more, points have an age.
        generator: Random generator of the rays.
    """
    number = POINTS_PER_SWEEP * sweeps
    # A third of the rays miss, above the horizon or outside the grid; twice the rays are enough.
    azimuth, elevation, depth, intensity, age = torch.rand(5, 2 * number, generator=generator).to(
        occupancy.device
    )
    azimuth = torch.deg2rad(LIVOX_HAP.fov_deg[0] * (azimuth - 0.5))
    elevation = LIVOX_HAP.fov_deg[1] * (elevation - 0.5) + LIVOX_HAP.center_deg
    elevation = torch.deg2rad(elevation)
    ahead = torch.cos(elevation)
    directions = torch.stack(
        [ahead * torch.cos(azimuth), ahead * torch.sin(azimuth), torch.sin(elevation)], dim=1
    )
    rays = Rays(torch.zeros_like(directions)[None], directions[None])
    hit = first_hit(occupancy[None], grid, rays)
    range_m = hit.depth_m[0] + ROUGHNESS * grid.voxel_m * depth
    columns = [range_m[:, None] * directions, intensity[:, None]]
    if sweeps > 1:
        columns.append(SWEEP_S * (age[:, None] * sweeps).floor())
    return torch.cat(columns, dim=1)[hit.is_valid[0]][:number]


def cameras_of(cfg: Config) -> int:
    """Return the number of cameras of the config's data set."""
    return NUM_CAMERAS.get(cfg.dataset.type, 1)


def recorded_projections(cfg: Config) -> Float[Tensor, "N 4 4"]:
    """Return the projections of the cameras into recorded images; the first looks forward."""
    front = torch.from_numpy(Rig(Camera(*REFERENCE_SIZE)).pixel_from_lidar).float()
    number = cameras_of(cfg)
    turns = torch.eye(4).repeat(number, 1, 1)
    for camera in range(number):
        angle = 2 * pi * camera / number
        turns[camera, :2, :2] = torch.tensor([[cos(angle), sin(angle)], [-sin(angle), cos(angle)]])
    return front @ turns


def network_projections(cfg: Config) -> Float[Tensor, "N 4 4"]:
    """Return the projections of the cameras for the config's image crop and size."""
    width, height = REFERENCE_SIZE
    crop = cfg.dataset.get("image_crop", (0.0, 0.0, 1.0, 1.0))
    resize = image_transform((height, width), tuple(cfg.dataset.image_size), crop, Choices())
    return torch.from_numpy(resize.matrix()).float() @ recorded_projections(cfg)


def depth_maps(
    occupancy: UInt8[Tensor, "B X Y Z"],
    grid: VoxelGrid,
    pixel_from_lidar: Float[Tensor, "B 4 4"],
    image_size: tuple[int, int],
) -> Float[Tensor, "B H W"]:
    """Render camera depth per block of up to 4 × 4 pixels [m]; 0 where nothing is hit."""
    height, width = image_size
    stride = gcd(height, width, 4)
    pixels = pixel_centers(height, width, stride=stride, device=occupancy.device)
    rays = pixel_rays(pixel_from_lidar, pixels.expand(len(occupancy), -1, -1))
    depth_m = first_hit(occupancy, grid, rays).depth_m.view(len(occupancy), 1, height // stride, -1)
    return torch.nn.functional.interpolate(depth_m, size=image_size, mode="nearest")[:, 0]
