"""The check of a whole data set, with its frames in parallel."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from dataset import layout
from dataset.check.consistency import check_copies, check_scenes, common_findings
from dataset.check.findings import Finding, FrameReport
from dataset.check.frame import check_frame
from dataset.check.measures import MEASURES
from dataset.check.motion import check_motion
from dataset.check.pairs import check_pairs
from dataset.check.report import Report
from dataset.check.tree import Tree, check_tree, read_tree
from dataset.splits import scene_of_stem
from utils.labels import UNSCENES3D
from utils.parallel import map_in_processes


def check_dataset(root: str | Path, *, workers: int | None = None, progress: bool = True) -> Report:
    """Check every file of a data set in the UnScenes3D layout, without changing any.

    Args:
        root: Folder with ``images/``, ``clouds/`` and so on.
        workers: Number of processes; None for one per core.
        progress: Whether to show a progress bar.

    Raises:
        FileNotFoundError: If there is no data set at ``root``.
        ValueError: If ``workers`` is not positive.
    """
    root = Path(root)
    tree, findings = read_tree(root)
    findings += check_tree(tree)
    frames = [(stem, tree.folders_of(stem)) for stem in tree.stems]
    found = map_in_processes(
        partial(_check, root), frames, title="check", workers=workers, progress=progress
    )
    reports = {report.stem: report for report in found}
    rules = compare_frames(reports, scene_of_stem(tree.scenes))
    findings += common_findings(reports)
    return _summary(tree, findings, reports, rules)


def compare_frames(
    reports: Mapping[str, FrameReport], scene_of: Mapping[str, str]
) -> dict[str, str]:
    """Add the findings that need more than one file or frame to the reports.

    Args:
        reports: Report of each frame by stem, to extend.
        scene_of: Scene of each frame that is in one.

    Returns:
        The meaning of ``Tr_velo_to_imu`` in each scene that has it.
    """
    rules = check_motion(reports, scene_of)
    check_scenes(reports, scene_of)
    check_pairs(reports.values())
    check_copies(reports)
    _report_other_sizes(reports)
    return rules


def _check(root: Path, frame: tuple[str, tuple[str, ...]]) -> FrameReport:
    stem, folders = frame
    return check_frame(root, stem, folders)


def _report_other_sizes(reports: Mapping[str, FrameReport]) -> None:
    """Warn of images whose size differs from the most common one."""
    sizes = Counter(report.image_size for report in reports.values() if report.image_size)
    if len(sizes) < 2:
        return
    (height, width), _ = sizes.most_common(1)[0]
    for report in reports.values():
        if report.image_size not in (None, (height, width)):
            message = f"the image is not {width}×{height} like most images"
            report.warn("image_size", layout.IMAGES, message)


def _summary(
    tree: Tree,
    findings: list[Finding],
    reports: Mapping[str, FrameReport],
    rules: Mapping[str, str],
) -> Report:
    values = {
        name: [r.measures[name] for r in reports.values() if name in r.measures]
        for name in MEASURES
    }
    sizes = (report.image_size for report in reports.values() if report.image_size)
    voxels = (report.voxels for report in reports.values())
    return Report(
        root=str(tree.root),
        files={folder: len(stems) for folder, stems in tree.files.items()},
        frames=len(tree.stems),
        labeled=len(tree.labeled),
        scenes=len(tree.scenes),
        splits={split: len(stems) for split, stems in tree.splits.items()},
        split_source=tree.source,
        rules=dict(Counter(rules.values())),
        image_sizes=dict(Counter(f"{width}×{height}" for height, width in sizes)),
        voxels=sum(voxels, np.zeros(UNSCENES3D.num_classes, np.int64)),
        measures={name: np.array(found) for name, found in values.items() if found},
        findings=(*findings, *(f for report in reports.values() for f in report.findings)),
    )
