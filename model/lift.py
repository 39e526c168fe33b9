"""The lift from image features to voxels, by depth distributions (after Lift-Splat-Shoot).

Lift-Splat-Shoot pushes every pixel's frustum into the voxels; here every voxel pulls. Its center is
projected into the image, and the features sampled there are weighted by the probability that the
pixel's surface lies within the voxel. The result has no holes, its cost does not depend on the
number of depth bins, and the bins may be finer or coarser than the voxels.
"""

from dataclasses import dataclass
from math import gcd
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from utils.geometry import VoxelGrid, project_points
from utils.registry import MODELS


@dataclass(frozen=True)
class DepthBins:
    """Depth bins.

    Attributes:
        min_m: Near end of the first bin [m].
        max_m: Far end of the last bin [m].
        num: Number of bins.
        spacing: "uniform", or "linear" for widths that grow linearly with the bin's index.

    Raises:
        ValueError: If the range or the number is empty, or the spacing unknown.
    """

    min_m: float
    max_m: float
    num: int
    spacing: str = "linear"

    def __post_init__(self) -> None:
        """Check the fields."""
        if not 0 <= self.min_m < self.max_m or self.num < 1:
            raise ValueError(f"depth bins need 0 <= min_m < max_m and num >= 1, got {self}")
        if self.spacing not in ("uniform", "linear"):
            raise ValueError(f"spacing must be 'uniform' or 'linear', got '{self.spacing}'")

    def coordinate(self, depth_m: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Continuous bin index: bin k covers [k, k + 1); below 0 and from ``num`` on is no bin."""
        share = (depth_m - self.min_m) / (self.max_m - self.min_m)
        if self.spacing == "uniform":
            return share * self.num
        # Edge k lies at the share k(k + 1) / (num(num + 1)) of the range; this is the inverse.
        # Below the range, where the square root is undefined, it is linear.
        scaled = share * self.num * (self.num + 1)
        return torch.where(scaled < 0, scaled, ((1 + 4 * scaled.clamp(min=0)).sqrt() - 1) / 2)

    def edges_m(self) -> Float[Tensor, "edges"]:
        """The ``num + 1`` edges of the bins [m]."""
        k = torch.arange(self.num + 1, dtype=torch.float32)
        share = k / self.num
        if self.spacing == "linear":
            share = k * (k + 1) / (self.num * (self.num + 1))
        return self.min_m + share * (self.max_m - self.min_m)


class Lifted(NamedTuple):
    """Volumes of the cameras, and the scores behind them.

    Attributes:
        volume: Features on the feature grid; 0 where no camera looks.
        evidence: A few channels on the label grid: image features, probabilities of the classes
            but free, probability that the surface lies within the voxel, and probability that it
            lies in front of it; None if the lift was built without evidence.
        depth_logits: Scores of the depth bins, for the depth loss.
        class_logits: Scores of the classes but free, for their losses; None without evidence.
    """

    volume: Float[Tensor, "B C X Y Z"]
    evidence: Float[Tensor, "B E X2 Y2 Z2"] | None
    depth_logits: Float[Tensor, "B N D h w"]
    class_logits: Float[Tensor, "B N classes h w"] | None


@MODELS.register_module()
class Lift(nn.Module):
    """Predicts depth distributions and lifts image features with them.

    Args:
        in_channels: Channels of the image features.
        grid: The label grid, where the evidence lies.
        coarsening: Label voxels per feature voxel along each axis.
        num_classes: Classes, free included.
        bins: Depth bins, or the arguments of ``DepthBins``.
        channels: Channels of the volume.
        hidden_channels: Channels between the image features and the distributions.
        evidence_channels: Image features in the evidence, beside its probabilities; None: no
            evidence, for a head that does not use it.
    """

    def __init__(
        self,
        in_channels: int,
        grid: VoxelGrid,
        coarsening: int,
        num_classes: int,
        bins: DepthBins | dict,
        channels: int = 128,
        hidden_channels: int = 256,
        evidence_channels: int | None = 8,
    ) -> None:
        super().__init__()
        self.bins = bins if isinstance(bins, DepthBins) else DepthBins(**bins)
        self.grid, self.feature_grid = grid, grid.coarsen(coarsening)
        self.channels = channels
        classes = self.evidence_channels = 0
        if evidence_channels is not None:
            classes = num_classes - 1
            self.evidence_channels = evidence_channels + classes + 2
        self.split = (self.bins.num, channels, evidence_channels or 0, classes)
        self.heads = nn.Sequential(
            nn.Conv2d(in_channels + 3, hidden_channels, 3, padding=1, bias=False),
            # Does not depend on the number of images in a batch.
            nn.GroupNorm(gcd(8, hidden_channels), hidden_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden_channels, sum(self.split), 1),
        )

    def forward(
        self,
        features: Float[Tensor, "B N in_channels h w"],
        pixel_from_lidar: Float[Tensor, "B N 4 4"],
        image_size: tuple[int, int],
    ) -> Lifted:
        """Lift the features of all cameras.

        Args:
            features: Image features.
            pixel_from_lidar: Projections into the images that the features come from.
            image_size: Height and width of those images [px].
        """
        pixel_from_lidar = pixel_from_lidar.float()
        height, width = features.shape[-2:]
        directions = pixel_directions(pixel_from_lidar, image_size, (height, width))
        seen = torch.cat([features, directions.to(features.dtype)], dim=2)
        heads = self.heads(seen.flatten(0, 1)).unflatten(0, features.shape[:2])
        logits, context, fine_context, class_logits = heads.float().split(self.split, dim=2)
        cumulative = cumulative_probability(logits)

        seen_by = (pixel_from_lidar, image_size, (height, width), self.bins)
        view = project_grid(self.feature_grid, *seen_by)
        inside, _ = sample_surface(cumulative, view)
        flat = mean_over_views(sample_plane(context, view) * inside, view.in_view)
        volume = as_volume(flat, self.feature_grid.shape, features.dtype)
        if not self.evidence_channels:
            return Lifted(volume, None, logits, None)
        fine_view = project_grid(self.grid, *seen_by)
        surface = sample_surface(cumulative, fine_view)
        fine_context = torch.cat([fine_context, class_logits.softmax(dim=2)], dim=2)
        flat = torch.cat([sample_plane(fine_context, fine_view), *surface], dim=2)
        flat = mean_over_views(flat, fine_view.in_view)
        evidence = as_volume(flat, self.grid.shape, features.dtype)
        return Lifted(volume, evidence, logits, class_logits)


OUTSIDE = -3.0
"""Coordinates of voxels out of view: where ``grid_sample`` neither reads nor has gradients.
Otherwise, nearly half of the voxels would add zeros to the gradients of the same few cells."""


class ProjectedVoxels(NamedTuple):
    """Where the N cameras see V voxels.

    Attributes:
        near: Where the pixel's ray enters the voxel: (u, v, depth), each in [-1, 1] for
            ``grid_sample``, with depth from the first edge of the bins to the last. Coordinates are
            clamped to the centers of the outermost cells; those of voxels out of view are
            ``OUTSIDE``, so all their samples are 0.
        far: Where it leaves the voxel.
        in_view: Voxels whose center lies in the image and in the depth range.
    """

    near: Float[Tensor, "B N V 3"]
    far: Float[Tensor, "B N V 3"]
    in_view: Bool[Tensor, "B N V"]


def project_grid(
    grid: VoxelGrid,
    pixel_from_lidar: Float[Tensor, "B N 4 4"],
    image_size: tuple[int, int],
    feature_size: tuple[int, int],
    bins: DepthBins,
) -> ProjectedVoxels:
    """Project the voxel centers of a grid into every camera.

    Args:
        grid: The V voxels, flattened in the order x, y, z.
        pixel_from_lidar: Projections; float32 or float64 also under autocast.
        image_size: Height and width [px].
        feature_size: Height and width of the features that are sampled [cells].
        bins: Depth bins.
    """
    centers_m = grid.centers_m(pixel_from_lidar.device).reshape(-1, 3).to(pixel_from_lidar.dtype)
    with torch.autocast(pixel_from_lidar.device.type, enabled=False):
        pixels, depth_m = project_points(
            pixel_from_lidar, centers_m.expand(*pixel_from_lidar.shape[:2], -1, -1)
        )
    height, width = image_size
    u, v = pixels[..., 0] / width, pixels[..., 1] / height
    bin_number = bins.coordinate(depth_m)
    in_view = (u >= 0) & (u < 1) & (v >= 0) & (v < 1) & (depth_m > 0)
    in_view = in_view & (bin_number >= 0) & (bin_number < bins.num)

    def sampling_at(share: Tensor, cells: int) -> Tensor:
        last = 1 - 1 / cells
        return (2 * share - 1).clamp(-last, last).where(in_view, OUTSIDE)

    def sampling_of(depth_m: Tensor) -> Tensor:
        edges = bins.num + 1
        return sampling_at((bins.coordinate(depth_m) + 0.5) / edges, edges)

    across, down = sampling_at(u, feature_size[1]), sampling_at(v, feature_size[0])
    half = grid.voxel_m / 2
    near, far = sampling_of(depth_m - half), sampling_of(depth_m + half)
    return ProjectedVoxels(
        torch.stack([across, down, near], dim=-1), torch.stack([across, down, far], dim=-1), in_view
    )


def cumulative_probability(logits: Float[Tensor, "B N D h w"]) -> Float[Tensor, "B N edges h w"]:
    """Probability that a pixel's surface lies in front of each of the D + 1 edges of the bins."""
    summed = logits.softmax(dim=2).cumsum(dim=2)
    return torch.cat([torch.zeros_like(summed[:, :, :1]), summed], dim=2)


def sample_surface(
    cumulative: Float[Tensor, "B N edges h w"], view: ProjectedVoxels
) -> tuple[Float[Tensor, "B N 1 V"], Float[Tensor, "B N 1 V"]]:
    """Probability that the surface lies within a voxel, and that it lies in front of it.

    Args:
        cumulative: Probability of a surface in front of each edge of the bins.
        view: The voxels; both are 0 out of view.
    """
    # One call for both ends, as frames of a batch: a CPU samples only those in parallel.
    ends = torch.cat([view.near, view.far])
    before, behind = sample_frustum(torch.cat([cumulative] * 2), ends).chunk(2)
    return behind - before, before


def sample_frustum(
    values: Float[Tensor, "B N edges h w"], coordinates: Float[Tensor, "B N V 3"]
) -> Float[Tensor, "B N 1 V"]:
    """Trilinear samples of values over pixels and depth; 0 outside."""
    sampled = grid_sample(
        values.flatten(0, 1)[:, None],
        coordinates.flatten(0, 1)[:, None, None],
        align_corners=False,
    )
    return sampled.flatten(2).unflatten(0, values.shape[:2])


def sample_plane(
    features: Float[Tensor, "B N C h w"], view: ProjectedVoxels
) -> Float[Tensor, "B N C V"]:
    """Bilinear samples of image features at the voxels; 0 out of view."""
    sampled = grid_sample(
        features.flatten(0, 1),
        view.near[..., :2].flatten(0, 1)[:, None],
        align_corners=False,
    )
    return sampled.flatten(2).unflatten(0, features.shape[:2])


def mean_over_views(
    values: Float[Tensor, "B N C V"], in_view: Bool[Tensor, "B N V"]
) -> Float[Tensor, "B C V"]:
    """Mean over the cameras that see a voxel; 0 where none does.

    Args:
        values: Values of each camera; 0 out of its view.
        in_view: Voxels that it sees.
    """
    if values.shape[1] == 1:  # The sum over one camera would only copy a volume.
        return values.squeeze(1)
    return values.sum(dim=1) / in_view.sum(dim=1).clamp(min=1)[:, None]


def as_volume(
    flat: Float[Tensor, "B C V"], shape: tuple[int, int, int], dtype: torch.dtype
) -> Float[Tensor, "B C X Y Z"]:
    """A volume in the memory format that convolutions read fastest: channels last.

    The LiDAR volumes have this format already; mixed formats would cost a copy at every layer. The
    same holds for the type: under autocast it is that of the image features and convolutions.
    """
    volume = flat.unflatten(-1, shape)
    return volume.to(dtype, memory_format=torch.channels_last_3d)


def pixel_directions(
    pixel_from_lidar: Float[Tensor, "B N 4 4"],
    image_size: tuple[int, int],
    feature_size: tuple[int, int],
) -> Float[Tensor, "B N 3 h w"]:
    """Unit vectors in the LiDAR frame along the rays of the feature cells' centers.

    They give the depth head what an image does not show: how the camera is mounted, and how the
    image was resized, cropped or flipped.
    """
    rows = pixel_from_lidar[..., :3, :3]
    # The inverse's columns, up to its determinant, are cross products of the matrix's rows.
    columns = [
        torch.linalg.cross(rows[..., i, :], rows[..., j, :]) for i, j in ((1, 2), (2, 0), (0, 1))
    ]
    sign = (rows[..., 0, :] * columns[0]).sum(-1, keepdim=True).sign()
    v, u = (
        (torch.arange(cells, dtype=rows.dtype, device=rows.device) + 0.5) * (pixels / cells)
        for cells, pixels in zip(feature_size, image_size, strict=True)
    )
    along_u, along_v, constant = ((sign * c)[..., None, None] for c in columns)
    directions = along_u * u + along_v * v[:, None] + constant
    return torch.nn.functional.normalize(directions, dim=2)
