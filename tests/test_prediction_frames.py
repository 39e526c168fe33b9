import shutil

import numpy as np
import pytest
import torch

from dataset import layout
from dataset.arrays import InputOptions
from engine.build.build import build_grid, build_model
from engine.prediction.files import FrameWriter
from engine.prediction.frames import (
    PredictionFrames,
    RecordingPaths,
    TimeSpent,
    open_recording,
    predict_frames,
)
from engine.prediction.predictor import GridPredictor
from tests.layout_files import write_tiny_unscenes3d
from tests.nuscenes_config import TINY_GRID, write_nuscenes_config
from tests.nuscenes_files import write_tiny_nuscenes
from tests.predict_config import write_config
from tests.recording_files import write_recording
from utils.config import load_config
from utils.labels import NUSCENES, UNSCENES3D


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def labeled(root):
    """Three scenes of two labeled frames, each with an unlabeled sweep after it."""
    return write_tiny_unscenes3d(root)


@pytest.fixture
def cfg(tmp_path, root, labeled):
    return load_config(write_config(tmp_path), {"data_root": str(root)})


def test_all_frames_are_there_and_the_labeled_ones_have_labels(cfg, labeled):
    frames = PredictionFrames(cfg, "all")
    assert len(frames) == 12
    assert frames.stems == sorted(frames.stems, key=float)
    for index, stem in enumerate(frames.stems):
        sample = frames[index]
        assert sample.stem == stem
        assert (sample.occupancy is not None) == (stem in labeled)
        assert sample.images is not None
        assert sample.depth_m is None
    occupancy = frames[frames.stems.index(labeled[0])].occupancy
    assert tuple(occupancy.shape) == (32, 32, 4)
    assert UNSCENES3D.index("truck") in occupancy


def test_a_folder_without_labels_will_do(tmp_path, cfg):
    scenes = {"scene_00000": "location_1"}
    write_tiny_unscenes3d(tmp_path, scenes=scenes, labels=False, imagesets=())
    cfg.data_root = str(tmp_path)
    frames = PredictionFrames(cfg, "all")
    assert len(frames) == 4
    assert frames[3].occupancy is None


def test_key_frames_of_nuscenes_have_their_labels_too(tmp_path):
    tiny = write_tiny_nuscenes(tmp_path / "nuscenes", samples=1, sweeps=0, image_size=(9, 16))
    (tmp_path / "occ3d/gts/scene-0103").rename(tmp_path / "gone")
    frames = PredictionFrames(
        load_config(write_nuscenes_config(tmp_path / "config.py", tiny.root)), "all"
    )
    labeled, unlabeled = frames[0], frames[1]
    assert labeled.images.shape == (6, 3, 32, 88)
    assert NUSCENES.index("car") in labeled.occupancy
    assert (unlabeled.scene, unlabeled.occupancy) == ("scene-0103", None)


def test_a_split_holds_its_own_frames_only(cfg, labeled):
    assert PredictionFrames(cfg, "val").stems == labeled[2:4]


def test_the_modality_says_what_is_read(cfg, tmp_path):
    cfg.modality, cfg.data_root = "lidar", str(tmp_path)
    write_tiny_unscenes3d(tmp_path, scenes={"scene_00000": "location_1"}, labels=False)
    for file in (tmp_path / layout.IMAGES).iterdir():
        file.write_bytes(b"")  # Would fail if it were opened.
    sample = PredictionFrames(cfg, "all")[0]
    assert sample.images is None
    assert sample.points is not None


def test_stems_are_taken_in_the_order_given_and_once(cfg, labeled):
    wanted = [labeled[3], labeled[0], labeled[3]]
    frames = PredictionFrames(cfg, "all", stems=wanted)
    assert frames.stems == wanted[:2]
    assert [frames[i].stem for i in range(2)] == wanted[:2]


def test_an_unknown_stem_is_rejected_with_its_neighbors(cfg, labeled):
    wrong = labeled[0][:-1] + "7"
    with pytest.raises(ValueError, match=rf"frames: {wrong}; similar stems: .*{labeled[0]}"):
        PredictionFrames(cfg, "all", stems=[labeled[1], wrong])
    with pytest.raises(ValueError, match=r"frames: x; it begins with"):
        PredictionFrames(cfg, "all", stems=["x"])


@pytest.mark.parametrize(("limit", "picked"), [(1, [0]), (3, [0, 6, 11]), (12, None), (99, None)])
def test_a_limit_spreads_over_the_frames(cfg, limit, picked):
    stems = PredictionFrames(cfg, "all").stems
    expected = stems if picked is None else [stems[number] for number in picked]
    assert PredictionFrames(cfg, "all", limit=limit).stems == expected


def test_a_negative_limit_is_rejected(cfg):
    with pytest.raises(ValueError, match="got -1"):
        PredictionFrames(cfg, "all", limit=-1)


def predictor_of(cfg, network=None):
    inputs = InputOptions.from_section(cfg.dataset)
    return GridPredictor(network or build_model(cfg), build_grid(cfg), UNSCENES3D, inputs)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_each_frame_gets_the_grid_that_the_network_predicts(cfg, tmp_path, batch_size):
    network = build_model(cfg)
    frames = PredictionFrames(cfg, "all", limit=3)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    predictor = predictor_of(cfg, network.train())
    writer = FrameWriter(tmp_path, ["npy"], predictor.grid, UNSCENES3D)
    timing = predict_frames(predictor, frames, writer, batch_size=batch_size)
    assert {path.name for path in tmp_path.glob("*.npy")} == {f"{s}.npy" for s in frames.stems}
    for index, stem in enumerate(frames.stems):
        saved = np.load(tmp_path / f"{stem}.npy")
        assert (saved.dtype, saved.shape) == (np.uint8, (32, 32, 4))
        with torch.no_grad():
            counts = network.count(frames[index].points)
            expected = network.head(network.eval().body(counts[None, None]))[0].argmax(0)
        np.testing.assert_array_equal(saved, expected)
    assert timing.frames == 3
    for name, value in network.state_dict().items():
        assert torch.equal(value, weights[name]), f"{name} changed"


