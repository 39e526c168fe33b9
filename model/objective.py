"""What training minimizes: the names of the loss terms, their weights, and those of the classes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from loss.balance import effective_number_weights
from utils.labels import LabelSet

OCCUPANCY_TERMS = ("cross_entropy", "lovasz_softmax", "sem_scal", "geo_scal")
IMAGE_TERMS = ("image_semantic", "image_lovasz")
BRANCH_TERMS = ("camera_branch", "lidar_branch")
SPLAT_TERMS = ("splat_semantic", "splat_lovasz", "splat_depth")
LABELS, VIDEO, LIDAR, BOTH = "labels", "video", "lidar", "both"
SUPERVISIONS = (LABELS, VIDEO, LIDAR, BOTH)
"""What training can learn from: labels, video, LiDAR rays, or video and LiDAR rays."""
OCCUPIED_THRESHOLDS = {VIDEO: 0.4, LIDAR: 0.5, BOTH: 0.5}
"""P(occupied) from which a voxel is occupied, by supervision without labels. Of true probabilities,
IoU is the largest at IoU / (1 + IoU): 0.3 for the 0.43 of video."""
LABEL_FREE_TERMS = (
    *("lidar_rays", "matched_columns", "unexplained_occupancy"),
    *("mask_classes", "point_classes"),
)
TERMS = (
    *OCCUPANCY_TERMS,
    "depth",
    *IMAGE_TERMS,
    "render_depth",
    "render_semantic",
    "render_alignment",
    "render_color",
    *SPLAT_TERMS,
    "elevation",
    "novel_depth",
    *BRANCH_TERMS,
    "lost_sensor",
    *LABEL_FREE_TERMS,
)
"""All terms: of the logits, the lift, the volumes, the Gaussians, the rest, and without labels."""


@dataclass(frozen=True)
class LabelFreeOptions:
    """What supervises training without labels.

    Attributes:
        sources: Other frames of the scene, nearest in time, labeled or not.
        spacing_m: Least distance that the vehicle moves from one of these frames to the next [m].
        rays: LiDAR rays a frame, of its own sweep and of those frames'.
        pixels: Pixels of each cell of the feature map, and of each image, that are compared.
        proposals: Depths at which they are compared with the other images.
        depths_m: Smallest and largest of those [m].
        occupied_threshold: P(occupied) from which a voxel is predicted as occupied; None: 0.4 with
            video alone, else 0.5.
        masks: Folder in the data root with the class of each pixel, one PNG an image; None: only
            where something is is learned, not what.
        point_labels: Folder with the class of each point, one file a cloud; None: as for masks.
        point_mapping: File of what those classes are; None: they are those of the data set.

    Raises:
        ValueError: If a number is out of its range.
    """

    sources: int = 4
    spacing_m: float = 0.0
    rays: int = 4096
    pixels: int = 2
    proposals: int = 64
    depths_m: tuple[float, float] = (3.0, 80.0)
    occupied_threshold: float | None = None
    masks: str | None = None
    point_labels: str | None = None
    point_mapping: str | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        if min(self.sources, self.rays, self.pixels) < 1:
            raise ValueError(
                "loss.label_free needs positive sources, rays and pixels, got "
                f"{self.sources}, {self.rays} and {self.pixels}"
            )
        if self.point_mapping is not None and self.point_labels is None:
            raise ValueError(
                f"loss.label_free.point_mapping='{self.point_mapping}' says what point labels are: "
                "set point_labels to their folder, too, or leave it out"
            )
        if self.occupied_threshold is not None and not 0 < self.occupied_threshold < 1:
            raise ValueError(
                "loss.label_free needs an occupied_threshold between 0 and 1, or None, got "
                f"{self.occupied_threshold}"
            )
        if self.spacing_m < 0:
            raise ValueError(f"loss.label_free needs spacing_m of at least 0, got {self.spacing_m}")
        near_m, far_m = self.depths_m
        if self.proposals < 3 or not 0 < near_m < far_m:
            raise ValueError(
                "loss.label_free needs at least 3 proposals, and depths_m with 0 < near < far, got "
                f"{self.proposals} and {self.depths_m}"
            )

    @property
    def has_classes(self) -> bool:
        """Whether something says what is where."""
        return self.masks is not None or self.point_labels is not None


@dataclass(frozen=True)
class LossOptions:
    """What training minimizes.

    Attributes:
        weights: Weight of each term by name, of ``TERMS``. Each term that the network computes
            needs one; weights of terms that it does not compute have no effect.
        class_weights: Weight of each class in the cross entropy, free first; None: all alike.
        class_counts: Labeled voxels of each class in a typical frame, free first, which give the
            class weights in the cross entropy of images; None: all alike.
        effective_number_beta: How far those go from all alike (0) to 1 / count (1).
        supervision: What training learns from, of ``SUPERVISIONS``. Without labels, the rendering
            of labels, the branches and sensor dropout have no effect.
        label_free: What that is, for a supervision without labels.

    Raises:
        ValueError: If the supervision is unknown.
    """

    weights: Mapping[str, float]
    class_weights: Sequence[float] | None = None
    class_counts: Sequence[int] | None = None
    effective_number_beta: float = 0.0
    supervision: str = LABELS
    label_free: Annotated[dict, LabelFreeOptions] | None = None

    def __post_init__(self) -> None:
        """Check the supervision."""
        if self.supervision not in SUPERVISIONS:
            raise ValueError(
                f"loss.supervision must be one of {SUPERVISIONS}, got '{self.supervision}'"
            )

    @property
    def uses_video(self) -> bool:
        """Whether video supervises."""
        return self.supervision in (VIDEO, BOTH)

    @property
    def uses_rays(self) -> bool:
        """Whether LiDAR rays supervise."""
        return self.supervision in (LIDAR, BOTH)

    @property
    def occupied_threshold(self) -> float | None:
        """P(occupied) from which a voxel is occupied; None: if its best class is not free."""
        given = self.label_free_options.occupied_threshold
        return OCCUPIED_THRESHOLDS.get(self.supervision) if given is None else given

    @property
    def label_free_options(self) -> LabelFreeOptions:
        """The options of training without labels."""
        return LabelFreeOptions(**(self.label_free or {}))


def label_free_term_names(options: LossOptions, *, has_camera: bool) -> list[str]:
    """Terms of training without labels.

    Args:
        options: What supervises.
        has_camera: Whether the network reads images.
    """
    given = options.label_free_options
    computed = {
        "depth": has_camera,
        "lidar_rays": options.uses_rays,
        "matched_columns": options.uses_video,
        "unexplained_occupancy": options.uses_rays,
        "mask_classes": given.masks is not None,
        "point_classes": given.point_labels is not None,
    }
    return [name for name, is_computed in computed.items() if is_computed]


def volume_term_names(fields: Collection[str]) -> list[str]:
    """Terms of the volumes that a fusion renders.

    Args:
        fields: Names of the fields of ``Fused`` that the fusion gives.
    """
    names = []
    if "camera" in fields or "fused" in fields:
        names.append("render_depth")
    if "lidar" in fields:
        names.append("render_semantic")
    if "camera" in fields and "lidar" in fields:
        names.append("render_alignment")
    if "fused" in fields:
        names.append("render_color")
    return names


def term_weights(weights: Mapping[str, float], computed: Collection[str]) -> dict[str, float]:
    """The weight of each term that a network computes.

    Args:
        weights: Weights by name, as a config gives them.
        computed: Names of the terms that the network computes in training.

    Raises:
        ValueError: If a name is unknown, or a term has no weight.
    """
    unknown = sorted(weights.keys() - set(TERMS))
    if unknown:
        raise ValueError(f"loss.weights has unknown terms {unknown}; the terms are {list(TERMS)}")
    missing = [name for name in computed if name not in weights]
    if missing:
        raise ValueError(
            f"loss.weights lacks {missing}, which this network computes; 0 turns a term off"
        )
    return {name: weights[name] for name in computed}


def class_balance(
    options: LossOptions, labels: LabelSet
) -> tuple[Float[Tensor, "classes"], Float[Tensor, "classes"]]:
    """Class weights in the cross entropy of voxels and in that of images.

    Raises:
        ValueError: If there is not one value for each class.
    """
    number = labels.num_classes
    given = {"class_weights": options.class_weights, "class_counts": options.class_counts}
    for name, values in given.items():
        if values is not None and len(values) != number:
            raise ValueError(
                f"loss.{name} needs one value for each of the {number} classes of {labels.name}, "
                f"free first; got {len(values)}"
            )
    weights = torch.tensor(options.class_weights or [1.0] * number, dtype=torch.float32)
    counts = options.class_counts or [1] * number
    return weights, effective_number_weights(counts, options.effective_number_beta)


def check_finite(terms: Mapping[str, float], stems: Sequence[str]) -> None:
    """Stop on a loss that is NaN or infinite.

    Raises:
        FloatingPointError: If a term is NaN or infinite, naming the terms and the frames.
    """
    if not all(map(isfinite, terms.values())):
        raise FloatingPointError(
            f"the loss is not finite for the frames {list(stems)}: {dict(terms)}. Check these "
            "frames for NaN or infinite values, lower the learning rate, or train in full precision"
        )
