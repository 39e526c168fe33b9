import logging
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
import torch
from torch import nn

from dataset.sample import Batch
from model import captured
from model.captured import MAX_GRAPHS, OUTSIDE_M, ROOM_STEP, CapturedForward, padded, room_for
from tests.model_inputs import make_batch, make_model, model_config
from tests.waiting_host import NeverWaits, on_the_device

ELEVATION = dict(
    elevation=dict(
        type="ElevationHead", cells=dict(near_right_m=(2.0, -4.0), cell_m=0.5, shape=(8, 8))
    )
)
ROOM = (500, 400, 300)


@contextmanager
def as_if_on_a_gpu(monkeypatch):
    """Run forward passes where graphs would be replayed; yields what would be captured."""
    seen = []

    class Eager(captured._Graph):
        def __init__(self, forward, batch, num_points, room):
            self.num_points, self.room, self.batch_size = num_points, room, len(batch)
            self._inputs, self._forward = padded(batch, num_points), forward
            seen.append((len(batch), num_points, room))

        def run(self, batch):
            captured.fill(self._inputs, batch)
            self._outputs = self._forward(self._inputs, self.room or None)
            return self._outputs

        def lacking(self):
            self._done = type("Done", (), {"synchronize": lambda _: None})()
            if self._outputs.lidar is not None:
                self._num_voxels = self._outputs.lidar.num_voxels
            return super().lacking()

    monkeypatch.setattr(captured, "_Graph", Eager)
    yield seen


def capture(model):
    """What ``capture`` does on a GPU."""
    count = (lambda points: model.lidar_encoder(points).num_voxels) if model.uses_lidar else None
    model.captured = CapturedForward(
        lambda batch, room: model._run(batch, room=room), count, lambda: model.sensors
    )


def test_room():
    assert [room_for(n) for n in (0, 1, 682, 683, 6000)] == [
        *(ROOM_STEP, ROOM_STEP, ROOM_STEP),
        *(2 * ROOM_STEP, 9 * ROOM_STEP),
    ]


def test_frames_are_padded_with_points_outside():
    batch = make_batch(2, num_points=5)
    batch.points[1] = batch.points[1][:3]
    inputs = padded(batch, 8)
    assert [frame.shape for frame in inputs.points] == [(8, 4)] * 2
    assert torch.equal(inputs.points[1][:3], batch.points[1])
    assert (inputs.points[1][3:] == OUTSIDE_M).all()
    assert torch.equal(inputs.images, batch.images)
    assert inputs.images is not batch.images
    other = make_batch(2, num_points=2, seed=1)
    captured.fill(inputs, other)
    assert torch.equal(inputs.points[0][:2], other.points[0])
    assert (inputs.points[0][2:] == OUTSIDE_M).all()
    assert torch.equal(inputs.pixel_from_lidar, other.pixel_from_lidar)


@pytest.mark.parametrize("sensors", ["both", "camera", "lidar"])
def test_the_captured_forward_pass_is_the_same(monkeypatch, sensors):
    model = make_model().eval()
    model.use_sensors(sensors)
    batches = [make_batch(1, seed=seed, num_points=300 - seed) for seed in range(2)]
    with torch.no_grad(), as_if_on_a_gpu(monkeypatch) as seen:
        wanted = [model(batch) for batch in batches]
        capture(model)
        for batch, expected in zip(batches, wanted, strict=True):
            torch.testing.assert_close(model(batch), expected, atol=1e-4, rtol=1e-4)
    assert len(seen) == 1
    assert (seen[0][2] == ()) == (sensors == "camera")


def test_training_and_fields_are_not_captured(monkeypatch):
    model, batch = make_model().eval(), make_batch()
    with as_if_on_a_gpu(monkeypatch) as seen:
        capture(model)
        model.infer(batch)
        with torch.no_grad():
            assert model.infer(batch, with_fields=True).fused.camera is not None
        model.train()(batch, mode="loss")
    assert seen == []