def test_a_batch_has_a_frame(cfg, tmp_path):
    predictor = predictor_of(cfg)
    writer = FrameWriter(tmp_path, ["npy"], predictor.grid, UNSCENES3D)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        predict_frames(predictor, PredictionFrames(cfg, "all"), writer, batch_size=0)


def test_timing_says_frames_a_second():
    text = str(TimeSpent(frames=4, read_s=1.0, network_s=2.0, write_s=5.0))
    assert (
        text
        == "4 frames in 8.0 s, 0.50 per second (read 0.25, network 0.50, write 1.25 s per frame)"
    )
    assert "0 frames" in str(TimeSpent())


def test_a_compiled_network_sees_batches_of_one_size(cfg, tmp_path):
    predictor, sizes = predictor_of(cfg), []
    predictor.is_compiled = True
    predict = predictor.predict

    def noted(samples):
        sizes.append([sample.stem for sample in samples])
        return predict(samples)

    predictor.predict = noted
    frames = PredictionFrames(cfg, "all", limit=3)
    writer = FrameWriter(tmp_path, ["npy"], predictor.grid, UNSCENES3D)
    timing = predict_frames(predictor, frames, writer, batch_size=2)
    first, second, third = frames.stems
    assert sizes == [[first, second], [third, third]]
    assert timing.frames == len(list(tmp_path.glob("*.npy"))) == 3
    assert timing.compile_s > 0
    assert f"after {timing.compile_s:.1f} s of compilation" in str(timing)
    sizes.clear()
    predict_frames(predictor, frames, writer, batch_size=1000)
    assert sizes == [[first, second, third]], "no more than there are"


def test_what_is_only_shown_is_read_only_to_be_shown(cfg, labeled):
    frames = PredictionFrames(cfg, "all", stems=labeled[:1], with_extras=False)
    assert frames[0].occupancy is None
    assert frames[0].vehicle is None


def test_frames_of_nuscenes_have_their_labels(tmp_path):
    root = tmp_path / "nuscenes"
    write_tiny_nuscenes(root)
    cfg = load_config(write_nuscenes_config(tmp_path / "config.py", root))
    frames = PredictionFrames(cfg, "all")
    assert frames[0].occupancy.shape == TINY_GRID.shape
    assert frames[0].images.shape[0] == 6
    shutil.rmtree(tmp_path / "occ3d")
    assert PredictionFrames(cfg, "all")[0].occupancy is None


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    root = tmp_path_factory.mktemp("recording")
    write_recording(root)
    return RecordingPaths(root / "images", root / "clouds", root / "calib.txt")


def test_a_recording_has_what_the_network_reads(cfg, recording, caplog):
    frames = open_recording(cfg, recording)
    assert len(frames) == 2
    assert frames[1].images.shape == (1, 3, 30, 48)
    cfg.modality = "lidar"
    with caplog.at_level("INFO"):
        sample = open_recording(cfg, recording)[0]
    assert sample.images is None
    assert "does not read the images" in caplog.text
    assert len(open_recording(cfg, RecordingPaths(None, recording.clouds, None))) == 2


def test_a_network_of_accumulated_clouds_is_warned_of(cfg, recording, caplog):
    open_recording(cfg, recording)
    assert "sweeps" not in caplog.text
    cfg.dataset.num_sweeps = 10
    open_recording(cfg, recording)
    assert "trained on 10 aggregated sweeps" in caplog.text


def test_a_recording_may_be_cut_down(cfg, recording):
    assert len(open_recording(cfg, recording, limit=1)) == 1
    stem = open_recording(cfg, recording)[1].stem
    assert [sample.stem for sample in open_recording(cfg, recording, stems=[stem])] == [stem]


def test_a_recording_that_lacks_what_the_network_reads_is_rejected(cfg, recording):
    with pytest.raises(ValueError, match="pass --calib and --clouds"):
        open_recording(cfg, RecordingPaths(recording.images, None, None))
    cfg.modality = "camera"
    with pytest.raises(ValueError, match=r"'camera' reads .*: pass --images"):
        open_recording(cfg, recording._replace(images=None))


def test_captions_and_motion_are_shown_where_there_are_files(cfg, labeled):
    frames = PredictionFrames(cfg, "all")
    for index, stem in enumerate(frames.stems):
        sample = frames[index]
        assert sample.vehicle.velocity_mps == (1.2, 0.05, 0.0)  # Of sweeps too.
        assert (sample.caption is not None) == (stem in labeled)


def test_what_the_network_does_not_read_may_be_missing(tmp_path, cfg):
    stems = write_tiny_unscenes3d(tmp_path, scenes={"scene_00000": "location_1"}, sweeps=0)
    cfg.data_root = str(tmp_path)
    (tmp_path / layout.relative_path(layout.CAPTIONS, stems[0])).unlink()
    (tmp_path / layout.relative_path(layout.VEHICLE_INFOS, stems[1])).unlink()
    first, second = (PredictionFrames(cfg, "all")[index] for index in range(2))
    assert (first.caption, second.vehicle) == (None, None)
    assert second.caption == "A truck stands beside a wall."
    assert first.vehicle is not None
