import shutil

import cv2
import numpy as np
import pytest
import torch

import predict
from engine.build.build import build_model
from tests.layout_files import write_tiny_unscenes3d
from tests.predict_config import write_config
from tests.recording_files import json_rig, write_json_rig, write_recording
from tests.trained import save_trained
from utils.config import load_config


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """Two labeled frames, both of the split val."""
    root = tmp_path_factory.mktemp("data")
    write_tiny_unscenes3d(root, scenes={"scene_00006": "location_4_5"}, sweeps=0)
    return root


@pytest.fixture
def arguments(tmp_path, data_root):
    """Words of a command line that works."""
    config = write_config(tmp_path)
    torch.save(build_model(load_config(config)).state_dict(), tmp_path / "weights.pth")
    return {
        "--py-config": str(config),
        "--resume-from": str(tmp_path / "weights.pth"),
        "--data-root": str(data_root),
        "--out": str(tmp_path / "out"),
        "--device": "cpu",
    }


def run(arguments):
    predict.main(predict.parse_arguments([word for pair in arguments.items() for word in pair]))


def test_the_command_line_predicts_and_draws_and_says_how_fast(arguments, tmp_path, capsys):
    run(arguments)
    grids = sorted((tmp_path / "out").glob("*.npy"))
    assert len(grids) == len(list((tmp_path / "out").glob("*.png"))) == 2
    assert np.load(grids[0]).shape == (32, 32, 4)
    assert "2 frames in" in capsys.readouterr().err


def test_labels_and_sensor_data_are_not_replaced(arguments, data_root, tmp_path):
    for folder in ("occ", "images", "."):
        with pytest.raises(ValueError, match="holds input, which the results would replace"):
            run(arguments | {"--out": str(data_root / folder)})
    del arguments["--data-root"]
    for folder in ("images", "clouds"):
        paths = {f"--{name}": str(tmp_path / name) for name in ("images", "clouds", "calib")}
        with pytest.raises(ValueError, match=f"{folder} holds input, which the results"):
            run(arguments | paths | {"--out": paths[f"--{folder}"]})
    with pytest.raises(ValueError, match="clouds holds input, which the results"):
        run(arguments | {"--follow": str(tmp_path), "--out": str(tmp_path / "clouds")})


def test_compilation_is_an_option(arguments, monkeypatch):
    asked = []
    build = predict.build_predictor

    def noted(*args, compiled, **kwargs):
        asked.append(compiled)
        return build(*args, **kwargs)

    monkeypatch.setattr(predict, "build_predictor", noted)
    words = [word for pair in (arguments | {"--format": "npy"}).items() for word in pair]
    for extra in ([], ["--compile"]):
        predict.main(predict.parse_arguments([*words, *extra]))
    assert asked == [False, True]


def test_split_and_limit_choose_frames(arguments, tmp_path):
    run(arguments | {"--split": "val", "--limit": "1"})
    assert len(list((tmp_path / "out").glob("*.npy"))) == 1


def test_options_reach_the_config(arguments, tmp_path):
    run(arguments | {"--cfg-options": "modality=lidar", "--limit": "1"})
    assert len(list((tmp_path / "out").glob("*.png"))) == 1


@pytest.mark.parametrize(("sensors", "lost"), [("lidar", "images"), ("camera", "clouds")])
def test_one_sensor_is_enough(arguments, tmp_path, sensors, lost, data_root, caplog):
    copied = tmp_path / "data"
    shutil.copytree(data_root, copied, ignore=shutil.ignore_patterns(lost))
    paths = {"--data-root": str(copied), "--split": "val"}
    with pytest.raises(FileNotFoundError):
        run(arguments | paths)
    run(arguments | paths | {"--sensors": sensors})
    assert len(list((tmp_path / "out").glob("*.npy"))) == 2
    assert "trained without model.sensor_dropout" in caplog.text


def test_a_sensor_that_the_network_lacks_is_rejected(arguments):
    options = {"--cfg-options": "modality=lidar", "--sensors": "camera"}
    with pytest.raises(ValueError, match="modality 'lidar' cannot predict from sensors 'camera'"):
        run(arguments | options)


