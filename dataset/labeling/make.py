"""Labels recordings clip by clip, in parallel and resumable, and writes the UnScenes3D layout.

A note in ``.labels/`` marks each finished clip. Its frames are written whole, and the lists of
scenes and splits follow once all clips are done, by whichever process finishes the last one.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float64

from dataset import layout
from dataset.calibration import split_projection
from dataset.class_mapping import ClassMapping, read_mapping
from dataset.file_content import read_json
from dataset.formats import open_image
from dataset.labeling.clip_map import build_clip_map
from dataset.labeling.drive import Clip, Drive, cut_clips, read_drive
from dataset.labeling.frame_labels import FrameLabels, View, label_frame
from dataset.labeling.options import LabelOptions
from dataset.labeling.sweeps import SweepReader, sources_of
from dataset.layout_files import PNG_OPTIONS, calibration_text, vehicle_text, write_encoded
from dataset.occupancy_files import write_archive, write_array
from dataset.splits import SPLITS
from utils.folder_lock import locked
from utils.labels import FREE, IGNORE, UNSCENES3D
from utils.parallel import map_in_processes
from utils.whole_files import write_json, write_whole

INFO_FILE = "labels.json"
VERSION = 3
"""Version of the labels; increase it whenever a recording gives other bytes."""
_WORK = ".labels"
_PLAN = "plan.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelJob:
    """Recordings to label.

    Attributes:
        recordings: Folders of the recordings of each split.
        out: Folder of the data set.
        options: How labels are made.
        camera: Name of the camera to use, if the recordings have several.
        mapping: Classes of point labels, boxes and masks; needed if a recording has any.
    """

    recordings: Mapping[str, Sequence[Path]]
    out: Path
    options: LabelOptions = field(default_factory=LabelOptions)
    camera: str | None = None
    mapping: Path | None = None


@dataclass(frozen=True)
class _Task:
    """One clip of a drive, and its note."""

    job: LabelJob
    drive: Drive
    clip: Clip
    note: Path


def make_labels(
    job: LabelJob,
    *,
    workers: int | None = None,
    shard: tuple[int, int] = (0, 1),
    progress: bool = True,
) -> int:
    """Label the recordings, or resume doing so.

    Args:
        job: What to label.
        workers: Number of processes; None for one per core. The files do not depend on it.
        shard: Index and number of the processes that share this job, on one or several machines.
        progress: Whether to show a progress bar.

    Returns:
        The number of clips that are still left to other shards.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a recording cannot be labeled, or the folder holds something else.
    """
    index, number = shard
    work = job.out / _WORK
    with locked(work / f"shard_{index}_of_{number}"):
        _check_plan(job)
        tasks, scenes = _plan(job)
        own = [task for task in tasks[index::number] if not task.note.is_file()]
        if own and len(own) < len(tasks[index::number]):
            logger.info("resumed: %d of %d clips are left", len(own), len(tasks[index::number]))
        results = map_in_processes(
            label_clip, own, title="label", workers=workers, progress=progress, chunk_size=1
        )
        for _ in results:
            pass
        left = sum(not task.note.is_file() for task in tasks)
        if not left:
            _finish(job, tasks, scenes)
    return left


def label_clip(task: _Task) -> None:
    """Label one clip and write its files."""
    job, drive, clip = task.job, task.drive, task.clip
    reader = SweepReader(drive, job.options, _mapping(job))
    clip_map = build_clip_map(reader, clip.context, job.options)
    motion = _motion(drive)
    view = None
    if drive.pixel_from_lidar is not None:
        size = open_image(drive.images[drive.stems[clip.frames[0]]]).size
        view = View(drive.pixel_from_lidar, size)
    voxels = np.zeros(256, np.int64)
    pseudo = []
    for frame in clip.frames:
        stem = drive.stems[frame]
        if frame in clip.keys:
            pose = drive.world_from_lidar[frame]
            labels = label_frame(clip_map, reader.read(frame), pose, view)
            _write_labels(job.out, stem, labels)
            voxels += np.bincount(labels.occupancy.reshape(-1), minlength=256)
            pseudo.append(labels.pseudo_share)
        _write_recording(job.out, drive, frame, motion)
    note = {
        "samples": [drive.stems[frame] for frame in clip.keys],
        "sweeps": [drive.stems[frame] for frame in clip.frames if frame not in clip.keys],
        "voxels": voxels.tolist(),
        "pseudo": pseudo,
    }
    write_json(note, task.note)


def _plan(job: LabelJob) -> tuple[list[_Task], list[dict[str, Any]]]:
    """Return the clips of all recordings, and split, recording and clips of each scene."""
    tasks: list[_Task] = []
    scenes: list[dict[str, Any]] = []
    owner: dict[str, Path] = {}
    for split, recording in _all_recordings(job):
        drive = read_drive(recording, job.camera)
        sources = sources_of(recording)
        if sources and job.mapping is None:
            raise ValueError(
                f"{recording}: expected a file that says what the classes of its "
                f"{' and '.join(sources)} mean, found none: state it with --mapping"
            )
        for stem in drive.stems:
            if stem in owner:
                raise ValueError(
                    f"{recording}: expected stems that no other recording has, found {stem} in "
                    f"{owner[stem]}, too: label them into different folders"
                )
            owner[stem] = recording
        last = -1
        for clip in cut_clips(drive, job.options):
            if clip.scene != last:
                scenes.append({"split": split, "recording": recording.name, "tasks": []})
                last = clip.scene
            note = job.out / _WORK / f"clip_{len(tasks):05d}.json"
            scenes[-1]["tasks"].append(len(tasks))
            tasks.append(_Task(job, drive, clip, note))
    return tasks, scenes


def _mapping(job: LabelJob) -> ClassMapping | None:
    return None if job.mapping is None else read_mapping(job.mapping)


def _all_recordings(job: LabelJob) -> list[tuple[str, Path]]:
    return [(split, path) for split in SPLITS for path in job.recordings.get(split, ())]


def _check_plan(job: LabelJob) -> None:
    """Refuse a folder with something else in it.

    Raises:
        ValueError: If it holds other labels or another data set.
    """
    plan = json.loads(json.dumps(_settings(job)))
    path = job.out / _WORK / _PLAN
    if path.is_file():
        earlier = read_json(path)
        known = earlier if isinstance(earlier, dict) else {}
        differing = [key for key in plan if known.get(key) != plan[key]]
        if differing:
            raise ValueError(
                f"{path}: expected the settings of this run, found another '{differing[0]}': "
                f"choose another folder, or remove {job.out}"
            )
        return
    others = sorted(entry.name for entry in job.out.iterdir() if entry.name != _WORK)
    if others:
        raise ValueError(
            f"{job.out}: expected an empty folder or an earlier run, found {others[0]}: choose "
            "another folder"
        )
    write_json(plan, path)


def _settings(job: LabelJob) -> dict[str, Any]:
    return {
        "version": VERSION,
        "recordings": {
            split: [str(path.resolve()) for path in job.recordings.get(split, ())]
            for split in SPLITS
        },
        "camera": job.camera,
        "mapping": None if job.mapping is None else read_json(job.mapping),
        "options": asdict(job.options),
    }


def _finish(job: LabelJob, tasks: Sequence[_Task], scenes: Sequence[Mapping[str, Any]]) -> None:
    """Write the lists of scenes and splits, and what the labels are."""
    notes = [read_json(task.note) for task in tasks]
    info: dict[str, Any] = {}
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for number, scene in enumerate(scenes):
        of_scene = [notes[task] for task in scene["tasks"]]
        samples = [stem for note in of_scene for stem in note["samples"]]
        info[f"scene_{number:05d}"] = {
            "location": scene["recording"],
            "samples": samples,
            "sweeps": [stem for note in of_scene for stem in note["sweeps"]],
        }
        splits[scene["split"]] += samples
    folder = job.out / layout.IMAGESETS
    write_json(info, folder / layout.SCENE_INFO)
    for split, stems in splits.items():
        write_whole(folder / f"{split}.txt", "".join(f"{stem}\n" for stem in stems))
    voxels = np.array([note["voxels"] for note in notes]).sum(axis=0)
    pseudo = [share for note in notes for share in note["pseudo"]]
    share = float(np.mean(pseudo)) if pseudo else 0.0
    write_json(
        _settings(job)
        | {
            "voxels": {
                **{
                    name: int(count)
                    for name, count in zip(UNSCENES3D.class_names, voxels, strict=False)
                },
                "unobserved": int(voxels[IGNORE]),
            },
            "sources": {str(path): sources_of(path) for _, path in _all_recordings(job)},
            "pseudo": {
                "is_pseudo": share > 0,
                "share_of_occupied_voxels": round(share, 4),
                "meaning": "classes that are guessed from the geometry, not from labels",
            },
        },
        job.out / INFO_FILE,
    )


def _write_labels(out: Path, stem: str, labels: FrameLabels) -> None:
    observed = labels.occupancy != IGNORE
    # In the layout, rows of background are ignored, and voxels without a row are free.
    index = np.argwhere(labels.occupancy != FREE).astype(np.uint8)
    label = labels.occupancy[labels.occupancy != FREE]
    label = np.where(label == IGNORE, layout.BACKGROUND, label).astype(np.uint8)
    write_array(_path(out, layout.OCCUPANCY, stem), np.column_stack([index, label]))
    masks = {"mask_lidar": observed}
    if labels.in_camera is not None:
        masks["mask_camera"] = labels.in_camera
    write_archive(out / layout.VISIBILITY / f"{stem}.npz", masks)
    if labels.depth is not None:
        write_encoded(_path(out, layout.DEPTHS, stem), labels.depth, PNG_OPTIONS)
    write_encoded(_path(out, layout.ELEVATION, stem), labels.elevation, PNG_OPTIONS)
    write_whole(_path(out, layout.LOCAL_MAPS, stem), labels.local_map.tobytes())


@dataclass(frozen=True)
class _Motion:
    """Velocity [m/s] and acceleration [m/s²] of each frame, in the frame of the LiDAR."""

    velocity: Float64[np.ndarray, "F 3"]
    acceleration: Float64[np.ndarray, "F 3"]


def _motion(drive: Drive) -> _Motion:
    velocity = np.zeros((len(drive.stems), 3))
    acceleration = velocity.copy()
    if len(drive.stems) > 1:
        velocity = np.gradient(drive.world_from_lidar[:, :3, 3], drive.times_s, axis=0)
        acceleration = np.gradient(velocity, drive.times_s, axis=0)
    rotation = drive.world_from_lidar[:, :3, :3]
    return _Motion(
        np.einsum("fji,fj->fi", rotation, velocity),
        np.einsum("fji,fj->fi", rotation, acceleration),
    )


def _write_recording(out: Path, drive: Drive, frame: int, motion: _Motion) -> None:
    """Write cloud, image, calibration and pose of a frame."""
    stem = drive.stems[frame]
    points = drive.clouds.read(stem).astype("<f4")
    points[:, 3] *= np.float32(255)
    write_whole(_path(out, layout.CLOUDS, stem), points.tobytes())
    pose = drive.world_from_lidar[frame]
    vehicle = vehicle_text(stem, pose, motion.velocity[frame], motion.acceleration[frame])
    write_whole(_path(out, layout.VEHICLE_INFOS, stem), vehicle)
    if drive.pixel_from_lidar is None:
        return
    p2, cam_from_lidar = split_projection(drive.pixel_from_lidar)
    calibration = calibration_text(p2, cam_from_lidar, imu_from_lidar=np.eye(4))
    write_whole(_path(out, layout.CALIBS, stem), calibration)
    source = drive.images[stem]
    if drive.clouds.rig.image_max is None:
        path = out / layout.IMAGES / f"{stem}{source.suffix.lower()}"
        write_whole(path, source.read_bytes())
        return
    image = open_image(source, image_max=drive.clouds.rig.image_max).rgb()
    write_encoded(
        out / layout.IMAGES / f"{stem}.png",
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
        [cv2.IMWRITE_PNG_COMPRESSION, 3],
    )


def _path(out: Path, folder: str, stem: str) -> Path:
    return out / layout.relative_path(folder, stem)
