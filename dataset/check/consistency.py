"""Comparisons between frames: files of another frame, and what all frames have in common."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from dataset import layout
from dataset.check.findings import Finding, FrameReport, Level
from dataset.check.images import BGR, FLIPS, sky_is_blue
from dataset.check.measures import MEASURES
from dataset.splits import frames_by_scene

SAME_PROJECTION = 1e-3
"""Maximum difference of two projections, as a share of the largest entry."""
FEWER = 0.6
"""A frame with less than this share of what its neighbors have is incomplete."""
SIZES = ("points", "voxels", "map_points")
INCOMPLETE = "incomplete"
OTHER_LOOK = 0.7
"""An image that fits its neighbors this much better after a flip is flipped."""
OTHER_SCENE = (0.06, 4.0)
"""Least difference to the neighbors of an image of another scene, 0–1, and as a multiple of the
median."""
LIKE_ALL = 0.45
"""Captions of a scene share more of their words than this, where captions are alike at all."""
ALIKE = 0.6
MIN_FRAMES = 5
"""Number of frames that show what all frames have in common."""
FITS_BETTER = 0.015
"""Gain in R² by a flip that shows that all images are flipped."""
RED_SKY = -0.05
MOVED_M = 0.1
"""Frames farther apart than this cannot have the same content."""
UNIQUE = (layout.IMAGES, layout.CLOUDS, layout.OCCUPANCY, layout.DEPTHS, layout.LOCAL_MAPS)
"""Folders whose files never repeat; flat ground has the same elevation everywhere."""

Look = Callable[[np.ndarray], np.ndarray]
_LOOKS: Mapping[str, Look] = {**FLIPS, BGR: lambda image: image[..., ::-1]}


def check_scenes(reports: Mapping[str, FrameReport], scene_of: Mapping[str, str]) -> None:
    """Compare each frame with the others of its scene.

    Args:
        reports: Reports by stem, to extend.
        scene_of: Scene of each frame; frames without a scene are not compared.
    """
    known = {stem: scene for stem, scene in scene_of.items() if stem in reports}
    scenes = [[reports[stem] for stem in stems] for stems in frames_by_scene(known).values()]
    for frames in scenes:
        _report_other_calibrations(frames)
        _report_incomplete(frames)
    _report_other_images(scenes)
    _report_other_captions(scenes)


def check_copies(reports: Mapping[str, FrameReport]) -> None:
    """Warn of files with the content of another frame's file, unless the vehicle stands still."""
    owners: dict[tuple[str, int], list[str]] = defaultdict(list)
    for stem, report in reports.items():
        wrong = report.blamed(Level.ERROR)
        for folder, checksum in report.checksums.items():
            if folder in UNIQUE and folder not in wrong:
                owners[folder, checksum].append(stem)
    for (folder, _), stems in owners.items():
        for stem in stems:
            other = next((s for s in stems if s != stem), None)
            if other is None or not _has_moved(reports[stem], reports[other]):
                continue
            message = f"the same content as in frame {other}: one of the two is a copy"
            reports[stem].warn("copy", folder, message)


def common_findings(reports: Mapping[str, FrameReport]) -> list[Finding]:
    """Return what is wrong with the images of most frames in the same way."""
    findings = []
    fits = [report.view_fits for report in reports.values() if report.view_fits is not None]
    if len(fits) >= MIN_FRAMES:
        gains = np.median(np.stack(fits), axis=0)
        best = int(gains.argmax())
        if best and gains[best] - gains[0] > FITS_BETTER:
            name = list(FLIPS)[best - 1]
            message = (
                f"most images seem to be {name}: the points explain {100 * gains[0]:.1f} % of "
                f"their colors, and {100 * gains[best]:.1f} % after undoing it. Check the images "
                "and Tr_velo_to_cam"
            )
            findings.append(Finding(Level.WARNING, "images", layout.IMAGES, "", message))
    small = [report.thumbnail for report in reports.values() if report.thumbnail is not None]
    if len(small) >= MIN_FRAMES:
        blue = float(np.median([sky_is_blue(image) for image in small]))
        if blue < RED_SKY:
            message = (
                f"most images seem to be {BGR}: their top is {100 * -blue:.0f} % redder than "
                "their bottom. Write the channels as red, green, blue"
            )
            findings.append(Finding(Level.WARNING, "images", layout.IMAGES, "", message))
    return findings


