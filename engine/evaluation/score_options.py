"""Options of ``tools/score.py``, and the tasks they describe."""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dataset.layout import BACKGROUND, LABEL_GRID
from dataset.nuscenes.labels import benchmark
from dataset.occupancy_files import GridForm
from engine.evaluation.folders import GridTask, RayTask
from engine.metrics.depth_errors import SCALINGS, DepthRule
from engine.metrics.occupancy import CONVENTIONS
from engine.number_options import count, number, positive, whole_number
from utils.geometry import VoxelGrid
from utils.labels import FREE, IGNORE, NUSCENES, UNSCENES3D, LabelSet
from utils.outputs import output_file

OCC3D_GRID = benchmark("occ3d").grid
OCC3D = LabelSet(
    "occ3d",
    ("others", *NUSCENES.class_names[1:-1], "free"),
    (NUSCENES.colors[-1], *NUSCENES.colors[1:-1], NUSCENES.colors[0]),
)
"""nuScenes' classes in the order of Occ3D's label ids."""

LAYOUTS = ("unscenes3d", "occ3d")
METRICS = ("occupancy", "rayiou")
OF_GRIDS = (
    "metrics", "layout", "num_classes", "free_label", "ignore_label", "grid", "coarsen", "mask",
    "origins", "voxel_m", "corner_m", "convention",
)  # fmt: skip
OF_DEPTH = ("min_depth", "max_depth", "median_scaling")
OF_RAYS = ("origins", "voxel_m", "corner_m")

logger = logging.getLogger(__name__)


