"""Generates a data set scene by scene, in parallel and resumable, reproducible from its seed.

A scene is written to ``.minesim/`` and moved into place when it is complete; a note next to it
marks it as done. An interrupted run resumes from the completed scenes.
"""

import json
import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64
from tqdm import tqdm

from dataset import layout
from dataset.minesim.write.plan import NUSCENES_FOLDER, VERSION, scene_name
from dataset.nuscenes.labels import BENCHMARKS
from utils.console import brief
from utils.folder_lock import LOCK
from utils.parallel import start_worker
from utils.whole_files import write_whole

INFO_FILE = "minesim.json"

_WORK = ".minesim"
_FOLDERS = (
    *layout.SUFFIXES,
    layout.IMAGESETS,
    NUSCENES_FOLDER,
    *(benchmark.folder for benchmark in BENCHMARKS.values()),
    _WORK,
)
"""Folders that MineSim writes, in any layout."""
_logger = logging.getLogger(__name__)


@runtime_checkable
class ProductionOptions(Protocol):
    """Options in either layout: a dataclass whose fields are recorded in ``minesim.json``."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def scenes(self) -> int:
        """Number of scenes."""
        ...


@dataclass(frozen=True)
class Summary:
    """Summary of a generated data set.

    Attributes:
        root: Root folder.
        scenes: Scene names of each split.
        samples: Number of labeled frames.
        sweeps: Number of unlabeled frames.
        voxels: Number of labeled voxels of each class, background first.
    """

    root: Path
    scenes: dict[str, tuple[str, ...]]
    samples: int
    sweeps: int
    voxels: Int64[np.ndarray, "C"]


@dataclass(frozen=True)
class Job:
    """A data set to generate.

    Attributes:
        root: Output folder, created if missing; an interrupted run with these options is resumed.
        options: Options of the data set; together with the version, they determine every byte.
        make_scene: Generates a scene by number between ``begin_scene`` and ``end_scene``, and calls
            back after each frame. Must be importable by name in worker processes.
        frames: Number of callbacks per scene.
    """

    root: Path
    options: ProductionOptions
    make_scene: Callable[[Path, Any, int, Callable[[], Any]], None]
    frames: int


def make_scenes(
    job: Job, *, workers: int | None, force: bool, progress: bool
) -> list[dict[str, Any]]:
    """Generate all missing scenes.

    Args:
        job: The data set to generate.
        workers: Number of processes; None for one per core. The output does not depend on it.
        force: Whether to replace an existing MineSim data set.
        progress: Whether to show a progress bar.

    Returns:
        The note of each scene.

    Raises:
        FileExistsError: If the job's root holds anything else.
        ValueError: If ``workers`` is not positive.
    """
    root, scenes = job.root, job.options.scenes
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    prepare_folder(root, job.options, force=force)
    done = {n for n in range(scenes) if _note(root, n).is_file()}
    missing = [n for n in range(scenes) if n not in done]
    if done:
        _logger.info("%d of %d scenes already exist", len(done), scenes)
    processes = min(workers or os.cpu_count() or 1, max(1, len(missing)))
    make = partial(job.make_scene, root, job.options)
    with tqdm(
        total=scenes * job.frames,
        initial=len(done) * job.frames,
        unit="frame",
        desc="MineSim",
        disable=not progress,
        smoothing=0.0,
    ) as bar:
        if processes == 1:
            for number in missing:
                make(number, bar.update)
        else:
            _make_in_parallel(make, missing, processes, bar)
    return [json.loads(_note(root, n).read_text(encoding="utf-8")) for n in range(scenes)]


def begin_scene(root: Path, number: int) -> Path:
    """Return the folder for a scene's files, laid out like the root; remove any leftovers."""
    folder = _partial(root, number)
    if folder.exists():
        shutil.rmtree(folder)
    return folder


def end_scene(root: Path, number: int, note: Mapping[str, Any]) -> None:
    """Move a complete scene's files into place, and write its note."""
    _move_into(_partial(root, number), root)
    write_whole(_note(root, number), json.dumps(note))