def test_frames_that_do_not_fit_are_captured_again(monkeypatch, caplog):
    monkeypatch.setattr(captured, "ROOM_STEP", 1)
    caplog.set_level(logging.WARNING)
    model = make_model(modality="lidar").eval()
    few, many = (make_batch(1, num_points=n) for n in (300, 440))
    few.points[0][20:] = OUTSIDE_M  # Far fewer voxels, and room for the points of the other.
    with torch.no_grad(), as_if_on_a_gpu(monkeypatch) as seen:
        wanted = [model(batch) for batch in (few, many)]
        capture(model)
        torch.testing.assert_close(model(few), wanted[0], atol=1e-4, rtol=1e-4)
        assert not caplog.records
        torch.testing.assert_close(model(many), wanted[1], atol=1e-4, rtol=1e-4)
        assert len(seen) == 2
        assert all(more > less for more, less in zip(seen[1][2], seen[0][2], strict=True))
        (record,) = caplog.records
        assert "frames ['16.0'] have [" in record.message
        assert "captured again, and nothing is lost" in record.message
        for batch in (few, many):  # Both fit now.
            model(batch)
        assert len(seen) == 2


def test_more_points_than_room_are_captured_again(monkeypatch, caplog):
    monkeypatch.setattr(captured, "ROOM_STEP", 1)
    model = make_model(modality="lidar").eval()
    batches = [make_batch(1, num_points=n) for n in (100, 400, 160)]
    with torch.no_grad(), as_if_on_a_gpu(monkeypatch) as seen:
        wanted = [model(batch) for batch in batches]
        capture(model)
        for batch, expected in zip(batches, wanted, strict=True):
            torch.testing.assert_close(model(batch), expected, atol=1e-4, rtol=1e-4)
    assert [num_points for _, num_points, _ in seen] == [150, 600]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_each_combination_of_shapes_is_captured_once(monkeypatch):
    model = make_model(modality="lidar").eval()
    kinds = [make_batch(size, num_points=20) for size in (1, 2, 3)]
    with_age = [torch.cat([frame, frame[:, :1]], dim=1) for frame in kinds[0].points]
    kinds.append(replace(kinds[0], points=with_age))
    with torch.no_grad(), as_if_on_a_gpu(monkeypatch) as seen:
        capture(model)
        for batch in (*kinds, *kinds):
            model.infer(batch)
        assert len(seen) == len(kinds) == MAX_GRAPHS
        with torch.autocast("cpu", torch.bfloat16):
            model.infer(kinds[0])
        assert len(seen) == MAX_GRAPHS + 1
        model.infer(kinds[0])  # It was not used for longest, and made room.
        assert len(seen) == MAX_GRAPHS + 2


def test_frames_that_lost_different_sensors(monkeypatch):
    model, batch = make_model().eval(), replace(make_batch(2), sensors=["lidar", "both"])
    with torch.no_grad(), as_if_on_a_gpu(monkeypatch) as seen:
        wanted = model(batch)
        capture(model)
        torch.testing.assert_close(model(batch), wanted, atol=1e-4, rtol=1e-4)
    assert len(seen) == 2


def test_graphs_need_a_gpu():
    with pytest.raises(ValueError, match="CUDA graphs need a network on a GPU, got cpu"):
        make_model().capture()


def test_a_part_that_waits_for_the_gpu_is_named(caplog):
    parts = model_config()["parts"] | dict(fusion=dict(type="KnnFusion", channels=16))
    model = make_model(parts=parts)
    model.register_buffer("class_weights", OnGpu(model.class_weights), persistent=False)
    model.capture()
    assert model.captured is None
    assert "KnnFusion waits for the GPU in each frame" in caplog.text


class OnGpu(torch.Tensor):
    """Claims to be on a GPU."""

    is_cuda = True


VARIANTS = {
    "RenderFusion": {},
    "ConcatFusion": dict(fusion=dict(type="ConcatFusion", channels=16)),
    "elevation": ELEVATION,
    "sensor dropout": {},
}


def on_device(model: nn.Module, cameras: int = 2) -> Batch:
    return padded(model._needed(make_batch(2, cameras=cameras)), 400).to("meta")