def build_parser(description: str) -> argparse.ArgumentParser:
    """Build the parser; options of a single task are None if not given."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--task",
        choices=("occupancy", "depth"),
        default="occupancy",
        help="what to score (default: occupancy)",
    )
    add("--pred", type=Path, required=True, metavar="DIR", help="folder of predictions")
    add("--gt", type=Path, required=True, metavar="DIR", help="folder of labels")
    add("--json", type=output_file, required=True, metavar="FILE",
        help="write the scores to FILE")  # fmt: skip
    add(
        "--stems",
        type=Path,
        metavar="FILE",
        help="score the frames listed in FILE, one stem per line (default: all; both folders must "
        "then hold the same frames)",
    )
    _add_grid_options(parser.add_argument_group("occupancy"))
    _add_ray_options(parser.add_argument_group("RayIoU"))
    low, high = DepthRule().min_depth_m, DepthRule().max_depth_m
    add = parser.add_argument_group("depth").add_argument
    add(
        "--min-depth",
        type=positive,
        metavar="M",
        help=f"score labels beyond this depth [m] (default: {low:g})",
    )
    add(
        "--max-depth",
        type=positive,
        metavar="M",
        help=f"score labels below this depth [m] (default: {high:g})",
    )
    add(
        "--median-scaling",
        choices=SCALINGS,
        help="scale each prediction to the median of its label; of an even number of values, numpy "
        "takes the mean of the middle two, torch the lower one (default: none)",
    )
    return parser


def _add_grid_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--metrics", choices=METRICS, nargs="+", help="occupancy, IoU and mIoU; "
        "rayiou, RayIoU (default: occupancy)")  # fmt: skip
    add("--convention", choices=list(CONVENTIONS), help="how absent classes "
        "count in the means (default: default)")  # fmt: skip
    add(
        "--layout",
        choices=LAYOUTS,
        help="classes, grid and sparse rows of a data set (default: unscenes3d; with rayiou: "
        "occ3d)",
    )
    add("--num-classes", type=whole_number(2), metavar="N", help="use classes 0 … N-1 instead, "
        "including free")  # fmt: skip
    add(
        "--free-label",
        type=whole_number(0),
        metavar="F",
        help="with --num-classes: label of free voxels",
    )
    add("--ignore-label", type=whole_number(0), metavar="I", help="with --num-classes: label of "
        "ignored voxels (default: 255)")  # fmt: skip
    add(
        "--grid",
        type=count,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="grid size of frames that are sparse in both folders (default: from the layout)",
    )
    add(
        "--coarsen",
        type=count,
        metavar="K",
        help="coarsen the labels by K to match coarser predictions, by majority vote of labeled "
        "voxels, as in training (default: 1)",
    )
    add(
        "--mask",
        type=Path,
        metavar="DIR",
        help="folder of masks STEM.npy, bool or 0 and 1: only voxels in the mask count for IoU and "
        "mIoU; RayIoU ignores it",
    )


def _add_ray_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--origins",
        type=Path,
        metavar="FILE.npy",
        help="ray origins of all frames, (M, 3), x, y, z [m] in the frame of the grid; or a folder "
        "with STEM.npy per frame",
    )
    add("--voxel-m", type=positive, metavar="M", help="voxel size [m] (default: from the layout)")
    add(
        "--corner-m",
        type=number(),
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="lower corner of voxel (0, 0, 0) [m] (default: from the layout)",
    )


def task_of(args: argparse.Namespace) -> GridTask:
    """Read what to score in label grids, and how, from the command line.

    Raises:
        ValueError: If options contradict each other or a number is out of range.
    """
    _reject(args, OF_DEPTH, "--task depth")
    metrics = args.metrics or ["occupancy"]
    shape = None if args.grid is None else tuple(args.grid)
    _check_label_options(args)
    if args.num_classes is None:
        layout = args.layout or ("occ3d" if "rayiou" in metrics else "unscenes3d")
        found = _labels_of_layout(layout, shape)
    else:
        found = _numbered_labels_of(args, shape)
    labels, form, free_label, ignore_label = found
    if args.coarsen is not None:
        if (free_label, ignore_label) != (FREE, IGNORE):
            raise ValueError(
                f"--coarsen needs the labels {FREE} for free and {IGNORE} for ignored voxels, got "
                f"{free_label} and {ignore_label}"
            )
        form = replace(form, coarsening=args.coarsen)
    return GridTask(
        labels=labels,
        form=form,
        free_label=free_label,
        ignore_label=ignore_label,
        convention=args.convention or "default",
        voxels="occupancy" in metrics,
        masks=_mask_of(args, metrics),
        rays=_rays_of(args, metrics, LABEL_GRID if labels is UNSCENES3D else OCC3D_GRID),
    )


class _Labels(NamedTuple):
    """Meaning of the values in label grids.

    Attributes:
        labels: The classes.
        form: How to turn sparse rows into grids.
        free_label: Label of free voxels.
        ignore_label: Label of voxels that are not scored.
    """

    labels: LabelSet
    form: GridForm
    free_label: int = FREE
    ignore_label: int = IGNORE


def _labels_of_layout(layout: str, shape: tuple[int, int, int] | None) -> _Labels:
    """Return the labels of a known layout."""
    if layout == "occ3d":
        free_label = OCC3D.index("free")
        return _Labels(OCC3D, GridForm(shape or OCC3D_GRID.shape, free_label), free_label)
    form = GridForm(shape or LABEL_GRID.shape, FREE, {BACKGROUND: IGNORE})
    return _Labels(UNSCENES3D, form)


def _numbered_labels_of(args: argparse.Namespace, shape: tuple[int, int, int] | None) -> _Labels:
    """Return the labels given by --num-classes, --free-label and --ignore-label."""
    ignore_label = IGNORE if args.ignore_label is None else args.ignore_label
    if ignore_label == args.free_label:
        raise ValueError(f"--free-label and --ignore-label must differ, both are {ignore_label}")
    form = GridForm(shape, args.free_label)
    return _Labels(numbered_labels(args.num_classes), form, args.free_label, ignore_label)


def _check_label_options(args: argparse.Namespace) -> None:
    """Reject label options that contradict each other or are out of range."""
    if args.num_classes is None:
        if args.free_label is not None or args.ignore_label is not None:
            raise ValueError("--free-label and --ignore-label need --num-classes")
        return
    if args.layout is not None:
        raise ValueError("--layout and --num-classes are mutually exclusive")
    if args.free_label is None:
        raise ValueError("--num-classes needs --free-label")
    if not 0 <= args.free_label < args.num_classes:
        raise ValueError(f"--free-label must be 0–{args.num_classes - 1}, got {args.free_label}")


def numbered_labels(num_classes: int) -> LabelSet:
    """Return a label set with numbers for class names and without a long tail."""
    names = tuple(str(label) for label in range(num_classes))
    return LabelSet("numbered", names, colors=((128, 128, 128),) * num_classes)


def _mask_of(args: argparse.Namespace, metrics: Sequence[str]) -> Path | None:
    if args.mask is not None and "rayiou" in metrics:
        logger.info("--mask applies to IoU and mIoU only: RayIoU has no mask")
    return args.mask


def _rays_of(args: argparse.Namespace, metrics: Sequence[str], grid: VoxelGrid) -> RayTask | None:
    """Return how to compute RayIoU; ``grid`` is the default voxel grid."""
    if "rayiou" not in metrics:
        _reject(args, OF_RAYS, "--metrics rayiou")
        return None
    if args.origins is None:
        raise ValueError("--metrics rayiou needs --origins, the origins of the rays")
    if not args.origins.exists():
        raise FileNotFoundError(f"--origins {args.origins} not found")
    if (args.voxel_m is None) != (args.corner_m is None):
        raise ValueError("--voxel-m and --corner-m must be given together")
    if args.voxel_m is None:
        return RayTask(args.origins, grid)
    x, y, z = args.corner_m
    return RayTask(args.origins, VoxelGrid((x, y, z), args.voxel_m, grid.shape), any_shape=True)


def rule_of(args: argparse.Namespace) -> DepthRule:
    """Read which pixels of depth maps are valid from the command line.

    Raises:
        ValueError: If an option belongs to another task or a number is out of range.
    """
    _reject(args, OF_GRIDS, "--task occupancy")
    default = DepthRule()
    return DepthRule(
        default.min_depth_m if args.min_depth is None else args.min_depth,
        default.max_depth_m if args.max_depth is None else args.max_depth,
        args.median_scaling or default.median_scaling,
    )


def _reject(args: argparse.Namespace, names: Sequence[str], owner: str) -> None:
    """Reject options that would have no effect."""
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name) is not None]
    if given:
        raise ValueError(f"{', '.join(given)} can only be used with {owner}")
