"""Generates a data set in the UnScenes3D layout; the same seed gives the same bytes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dataset import layout
from dataset.minesim.scene.world import WORLD_STREAM, world_of_scene
from dataset.minesim.sensors.stage import make_stage
from dataset.minesim.write.plan import GenerateOptions, scene_name, split_of_scenes
from dataset.minesim.write.production import (
    Job,
    Summary,
    begin_scene,
    end_scene,
    finish,
    make_scenes,
)
from dataset.minesim.write.recorder import Recorder, write_scene
from dataset.minesim.write.schedule import Frame, drive_seconds, plan_frames
from dataset.minesim.write.variation import describe, draw_condition, draw_patches, draw_rig
from utils.folder_lock import locked
from utils.labels import UNSCENES3D
from utils.whole_files import write_whole

_SENSOR_STREAM, _CLOCK_STREAM = range(WORLD_STREAM + 1, WORLD_STREAM + 3)
"""Purpose of each random stream."""


def generate(
    root: str | Path,
    options: GenerateOptions,
    *,
    workers: int | None = None,
    force: bool = False,
    progress: bool = True,
) -> Summary:
    """Generate a data set in the UnScenes3D layout.

    Args:
        root: Output folder, created if missing; an interrupted run with these options is resumed.
        options: What to generate.
        workers: Number of processes; None for one per core. The output does not depend on it.
        force: Whether to replace an existing MineSim data set.
        progress: Whether to show a progress bar.

    Raises:
        FileExistsError: If ``root`` holds anything else.
        ValueError: If ``workers`` is not positive, or another process generates into ``root``.
    """
    job = Job(Path(root), options, make_scene, len(_frames(options, 0)))
    with locked(job.root):
        notes = make_scenes(job, workers=workers, force=force, progress=progress)
        return _finish(job.root, options, notes)


def make_scene(
    root: Path, options: GenerateOptions, number: int, on_frame: Callable[[], Any]
) -> None:
    """Generate one scene and move it into place."""
    seed = (options.seed, _SENSOR_STREAM, number)
    condition = draw_condition(options.variation, options.seed, number)
    rig = draw_rig(options.variation, options.image_size, options.seed, number)
    world = world_of_scene(
        options.seed,
        number,
        duration_s=drive_seconds(options.frames),
        cell_m=options.ground_cell_m,
        condition=condition,
        patches=draw_patches(options.variation, options.seed, number),
        density=options.variation.density,
    )
    recorder = Recorder(make_stage(world), rig, seed, map_voxel_m=options.map_voxel_m)
    folder = begin_scene(root, number)
    recorded = write_scene(recorder, _frames(options, number), folder, rig, on_frame)
    note = {
        "location": world.location,
        "samples": recorded.samples,
        "sweeps": recorded.sweeps,
        "voxels": recorded.voxels.tolist(),
        "sensors": describe(condition, rig),
    }
    end_scene(root, number, note)


def _frames(options: GenerateOptions, number: int) -> tuple[Frame, ...]:
    clock = np.random.default_rng((options.seed, _CLOCK_STREAM, number))
    return plan_frames(options.frames, number, clock, sweeps=options.sweeps)


def _finish(root: Path, options: GenerateOptions, notes: list[dict[str, Any]]) -> Summary:
    """Write the lists of scenes and splits."""
    keys = ("location", "samples", "sweeps")
    info = {scene_name(n): {key: note[key] for key in keys} for n, note in enumerate(notes)}
    splits = split_of_scenes(options)
    imagesets = root / layout.IMAGESETS
    imagesets.mkdir(parents=True, exist_ok=True)
    write_whole(imagesets / layout.SCENE_INFO, json.dumps(info, indent=1) + "\n")
    for split, numbers in splits.items():
        stems = [stem for n in numbers for stem in notes[n]["samples"]]
        write_whole(imagesets / f"{split}.txt", "".join(f"{stem}\n" for stem in stems))
    voxels = np.array([note["voxels"] for note in notes], dtype=np.int64).sum(axis=0)
    names = ("background", *UNSCENES3D.class_names[1:])
    scenes = {split: tuple(scene_name(n) for n in numbers) for split, numbers in splits.items()}
    about = {
        "scenes": scenes,
        "scene_sensors": {scene_name(n): note["sensors"] for n, note in enumerate(notes)},
        "voxels": {name: int(count) for name, count in zip(names, voxels, strict=True)},
    }
    finish(root, options, about)
    return Summary(
        root=root,
        scenes=scenes,
        samples=sum(len(note["samples"]) for note in notes),
        sweeps=sum(len(note["sweeps"]) for note in notes),
        voxels=voxels,
    )
