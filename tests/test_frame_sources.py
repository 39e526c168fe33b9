import os

import numpy as np
import pytest
import torch

from dataset import layout
from dataset.arrays import InputOptions
from dataset.occupancy_files import write_prediction
from dataset.sample import Sample
from engine.build.build import build_grid, build_model
from engine.frames.sources import Recordings, SavedPredictions
from engine.prediction.options import LivePrediction
from engine.prediction.predictor import GridPredictor
from engine.viewer.choice import (
    CAMERAS,
    DIFFERENCE,
    ELEVATION,
    POINTS,
    extras_of,
    layers_of,
)
from tests.layout_files import TRUCK, write_tiny_unscenes3d
from tests.model_inputs import GRID, IMAGE_SIZE, make_batch, make_model
from tests.nuscenes_config import write_nuscenes_config
from tests.nuscenes_files import write_tiny_nuscenes
from tests.predict_config import write_config
from utils.config import load_config
from utils.labels import NUSCENES, RELLIS3D, UNSCENES3D, WILDOCC


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two drives of two labeled frames, with unlabeled ones between."""
    root = tmp_path_factory.mktemp("data")
    write_tiny_unscenes3d(root, scenes={"scene_00006": "location_4_5", "scene_00000": "location_1"})
    return root


def config(tmp_path, root):
    return load_config(write_config(tmp_path), {"data_root": str(root)})


def test_a_data_set_gives_all_that_there_is(tmp_path, root):
    frames = Recordings(config(tmp_path, root), "all")
    assert len(frames.stems) == 8  # Frames without labels are shown too.
    assert frames.grid.shape == (32, 32, 4)
    frame = frames.read(0)
    assert frame.sample.stem == frames.stems[0]
    assert frame.label.shape == (32, 32, 4)
    assert TRUCK in frame.label
    assert frame.predicted is None
    assert frame.prediction is None
    assert extras_of(frame) == (POINTS, CAMERAS, ELEVATION)
    unlabeled = frames.read(1)
    assert layers_of(unlabeled) == ()
    assert extras_of(unlabeled) == (POINTS, CAMERAS)


def test_a_split_a_scene_and_stems_choose_frames(tmp_path, root):
    cfg = config(tmp_path, root)
    labeled = Recordings(cfg, "val")
    assert len(labeled.stems) == 2
    one_drive = Recordings(cfg, "all", scene="scene_00000")
    assert len(one_drive.stems) == 4
    assert one_drive.read(0).sample.scene == "scene_00000"
    stems = labeled.stems[::-1]
    assert Recordings(cfg, "all", stems=stems).stems == stems
    with pytest.raises(
        ValueError, match=r"no frames of scene 'scene_7'; scenes are \['scene_00000'"
    ):
        Recordings(cfg, "all", scene="scene_7")


def test_key_frames_have_six_cameras_and_the_labels_that_are_there(tmp_path):
    tiny = write_tiny_nuscenes(tmp_path / "nuscenes", samples=2, sweeps=0, image_size=(9, 16))
    gone = tiny.samples["scene-0061"][1]
    (tmp_path / "occ3d/gts/scene-0061" / gone / "labels.npz").unlink()
    cfg = load_config(write_nuscenes_config(tmp_path / "config.py", tiny.root))
    everything = Recordings(cfg, "all")
    in_time = [stem for scene in sorted(tiny.samples) for stem in tiny.samples[scene]]
    assert everything.stems == in_time != sorted(in_time)
    frames = [everything.read(index) for index in range(4)]
    assert all(frame.sample.images.shape == (6, 3, 32, 88) for frame in frames)
    assert all({POINTS, CAMERAS} <= set(extras_of(frame)) for frame in frames)
    assert [frame.label is None for frame in frames] == [stem == gone for stem in in_time]
    assert frames[0].label.shape == (32, 32, 4)
    assert {NUSCENES.index("car"), NUSCENES.index("driveable_surface")} <= set(frames[0].label.flat)
    assert Recordings(cfg, "all", scene="scene-0103").stems == in_time[2:]
    # Predictions are named by tokens, whose order says nothing.
    assert Recordings(cfg, "all", among=sorted(in_time[:3])).stems == in_time[:3]
    with pytest.raises(ValueError, match="1 of the requested stems are not in the split 'all'"):
        Recordings(cfg, "all", among=["x"])


def test_labels_alone_are_enough(tmp_path):
    root = tmp_path / "data"
    write_tiny_unscenes3d(root, scenes={"scene_00000": "location_1"}, sweeps=0)
    for folder in (layout.IMAGES, layout.CLOUDS, layout.CALIBS, layout.ELEVATION):
        for path in (root / folder).iterdir():
            path.unlink()
        (root / folder).rmdir()
    frame = Recordings(config(tmp_path, root), "all").read(0)
    assert TRUCK in frame.label
    assert extras_of(frame) == ()


def test_saved_predictions_stand_beside_their_labels(tmp_path, root):
    cfg = config(tmp_path, root)
    truth = Recordings(cfg, "val")
    for index, stem in enumerate(truth.stems):
        write_prediction(tmp_path / "pred", stem, np.full((32, 32, 4), index, np.uint8))
    saved = SavedPredictions(tmp_path / "pred", build_grid(cfg), UNSCENES3D)
    frames = Recordings(cfg, "all", predict=saved.predict, stems=saved.stems)
    assert frames.stems == truth.stems
    assert (frames.read(1).prediction == 1).all()
    assert DIFFERENCE in layers_of(frames.read(1))


def test_a_named_pipe_among_predictions_is_named_and_not_opened(tmp_path):
    os.mkfifo(tmp_path / "1.5.npy")
    with pytest.raises(ValueError, match=r"1\.5\.npy: expected a file, found .* a named pipe"):
        SavedPredictions(tmp_path, None, UNSCENES3D)


@pytest.mark.parametrize(
    ("labels", "shape", "voxel_m"),
    [
        (UNSCENES3D, (256, 256, 32), 0.3),
        (UNSCENES3D, (64, 64, 8), 1.2),
        (NUSCENES, (200, 200, 16), 0.4),
        (NUSCENES, (100, 100, 8), 0.8),
        (RELLIS3D, (100, 100, 40), 0.2),
        (WILDOCC, (50, 50, 20), 0.4),
    ],
)
def test_the_grid_of_predictions_alone_follows_from_their_shape(tmp_path, labels, shape, voxel_m):
    write_prediction(tmp_path, "10.5", np.zeros(shape, np.uint8))
    write_prediction(tmp_path, "9.5", np.zeros(shape, np.uint8))
    saved = SavedPredictions(tmp_path, None, labels)
    assert saved.stems == ["9.5", "10.5"]
    assert saved.grid.shape == shape
    assert saved.grid.voxel_m == pytest.approx(voxel_m)
    assert saved.read(0).sample.stem == "9.5"


def test_rows_are_predictions_too(tmp_path):
    np.save(tmp_path / "1.0.npy", np.array([[3, 4, 5, TRUCK]]))
    saved = SavedPredictions(tmp_path, None, UNSCENES3D)
    occupancy = saved.read(0).prediction
    assert saved.grid == layout.LABEL_GRID
    assert occupancy[3, 4, 5] == TRUCK
    assert np.count_nonzero(occupancy) == 1


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 4), np.uint8), r"1.0.npy: labels of shape \(4, 4, 4\) do not fill"),
        (np.full((32, 32, 4), 40, np.uint8), r"1.0.npy: labels \[40\] are neither one of the 12"),
        (np.full((32, 32, 4), 700), r"1.0.npy: labels range from 700 to 700"),
        (np.array([[99, 0, 0, 1]]), r"1.0.npy: 1 rows lie outside the 32×32×4 grid"),
    ],
)
def test_a_prediction_that_does_not_fit_is_named(tmp_path, array, message):
    np.save(tmp_path / "1.0.npy", array)
    grid = layout.LABEL_GRID.coarsen(8)
    with pytest.raises(ValueError, match=message):
        SavedPredictions(tmp_path, grid, UNSCENES3D).predict(Sample("1.0"))


def test_folders_without_predictions_are_rejected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"prediction folder .* not found"):
        SavedPredictions(tmp_path / "none", None, UNSCENES3D)
    with pytest.raises(FileNotFoundError, match=r"has no predictions: expected STEM.npy"):
        SavedPredictions(tmp_path, None, UNSCENES3D)
    np.save(tmp_path / "1.0.npy", np.zeros((30, 30, 4), np.uint8))
    with pytest.raises(ValueError, match=r"shape \(30, 30, 4\).*--py-config"):
        SavedPredictions(tmp_path, None, UNSCENES3D)


def test_predictions_may_be_in_other_voxels_where_that_is_allowed(tmp_path):
    fine, coarse = layout.LABEL_GRID.coarsen(4), layout.LABEL_GRID.coarsen(8)
    np.save(tmp_path / "1.0.npy", np.zeros(fine.shape, np.uint8))
    assert SavedPredictions(tmp_path, coarse, UNSCENES3D).grid == coarse
    assert SavedPredictions(tmp_path, coarse, UNSCENES3D, any_voxel_size=True).grid == fine
    assert SavedPredictions(tmp_path, fine, UNSCENES3D, any_voxel_size=True).grid is fine


def test_only_the_annotations_asked_for_are_read(tmp_path, root):
    sample = Recordings(config(tmp_path, root), "val", annotations=("occupancy",)).read(0).sample
    assert sample.occupancy is not None
    assert sample.elevation_m is None


def test_a_network_predicts_on_demand(tmp_path, root):
    cfg = config(tmp_path, root)
    network = build_model(cfg)
    inputs = InputOptions.from_section(cfg.dataset)
    predictor = GridPredictor(network, build_grid(cfg), UNSCENES3D, inputs)
    frames = Recordings(cfg, "val", predict=LivePrediction(predictor))
    frame = frames.read(0)
    assert not network.training
    assert frame.prediction.shape == (32, 32, 4)
    assert frame.predicted.splats is None


def test_the_gaussians_of_the_network_are_those_it_trains_with():
    network = make_model()
    network.eval()
    batch = make_batch(1)
    sample = Sample(
        batch.stems[0],
        images=batch.images[0],
        points=batch.points[0],
        pixel_from_lidar=batch.pixel_from_lidar[0],
    )
    with torch.no_grad():
        (expected,) = network(batch, mode="predict")
    inputs = InputOptions(IMAGE_SIZE)
    predictor = GridPredictor(network, GRID, UNSCENES3D, inputs, num_gaussians=50)
    predicted = LivePrediction(predictor)(sample)
    np.testing.assert_array_equal(predicted.occupancy, expected.occupancy.numpy())
    splats = predicted.splats
    assert len(splats.centers_m) == 50
    inside = network.grid.contains(torch.from_numpy(splats.centers_m))
    assert inside.all()
    assert (np.linalg.eigvalsh(splats.covariances_m2.astype(np.float64)) > 0).all()