def _report_other_calibrations(frames: Sequence[FrameReport]) -> None:
    """Warn of cameras that differ from most frames of a scene."""
    placed = [frame for frame in frames if frame.pixel_from_lidar is not None]
    if len(placed) < 3:
        return
    matrices = np.stack([f.pixel_from_lidar for f in placed if f.pixel_from_lidar is not None])
    alike = [
        np.abs(matrices - matrix).max(axis=(1, 2)) <= SAME_PROJECTION * np.abs(matrix).max()
        for matrix in (matrices[0], matrices[len(matrices) // 2], matrices[-1])
    ]
    majority = max(alike, key=np.sum)
    if majority.sum() * 2 <= len(placed):
        return
    for frame, is_alike in zip(placed, majority, strict=True):
        if not is_alike and layout.CALIBS not in frame.blamed():
            message = (
                "P2, R0_rect or Tr_velo_to_cam differs from most frames of the scene. Copy the "
                "calibration of a neighbor, unless the camera moved"
            )
            frame.warn("calibration", layout.CALIBS, message)


def _report_incomplete(frames: Sequence[FrameReport]) -> None:
    """Warn of clouds and labels with much less content than those before and after."""
    for name in SIZES:
        measured = [frame for frame in frames if name in frame.measures]
        for i, frame in enumerate(measured):
            near = [other.measures[name] for other in _nearest(measured, i)]
            value, measure = frame.measures[name], MEASURES[name]
            if len(near) < 2 or measure.folder in frame.blamed() or value >= FEWER * min(near):
                continue
            message = (
                f"{measure.title} {measure.text(value)}, expected about {measure.text(min(near))} "
                "as in its neighbors. Is the file complete?"
            )
            frame.warn(INCOMPLETE, measure.folder, message)


def _report_other_images(scenes: Sequence[Sequence[FrameReport]]) -> None:
    """Warn of images that are flipped, in other colors, or unlike those before and after."""
    closest: list[tuple[FrameReport, float]] = []
    for frames in scenes:
        seen = [frame for frame in frames if frame.thumbnail is not None]
        for i, frame in enumerate(seen):
            near = [f.thumbnail for f in _nearest(seen, i) if f.thumbnail is not None]
            if len(near) < 2 or frame.thumbnail is None or layout.IMAGES in frame.blamed():
                continue
            name = _other_look(frame.thumbnail, near)
            if name:
                message = f"the image seems to be {name}, compared with those before and after"
                frame.warn("other_image", layout.IMAGES, message)
            else:
                closest.append((frame, min(_difference(frame.thumbnail, n) for n in near)))
    if not closest:
        return
    least, factor = OTHER_SCENE
    limit = max(least, factor * float(np.median([difference for _, difference in closest])))
    for frame, difference in closest:
        if difference > limit:
            message = (
                f"the image differs by {100 * difference:.0f} % from those before and after, "
                f"expected at most {100 * limit:.0f} %. Is it of another scene?"
            )
            frame.warn("other_image", layout.IMAGES, message)


def _other_look(
    image: Float32[np.ndarray, "15 24 3"], near: Sequence[Float32[np.ndarray, "15 24 3"]]
) -> str:
    """Return the fault without which an image would fit both neighbors better; "" for none."""
    for name, look in _LOOKS.items():
        ratios = [
            _difference(look(image), other) / max(_difference(image, other), 1e-3) for other in near
        ]
        if max(ratios) < OTHER_LOOK:
            return name
    return ""


def _report_other_captions(scenes: Sequence[Sequence[FrameReport]]) -> None:
    """Warn of captions that share few words with the others of their scene."""
    captioned = [[f for f in frames if f.caption] for frames in scenes]
    words = {
        frame.stem: set(re.findall(r"\w+", (frame.caption or "").lower()))
        for frames in captioned
        for frame in frames
    }
    counts = Counter(word for found in words.values() for word in found)
    weights = {word: np.log(len(words) / count) for word, count in counts.items()}
    shares = [
        (frame, max(_in_common(words[frame.stem], words[f.stem], weights) for f in others))
        for frames in captioned
        for frame in frames
        if (others := [other for other in frames if other is not frame])
    ]
    if not shares or np.median([share for _, share in shares]) < ALIKE:
        return
    for frame, share in shares:
        if share < LIKE_ALL:
            message = (
                f"the caption has {100 * share:.0f} % in common with others of its scene, "
                f"expected at least {100 * LIKE_ALL:.0f} %. Is it of another scene?"
            )
            frame.warn("other_caption", layout.CAPTIONS, message)


def _in_common(words: set[str], others: set[str], weights: Mapping[str, float]) -> float:
    """Return how much two captions have in common; rare words count more."""
    both, one, other = (
        sum(weights[word] for word in group) for group in (words & others, words, others)
    )
    return both / np.sqrt(one * other) if one * other > 0 else 1.0


def _nearest(frames: Sequence[FrameReport], index: int) -> list[FrameReport]:
    """Return the two other frames of a scene that are nearest in order."""
    order = sorted(range(len(frames)), key=lambda i: (abs(i - index), i))
    return [frames[i] for i in order[1:3]]


def _difference(
    image: Float32[np.ndarray, "15 24 3"], other: Float32[np.ndarray, "15 24 3"]
) -> float:
    return float(np.abs(image - other).mean())


def _has_moved(report: FrameReport, other: FrameReport) -> bool:
    """Return whether the vehicle moved between two frames, or may have."""
    pose, other_pose = report.world_from_imu, other.world_from_imu
    if pose is None or other_pose is None:
        return True
    return float(np.linalg.norm(pose[:3, 3] - other_pose[:3, 3])) > MOVED_M
