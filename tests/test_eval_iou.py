import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import eval_iou
import train
from dataset import layout
from engine.build.build import build_model
from tests.layout_files import write_tiny_unscenes3d
from tests.predict_config import write_config
from tests.toy_training import write_toy_config
from utils.config import load_config


def run(config: Path, work_dir: Path, words: str = "") -> None:
    arguments = f"--py-config {config} --work-dir {work_dir} {words}".split()
    eval_iou.main(eval_iou.parse_arguments(arguments))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = write_toy_config(folder, epochs=2)
    words = f"--py-config {config} --work-dir {folder / 'out'}".split()
    train.main(train.parse_arguments(words))
    return config, folder / "out"


def test_prints_the_table_and_writes_scores_and_predictions(trained, tmp_path, capsys):
    config, out = trained
    run(config, out, f"--json {tmp_path / 's.json'} --save-pred {tmp_path / 'pred'} --sem")
    table = capsys.readouterr().out
    assert "mIoU" in table
    assert "driveable_surface" in table
    assert "voxels of" in table
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores["frames"] == 6
    assert scores["convention"] == "default"
    best = json.loads((out / "best.json").read_text())
    assert scores["miou"] == pytest.approx(best["value"])  # the averaged weights of that epoch
    files = sorted((tmp_path / "pred").iterdir())
    assert [file.name for file in files] == [f"val_{index}.npy" for index in range(6)]
    assert np.load(files[0]).shape == (4, 4, 4)


def test_labels_are_not_replaced(trained, tmp_path):
    config, out = trained
    words = f"--data-root {tmp_path / 'data'}"
    for given in (f"--save-pred {tmp_path / 'data/occ'}", f"--save-sem {tmp_path / 'occ3d/gts'}"):
        with pytest.raises(ValueError, match="holds input, which the results would replace"):
            run(config, out, f"{words} {given}")


def test_distances_and_rays_are_scored_on_demand(trained, tmp_path, capsys):
    config, out = trained
    run(config, out, f"--distances 2 5 --ray-iou --json {tmp_path / 's.json'}")
    table = capsys.readouterr().out
    assert "distance [m]" in table
    assert "RayIoU" in table
    scores = json.loads((tmp_path / "s.json").read_text())
    limits = [(band["from_m"], band["to_m"]) for band in scores["by_distance"]]
    assert limits == [(0, 2), (2, 5), (5, None)]
    assert scores["rays"] > 0
    with pytest.raises(ValueError, match=r"--distances must be .* increase, got \[5\.0, 2\.0\]"):
        run(config, out, "--distances 5 2")


def test_scores_do_not_depend_on_the_batch_size(trained, tmp_path):
    config, out = trained
    for size in (1, 4):
        run(config, out, f"--batch-size {size} --json {tmp_path}/{size}.json")
    assert (tmp_path / "1.json").read_text() == (tmp_path / "4.json").read_text()


def test_scoring_leaves_the_config_and_the_curves_of_the_training_alone(trained):
    config, out = trained
    before = (out / config.name).read_text()
    run(config, out, "--cfg-options runtime.tensorboard=true model.dropout=0.5")
    assert (out / config.name).read_text() == before
    assert not list(out.rglob("events.out.tfevents*"))


def test_split_checkpoint_and_convention_can_be_chosen(trained, tmp_path):
    config, out = trained
    words = f"--split train --resume-from {out / 'latest.pth'} --convention ssc"
    run(config, out, f"{words} --json {tmp_path / 's.json'}")
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores["convention"] == "ssc"


def test_a_network_of_both_is_scored_on_one_sensor(tmp_path):
    write_tiny_unscenes3d(tmp_path / "data", scenes={"scene_00006": "location_4_5"}, sweeps=0)
    shutil.rmtree(tmp_path / "data" / "images")
    config = write_config(tmp_path)
    torch.save(build_model(load_config(config)).state_dict(), tmp_path / "weights.pth")
    words = f"--resume-from {tmp_path / 'weights.pth'} --data-root {tmp_path / 'data'}"
    with pytest.raises(FileNotFoundError):
        run(config, tmp_path / "out", words)
    run(config, tmp_path / "out", f"{words} --sensors lidar --json {tmp_path / 's.json'}")
    assert json.loads((tmp_path / "s.json").read_text())["frames"] == 2


