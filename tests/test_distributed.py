import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.weight_files import read_checkpoint
from tests.toy_training import write_toy_config
from utils.distributed import pick_device, process_group, relaunch_arguments

ROOT = Path(__file__).parents[1]
RUNNER = """
import sys
sys.path.insert(0, {root!r})
from tests import toy_training
import eval_iou, train
from utils.distributed import process_group
words = sys.argv[1:]
out = words[words.index("--work-dir") + 1]
with process_group():
    train.main(train.parse_arguments(words))
    eval_iou.main(eval_iou.parse_arguments([*words, "--json", out + "/scores.json"]))
"""


def test_several_gpus_start_one_process_each():
    arguments = relaunch_arguments(4, {}, ["train.py", "--seed", "1"])
    assert arguments == ["--standalone", "--nproc-per-node=4", "train.py", "--seed", "1"]


@pytest.mark.parametrize(("gpus", "environment"), [(0, {}), (1, {}), (4, {"WORLD_SIZE": "4"})])
def test_a_process_resumes_alone(gpus, environment):
    assert relaunch_arguments(gpus, environment, ["train.py"]) is None


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


def test_two_processes_train_and_score_like_one(tmp_path):
    """Five frames on two processes: a share each of three and two, none counted twice."""
    config = write_toy_config(tmp_path, epochs=2, gradient_accumulation=1)
    script = tmp_path / "both.py"
    script.write_text(RUNNER.format(root=str(ROOT)))
    options = ["--cfg-options", "dataset.num_frames=5"]
    words = ["--py-config", str(config), "--work-dir", str(tmp_path / "two"), *options]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*launch, str(script), *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mIoU") == 2  # one table, with two of its rows
    checkpoint = read_checkpoint(tmp_path / "two/latest.pth")
    assert checkpoint["iteration"] == 4  # three frames a process, two a batch, two epochs
    scores = (tmp_path / "two/scores.json").read_text()
    assert json.loads(scores)["frames"] == 5

    import eval_iou

    alone = [*words, "--json", str(tmp_path / "alone.json")]
    eval_iou.main(eval_iou.parse_arguments(alone))
    assert (tmp_path / "alone.json").read_text() == scores


def test_the_device_is_a_gpu_only_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    with pytest.raises(ValueError, match="no GPU"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"
    assert pick_device("cpu").type == "cpu"