class TestTheHostNeverWaits:
    @pytest.mark.parametrize("modality", ["both", "camera", "lidar"])
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_for_a_forward_pass_of_fixed_shapes(self, monkeypatch, variant, modality):
        dropout = dict(camera=0.5, lidar=0.5) if variant == "sensor dropout" else None
        parts = model_config()["parts"] | VARIANTS[variant]
        model = make_model(modality=modality, parts=parts, sensor_dropout=dropout).eval()
        batch = on_device(model)
        with on_the_device(model, monkeypatch), torch.no_grad():
            model._run(batch, room=ROOM)  # Constants go to the device once.
            with NeverWaits():
                outputs = model._run(batch, room=ROOM)
        assert outputs.logits.device.type == "meta"

    def test_in_the_lidar_encoders_backward_pass(self, monkeypatch):
        model = make_model(modality="lidar")
        batch = on_device(model)
        encoder = model.lidar_encoder
        with on_the_device(model, monkeypatch):
            encoder(batch.points, ROOM)
            with NeverWaits():
                volume, evidence, _ = encoder(batch.points, ROOM)
                (volume.sum() + evidence.sum()).backward()
        assert all(weight.grad is not None for weight in encoder.parameters())

    @pytest.mark.parametrize(
        ("parts", "room"),
        [({}, None), (dict(fusion=dict(type="KnnFusion", channels=16)), ROOM)],
    )
    def test_and_if_it_did_it_would_be_seen(self, monkeypatch, parts, room):
        model = make_model(parts=model_config()["parts"] | parts).eval()
        batch = on_device(model)
        with on_the_device(model, monkeypatch), torch.no_grad():
            with suppress(RuntimeError, NotImplementedError):
                model._run(batch, room=room)  # Constants go to the device once.
            with pytest.raises(pytest.fail.Exception, match="_local_scalar_dense"), NeverWaits():
                model._run(batch, room=room)

    def test_nor_does_it_copy(self):
        there = torch.zeros(2, device="meta")
        for copy in (
            lambda: torch.zeros(2).to("meta"),
            lambda: torch.tensor([1.0], device="meta"),
            lambda: there.new_tensor([1.0]),
            lambda: there.copy_(torch.zeros(2)),
        ):
            with NeverWaits(), pytest.raises(pytest.fail.Exception, match="copies"):
                copy()


@pytest.mark.gpu
class TestOnAGpu:
    @pytest.mark.parametrize(
        ("sensors", "compiled"),
        [("both", False), ("camera", False), ("lidar", False), ("both", True)],
    )
    @pytest.mark.usefixtures("without_type_checks")
    def test_a_graph_gives_what_the_network_gives(self, sensors, compiled):
        model = make_model().eval().cuda()
        model.use_sensors(sensors)
        batches = [
            make_batch(2, cameras=2, num_points=300 - seed, seed=seed).to("cuda")
            for seed in range(3)
        ]
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
            wanted = [model(batch).clone() for batch in batches]
            if compiled:
                model.compile_parts()
            model.capture()
            for batch, expected in zip(batches, wanted, strict=True):
                got = model(batch)
                # bfloat16 has 8 bits, and the graph's kernels round in another order.
                assert (got - expected).abs().mean() < 0.02 * expected.abs().mean()
                assert (got - expected).abs().max() < 0.1 * expected.abs().max()
        assert len(model.captured._graphs) == 1

    def test_replays_in_full_precision_are_exact_to_rounding(self):
        model = make_model().eval().cuda()
        batches = [make_batch(1, seed=seed, num_points=200 + 90 * seed) for seed in range(3)]
        with torch.no_grad():
            wanted = [model(batch.to("cuda")).clone() for batch in batches]
            model.capture()
            for batch, expected in zip(batches, wanted, strict=True):
                # TF32 rounds products to 10 bits; sums of points are in any order.
                torch.testing.assert_close(model(batch.to("cuda")), expected, atol=5e-3, rtol=5e-3)

    def test_frames_without_room_are_predicted_right(self, monkeypatch, caplog):
        monkeypatch.setattr(captured, "ROOM_STEP", 1)
        model = make_model(modality="lidar").eval().cuda()
        few, many = (make_batch(1, num_points=n).to("cuda") for n in (300, 440))
        few.points[0][20:] = OUTSIDE_M
        with torch.no_grad():
            wanted = [model(batch).clone() for batch in (few, many)]
            model.capture()
            for batch, expected in zip((few, many), wanted, strict=True):
                torch.testing.assert_close(model(batch), expected, atol=5e-3, rtol=5e-3)
        assert "nothing is lost" in caplog.text
