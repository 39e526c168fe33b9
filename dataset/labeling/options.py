"""Options of label making, each with its unit and what it does."""

from dataclasses import dataclass, fields
from math import inf

from dataset.layout import LABEL_GRID
from dataset.options import checked_box

REST_CLASSES = ("barrier", "terrain", "unknown")
"""What points can become that are neither labeled nor ground; unknown is ignored."""


@dataclass(frozen=True)
class LabelOptions:
    """How labels are made; together with the recording, they determine every byte.

    Attributes:
        key_every_s: Time between labeled frames [s].
        clip_s: Labeled time of a clip [s]; memory grows with it.
        context_s: Time before and after a clip whose clouds count, too [s]. Poses that drift need a
            short one.
        range_m: Largest range of points that count [m].
        min_range_m: Smallest range [m].
        vehicle_m: Box of your own vehicle around the LiDAR, (x, y, z) from and to [m], in the frame
            of the network; points in it are removed.
        map_voxel_m: Edge of the cells of the static map, which keeps one mean point per cell [m].
        evidence_m: Edge of the voxels that count hits and passes of rays [m].
        rays: Largest number of rays of a cloud that count as evidence of free space.
        ray_margin_m: Evidence of free space ends this far before the point [m].
        min_passes: Clouds whose rays must pass through a voxel for it to be free.
        free_ratio: A free voxel needs more than this many of them per cloud that hit it.
        dust_share: A point is dust if at most this share of the points in its direction are about
            as far away; 0 turns it off.
        remove_movers: Whether to remove points that other rays have passed through.
        mover_passes: Clouds whose rays must have passed before or after for removal.
        mover_ratio: Removal needs this many of them per cloud that hit, in and around the voxel;
            three tenths of it if none passed in between.
        through_ratio: Removal also follows if this many clouds passed at any time per cloud that
            hit: dust and foliage, which most rays pass through.
        silent_m: Directions in which only other clouds have points count as passed this far, for
            removal only [m]; 0 turns it off.
        mover_shadow_m: Free space this far behind moving points is unobserved in their frame [m].
        boundary_m: A voxel with few points, all this close to a fuller neighbor, holds only noise
            of that neighbor's surface and is ignored [m].
        ground_cell_m: Edge of the cells of the ground [m].
        ground_step_m: Largest step between neighboring cells of ground [m].
        driveable_slope: Largest slope of ground that is driveable, rise over run.
        terrain_slope: Largest slope of ground.
        ground_height_m: Points up to this height above the ground belong to it [m].
        fill_m: Largest gap of the ground that is closed [m]; 0 closes none.
        rest: Class of other points without a label: "barrier", "terrain" or "unknown".
        mask_range_m: Largest distance at which 2D masks label points [m].
        depth_splat_px: Window of a point in depth images 1920 pixels wide [px].

    Raises:
        ValueError: If an option is out of range.
    """

    key_every_s: float = 0.5
    clip_s: float = 20.0
    context_s: float = 8.0
    range_m: float = 80.0
    min_range_m: float = 0.5
    vehicle_m: tuple[float, float, float, float, float, float] = (-2.5, 1.0, -1.2, 1.2, -3.0, 0.3)
    map_voxel_m: float = 0.1
    evidence_m: float = 0.3
    rays: int = 30_000
    ray_margin_m: float = 0.3
    min_passes: int = 1
    free_ratio: float = 5.0
    dust_share: float = 0.02
    remove_movers: bool = True
    mover_passes: int = 3
    mover_ratio: float = 1.4
    through_ratio: float = 3.0
    silent_m: float = 40.0
    mover_shadow_m: float = 12.0
    boundary_m: float = 0.05
    ground_cell_m: float = 0.3
    ground_step_m: float = 0.06
    driveable_slope: float = 0.2
    terrain_slope: float = 0.6
    ground_height_m: float = 0.2
    fill_m: float = 0.6
    rest: str = "barrier"
    mask_range_m: float = 30.0
    depth_splat_px: int = 9

    def __post_init__(self) -> None:
        """Validate the ranges."""
        positive = (
            "key_every_s", "clip_s", "range_m", "map_voxel_m", "evidence_m", "rays", "min_passes",
            "mover_passes", "ground_cell_m", "driveable_slope", "terrain_slope", "mask_range_m",
            "depth_splat_px",
        )  # fmt: skip
        for option in fields(self):
            value = getattr(self, option.name)
            if not isinstance(value, int | float) or isinstance(value, bool):
                continue
            if not 0 <= value < inf or (value == 0 and option.name in positive):
                least = "above 0" if option.name in positive else "of at least 0"
                raise ValueError(f"{option.name}: expected a number {least}, got {value}")
        if self.map_voxel_m > LABEL_GRID.voxel_m:
            raise ValueError(
                f"map_voxel_m: expected at most {LABEL_GRID.voxel_m}, the voxel of labels, got "
                f"{self.map_voxel_m}"
            )
        checked_box("vehicle_m", self.vehicle_m)
        if self.rest not in REST_CLASSES:
            raise ValueError(f"rest: expected one of {REST_CLASSES}, got '{self.rest}'")
