import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.api import SignalException

import eval_iou
import train
from dataset.frame_dataset import FrameDataset
from dataset.sample import Sample
from engine.build.build import share_of
from engine.build.sampler import EpochBatches
from engine.evaluation.elevation_frames import score_maps
from engine.evaluation.occupancy_metric import OccupancyMetric
from engine.metrics.depth import DepthMeter
from engine.metrics.depth_errors import DepthRule
from model.weight_files import read_checkpoint
from tests.scored_scripts import results_of, run_scripts, write_scored
from tests.test_occupancy_metric import FRAMES, expected_scores, give
from tests.toy_training import ToyNetwork, write_toy_config
from tools import benchmark
from utils import console
from utils.distributed import (
    Process,
    pick_device,
    process_group,
    relaunch_arguments,
    use_all_gpus,
)

ROOT = Path(__file__).parents[1]
SCRIPT = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom tests import test_distributed\n"
ALONE = Process(0, 1, torch.device("cpu"))
TRAINED = ["--cfg-options", "dataset.num_frames=10"]
MEASURED = ["--train-files", "--iterations", "2", "--warmup", "1", "--batch-size", "2"]
SCORED = 5
"""Frames of each evaluation: two processes have three and two of them, in batches of four."""


class Maps(FrameDataset):
    """Frames of road elevation."""

    def __init__(self, number: int) -> None:
        self.heights_m = torch.rand(number, 2, 3, generator=torch.Generator().manual_seed(0))
        self.stems = [str(index) for index in range(number)]

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.stems[index], elevation_m=self.heights_m[index])

    def stems_with(self, field: str) -> list[str]:
        return self.stems if field == "elevation_m" else []

    def neighbors(self, count: int) -> list[list[int]]:
        raise ValueError("each frame is a scene of its own")


def scores_of(process: Process, number: int) -> dict[str, Any]:
    """Score elevation and depth of some frames on all processes."""
    maps = Maps(number)

    def mapper(sample: Sample) -> torch.Tensor:
        return sample.elevation_m * (1 + 0.1 * int(sample.stem))

    meter = DepthMeter(DepthRule())
    for index in share_of(maps.stems, process):
        sample = maps[index]
        label = 3 + sample.elevation_m
        meter.update(sample.stem, 3 + mapper(sample), label, camera=str(index % 2))
    meter.all_reduce()
    elevation = score_maps(maps, mapper, "x", process).scores().to_json()
    return {"elevation": elevation, "depth": meter.scores().to_json()}


def record_frames(file: Path) -> None:
    """From now on, append the frames of each training step to a file."""
    forward = ToyNetwork.forward

    def recording(network: ToyNetwork, batch: Any, mode: str = "tensor") -> Any:
        if mode == "loss":
            with file.open("a") as lines:
                lines.write(" ".join(batch.stems) + "\n")
        return forward(network, batch, mode)

    ToyNetwork.forward = recording  # type: ignore[method-assign]


def evaluate(config: str, work_dir: Path, name: str) -> None:
    """Score the weights of a work directory in all ways."""
    words = ["--py-config", config, "--work-dir", str(work_dir), "--ray-iou", "--distances", "2"]
    words += ["--json", str(work_dir / name), "--cfg-options", f"dataset.num_frames={SCORED}"]
    eval_iou.main(eval_iou.parse_arguments(words))


def on_each_process(config: str, folder: str) -> None:
    """What each of two processes does; the second one fails in the end."""
    console.GRACE_S = 0.2
    out = Path(folder)

    def work() -> None:
        with process_group() as process:
            record_frames(out / f"frames_{process.rank}.txt")
            words = ["--py-config", config, "--work-dir", str(out / "two"), *TRAINED]
            words += ["schedule.batch_size=2", "--resume-from", str(out / "one/latest.pth")]
            train.main(train.parse_arguments(words))
            evaluate(config, out / "two", "two.json")
            found = [scores_of(process, number) for number in (SCORED, 1)]
            metric = OccupancyMetric("unscenes3d")
            give(metric, [[0, 2, 4], [1, 3, 0]][process.rank])  # Padded with a repeated frame.
            metric.evaluate(FRAMES)
            assert metric.scores == expected_scores(range(FRAMES))
            if process.rank == 0:  # Shares of another length, too.
                give(metric, [0, 1])
            metric.evaluate(2)
            assert metric.scores == expected_scores(range(2))
            run_scripts(out, out / "scripts_two")
            measure = ["--py-config", config, "--json", str(out / "speed.json"), *MEASURED]
            benchmark.main(benchmark.parse_arguments(measure))
            if process.rank == 1:
                raise ValueError("the second process fails")
            (out / "scores.json").write_text(json.dumps(found))
            dist.barrier()

    console.run_script(work, parallel=True)