def test_formats_choose_the_files(arguments, tmp_path):
    words = [word for pair in (arguments | {"--limit": "1"}).items() for word in pair]
    predict.main(predict.parse_arguments([*words, "--format", "npz", "ply", "entropy"]))
    suffixes = sorted(path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert suffixes == [".npy", ".npz", ".ply"]


def test_a_recording_is_predicted(arguments, tmp_path, caplog):
    stems = write_recording(tmp_path / "recording")
    names = {"--images": "images", "--clouds": "clouds", "--calib": "calib.txt"}
    paths = {option: str(tmp_path / "recording" / name) for option, name in names.items()}
    arguments.pop("--data-root")
    run(arguments | paths | {"--batch-size": "2", "--format": "npy"})
    assert {path.stem for path in (tmp_path / "out").iterdir()} == set(stems)
    assert not any(line.startswith("calibration (") for line in caplog.messages)
    with pytest.raises(ValueError, match="use one or the other"):
        run(arguments | paths | {"--split": "val"})


def test_the_weights_are_enough(arguments, tmp_path, data_root, caplog):
    cfg = load_config(arguments.pop("--py-config"), {"data_root": str(data_root)})
    del arguments["--data-root"]
    save_trained(cfg, tmp_path / "weights.pth")
    run(arguments | {"--format": "npy"})
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert "trained" not in caplog.text
    run(arguments | {"--format": "npy", "--cfg-options": "dataset.image_size=(60,96)"})
    assert "dataset.image_size=(60, 96) (trained with (30, 48))" in caplog.text


def test_a_calibration_that_cannot_be_right_is_warned_of(arguments, tmp_path, caplog):
    write_recording(tmp_path / "recording")
    content = json_rig()
    camera = content["cameras"]["front"]
    camera["cam_from_lidar"] = np.linalg.inv(np.array(camera["cam_from_lidar"])).tolist()
    calibration = write_json_rig(tmp_path / "calib.json", content)
    paths = {"--images": tmp_path / "recording/images", "--clouds": tmp_path / "recording/clouds"}
    arguments.pop("--data-root")
    words = {name: str(path) for name, path in paths.items()} | {"--calib": str(calibration)}
    run(arguments | words | {"--format": "npy", "--limit": "1"})
    lines = [line for line in caplog.messages if line.startswith("calibration (")]
    assert any("up direction 9" in line for line in lines)
    assert any("% of the points fall on an image" in line for line in lines)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"--resume-from": "nothing.pth"}, FileNotFoundError, "checkpoint nothing.pth not found"),
        ({"--data-root": "nowhere"}, FileNotFoundError, "no data set at 'nowhere'"),
        ({"--py-config": "nothing.py"}, FileNotFoundError, "config nothing.py not found"),
        ({"--stems": "12.5"}, ValueError, r"frames: 12\.5;"),
        ({"--cfg-options": "modalty=lidar"}, ValueError, "modality"),
        ({"--amp": "fp16"}, ValueError, "needs a CUDA device"),
    ],
)
def test_wrong_words_stop_before_anything_is_written(arguments, tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        run(arguments | change)
    assert not (tmp_path / "out").exists()


def broken(data_root, folder):
    """A copy in which the first frame lacks its image and the second its cloud."""
    shutil.copytree(data_root, folder)
    images, clouds = (sorted((folder / name).iterdir()) for name in ("images", "clouds"))
    images[0].unlink()
    clouds[1].write_bytes(b"")
    return images[0].stem, clouds[1].stem


def run_allowing(arguments):
    words = [word for pair in arguments.items() for word in pair]
    predict.main(predict.parse_arguments([*words, "--allow-missing", "--format", "npy", "points"]))


def test_frames_that_lack_a_sensor_are_predicted_if_allowed(arguments, tmp_path, data_root, caplog):
    blind, deaf = broken(data_root, tmp_path / "data")
    changed = arguments | {"--data-root": str(tmp_path / "data"), "--batch-size": "2"}
    with pytest.raises(FileNotFoundError, match=rf"images/ lacks 1 of 2: {blind}.*allow-missing"):
        run(changed | {"--split": "val"})
    run_allowing(changed)
    assert {path.stem for path in (tmp_path / "out").glob("*.npy")} == {blind, deaf}
    assert f"1 of 2 frames: the image is missing or a file of 0 bytes ({blind})" in caplog.text
    assert f"the point cloud is missing or a file of 0 bytes ({deaf})" in caplog.text
    assert "frames that lack a sensor but was trained without model.sensor_dropout" in caplog.text


def test_a_recording_whose_frames_lack_a_sensor_is_predicted_if_allowed(
    arguments, tmp_path, caplog
):
    stems = write_recording(tmp_path / "recording")
    (tmp_path / f"recording/clouds/{stems[1]}.bin").unlink()
    names = {"--images": "images", "--clouds": "clouds", "--calib": "calib.txt"}
    paths = {option: str(tmp_path / "recording" / name) for option, name in names.items()}
    arguments.pop("--data-root")
    run_allowing(arguments | paths)
    assert len(list((tmp_path / "out").glob("*.npy"))) == 2
    assert f"0 bytes ({stems[1]}); predicted from the camera alone" in caplog.text


def test_only_networks_of_both_sensors_can_lose_one(arguments):
    with pytest.raises(ValueError, match="reads both sensors, this one reads 'lidar'"):
        run_allowing(arguments | {"--sensors": "lidar"})


def test_blank_images_are_warned_of(arguments, tmp_path, data_root, caplog):
    shutil.copytree(data_root, tmp_path / "data")
    path = sorted((tmp_path / "data/images").iterdir())[0]
    cv2.imwrite(str(path), np.zeros((60, 96, 3), np.uint8))
    run(arguments | {"--data-root": str(tmp_path / "data"), "--format": "npy"})
    assert f"1 of 2 frames: the image has a single color ({path.stem}); check" in caplog.text
