"""Generates a whole data set: scenes in parallel, resumable, the same bytes from the same seed.

A scene is written below ``.minesim/`` and moved to its place when it is complete; a note beside it
says that it is. A run that was interrupted goes on where it stopped.
"""

import json
import logging
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Int64
from tqdm import tqdm

from dataset import layout
from dataset.minesim.plan import (
    VERSION,
    GenerateOptions,
    scene_name,
    split_of_scenes,
)
from dataset.minesim.recorder import Recorder, write_scene
from dataset.minesim.rig import Camera
from dataset.minesim.schedule import Frame, drive_seconds, plan_frames
from dataset.minesim.stage import make_stage
from dataset.minesim.world import LOCATIONS, WorldOptions, build_world
from utils.labels import UNSCENES3D

INFO_FILE = "minesim.json"

_WORK = ".minesim"
_WORLD_STREAM, _SENSOR_STREAM, _CLOCK_STREAM = range(3)
"""What a random stream is for."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """What a data set came to.

    Attributes:
        root: Where it is.
        scenes: Names of the scenes of each split.
        samples: Number of labelled frames.
        sweeps: Number of unlabelled frames.
        voxels: Labelled voxels of each class, background first.
    """

    root: Path
    scenes: dict[str, tuple[str, ...]]
    samples: int
    sweeps: int
    voxels: Int64[np.ndarray, "C"]


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
        root: Where to; made if absent, continued if a run with the same options was interrupted.
        options: What to generate.
        workers: Processes; None for one a core. The bytes do not depend on it.
        force: Replace a MineSim data set that is there.
        progress: Whether to show a progress bar.

    Raises:
        FileExistsError: If something else is at ``root``.
        ValueError: If ``workers`` is not positive.
    """
    root = Path(root)
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    prepare_folder(root, options, force=force)
    done = {n for n in range(options.scenes) if _note(root, n).is_file()}
    missing = [n for n in range(options.scenes) if n not in done]
    if done:
        _logger.info("%d of %d scenes are there already", len(done), options.scenes)
    processes = min(workers or os.cpu_count() or 1, max(1, len(missing)))
    frames_a_scene = len(_frames(options, 0))
    with tqdm(
        total=options.scenes * frames_a_scene,
        initial=len(done) * frames_a_scene,
        unit="frame",
        desc="MineSim",
        disable=not progress,
        smoothing=0.0,
    ) as bar:
        if processes == 1:
            for number in missing:
                make_scene(root, options, number, bar.update)
        else:
            _make_in_parallel(root, options, missing, processes, bar)
    return _finish(root, options)


def make_scene(
    root: Path, options: GenerateOptions, number: int, on_frame: Callable[[], Any]
) -> None:
    """Generate one scene and move it to its place."""
    seed = (options.seed, _SENSOR_STREAM, number)
    world_rng = np.random.default_rng((options.seed, _WORLD_STREAM, number))
    order = np.random.default_rng((options.seed, _WORLD_STREAM)).permutation(len(LOCATIONS))
    world = build_world(
        int(world_rng.integers(2**31)),
        WorldOptions(
            duration_s=drive_seconds(options.frames),
            cell_m=options.ground_cell_m,
            location=LOCATIONS[order[number % len(LOCATIONS)]],
        ),
    )
    camera = Camera(*options.image_size)
    recorder = Recorder(make_stage(world), camera, seed, map_voxel_m=options.map_voxel_m)
    partial = root / _WORK / f"{scene_name(number)}.partial"
    if partial.exists():
        shutil.rmtree(partial)
    recorded = write_scene(recorder, _frames(options, number), partial, camera, on_frame)
    _move_into(partial, root)
    note = {
        "location": world.location,
        "samples": recorded.samples,
        "sweeps": recorded.sweeps,
        "voxels": recorded.voxels.tolist(),
    }
    _write_whole(_note(root, number), json.dumps(note))


def prepare_folder(root: Path, options: GenerateOptions, *, force: bool) -> None:
    """Make sure that ``root`` is empty, or the start of the same data set.

    Raises:
        FileExistsError: If it is neither, and may not be replaced.
    """
    plan = _plan_text(options)
    started = root / _WORK / "plan.json"
    if root.exists() and not root.is_dir():
        raise FileExistsError(f"{root} is a file; choose a folder")
    if root.is_dir() and any(root.iterdir()) and not _holds(started, plan):
        if not (started.is_file() or (root / INFO_FILE).is_file()):
            raise FileExistsError(
                f"{root} is not empty and was not made by MineSim; choose another folder"
            )
        if not force:
            raise FileExistsError(
                f"{root} holds a MineSim data set already; pass --force to replace it, or choose "
                "another folder"
            )
        _remove_data_set(root)
    elif force and started.is_file():
        _remove_data_set(root)
    started.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(started, plan)


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _remove_data_set(root: Path) -> None:
    """Remove what MineSim writes, and nothing else."""
    for folder in (*layout.SUFFIXES, layout.IMAGESETS, _WORK):
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / INFO_FILE).unlink(missing_ok=True)


