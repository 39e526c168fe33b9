from dataclasses import replace
from math import log

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from dataset.arrays import InputOptions
from dataset.sample import Loss, Sample
from engine.build.build import build_model
from engine.prediction.predictor import GridPredictor, PredictedGrid, build_unsocc
from model.lidar_encoder import LidarEncoder
from model.unsocc import COMPILED_PARTS
from tests.model_inputs import GRID, IMAGE_SIZE, make_batch, make_model
from tests.predict_config import write_config
from tests.trained import save_trained
from utils.config import load_config
from utils.labels import UNSCENES3D

INPUTS = InputOptions(IMAGE_SIZE)


def predictor_of(**changes):
    return GridPredictor(make_model(**changes), GRID, UNSCENES3D, INPUTS)


def samples_of(batch):
    parts = zip(batch.stems, batch.images, batch.points, batch.pixel_from_lidar, strict=True)
    return [
        Sample(stem, images=images, points=points, pixel_from_lidar=matrix)
        for stem, images, points, matrix in parts
    ]


def arrays_of(sample):
    return dict(
        image=sample.images[0].permute(1, 2, 0).contiguous().numpy(),
        points=sample.points.numpy(),
        pixel_from_lidar=sample.pixel_from_lidar[0].numpy(),
    )


def test_the_grid_is_what_the_network_says():
    predictor, batch = predictor_of(), make_batch()
    with torch.no_grad():
        probability = predictor.network(batch).softmax(dim=1)
    for index, predicted in enumerate(predictor.predict(samples_of(batch))):
        best, label = probability[index].max(dim=0)
        np.testing.assert_array_equal(predicted.occupancy, label)
        np.testing.assert_allclose(predicted.confidence, best, rtol=1e-5)
        entropy = -(probability[index] * probability[index].log()).sum(dim=0)
        np.testing.assert_allclose(predicted.entropy, entropy, atol=1e-5)


def test_entropy_goes_from_certain_to_ignorant():
    predictor = predictor_of()
    for scale, confidence, entropy in [(0.0, 1 / 12, log(12)), (100.0, 1.0, 0.0)]:
        logits = torch.zeros(1, 12, *GRID.shape)
        logits[:, 4] = scale
        handle = predictor.network.head.register_forward_hook(lambda *_, made=logits: made)
        (predicted,) = predictor.predict(samples_of(make_batch(1)))
        handle.remove()
        np.testing.assert_allclose(predicted.confidence, confidence, rtol=1e-5)
        np.testing.assert_allclose(predicted.entropy, entropy, atol=1e-5)
        assert predicted.occupancy.dtype == np.uint8


def test_arrays_are_predicted_as_samples_are():
    predictor, (sample,) = predictor_of(), samples_of(make_batch(1))
    expected = predictor.predict([sample])[0]
    found = predictor(**arrays_of(sample))
    assert isinstance(found, PredictedGrid)
    for name, value in expected._asdict().items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("kind", [torch.tensor, np.ndarray.tolist])
def test_tensors_and_lists_are_as_good_as_arrays(kind):
    predictor, (sample,) = predictor_of(), samples_of(make_batch(1))
    expected = predictor.predict([sample])[0]
    arrays = arrays_of(sample)
    arrays["image"] = torch.from_numpy(arrays["image"])
    for name in ("points", "pixel_from_lidar"):
        arrays[name] = kind(arrays[name])
    np.testing.assert_array_equal(predictor(**arrays).occupancy, expected.occupancy)
    with pytest.raises(ValueError, match="points must be an array of numbers, got str"):
        predictor(points="a.bin")


def test_several_cameras_are_a_list_of_images():
    predictor, (sample,) = predictor_of(), samples_of(make_batch(1, cameras=2))
    images = list(sample.images.permute(0, 2, 3, 1).contiguous().numpy())
    expected, matrices = predictor.predict([sample])[0], sample.pixel_from_lidar.numpy()
    for given in (matrices, list(matrices)):
        found = predictor(images, sample.points.numpy(), given)
        np.testing.assert_array_equal(found.occupancy, expected.occupancy)


