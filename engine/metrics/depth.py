"""Depth errors of many images: the mean over images, then the mean over cameras."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jaxtyping import Float
from mmengine.dist import all_gather_object
from torch import Tensor

from engine.metrics.depth_errors import UNDEFINED, DepthErrors, DepthRule, depth_errors
from engine.metrics.ratios import counted, null_if_nan

_COLUMN = 9
"""Width of a table's columns."""


class DepthImage(NamedTuple):
    """What is kept of an image.

    Attributes:
        errors: Its errors; None where no pixel counts.
        camera: Name of its camera.
        distance_m: Bin of the distance between the poses of prediction and label: whole metres,
            rounded up; None where there is one pose.
    """

    errors: DepthErrors | None
    camera: str
    distance_m: int | None


class DepthMeter:
    """Errors of many images, each kept by name, so that no image counts twice.

    Attributes:
        rule: Which pixels count.
        images: What is kept of each image, by name.
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
        """Add an image; one of the same name is replaced.

        Args:
            name: What tells the image from all others.
            pred: Predicted depth of each pixel, or of each LiDAR point in the image [m].
            target: Labels, as for ``depth_errors``.
            camera: Name of the camera that took it, where there are several.
            distance_m: How far its pose is from that of the prediction's frame.

        Raises:
            ValueError: If the image cannot be scored, or the distance is negative.
        """
        if distance_m is not None and not distance_m >= 0:
            raise ValueError(f"image {name}: a distance cannot be {distance_m}")
        try:
            errors = depth_errors(pred, target, self.rule)
        except ValueError as error:
            raise ValueError(f"image {name}: {error}") from error
        distance = None if distance_m is None else math.ceil(distance_m)
        self.images[name] = DepthImage(errors, camera, distance)

    def merge(self, other: "DepthMeter") -> None:
        """Add another one's images.

        Raises:
            ValueError: If it has another rule.
        """
        if other.rule != self.rule:
            raise ValueError(f"errors by other rules do not add up: {self.rule} and {other.rule}")
        self.images = self.images | other.images

    def all_reduce(self) -> None:
        """Put together the images of all ranks; nothing happens with one process."""
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
        errors: Mean over the cameras that have an image that counts; NaN where none has.
        frames: Number of images that count.
        left_out: Number of images without a pixel that counts.
        cameras: Mean over the images of each camera, where there are several.
    """

    errors: DepthErrors
    frames: int
    left_out: int
    cameras: dict[str, "DepthMean"] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The errors by key; None where undefined."""
        found: dict[str, Any] = {k: null_if_nan(v) for k, v in self.errors._asdict().items()}
        found |= {"frames": self.frames, "left_out": self.left_out}
        if self.cameras:
            found["cameras"] = {name: mean.to_json() for name, mean in self.cameras.items()}
        return found


@dataclass(frozen=True)
class DepthScores:
    """Depth errors of a set of images.

    Attributes:
        total: Over all images.
        by_distance: Over those of each distance bin, where images have one.
        rule: Which pixels count.
    """

    total: DepthMean
    by_distance: dict[int, DepthMean]
    rule: DepthRule

    def to_json(self) -> dict[str, Any]:
        """The errors by key, None where undefined, and the rule."""
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
        """The errors, a row for each distance, camera and the whole, with a caption."""
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
        order = "each image, then over images"
        order += ", then over cameras" if self.total.cameras else ""
        left_out = self.total.left_out
        return [
            f"sq_rel and rmse in metres; a1, a2, a3 as fractions. Mean over {order}: "
            f"{counted(self.total.frames, 'image')}"
            + (f" ({left_out} more without a pixel that counts)." if left_out else "."),
            f"Pixels: {self.rule.summary}.",
        ]


def _average(images: Sequence[DepthImage]) -> DepthMean:
    """Mean over the images of each camera, then over the cameras that have any."""
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
    """Mean over images of one camera."""
    errors = [image.errors for image in images if image.errors is not None]
    return DepthMean(_mean(errors), frames=len(errors), left_out=len(images) - len(errors))


def _mean(rows: Sequence[DepthErrors]) -> DepthErrors:
    """Mean of each error; NaN of nothing."""
    if not rows:
        return UNDEFINED
    return DepthErrors(*(math.fsum(column) / len(rows) for column in zip(*rows, strict=True)))


def _row(name: str, width: int, mean: DepthMean) -> str:
    values = ("-" if math.isnan(value) else f"{value:.4f}" for value in mean.errors)
    return f"{name:<{width}}" + "".join(f"{c:>{_COLUMN}}" for c in (*values, str(mean.frames)))