def _frames(options: GenerateOptions, number: int) -> tuple[Frame, ...]:
    clock = np.random.default_rng((options.seed, _CLOCK_STREAM, number))
    return plan_frames(options.frames, number, clock, sweeps=options.sweeps)


def _make_in_parallel(
    root: Path, options: GenerateOptions, numbers: list[int], processes: int, bar: tqdm
) -> None:
    """Generate scenes in worker processes; each frame that is done moves the bar."""
    # A server process that has no threads forks the workers: fast, and safe beside Embree's pool.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    context.set_forkserver_preload(["dataset.minesim.generate"])
    ticks: SimpleQueue[int] = context.SimpleQueue()
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_start_worker, initargs=(ticks,)
    ) as pool:
        futures = {pool.submit(_work_on_scene, root, options, n): n for n in numbers}
        try:
            for _ in _until_done(futures):
                while not ticks.empty():
                    bar.update(ticks.get())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _until_done(futures: dict[Future[None], int]) -> Iterator[None]:
    """Come back often while scenes are made, and once more when all are.

    Raises:
        RuntimeError: If a scene failed, naming it.
    """
    pending = set(futures)
    while pending:
        finished, pending = wait(pending, timeout=0.1)
        for future in finished:
            try:
                future.result()
            except BrokenProcessPool as error:
                raise RuntimeError(
                    "a worker process died, probably for want of memory; run again with fewer "
                    "--workers to go on"
                ) from error
            except Exception as error:
                raise RuntimeError(f"{scene_name(futures[future])} failed: {error}") from error
        yield


_worker_ticks: list["SimpleQueue[int]"] = []


def _start_worker(ticks: "SimpleQueue[int]") -> None:
    """Set a worker process up: one thread of its own, and the queue that moves the bar."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once, without a traceback.
    cv2.setNumThreads(1)
    _worker_ticks.append(ticks)


def _work_on_scene(root: Path, options: GenerateOptions, number: int) -> None:
    make_scene(root, options, number, lambda: _worker_ticks[0].put(1))


def _move_into(partial: Path, root: Path) -> None:
    """Move a complete scene's files to their folders."""
    for path in sorted(partial.rglob("*")):
        if path.is_file():
            target = root / path.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    shutil.rmtree(partial)


def _note(root: Path, number: int) -> Path:
    """The file that says that a scene is complete."""
    return root / _WORK / f"{scene_name(number)}.json"


def _finish(root: Path, options: GenerateOptions) -> Summary:
    """Write the lists of scenes and splits, and clear the traces of the work."""
    notes = {n: json.loads(_note(root, n).read_text()) for n in range(options.scenes)}
    keys = ("location", "samples", "sweeps")
    info = {scene_name(n): {key: note[key] for key in keys} for n, note in notes.items()}
    splits = split_of_scenes(options)
    imagesets = root / layout.IMAGESETS
    imagesets.mkdir(parents=True, exist_ok=True)
    _write_whole(imagesets / layout.SCENE_INFO, json.dumps(info, indent=1) + "\n")
    for split, numbers in splits.items():
        stems = [stem for n in numbers for stem in notes[n]["samples"]]
        _write_whole(imagesets / f"{split}.txt", "".join(f"{stem}\n" for stem in stems))
    voxels = np.array([note["voxels"] for note in notes.values()], dtype=np.int64).sum(axis=0)
    names = ("background", *UNSCENES3D.class_names[1:])
    scenes = {split: tuple(scene_name(n) for n in numbers) for split, numbers in splits.items()}
    about = json.loads(_plan_text(options)) | {
        "scenes": scenes,
        "voxels": {name: int(count) for name, count in zip(names, voxels, strict=True)},
    }
    _write_whole(root / INFO_FILE, json.dumps(about, indent=1) + "\n")
    shutil.rmtree(root / _WORK)
    return Summary(
        root=root,
        scenes=scenes,
        samples=sum(len(note["samples"]) for note in notes.values()),
        sweeps=sum(len(note["sweeps"]) for note in notes.values()),
        voxels=voxels,
    )


def _plan_text(options: GenerateOptions) -> str:
    return json.dumps({"version": VERSION, "options": asdict(options)})


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there in full or not at all."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