def finish(root: Path, options: ProductionOptions, about: Mapping[str, Any]) -> None:
    """Describe the data set in ``minesim.json``, and remove temporary files."""
    content = json.loads(_plan_text(options)) | dict(about)
    write_whole(root / INFO_FILE, json.dumps(content, indent=1) + "\n")
    shutil.rmtree(root / _WORK)


def prepare_folder(root: Path, options: ProductionOptions, *, force: bool) -> None:
    """Check that ``root`` is empty or holds the start of the same data set.

    Raises:
        FileExistsError: If it is neither and may not be replaced.
    """
    plan = _plan_text(options)
    started = root / _WORK / "plan.json"
    if root.exists() and not root.is_dir():
        raise FileExistsError(f"{root} is a file; choose a folder")
    is_empty = not root.is_dir() or all(path.name == LOCK for path in root.iterdir())
    if not is_empty and not _holds(started, plan):
        if not (started.is_file() or (root / INFO_FILE).is_file()):
            raise FileExistsError(
                f"{root} is not empty and was not made by MineSim; choose another folder"
            )
        if not force:
            raise FileExistsError(
                f"{root} already holds a MineSim data set; pass --force to replace it, or choose "
                "another folder"
            )
        _remove_data_set(root)
    elif force and started.is_file():
        _remove_data_set(root)
    started.parent.mkdir(parents=True, exist_ok=True)
    write_whole(started, plan)


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _remove_data_set(root: Path) -> None:
    """Remove what MineSim wrote, and nothing else."""
    for folder in _FOLDERS:
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / INFO_FILE).unlink(missing_ok=True)


def _make_in_parallel(
    make: Callable[[int, Callable[[], Any]], None], numbers: list[int], processes: int, bar: tqdm
) -> None:
    """Generate scenes in worker processes; every finished frame advances the progress bar."""
    # The forkserver is single-threaded, so forking is fast and safe despite Embree's thread pool.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    context.set_forkserver_preload(
        ["dataset.minesim.write.generate", "dataset.minesim.write.nuscenes.generate"]
    )
    ticks: SimpleQueue[int] = context.SimpleQueue()
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_start_worker, initargs=(ticks,)
    ) as pool:
        futures = {pool.submit(_work_on_scene, make, n): n for n in numbers}
        try:
            for _ in until_done(futures):
                while not ticks.empty():
                    bar.update(ticks.get())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def until_done(futures: dict[Future[None], int]) -> Iterator[None]:
    """Yield repeatedly while scenes are generated, and once more when all are done.

    Raises:
        ChildProcessError: If a process died.
        ValueError: If a scene failed because of its options or the disk; names the scene.
        RuntimeError: If a scene failed for another reason; names the scene.
    """
    pending = set(futures)
    while pending:
        finished, pending = wait(pending, timeout=0.1)
        for future in finished:
            try:
                future.result()
            except BrokenProcessPool as error:
                raise ChildProcessError(
                    "a worker process died, probably out of memory; run again with fewer "
                    "--workers to resume"
                ) from error
            except (ValueError, OSError) as error:
                reason = brief(error)
                raise ValueError(f"{scene_name(futures[future])} failed: {reason}") from error
            except Exception as error:
                raise RuntimeError(f"{scene_name(futures[future])} failed: {error}") from error
        yield


_worker_ticks: list["SimpleQueue[int]"] = []


def _start_worker(ticks: "SimpleQueue[int]") -> None:
    """Set up a worker process, with the queue that advances the progress bar."""
    start_worker()
    _worker_ticks.append(ticks)


def _work_on_scene(make: Callable[[int, Callable[[], Any]], None], number: int) -> None:
    make(number, lambda: _worker_ticks[0].put(1))


def _move_into(partial: Path, root: Path) -> None:
    """Move a complete scene's files into their folders."""
    for path in sorted(partial.rglob("*")):
        if path.is_file():
            target = root / path.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    shutil.rmtree(partial)


def _partial(root: Path, number: int) -> Path:
    return root / _WORK / f"{scene_name(number)}.partial"


def _note(root: Path, number: int) -> Path:
    """Return the path of the file that marks a scene as complete."""
    return root / _WORK / f"{scene_name(number)}.json"


def _plan_text(options: ProductionOptions) -> str:
    return json.dumps({"version": VERSION, "options": asdict(options)})
