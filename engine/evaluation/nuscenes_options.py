"""Options of ``eval_iou.py`` for the label grids of benchmarks, those of nuScenes as in SelfOcc."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset.nuscenes.labels import BENCHMARKS
from engine.evaluation.nuscenes_grids import SCENE_RANGES_M, EvaluatedGrid, evaluated_grid
from engine.number_options import number, positive
from utils.outputs import output_folder

OCC3D = "occ3d"
DEFAULT = "openoccupancy"
"""The benchmark of nuScenes without ``--occ3d`` and ``--benchmark``, as in SelfOcc."""
WILDOCC = "wildocc"
"""The benchmark of RELLIS-3D."""

_NAMES = (
    "occ3d", "benchmark", "resolution", "scene_size", "use_mask", "thresh", "save_sem",
)  # fmt: skip


@dataclass(frozen=True)
class BenchmarkOptions:
    """How to score on a benchmark.

    Attributes:
        evaluated: The evaluated grid.
        use_mask: Whether to score only the voxels seen by a camera.
        ray_iou: Whether to compute RayIoU, too.
        occupied_threshold: Minimum probability of not being free for an occupied voxel; None: a
            voxel is occupied if its best class is not free.
        save_sem: Output folder for predictions, ``SCENE/TOKEN/labels.npz``; None writes nothing.
    """

    evaluated: EvaluatedGrid
    use_mask: bool = False
    ray_iou: bool = False
    occupied_threshold: float | None = None
    save_sem: Path | None = None

    def __post_init__(self) -> None:
        """Check that the options are compatible."""
        source = self.evaluated.source
        if self.use_mask and not source.has_masks:
            raise ValueError(f"--use-mask needs the camera masks of Occ3D, which {source.name} "
                "lacks: add --occ3d, or remove --use-mask")  # fmt: skip
        if self.ray_iou and not (source.name == OCC3D and self.evaluated.is_native):
            raise ValueError("--ray-iou is defined on the grid of Occ3D only: add --occ3d, and "
                "remove --resolution and --scene-size (or set them to 0.4 and 4)")  # fmt: skip
        if self.occupied_threshold is not None and not 0 < self.occupied_threshold < 1:
            raise ValueError(f"--thresh must be between 0 and 1, got {self.occupied_threshold:g}")


def add_nuscenes_options(parser: argparse.ArgumentParser) -> None:
    """Add the options, and ``--ray-iou``; those not given are None or False."""
    parser.add_argument("--ray-iou", action="store_true", help="compute RayIoU, too; on nuScenes "
        "only with the labels of Occ3D")  # fmt: skip
    parser.add_argument("--benchmark", choices=sorted((*BENCHMARKS, WILDOCC)),
        help="labels to score against; on nuScenes "
        f"(default: {DEFAULT}) and, with {WILDOCC}, on RELLIS-3D")  # fmt: skip
    add = parser.add_argument_group("nuScenes only").add_argument
    add("--occ3d", action="store_true", help="same as --benchmark occ3d")
    add("--resolution", type=positive, metavar="M",
        help="voxel size to score at [m], a multiple of "
        "that of the labels (default: that of the labels)")  # fmt: skip
    add("--scene-size", type=int, choices=range(len(SCENE_RANGES_M)), help="number of the "
        "range to score, see docs/conventions.md (default: the range of the labels)")  # fmt: skip
    add("--use-mask", action="store_true", help="score only voxels seen by a camera; "
        "Occ3D only")  # fmt: skip
    add("--thresh", type=number(0, 1, is_open=True), metavar="P",
        help="a voxel is occupied if it is not free with at "
        "least this probability (default: if its most likely class is not free)")  # fmt: skip
    add("--save-sem", type=output_folder, metavar="DIR", help="write each prediction to "
        "DIR/SCENE/TOKEN/labels.npz with Occ3D's class ids")  # fmt: skip


def benchmark_options(args: argparse.Namespace) -> BenchmarkOptions:
    """Read the options from the command line.

    Raises:
        ValueError: If options contradict each other, or the grid is invalid.
    """
    if args.occ3d and args.benchmark not in (None, OCC3D):
        raise ValueError(f"--occ3d and --benchmark {args.benchmark} are mutually exclusive")
    name = args.benchmark or (OCC3D if args.occ3d else DEFAULT)
    if name == WILDOCC:
        raise ValueError(f"--benchmark {WILDOCC} is for RELLIS-3D: choose one of nuScenes, "
            f"{sorted(BENCHMARKS)}")  # fmt: skip
    return BenchmarkOptions(
        evaluated_grid(name, args.resolution, args.scene_size),
        use_mask=args.use_mask,
        ray_iou=args.ray_iou,
        occupied_threshold=args.thresh,
        save_sem=args.save_sem,
    )


def reject_nuscenes_options(
    args: argparse.Namespace, kind: str, allowed: Sequence[str] = ()
) -> None:
    """Reject the options for a config of another data set.

    Args:
        args: The command line.
        kind: The data set.
        allowed: Names of options that it has, too.

    Raises:
        ValueError: If one of the others is given.
    """
    names = [name for name in _NAMES if name not in allowed]
    given = [name for name in names if getattr(args, name) not in (None, False)]
    if given:
        flags = ", ".join("--" + name.replace("_", "-") for name in given)
        raise ValueError(
            f"{flags}: only for nuScenes; {kind} is scored on the grid of the config: remove them"
        )