def test_an_image_can_be_the_content_of_its_file():
    predictor, (sample,) = predictor_of(), samples_of(make_batch(1))
    arrays = arrays_of(sample)
    expected = predictor(**arrays).occupancy
    arrays["image"] = cv2.imencode(".png", arrays["image"][..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(predictor(**arrays).occupancy, expected)
    arrays["image"] = [arrays["image"]]
    np.testing.assert_array_equal(predictor(**arrays).occupancy, expected)
    with pytest.raises(ValueError, match="the image: expected an image"):
        predictor(**arrays | {"image": b"no image"})


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_the_content_of_a_file_can_be_in_any_buffer(kind):
    predictor, (sample,) = predictor_of(modality="camera"), samples_of(make_batch(1))
    arrays = arrays_of(sample)
    expected = predictor(**arrays).occupancy
    arrays["image"] = kind(cv2.imencode(".png", arrays["image"][..., ::-1])[1].tobytes())
    np.testing.assert_array_equal(predictor(**arrays).occupancy, expected)


def test_a_lost_sensor_is_warned_of_once(caplog):
    predictor, (sample,) = predictor_of(), samples_of(make_batch(1))
    arrays = arrays_of(sample)
    for _ in range(2):
        predictor(**arrays | {"image": np.zeros_like(arrays["image"])})
        predictor(**arrays | {"points": arrays["points"][:0]})
    blank, empty = caplog.messages
    assert blank == f"frame frame: {Loss.BLANK_IMAGE.value}; later frames are not warned of"
    assert Loss.NO_POINTS.value in empty


def test_what_is_no_image_is_named():
    predictor, (sample,) = predictor_of(), samples_of(make_batch(1))
    arrays = arrays_of(sample)
    for given in ("a.jpg", arrays["image"].tolist(), ["a.jpg"]):
        with pytest.raises(ValueError, match=r"or bytes as from Path.read_bytes\(\), got"):
            predictor(**arrays | {"image": given})


def test_a_network_of_one_sensor_needs_its_arrays_only():
    arrays = arrays_of(samples_of(make_batch(1))[0])
    assert predictor_of(modality="lidar")(points=arrays["points"]).occupancy.shape == GRID.shape
    points = arrays.pop("points")
    assert predictor_of(modality="camera")(**arrays).occupancy.shape == GRID.shape
    with pytest.raises(ValueError, match="sensors 'both', but image is None: pass it, or build"):
        predictor_of()(points=points)
    with pytest.raises(ValueError, match="sensors 'both', but points is None"):
        predictor_of()(**arrays)


def test_labels_of_a_sample_play_no_part():
    predictor, (sample, other) = predictor_of(), samples_of(make_batch())
    labeled = replace(sample, occupancy=torch.zeros(GRID.shape, dtype=torch.uint8), caption="a")
    assert len(predictor.predict([labeled, other])) == 2


def test_gaussians_come_with_the_same_grid():
    predictor, (sample,) = predictor_of(), samples_of(make_batch(1))
    in_training = predictor.network.refinement.num_gaussians
    grid, gaussians = predictor.predict_with_gaussians(sample)
    np.testing.assert_array_equal(grid.occupancy, predictor.predict([sample])[0].occupancy)
    assert gaussians.means_m.shape == (1, in_training, 3)
    fewer = GridPredictor(make_model(), GRID, UNSCENES3D, INPUTS, num_gaussians=7)
    assert fewer.predict_with_gaussians(sample)[1].means_m.shape == (1, 7, 3)
    lidar = predictor_of(modality="lidar")
    assert lidar.predict_with_gaussians(sample)[1] is None


def test_build_unsocc_loads_config_and_weights(tmp_path):
    config = write_config(tmp_path)
    weights = tmp_path / "weights.pth"
    torch.save(build_model(load_config(config), seed=3).state_dict(), weights)
    predictor = build_unsocc(weights, config, device="cpu")
    loaded, saved = predictor.network.state_dict(), torch.load(weights)
    assert all(torch.equal(loaded[name], value) for name, value in saved.items())
    assert not predictor.network.training
    assert predictor.inputs.image_size == (30, 48)
    changed = build_unsocc(weights, config, options={"dataset.image_size": (60, 96)})
    assert changed.inputs.image_size == (60, 96)
    with pytest.raises(ValueError, match=r"weights\.pth does not contain its config"):
        build_unsocc(weights)
    with pytest.raises(FileNotFoundError, match=r"checkpoint .* not found"):
        build_unsocc(tmp_path / "nothing.pth", config)
    with pytest.raises(ValueError, match="needs a CUDA device"):
        build_unsocc(weights, config, device="cpu", amp="fp16")


def test_a_cpu_predicts_in_bf16_what_it_predicts_in_fp32():
    samples = samples_of(make_batch(2))
    network = make_model()
    single, half = (
        GridPredictor(network, GRID, UNSCENES3D, INPUTS, amp=amp).predict(samples)
        for amp in (None, torch.bfloat16)
    )
    for one, other in zip(single, half, strict=True):
        np.testing.assert_allclose(other.confidence, one.confidence, atol=0.02)
        assert (other.confidence != one.confidence).any()


def test_build_unsocc_needs_only_weights_that_contain_their_config(tmp_path, caplog):
    cfg = load_config(write_config(tmp_path), {"dataset.image_size": (60, 96)})
    predictor = build_unsocc(save_trained(cfg, tmp_path / "w.pth"), device="cpu")
    assert predictor.inputs == InputOptions((60, 96))
    assert predictor.grid.shape == (32, 32, 4)
    assert not caplog.text
    changed = build_unsocc(tmp_path / "w.pth", options={"dataset.image_size": (30, 48)})
    assert changed.inputs.image_size == (30, 48)
    assert "dataset.image_size=(30, 48) (trained with (60, 96))" in caplog.text


def test_frames_that_lost_a_sensor_are_predicted_from_the_other():
    predictor, (first, second) = predictor_of(), samples_of(make_batch(2))
    blind = replace(first, images=None, pixel_from_lidar=None, lost=(Loss.NO_IMAGE,))
    deaf = replace(second, points=None, lost=(Loss.NO_POINTS,))
    found = predictor.predict([blind, second, deaf])
    np.testing.assert_array_equal(found[1].occupancy, predictor.predict([second])[0].occupancy)
    assert predictor.predict_with_gaussians(blind)[1] is None
    assert predictor.predict_with_gaussians(deaf)[1] is not None
    for sensors, sample, grid in (("lidar", first, found[0]), ("camera", second, found[2])):
        predictor.network.use_sensors(sensors)
        expected = predictor.predict([sample])[0]
        np.testing.assert_allclose(grid.confidence, expected.confidence, rtol=1e-4)


def test_build_unsocc_chooses_the_sensors(tmp_path, caplog):
    cfg = load_config(write_config(tmp_path))
    predictor = build_unsocc(save_trained(cfg, tmp_path / "w.pth"), sensors="lidar", device="cpu")
    assert predictor.network.sensors == "lidar"
    assert "from sensors 'lidar' but was trained without model.sensor_dropout" in caplog.text
    with pytest.raises(ValueError, match="cannot predict from sensors 'radar'"):
        build_unsocc(tmp_path / "w.pth", sensors="radar")


def without_compiler(monkeypatch):
    """Note what would be compiled, which takes a minute."""
    parts = []
    for kind in (nn.Module, LidarEncoder):
        monkeypatch.setattr(kind, "compile", lambda part, options: parts.append(part))
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    return parts


def test_a_compiled_predictor_gives_the_same(monkeypatch):
    parts = without_compiler(monkeypatch)
    predictor, samples = predictor_of(), samples_of(make_batch())
    wanted = predictor.predict(samples)
    assert not predictor.is_compiled
    predictor.compile()
    assert predictor.is_compiled
    assert parts == [getattr(predictor.network, name) for name in COMPILED_PARTS]
    for got, expected in zip(predictor.predict(samples), wanted, strict=True):
        np.testing.assert_array_equal(got.occupancy, expected.occupancy)


def test_build_unsocc_compiles_on_request(tmp_path, monkeypatch):
    monkeypatch.setattr(GridPredictor, "compile", lambda self: setattr(self, "is_compiled", True))
    weights = save_trained(load_config(write_config(tmp_path)), tmp_path / "w.pth")
    assert build_unsocc(weights, device="cpu", compiled=True).is_compiled
    assert not build_unsocc(weights, device="cpu").is_compiled


@pytest.mark.gpu
@pytest.mark.usefixtures("without_type_checks")
def test_on_a_gpu_a_compiled_predictor_gives_the_same():
    predictor, samples = predictor_of(), samples_of(make_batch(2))
    predictor.network.cuda()
    wanted = [predictor.predict([sample])[0] for sample in samples]
    predictor.compile()
    for _ in range(2):
        for sample, expected in zip(samples, wanted, strict=True):
            (got,) = predictor.predict([sample])
            assert (got.occupancy == expected.occupancy).mean() > 0.99  # TF32 may turn ties.
            np.testing.assert_allclose(got.confidence, expected.confidence, atol=1e-2)
    assert predictor.network.captured is not None
