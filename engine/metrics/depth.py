"""Depth errors averaged over images, then over cameras."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jaxtyping import Float
from mmengine.dist import all_gather_object
from torch import Tensor

from engine.metrics.depth_errors import UNDEFINED, DepthErrors, DepthRule, depth_errors
from engine.metrics.ratios import null_if_nan, pluralize

_COLUMN = 9
"""Width of a table column."""


class DepthImage(NamedTuple):
    """The scores of one image.

    Attributes:
        errors: Its errors; None without valid pixels.
        camera: Name of its camera.
        distance_m: Distance bin between the poses of prediction and label: meters, rounded up;
            None if both have the same pose.
    """

    errors: DepthErrors | None
    camera: str
    distance_m: int | None


class DepthMeter:
    """Errors of many images, stored by name so that no image counts twice.

    Attributes:
        rule: Which pixels are valid.
        images: Scores of each image by name.
    """

    def __init__(self, rule: DepthRule) -> None:
        """Start without images."""
        self.rule = rule
        self.images: dict[str, DepthImage] = {}

    def update(
        self,
        name: str,
        pred: Float[Tensor, "..."],
        target: Float[Tensor, "..."],
        *,
        camera: str = "",
        distance_m: float | None = None,
    ) -> None:
        """Add an image, replacing any image of the same name.

        Args:
            name: Unique name of the image.
            pred: Predicted depth of each pixel, or of each LiDAR point in the image [m].
            target: Labels, as in ``depth_errors``.
            camera: Name of its camera, if there are several.
            distance_m: Distance of its pose from that of the predicted frame [m].

        Raises:
            ValueError: If the image cannot be scored, or the distance is negative.
        """
        if distance_m is not None and not distance_m >= 0:
            raise ValueError(f"image {name}: distance_m must not be negative, got {distance_m}")
        try:
            errors = depth_errors(pred, target, self.rule)
        except ValueError as error:
            raise ValueError(f"image {name}: {error}") from error
        distance = None if distance_m is None else math.ceil(distance_m)
        self.images[name] = DepthImage(errors, camera, distance)

    def merge(self, other: "DepthMeter") -> None:
        """Add the images of another meter.

        Raises:
            ValueError: If its rule differs.
        """
        if other.rule != self.rule:
            raise ValueError(
                f"cannot merge errors of different rules: {self.rule} and {other.rule}"
            )
        self.images = self.images | other.images

    def all_reduce(self) -> None:
        """Gather the images of all ranks, on every rank; does nothing in a single process."""
        for images in all_gather_object(self.images):
            self.images = self.images | images

    def scores(self) -> "DepthScores":
        """Average over images and cameras."""
        images = list(self.images.values())
        distances = {image.distance_m for image in images if image.distance_m is not None}
        return DepthScores(
            total=_average(images),
            by_distance={
                at: _average([image for image in images if image.distance_m == at])
                for at in sorted(distances)
            },
            rule=self.rule,
        )


@dataclass(frozen=True)
class DepthMean:
    """Errors averaged over images, then over cameras.

    Attributes:
        errors: Mean over the cameras with scored images; NaN if there are none.
        frames: Number of scored images.
        left_out: Number of images without valid pixels.
        cameras: Mean over the images of each camera, if there are several.
    """

    errors: DepthErrors
    frames: int
    left_out: int
    cameras: dict[str, "DepthMean"] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the errors by key; None if undefined."""
        found: dict[str, Any] = {k: null_if_nan(v) for k, v in self.errors._asdict().items()}
        found |= {"frames": self.frames, "left_out": self.left_out}
        if self.cameras:
            found["cameras"] = {name: mean.to_json() for name, mean in self.cameras.items()}
        return found


@dataclass(frozen=True)
class DepthScores:
    """Depth errors of a set of images.

    Attributes:
        total: Errors over all images.
        by_distance: Errors over the images of each distance bin, if they have one.
        rule: Which pixels are valid.
    """

    total: DepthMean
    by_distance: dict[int, DepthMean]
    rule: DepthRule

    def to_json(self) -> dict[str, Any]:
        """Return the errors by key, None if undefined, and the rule."""
        found = self.total.to_json()
        if self.by_distance:
            found["by_distance"] = {
                str(at): mean.to_json() for at, mean in self.by_distance.items()
            }
        return found | {
            "min_depth": self.rule.min_depth_m,
            "max_depth": self.rule.max_depth_m,
            "median_scaling": self.rule.median_scaling,
        }

    def table(self) -> str:
        """Format the errors with a row per distance, per camera and overall, and a caption."""
        rows = [(f"to {at} m", mean) for at, mean in self.by_distance.items()]
        rows += self.total.cameras.items()
        width = max(len(name) for name in ("all", *(name for name, _ in rows)))
        titles = (*DepthErrors._fields, "images")
        rule = "-" * (width + _COLUMN * len(titles))
        lines = [" " * width + "".join(f"{title:>{_COLUMN}}" for title in titles), rule]
        lines += [_row(name, width, mean) for name, mean in rows]
        lines += [rule] if rows else []
        lines += [_row("all", width, self.total), rule]
        return "\n".join([*lines, *self._caption()])

    def _caption(self) -> list[str]:
        order = "the pixels of each image, then over images"
        order += ", then over cameras" if self.total.cameras else ""
        left_out = self.total.left_out
        return [
            f"sq_rel and rmse in meters; a1, a2, a3 as fractions. Mean over {order}: "
            f"{pluralize(self.total.frames, 'image')}"
            + (f" ({left_out} more without valid pixels)." if left_out else "."),
            f"Pixels: {self.rule.summary}.",
        ]


def _average(images: Sequence[DepthImage]) -> DepthMean:
    """Average over the images of each camera, then over the cameras with scored images."""
    cameras = {
        name: _average_images([image for image in images if image.camera == name])
        for name in sorted({image.camera for image in images})
    }
    means = [mean.errors for mean in cameras.values() if mean.frames]
    return DepthMean(
        _mean(means),
        frames=sum(mean.frames for mean in cameras.values()),
        left_out=sum(mean.left_out for mean in cameras.values()),
        cameras=cameras if len(cameras) > 1 else {},
    )


def _average_images(images: Sequence[DepthImage]) -> DepthMean:
    """Average over the images of one camera."""
    errors = [image.errors for image in images if image.errors is not None]
    return DepthMean(_mean(errors), frames=len(errors), left_out=len(images) - len(errors))


def _mean(rows: Sequence[DepthErrors]) -> DepthErrors:
    """Average each error; NaN for no rows."""
    if not rows:
        return UNDEFINED
    return DepthErrors(*(math.fsum(column) / len(rows) for column in zip(*rows, strict=True)))


def _row(name: str, width: int, mean: DepthMean) -> str:
    values = ("-" if math.isnan(value) else f"{value:.4f}" for value in mean.errors)
    return f"{name:<{width}}" + "".join(f"{c:>{_COLUMN}}" for c in (*values, str(mean.frames)))
