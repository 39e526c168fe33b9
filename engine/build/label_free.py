"""What a data set reads for training without labels."""

from typing import Any

from mmengine.config import Config

from model.objective import LabelFreeOptions, LossOptions
from utils.config import plain


def label_free_fields(options: LossOptions) -> tuple[str, ...]:
    """Return the Sample fields that supervise training without labels."""
    given = options.label_free_options
    needed = {
        "lidar_rays": options.uses_rays,
        "video": options.uses_video,
        "masks": given.masks is not None,
        "voxel_classes": given.point_labels is not None,
    }
    return tuple(field for field, is_needed in needed.items() if is_needed)


def label_free_arguments(options: LabelFreeOptions) -> dict[str, Any]:
    """Return the arguments of a data set that say how ``label_free_fields`` are read."""
    found: dict[str, Any] = {
        "num_sources": options.sources,
        "source_spacing_m": options.spacing_m,
        "num_rays": options.rays,
    }
    if options.masks is not None:
        found["mask_folder"] = options.masks
    if options.point_labels is not None:
        found |= {"point_labels": options.point_labels, "point_mapping": options.point_mapping}
    return found


def check_no_labels_needed(cfg: Config, options: LossOptions) -> None:
    """Check that training without labels does not repeat frames by their labels.

    Raises:
        ValueError: If it does.
    """
    if plain(cfg.get("schedule") or {}).get("repeat_threshold"):
        raise ValueError(
            f"schedule.repeat_threshold={cfg.schedule.repeat_threshold} needs labels, and "
            f"model.loss.supervision='{options.supervision}' reads none: set it to 0"
        )
