"""Generates a data set in the nuScenes layout; the same seed gives the same bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from dataset.minesim.scene.mesh import axis_rotation
from dataset.minesim.scene.world import WORLD_STREAM, world_of_scene
from dataset.minesim.write.nuscenes.plan import (
    NuScenesOptions,
    drive_seconds,
    plan_scenes,
    sample_times_us,
)
from dataset.minesim.write.nuscenes.recorder import RigRecorder
from dataset.minesim.write.nuscenes.writer import SceneCard, SceneWriter, write_tables
from dataset.minesim.write.plan import NUSCENES_FOLDER
from dataset.minesim.write.production import (
    Job,
    Summary,
    begin_scene,
    end_scene,
    finish,
    make_scenes,
)
from utils.folder_lock import locked
from utils.labels import NUSCENES

_SENSOR_STREAM, _CLOCK_STREAM, _PLACE_STREAM = range(WORLD_STREAM + 1, WORLD_STREAM + 4)
"""Purpose of each random stream."""


def generate_nuscenes(
    root: str | Path,
    options: NuScenesOptions,
    *,
    workers: int | None = None,
    force: bool = False,
    progress: bool = True,
) -> Summary:
    """Generate a data set in the nuScenes layout.

    Args:
        root: Output folder of ``nuscenes/`` and the three occupancy benchmarks, created if missing;
            an interrupted run with these options is resumed.
        options: What to generate.
        workers: Number of processes; None for one per core. The output does not depend on it.
        force: Whether to replace an existing MineSim data set.
        progress: Whether to show a progress bar.

    Raises:
        FileExistsError: If ``root`` holds anything else.
        ValueError: If ``workers`` is not positive, or another process generates into ``root``.
    """
    job = Job(Path(root), options, make_scene, options.frames)
    plan = plan_scenes(options)
    with locked(job.root):
        notes = make_scenes(job, workers=workers, force=force, progress=progress)
        write_tables(job.root / NUSCENES_FOLDER / plan.version, [note["records"] for note in notes])
        voxels = np.array([note["voxels"] for note in notes], dtype=np.int64).sum(axis=0)
        counts = dict(zip(NUSCENES.class_names[1:], voxels[1:].tolist(), strict=True))
        finish(job.root, options, {"layout": "nuscenes", "scenes": plan.splits, "voxels": counts})
    return Summary(
        root=job.root,
        scenes=plan.splits,
        samples=options.scenes * options.frames,
        sweeps=options.scenes * (options.frames - 1) * options.sweeps,
        voxels=voxels,
    )


def make_scene(
    root: Path, options: NuScenesOptions, number: int, on_frame: Callable[[], Any]
) -> None:
    """Generate one scene and move it into place."""
    world = world_of_scene(
        options.seed,
        number,
        duration_s=drive_seconds(options.frames),
        cell_m=options.ground_cell_m,
    )
    clock = np.random.default_rng((options.seed, _CLOCK_STREAM, number))
    times_us = sample_times_us(options.frames, number, clock)
    seed = (options.seed, _SENSOR_STREAM, number)
    recorder = RigRecorder(world, options, times_us, seed)
    light = world.environment
    card = SceneCard(
        name=plan_scenes(options).names[number],
        seed=options.seed,
        location=world.location,
        description=f"Open-pit mine, {light.sky} sky{', snow' if light.snow else ''}",
        sample_times_us=tuple(times_us.tolist()),
        global_from_world=_global_from_world(
            np.random.default_rng((options.seed, _PLACE_STREAM, number))
        ),
    )
    writer = SceneWriter(begin_scene(root, number), card, options.image_size)
    voxels = recorder.record(writer, on_frame)
    end_scene(root, number, {"records": writer.records, "voxels": voxels.tolist()})


def _global_from_world(rng: np.random.Generator) -> Float[np.ndarray, "4 4"]:
    """Draw the pose of a scene on its map: far from the origin, at a random heading."""
    pose = np.eye(4)
    pose[:3, :3] = axis_rotation("z", float(rng.uniform(-np.pi, np.pi)))
    pose[:2, 3] = rng.uniform(300.0, 1800.0, size=2)
    return pose
