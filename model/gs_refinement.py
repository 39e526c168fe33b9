"""GSRefinement: Gaussians at the most occupied voxels, whose renderings supervise the network.

Classes are less imbalanced in an image than in a volume: a person of a few voxels covers a patch of
pixels. The Gaussians take their opacity and classes from the logits, so a loss on the rendered
images reaches the occupancy head. Their shape comes from the decoded features. All of this runs in
training only.

What is rendered and how it is supervised follow the paper; how the Gaussians are placed is ours.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from model.render.splat import Gaussians
from utils.geometry import VoxelGrid, as_array, project_points
from utils.labels import FREE
from utils.registry import MODELS

MARGIN = 0.1
"""Voxels up to this share of the image outside its border still count as in view."""
SCALE = 0.4
"""Standard deviation of an untrained Gaussian, in voxels: neighbors form a closed surface."""
SCALE_RANGE = 3.0
"""Largest factor by which training can widen or narrow it."""


@MODELS.register_module()
class GSRefinement(nn.Module):
    """Turns occupied voxels into Gaussians.

    Args:
        in_channels: Channels of the decoded volume.
        grid: The label grid, where the logits lie.
        coarsening: Label voxels per voxel of the decoded volume along each axis.
        num_gaussians: Gaussians a frame; all voxels, where the grid has fewer.
        hidden_channels: Channels between features and shape.

    Raises:
        ValueError: If there are no Gaussians.
    """

    def __init__(
        self,
        in_channels: int,
        grid: VoxelGrid,
        coarsening: int,
        num_gaussians: int,
        hidden_channels: int = 64,
    ) -> None:
        super().__init__()
        if num_gaussians < 1:
            raise ValueError(f"num_gaussians must be positive, got {num_gaussians}")
        self.grid, self.coarsening, self.num_gaussians = grid, coarsening, num_gaussians
        last = nn.Linear(hidden_channels, 3 + 3 + 4)
        # Untrained Gaussians are balls at the voxels' centers.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.form = nn.Sequential(
            nn.Linear(in_channels, hidden_channels), nn.ReLU(inplace=True), last
        )

    def forward(
        self,
        decoded: Float[Tensor, "B C x y z"],
        logits: Float[Tensor, "B classes X Y Z"],
        pixel_from_lidar: Float[Tensor, "B N 4 4"],
        image_size: tuple[int, int],
        *,
        num_gaussians: int | None = None,
    ) -> Gaussians:
        """The Gaussians of the most occupied voxels that any of the cameras can see.

        Args:
            decoded: Features that determine the Gaussians' shape.
            logits: Class scores; 1 − P(free) is a Gaussian's opacity, and the shares of the other
                classes in it are its features.
            pixel_from_lidar: Projections into the images to render.
            image_size: Height and width of those [px].
            num_gaussians: Gaussians a frame; None: as many as in training.
        """
        count = self.num_gaussians if num_gaussians is None else num_gaussians
        voxels = self.choose(logits.detach(), pixel_from_lidar, image_size, count)  # (B, G)
        scores = gather(logits.flatten(2), voxels).float()  # (B, G, classes)
        probabilities = scores.softmax(dim=-1)
        form = self.form(gather(decoded.flatten(2), self.decoded_voxel(voxels)).float())
        offset, scale, turn = form.split((3, 3, 4), dim=-1)
        centers_m = self.grid.centers_m(logits.device).reshape(-1, 3)[voxels]
        size = self.grid.voxel_m
        return Gaussians(
            means_m=centers_m + 0.5 * size * offset.tanh(),
            scales_m=SCALE * size * SCALE_RANGE ** scale.tanh(),
            rotations=turn + as_array((1.0, 0.0, 0.0, 0.0), turn),
            opacities=1.0 - probabilities[..., FREE],
            features=scores[..., FREE + 1 :].softmax(dim=-1),
        )

    @torch.no_grad()
    def choose(
        self,
        logits: Float[Tensor, "B classes X Y Z"],
        pixel_from_lidar: Float[Tensor, "B N 4 4"],
        image_size: tuple[int, int],
        count: int,
    ) -> Int64[Tensor, "B G"]:
        """Flat indices of the ``count`` voxels in view that are most likely occupied."""
        others = logits[:, FREE + 1 :]  # Free is the first.
        occupied = others.logsumexp(dim=1) - logits[:, FREE]  # log odds, (B, X, Y, Z)
        in_view = is_in_view(self.grid, pixel_from_lidar, image_size)
        score = occupied.flatten(1).masked_fill(~in_view, -torch.inf)
        return score.topk(min(count, score.shape[1]), dim=1, sorted=False).indices

    def decoded_voxel(self, voxels: Int64[Tensor, "B G"]) -> Int64[Tensor, "B G"]:
        """Flat index of the decoded voxel that contains a label voxel."""
        _, height, depth = self.grid.shape
        x, y, z = (
            part // self.coarsening
            for part in (voxels // (height * depth), voxels // depth % height, voxels % depth)
        )
        _, height, depth = self.grid.coarsen(self.coarsening).shape
        return (x * height + y) * depth + z


def is_in_view(
    grid: VoxelGrid, pixel_from_lidar: Float[Tensor, "B N 4 4"], image_size: tuple[int, int]
) -> Tensor:
    """Voxels whose center lies in one of the images, or just outside; (B, X·Y·Z)."""
    centers_m = grid.centers_m(pixel_from_lidar.device).reshape(-1, 3)
    pixels, depth_m = project_points(
        pixel_from_lidar, centers_m.expand(*pixel_from_lidar.shape[:2], -1, -1)
    )
    height, width = image_size
    share = pixels / as_array((width, height), pixels)
    inside = ((share > -MARGIN) & (share < 1 + MARGIN)).all(-1) & (depth_m > 0)
    return inside.any(dim=1)


def gather(values: Float[Tensor, "B C V"], voxels: Int64[Tensor, "B G"]) -> Tensor:
    """Values at flat voxel indices, (B, G, C)."""
    return values.gather(2, voxels[:, None].expand(-1, values.shape[1], -1)).mT