def launch(script: Path, *words: str) -> list[subprocess.CompletedProcess[str]]:
    """Start a script on two nodes of one process each, which are this machine twice."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rendezvous = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test"]
    nodes = ["--nnodes=2", "--nproc-per-node=1", *rendezvous]
    command = [sys.executable, "-m", "torch.distributed.run", *nodes, str(script), *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    started = [
        subprocess.Popen(command, env=environment, text=True, stdout=-1, stderr=-1)
        for _ in range(2)
    ]
    done = []
    for node in started:
        try:
            output = node.communicate(timeout=600)
        except subprocess.TimeoutExpired:
            node.kill()
            output = node.communicate()
        done.append(subprocess.CompletedProcess(command, node.returncode, *output))
    return done


def test_several_gpus_start_one_process_each():
    arguments = relaunch_arguments(4, {}, ["train.py", "--seed", "1"])
    assert arguments == ["--standalone", "--nproc-per-node=4", "train.py", "--seed", "1"]


@pytest.mark.parametrize(("gpus", "environment"), [(0, {}), (1, {}), (4, {"WORLD_SIZE": "4"})])
def test_a_process_resumes_alone(gpus, environment):
    assert relaunch_arguments(gpus, environment, ["train.py"]) is None


def test_an_interrupted_launcher_prints_no_traceback(monkeypatch):
    def stop(arguments: list[str]) -> None:
        raise SignalException("Process got signal: 2", sigval=2)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("torch.distributed.run.main", stop)
    with pytest.raises(SystemExit) as end:
        use_all_gpus()
    assert end.value.code == 130


def test_one_process_needs_no_group(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group() as process:
        assert (process.rank, process.world_size) == (0, 1)
    assert not torch.distributed.is_initialized()


def test_a_group_of_one_is_joined_and_left(monkeypatch):
    values = dict(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1")
    for name, value in (values | {"MASTER_PORT": "0"}).items():  # 0: any that is free.
        monkeypatch.setenv(name, value)
    with process_group() as process, process_group() as again:
        assert process == again
        assert process.world_size == 1
        assert torch.distributed.is_initialized()
    assert not torch.distributed.is_initialized()


def test_more_processes_than_gpus_are_an_error(monkeypatch):
    for name, value in dict(RANK="0", WORLD_SIZE="8", LOCAL_WORLD_SIZE="8").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with (
        pytest.raises(ValueError, match="each of 8 processes, found 4: start 4 with --nproc-per"),
        process_group(),
    ):
        pass


def test_two_processes_resume_and_score_like_one(tmp_path):
    """Two nodes resume what one process began, mid-epoch, and score frames that they share."""
    config = write_toy_config(tmp_path, epochs=2, gradient_accumulation=1, batch_size=4)
    words = ["--py-config", str(config), "--work-dir", str(tmp_path / "one"), "--iter-resume"]
    stopped = ["runtime.checkpoint_iters=1", "model.fail_at=5"]
    with pytest.raises(FloatingPointError):
        train.main(train.parse_arguments([*words, *TRAINED, *stopped]))
    write_scored(tmp_path)
    script = tmp_path / "both.py"
    script.write_text(
        f"{SCRIPT}test_distributed.on_each_process({str(config)!r}, {str(tmp_path)!r})"
    )
    first, second = launch(script)
    output = first.stderr + second.stderr
    assert (tmp_path / "scores.json").is_file(), output

    # The same frames in the same updates as one process would have had.
    order = EpochBatches(range(10), 4, seed=42)
    order.start_at(epoch=1, batch=1)
    lines = [(tmp_path / f"frames_{rank}.txt").read_text().splitlines() for rank in range(2)]
    updates = [sorted(" ".join(step).split()) for step in zip(*lines, strict=True)]
    assert updates[:2] == [sorted(f"train_{key.index}" for key in batch) for batch in order]
    assert "resuming with updates of 4 frames (processes × batch size × accumulation: 2 × 2" in (
        output
    )
    assert read_checkpoint(tmp_path / "two/latest.pth")["iteration"] == 6

    evaluate(str(config), tmp_path / "two", "alone.json")
    scores = (tmp_path / "two/two.json").read_text()
    assert json.loads(scores)["frames"] == SCORED
    assert (tmp_path / "two/alone.json").read_text() == scores
    assert json.loads((tmp_path / "scores.json").read_text()) == [
        scores_of(ALONE, number) for number in (SCORED, 1)
    ]
    run_scripts(tmp_path, tmp_path / "scripts_one")
    results = results_of(tmp_path / "scripts_one")
    assert len(results) == 5 + 3, "scores of five scripts, and predictions of three frames"
    assert results_of(tmp_path / "scripts_two") == results

    (row,) = json.loads((tmp_path / "speed.json").read_text())["training_files"]
    assert row["processes"] == 2
    # Each process has two frames in one of the timed iterations and one in the other.
    of_the_first = 3 / (2e-3 * row["loop"]["median_ms"])
    assert row["frames_per_s"] > 1.2 * of_the_first
    assert 0 < row["waiting_share"] < 1

    # One of the nodes prints each table. The process that fails prints an error, and the other one,
    # too, if it notices before its launcher ends it.
    assert (first.stdout + second.stdout).count("| processes ") == 1
    assert (first.returncode, second.returncode) == (1, 1)
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    errors.remove(f"error: process 1 on {socket.gethostname()}: the second process fails")
    assert len(errors) <= 1
    assert all(line.startswith("error: another process of the run ended") for line in errors)


def test_the_device_is_a_gpu_only_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    with pytest.raises(ValueError, match="no GPU"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"
    assert pick_device("cpu").type == "cpu"