def test_a_calibration_that_cannot_be_right_is_warned_of(tmp_path, caplog):
    [stem, _] = write_tiny_unscenes3d(tmp_path, scenes={"scene_00006": "location_4_5"}, sweeps=0)
    config = write_config(tmp_path)
    torch.save(build_model(load_config(config)).state_dict(), tmp_path / "weights.pth")
    words = f"--resume-from {tmp_path / 'weights.pth'} --data-root {tmp_path}"
    path = tmp_path / layout.relative_path(layout.CALIBS, stem)
    text = path.read_text()
    start = text.index("Tr_velo_to_cam:")
    end = text.index("\n", start)
    turned = "Tr_velo_to_cam: 0 1 0 0 0 0 -1 0 -1 0 0 0"  # Backward.
    path.write_text(text[:start] + turned + text[end:])
    run(config, tmp_path / "out", words)
    assert f"calibration (frame {stem}): no camera looks along x" in caplog.text


def test_a_missing_checkpoint_is_named(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint .*model_state_dict\.pth not found"):
        run(trained[0], tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        "--occ3d",
        "--benchmark occ3d",
        "--resolution 0.4",
        "--use-mask",
        "--scene-size 4",
        "--thresh 0.5",
        "--save-sem d",
    ],
)
def test_options_of_nuscenes_are_rejected(trained, words):
    with pytest.raises(ValueError, match=f"{words.split()[0]}: only for nuScenes"):
        run(*trained, words)


def test_a_config_of_another_data_set_is_rejected(trained):
    with pytest.raises(ValueError, match=r"nuscenes, but .* is a config for ToyFrames"):
        run(*trained, "--dataset nuscenes")


def test_fp16_needs_a_gpu(trained):
    with pytest.raises(ValueError, match="precision fp16 needs a CUDA device"):
        run(*trained, "--amp fp16")


def test_a_cpu_scores_in_bf16(trained, tmp_path):
    scores = []
    for amp in ("off", "bf16"):
        run(*trained, f"--amp {amp} --json {tmp_path / amp}")
        scores.append(json.loads((tmp_path / amp).read_text())["iou"])
    assert scores[1] == pytest.approx(scores[0], rel=0.05)


def test_the_weights_are_enough(trained, tmp_path, caplog):
    config, out = trained
    best = out / "model_state_dict.pth"
    run(config, out, f"--json {tmp_path / 'with.json'}")
    for words in (f"--work-dir {out}", f"--work-dir {tmp_path} --resume-from {best}"):
        words += f" --json {tmp_path / 'alone.json'}"
        eval_iou.main(eval_iou.parse_arguments(words.split()))
        assert (tmp_path / "alone.json").read_text() == (tmp_path / "with.json").read_text()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_options_of_the_training_need_not_be_repeated(tmp_path, caplog):
    config = write_toy_config(tmp_path, epochs=1, val_interval=0)
    options = "--cfg-options grid.shape=(5,5,5) model.dropout=0.5"
    words = f"--py-config {config} --work-dir {tmp_path / 'out'} {options}"
    train.main(train.parse_arguments(words.split()))
    run(config, tmp_path / "out", f"--save-pred {tmp_path / 'pred'}")
    assert np.load(next((tmp_path / "pred").iterdir())).shape == (5, 5, 5)
    assert "grid.shape=(4, 4, 4) (trained with (5, 5, 5))" in caplog.text


def test_frames_that_lack_a_sensor_are_scored_if_allowed(tmp_path, caplog):
    scenes = {"scene_00006": "location_4_5"}
    stems = write_tiny_unscenes3d(tmp_path / "data", scenes=scenes, sweeps=0)
    (tmp_path / "data" / layout.relative_path(layout.IMAGES, stems[0])).unlink()
    config = write_config(tmp_path)
    torch.save(build_model(load_config(config)).state_dict(), tmp_path / "weights.pth")
    words = f"--resume-from {tmp_path / 'weights.pth'} --data-root {tmp_path / 'data'}"
    words += f" --batch-size 2 --json {tmp_path / 's.json'}"
    with pytest.raises(FileNotFoundError):
        run(config, tmp_path / "out", words)
    run(config, tmp_path / "out", f"{words} --allow-missing")
    assert json.loads((tmp_path / "s.json").read_text())["frames"] == 2
    assert f"({stems[0]}); predicted from the LiDAR alone" in caplog.text
    assert "calibration (" not in caplog.text
