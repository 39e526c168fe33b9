import json

import cv2
import pytest
import torch

import eval_robustness
from dataset.corruptions.frames import CorruptedFrames
from dataset.corruptions.table import CORRUPTIONS
from dataset.frame_dataset import FrameDataset
from dataset.sample import Sample
from engine import agreement
from engine.build.build import build_model
from engine.robustness.benchmark import (
    Benchmark,
    chosen_corruptions,
    data_config,
)
from tests.layout_files import write_tiny_unscenes3d
from tests.predict_config import write_config
from tests.toy_training import ToyNetwork, write_toy_config
from tools import draw_corruptions
from utils.config import load_config
from utils.labels import UNSCENES3D

TWO = "--corruptions points_missing lidar_missing --severities 1 3"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A config, and random weights of its network."""
    folder = tmp_path_factory.mktemp("toy")
    config = write_toy_config(folder)
    torch.save(build_model(load_config(config)).state_dict(), folder / "weights.pth")
    return config, folder / "weights.pth"


@pytest.fixture(autouse=True)
def _charts_take_long(request, monkeypatch):
    """Draw the chart in one test only."""
    if "chart" not in request.node.name:
        monkeypatch.setattr(eval_robustness, "write_chart", lambda path, summary: None)


def run(toy, out, words=TWO):
    config, weights = toy
    options = f"--py-config {config} --resume-from {weights} --out {out} {words}"
    eval_robustness.main(eval_robustness.parse_arguments(options.split()))
    return json.loads((out / "results.json").read_text())


def test_every_pass_is_scored_and_the_chart_is_drawn(toy, tmp_path, capsys):
    found = run(toy, tmp_path / "out")
    assert set(found["scores"]) == {"clean", "points_missing", "lidar_missing"}
    assert set(found["scores"]["points_missing"]) == {"1", "3"}
    assert found["scores"]["clean"]["0"]["frames"] == 6
    assert "mRA" in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "out/results.png")).shape[1] > 1000


def test_a_stopped_run_resumes_and_ends_with_the_same_file(toy, tmp_path, monkeypatch):
    whole = run(toy, tmp_path / "whole")
    scored = []
    score = Benchmark._score

    def stop_at_the_third(self, run):
        scored.append(str(run))
        if len(scored) == 3:
            raise KeyboardInterrupt
        return score(self, run)

    monkeypatch.setattr(Benchmark, "_score", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(toy, tmp_path / "part")
    assert run(toy, tmp_path / "part") == whole
    assert len(set(scored)) == 5
    assert scored[2:4] == ["lidar_missing 3"] * 2  # The stopped pass is repeated, and no other.
    assert len(scored) == 6


def test_processes_with_other_results_are_an_error(toy, tmp_path, monkeypatch):
    """As on machines of which one has the results; they would score different passes as one."""
    other = ("b", {"results": "out/results.json with 2 passes"})
    monkeypatch.setattr(agreement, "all_gather_object", lambda mine: [mine, other])
    with pytest.raises(ValueError, match=r"results.json with 0 passes .* but process 1 on b has"):
        run(toy, tmp_path)
    assert not (tmp_path / "results.json").exists()


def test_scores_do_not_depend_on_order_batches_and_workers(toy, tmp_path):
    whole = run(toy, tmp_path / "whole")["scores"]
    words = "--corruptions lidar_missing points_missing --severities 3 1 --batch-size 1"
    other = run(toy, tmp_path / "other", f"{words} --cfg-options runtime.num_workers=1")["scores"]
    assert other == whole


def test_a_limit_spreads_the_frames(toy, tmp_path):
    found = run(toy, tmp_path, f"{TWO} --limit 2")
    assert found["scores"]["clean"]["0"]["frames"] == 2


def test_a_baseline_adds_its_measures(toy, tmp_path, capsys):
    run(toy, tmp_path / "base")
    found = run(toy, tmp_path / "own", f"{TWO} --baseline {tmp_path / 'base/results.json'}")
    assert found["summary"]["mce"]["all"] == pytest.approx(1)
    assert found["summary"]["mrra"]["all"] == pytest.approx(0)
    assert "mCE" in capsys.readouterr().out
    with pytest.raises(ValueError, match="frames_sha256"):
        run(toy, tmp_path / "few", f"--limit 2 --baseline {tmp_path / 'base/results.json'} {TWO}")


def test_other_weights_do_not_resume(toy, tmp_path):
    run(toy, tmp_path / "out")
    config, _ = toy
    torch.save(build_model(load_config(config), seed=1).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match="expected results with weights_sha256"):
        run((config, tmp_path / "other.pth"), tmp_path / "out")


def test_a_corruption_without_effect_is_rejected(toy, tmp_path):
    message = "--corruptions dark: no effect on a network that predicts from sensors 'lidar'"
    with pytest.raises(ValueError, match=message):
        run(toy, tmp_path, "--corruptions dark crosstalk")


def test_no_predictions_are_written(toy, tmp_path):
    with pytest.raises(ValueError, match="--save-sem: the benchmark writes no predictions"):
        run(toy, tmp_path / "out", f"--save-sem {tmp_path / 'sem'}")


def test_the_corruptions_are_those_of_the_sensors():
    parse = eval_robustness.parse_arguments
    args = parse(["--py-config", "c", "--out", "o", "--resume-from", "w"])
    for sensor in ("camera", "lidar"):
        names = {corruption.name for corruption in chosen_corruptions(args, sensor)}
        own = {name for name, found in CORRUPTIONS.items() if found.sensor == sensor}
        shared = {"dust", "temporal_misalignment"}
        assert names == own | shared | ({"spatial_misalignment"} if sensor == "camera" else set())
    assert len(chosen_corruptions(args, "both")) == len(CORRUPTIONS)


def test_fog_reads_the_points_for_a_camera_network(tmp_path):
    cfg = load_config(write_config(tmp_path), {"modality": "camera"})
    assert data_config(cfg, [CORRUPTIONS["dark"]]) is cfg
    assert data_config(cfg, [CORRUPTIONS["camera_fog"]]).modality == "both"
    assert cfg.modality == "camera"


class OneFrame(FrameDataset):
    """A data set of one sample."""

    stems, scenes, grid, image_size = ["a"], [""], None, (4, 4)

    def __init__(self, sample):
        self.sample = sample

    def __getitem__(self, index):
        return self.sample

    def __len__(self):
        return 1

    def stems_with(self, field):
        return self.stems

    def neighbors(self, count):
        return [[]]


@pytest.mark.parametrize(
    ("is_lit", "points", "kept"),
    [(True, 5, "both"), (False, 5, "lidar"), (True, 0, "camera"), (False, 0, "both")],
)
def test_a_lost_sensor_is_a_black_image_or_an_empty_cloud(is_lit, points, kept):
    image = torch.arange(48).view(1, 3, 4, 4).byte() * is_lit
    sample = Sample("a", "", image, torch.ones(points, 4), torch.eye(4)[None])
    frames = CorruptedFrames(OneFrame(sample), [0], UNSCENES3D, skips_lost=True)
    assert (frames[0].images is not None) == (kept != "lidar")
    assert (frames[0].points is not None) == (kept != "camera")
    assert CorruptedFrames(OneFrame(sample), [0], UNSCENES3D)[0] is sample


@pytest.fixture
def recorded(tmp_path):
    """A config of tiny data with both sensors, and random weights."""
    write_tiny_unscenes3d(tmp_path / "data", scenes={"scene_00006": "location_4_5"}, sweeps=0)
    config = write_config(tmp_path)
    config.write_text(
        config.read_text().replace('data_root = ""', f'data_root = "{tmp_path}/data"')
    )
    torch.save(build_model(load_config(config)).state_dict(), tmp_path / "weights.pth")
    return config, tmp_path / "weights.pth"


def test_a_lost_sensor_can_be_skipped(recorded, tmp_path, monkeypatch):
    seen = []
    step = ToyNetwork.val_step
    monkeypatch.setattr(
        ToyNetwork, "val_step", lambda self, batch: seen.append(batch.sensors) or step(self, batch)
    )
    words = "--corruptions camera_missing --severities 3 --missing-sensor skip"
    found = run(recorded, tmp_path / "out", words)
    assert found["network"]["missing_sensor"] == "skip"
    left = [sensors or ["both"] for sensors in seen]
    # Two passes over two frames: all is there, and then a camera is gone.
    assert left[: len(left) // 2] == [["both"]] * (len(left) // 2)
    assert "lidar" in {name for names in left for name in names}


def test_each_corruption_is_drawn(recorded, tmp_path):
    words = f"--py-config {recorded[0]} --out {tmp_path / 'figures'} --severities 3 --corruptions"
    names = ["dark", "temporal_misalignment"]
    draw_corruptions.main(draw_corruptions.parse_arguments([*words.split(), *names]))
    files = sorted((tmp_path / "figures").iterdir())
    assert [file.name for file in files] == ["dark.png", "temporal_misalignment.png"]
    heights = [cv2.imread(str(file)).shape[0] for file in files]
    assert heights[0] < heights[1]  # With the view from above.
    for wrong, message in (("--stem 1.0", "--stem 1.0: no frame of 'val'"),
                           ("--camera 1", "--camera must be 0 to 0, got 1")):  # fmt: skip
        args = draw_corruptions.parse_arguments([*words.split(), "dark", *wrong.split()])
        with pytest.raises(ValueError, match=message):
            draw_corruptions.main(args)
