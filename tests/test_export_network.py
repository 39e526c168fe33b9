"""The network as a function of raw tensors equals the network."""

import numpy as np
import pytest
import torch
from torch import nn

from engine.benchmark import synthetic
from engine.export.export import ExportOptions, check_frames, export, sign
from engine.export.files import traced
from engine.export.frames import made_up_frames, recorded_frames
from engine.export.network import ExportedNetwork
from engine.export.signature import describe
from tests.export_network import BASE, small_network
from utils.labels import FREE

SIZE = (75, 120)


@pytest.fixture(scope="module", autouse=True)
def few_points():
    """Fewer points than a frame of the benchmark has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "POINTS_PER_SWEEP", 2000)
        yield


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_network(tmp_path_factory.mktemp("network"))


def exported(small, **options):
    """An exported network, its signature, its frames and its predictor."""
    cfg, _, predictor = small
    chosen = ExportOptions(image_size=SIZE, **{"frames": 1, **options})
    frames = list(check_frames(cfg, predictor, chosen))
    signature = sign(cfg, predictor, frames, chosen)
    return ExportedNetwork(predictor, signature).eval(), signature, frames, predictor


def run(network, signature, frame):
    with torch.no_grad():
        outputs = network(*frame.inputs(signature, torch.device("cpu")))
    return dict(zip(signature.outputs, outputs, strict=True))


def test_predicts_what_the_network_predicts(small):
    network, signature, frames, predictor = exported(small, extras=("probabilities",))
    found = run(network, signature, frames[0])
    expected = predictor.predict([frames[0].sample(predictor.inputs)])[0]
    assert found["occupancy"].dtype == torch.uint8
    same = (found["occupancy"].numpy() == expected.occupancy).mean()
    assert same > 0.999  # Rounding of the resize moves a few scores by 1e-4.
    assert len(np.unique(expected.occupancy)) > 1
    best = found["probabilities"].amax(0).numpy()
    np.testing.assert_allclose(best, expected.confidence, atol=5e-3)


def test_without_labels_a_threshold_chooses_what_is_occupied(small, monkeypatch):
    network, signature, frames, predictor = exported(small, extras=("probabilities",))
    probabilities = run(network, signature, frames[0])["probabilities"]
    threshold = (1 - probabilities[FREE]).median().item()
    monkeypatch.setattr(predictor.network, "occupied_threshold", threshold)
    found = run(network, signature, frames[0])["occupancy"]
    expected = predictor.predict([frames[0].sample(predictor.inputs)])[0].occupancy
    assert 0.2 < (expected != FREE).mean() < 0.8
    assert (found.numpy() == expected).mean() > 0.99


def test_padding_far_points_and_bad_points_play_no_part(small):
    network, signature, frames, _ = exported(small)
    clean = run(network, signature, frames[0])["occupancy"]
    images, matrices, points, number = frames[0].inputs(signature, torch.device("cpu"))
    points[int(number) :] = torch.tensor([5.0, 0.0, 0.0, 1.0])  # Inside the grid, but padding.
    with torch.no_grad():
        assert torch.equal(network(images, matrices, points, number)[0], clean)
        points[int(number)] = torch.tensor([5.0, torch.nan, 0.0, 1.0])
        points[int(number) + 1] = torch.tensor([200.0, 0.0, 0.0, 1.0])
        assert torch.equal(network(images, matrices, points, number + 2)[0], clean)


@pytest.mark.parametrize(
    ("sensors", "inputs"),
    [("camera", ["images", "pixel_from_lidar"]), ("lidar", ["points", "num_points"])],
)
def test_one_sensor_of_two(tmp_path, sensors, inputs):
    small = small_network(tmp_path, sensors=sensors)
    cfg, _, predictor = small
    size = SIZE if sensors == "camera" else None
    chosen = ExportOptions(image_size=size, frames=1)
    frames = list(check_frames(cfg, predictor, chosen))
    signature = sign(cfg, predictor, frames, chosen)
    assert list(signature.inputs) == inputs
    found = run(ExportedNetwork(predictor, signature).eval(), signature, frames[0])
    expected = predictor.predict([frames[0].sample(predictor.inputs)])[0].occupancy
    assert (found["occupancy"].numpy() == expected).mean() > 0.999


def test_elevation_on_request(tmp_path):
    changes = {
        "model.parts.elevation.channels": (4, 4),
        "model.parts.elevation.context_channels": 2,
    }
    small = small_network(tmp_path, BASE.with_name("minesim_elevation.py"), **changes)
    network, signature, frames, predictor = exported(small, extras=("elevation",))
    found = run(network, signature, frames[0])
    batch = predictor.load([frames[0].sample(predictor.inputs)])
    with torch.no_grad():
        expected = predictor.network.infer(batch).elevation[0]
    torch.testing.assert_close(found["elevation"], expected, atol=1e-3, rtol=0)  # of a meter
    entries = describe(signature, small[0], small[1], device="cpu", precision="fp32")
    assert entries["elevation.shape"].split() == ["204", "217"]
    assert entries["elevation.near_right_m"] == "25 -10.88"
    assert entries["elevation.cell_m"] == "0.1"


def test_voxels_without_room_are_counted(small):
    network, signature, frames, _ = exported(small, max_voxels=(64, 1024))
    assert signature.outputs == ("occupancy", "dropped_voxels")
    assert run(network, signature, frames[0])["dropped_voxels"] > 0
    roomy = exported(small, max_points=8192, max_voxels=(8192, 8192))[1]
    assert roomy.outputs == ("occupancy",)
    assert roomy.room == (32 * 32 * 4, 16 * 16 * 2)


def test_frames_of_a_data_set_keep_their_content(small):
    cfg, _, predictor = small
    frame = next(iter(made_up_frames(cfg, SIZE, 1)))
    sample = frame.sample(predictor.inputs)
    (again,) = recorded_frames([sample], predictor.inputs, (150, 240))
    assert again.images.shape == (1, 150, 240, 3)
    seen = again.sample(predictor.inputs)
    torch.testing.assert_close(seen.pixel_from_lidar, sample.pixel_from_lidar, rtol=1e-4, atol=1e-2)
    difference = (seen.images.float() - sample.images.float()).abs()
    assert difference.mean() < 5
    assert torch.equal(seen.points, sample.points)


class Shifted(ExportedNetwork):
    """A network with numbers in its code."""

    def __init__(self):
        nn.Module.__init__(self)
        self.network = nn.Identity()

    def forward(self, values):
        return values + torch.tensor([1.0, 2.0]).to(values.device)


def test_numbers_in_the_code_lie_on_the_device_of_the_inputs():
    program = traced(Shifted(), [torch.zeros(2, device="meta")])
    [(_, constant)] = program.constants.items()
    assert constant.device.type == "meta"


@pytest.mark.gpu
@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_package_for_a_gpu_predicts_what_the_network_predicts(tmp_path, precision):
    cfg, weights, _ = small_network(tmp_path)
    options = ExportOptions(image_size=SIZE, frames=1, device="cuda", precision=precision)
    parity = export(cfg, weights, tmp_path / "net.pt2", options).parity
    assert parity.same >= {"fp32": 0.999, "bf16": 0.995}[precision] * parity.voxels > 0


def test_what_cannot_be_exported_says_why(small):
    network, signature, frames, _ = exported(small)
    network.network.fusion.waits_for_device = True  # As that of KnnFusion.
    try:
        with pytest.raises(ValueError, match="RenderFusion cannot be exported: the size of its"):
            traced(network, frames[0].inputs(signature, torch.device("cpu")))
    finally:
        del network.network.fusion.waits_for_device
