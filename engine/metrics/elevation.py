"""Errors of elevation maps, of one map and averaged over maps.

Relative errors and ratios need a positive quantity. They use the quantity of the label files in
meters: 1.0 − z, the depth of the ground below a level 1 m above the LiDAR. For a sensor 2.6 m
above the ground this is 3.6 m, so an abs_rel of 0.01 means 3.6 cm, and less for a lower sensor.
Relative errors are therefore not comparable across vehicles; errors in centimeters are.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Float
from mmengine.dist import all_gather_object
from torch import Tensor

from dataset import layout
from engine.metrics.depth_errors import DepthRule, depth_errors
from engine.metrics.ratios import null_if_nan, pluralize

WITHIN_CM = (2, 5, 10)
"""Largest errors at which a cell counts as correct."""
RULE = DepthRule(min_depth_m=0.5 / layout.ELEVATION_UNITS_PER_M, max_depth_m=120.0)
"""The full range of the labels; predictions of 1 m and above are clamped to just below it."""
_COLUMN = 9


class ElevationErrors(NamedTuple):
    """Errors of a map, or their means; the first seven are those of ``DepthErrors`` for 1.0 − z.

    Attributes:
        abs_rel: Mean of abs(gt - p) / gt.
        sq_rel: Mean of (gt - p)² / gt [m].
        rmse: Root of the mean of (gt - p)² [m].
        rmse_log: Root of the mean of (ln gt - ln p)².
        a1: Share of cells with max(gt / p, p / gt) < 1.25.
        a2: The same for 1.25².
        a3: The same for 1.25³.
        mae_cm: Mean absolute error of the height [cm].
        within_2_cm: Share of cells whose height error is at most 2 cm.
        within_5_cm: The same for 5 cm.
        within_10_cm: The same for 10 cm.
    """

    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    a1: float
    a2: float
    a3: float
    mae_cm: float
    within_2_cm: float
    within_5_cm: float
    within_10_cm: float


def elevation_errors(
    pred_m: Float[Tensor, "rows cols"], target_m: Float[Tensor, "rows cols"]
) -> ElevationErrors | None:
    """Compute the errors of one map.

    Args:
        pred_m: Predicted heights in the LiDAR frame [m].
        target_m: Labels [m], on any device; NaN where unknown.

    Returns:
        The errors, or None if no cell is labeled.

    Raises:
        ValueError: If the shapes differ, or the prediction is NaN at a labeled cell.
    """
    pred, target = pred_m.double(), target_m.double().to(pred_m.device)
    relative = depth_errors(layout.ELEVATION_TOP_M - pred, layout.ELEVATION_TOP_M - target, RULE)
    if relative is None:
        return None
    error_cm = 100 * (pred - target)[~target.isnan()].abs()
    within = [float((error_cm <= limit).double().mean()) for limit in WITHIN_CM]
    return ElevationErrors(*relative, float(error_cm.mean()), *within)


class ElevationMeter:
    """Errors of many maps, stored by name so that no map counts twice.

    Attributes:
        maps: Errors of each map by name; None for an unlabeled map.
    """

    def __init__(self) -> None:
        """Start without maps."""
        self.maps: dict[str, ElevationErrors | None] = {}

    def update(
        self,
        name: str,
        pred_m: Float[Tensor, "rows cols"],
        target_m: Float[Tensor, "rows cols"],
    ) -> ElevationErrors | None:
        """Add a map, replacing any map of the same name.

        Args:
            name: Unique name of the map.
            pred_m: As in ``elevation_errors``.
            target_m: As in ``elevation_errors``.

        Returns:
            Its errors.

        Raises:
            ValueError: If the map cannot be scored.
        """
        try:
            self.maps[name] = elevation_errors(pred_m, target_m)
        except ValueError as error:
            raise ValueError(f"frame {name}: {error}") from error
        return self.maps[name]

    def all_reduce(self) -> None:
        """Gather the maps of all ranks, on every rank; does nothing in a single process."""
        for maps in all_gather_object(self.maps):
            self.maps = self.maps | maps

    def scores(self) -> "ElevationScores":
        """Average over the maps."""
        return average(self.maps)


def average(maps: Mapping[str, ElevationErrors | None]) -> "ElevationScores":
    """Average the errors of maps; NaN without labeled maps."""
    rows = [errors for errors in maps.values() if errors is not None]
    columns = zip(*rows, strict=True) if rows else [(math.nan,)] * len(ElevationErrors._fields)
    means = ElevationErrors(*(math.fsum(column) / max(len(rows), 1) for column in columns))
    return ElevationScores(means, frames=len(rows), left_out=len(maps) - len(rows))


@dataclass(frozen=True)
class ElevationScores:
    """Errors averaged over maps.

    Attributes:
        errors: The means.
        frames: Number of scored maps.
        left_out: Number of unlabeled maps.
    """

    errors: ElevationErrors
    frames: int
    left_out: int

    def to_json(self) -> dict[str, Any]:
        """Return the errors by key; None if undefined."""
        found: dict[str, Any] = {k: null_if_nan(v) for k, v in self.errors._asdict().items()}
        return found | {"frames": self.frames, "left_out": self.left_out}

    def table(self) -> str:
        """Format the errors in one row, with a caption."""
        titles = [*ElevationErrors._fields[:7], "MAE cm", *(f"≤ {n} cm" for n in WITHIN_CM)]
        values = ["-" if math.isnan(v) else f"{v:.4f}" for v in self.errors]
        lines = ["".join(f"{cell:>{_COLUMN}}" for cell in row) for row in (titles, values)]
        rule = "-" * _COLUMN * len(titles)
        left_out = f" ({self.left_out} more without labels)" if self.left_out else ""
        caption = (
            "abs_rel to a3: errors of 1.0 − z, the quantity of the label files, sq_rel and rmse in "
            "meters; the others: errors of the height.\n"
            f"Mean over the labeled cells of each map, then over {pluralize(self.frames, 'map')}"
            f"{left_out}."
        )
        return "\n".join([lines[0], rule, lines[1], rule, caption])
