"""Networks that lose a sensor: what they are taught, and that they then read the other alone."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from dataset.transforms import coarsen_occupancy
from loss.label_counts import LabelCounts
from model.sensor_dropout import SensorDropout, coarse_labels, frames_of, lost_sensor_term
from tests.model_inputs import GRID, make_batch, make_model, model_config

DROPOUT = dict(camera=0.5, lidar=0.5)
CELLS = dict(near_right_m=(2.0, -4.0), cell_m=0.5, shape=(8, 8))
ELEVATION = dict(type="ElevationHead", cells=CELLS)
KEPT = {"camera": dict(points=None), "lidar": dict(images=None, pixel_from_lidar=None)}


def robust_model(parts=None, **changes):
    parts = (parts or model_config()["parts"]) | dict(branch=dict(type="BranchHead"))
    return make_model(parts=parts, sensor_dropout=DROPOUT, **changes)


def test_draws_each_sensor_as_often_as_asked():
    torch.manual_seed(0)
    chosen = SensorDropout(camera=0.25, lidar=0.5).draw(10_000, torch.device("cpu"))
    # Four standard deviations of a share of 10,000 are 0.02.
    assert len(chosen["lidar"]) / 10_000 == pytest.approx(0.25, abs=0.02)
    assert len(chosen["camera"]) / 10_000 == pytest.approx(0.5, abs=0.02)
    in_both = set(chosen["lidar"].tolist()) & set(chosen["camera"].tolist())
    assert len(in_both) / 10_000 == pytest.approx(0.125, abs=0.02)
    every_frame = SensorDropout(camera=1.0, lidar=1.0).draw(3, torch.device("cpu"))
    assert [index.tolist() for index in every_frame.values()] == [[0, 1, 2], [0, 1, 2]]
    assert SensorDropout(camera=0.0, lidar=0.0).draw(100, torch.device("cpu")) == {}


@pytest.mark.parametrize("shares", [dict(camera=-0.1, lidar=0.5), dict(camera=0.6, lidar=1.5)])
def test_shares_that_cannot_be_are_rejected(shares):
    with pytest.raises(ValueError, match=r"shares in \[0, 1\]"):
        SensorDropout(**shares)


def test_coarse_labels_are_those_of_the_data_set():
    generator = np.random.default_rng(0)
    labels = generator.choice([0, 1, 2, 11, 255], (2, 4, 6, 8), p=[0.6, 0.1, 0.1, 0.1, 0.1])
    labels = labels.astype(np.uint8)
    coarse = coarse_labels(torch.from_numpy(labels), 2, 12)
    expected = np.stack([coarsen_occupancy(frame, 2) for frame in labels])
    assert np.array_equal(coarse.numpy(), expected)


def test_frames_of_a_batch_are_picked():
    volume = torch.arange(3)
    assert frames_of(volume, torch.tensor([0, 1, 2])) is volume
    assert frames_of(volume, torch.tensor([2])).tolist() == [2]
    assert frames_of(None, torch.tensor([2])) is None


def test_training_has_a_term_of_each_sensor_alone():
    terms = robust_model()(make_batch(), mode="loss")
    assert {"loss_camera_branch", "loss_lidar_branch", "loss_lost_sensor"} <= terms.keys()
    assert terms["loss_lost_sensor"] > 0
    sum(terms.values()).backward()


@pytest.mark.parametrize(
    ("kept", "other"), [("camera", "lidar_encoder"), ("lidar", "image_encoder")]
)
def test_a_lost_sensor_teaches_the_other_one(kept, other):
    dropout = dict(camera=float(kept == "lidar"), lidar=float(kept == "camera"))
    model = make_model(sensor_dropout=dropout)
    model(make_batch(), mode="loss")["loss_lost_sensor"].backward()
    own = model.image_encoder if kept == "camera" else model.lidar_encoder
    assert any(weight.grad is not None and weight.grad.any() for weight in own.parameters())
    assert all(weight.grad is None for weight in getattr(model, other).parameters())


def test_each_branch_teaches_its_own_encoder_only():
    model = robust_model()
    terms = model(make_batch(), mode="loss")
    for name, own, other in (
        ("loss_camera_branch", model.image_encoder, model.lidar_encoder),
        ("loss_lidar_branch", model.lidar_encoder, model.image_encoder),
    ):
        for part, reaches in ((own, True), (other, False)):
            gradients = torch.autograd.grad(
                terms[name], list(part.parameters()), retain_graph=True, allow_unused=True
            )
            found = any(gradient is not None and gradient.any() for gradient in gradients)
            assert found == reaches


@pytest.mark.parametrize("fusion", ["RenderFusion", "ConcatFusion", "KnnFusion"])
@pytest.mark.parametrize("sensors", ["camera", "lidar"])
def test_one_set_of_weights_runs_without_the_other_sensors_data(sensors, fusion):
    parts = model_config()["parts"] | dict(fusion=dict(type=fusion, channels=16))
    rendering = model_config()["rendering"] if fusion == "RenderFusion" else None
    model = make_model(parts=parts, sensor_dropout=DROPOUT, rendering=rendering).eval()
    batch = make_batch()
    both = model(batch)
    model.use_sensors(sensors)
    alone = model(replace(batch, **KEPT[sensors]))
    assert alone.shape == (2, 12, *GRID.shape)
    assert torch.equal(alone, model(batch))
    assert not torch.equal(alone, both)
    model.use_sensors("both")
    assert torch.equal(model(batch), both)


def test_a_lost_sensor_is_predicted_as_it_was_trained():
    """The second pass of training and the prediction from one sensor are the same network."""
    model, batch = robust_model().eval(), make_batch()
    outputs = model.infer(batch)
    counts = LabelCounts(batch.occupancy, model.labels.num_classes)
    score = partial(model._score, counts)
    passes = dict(fuse=model._fuse_from, score=score)

    def lost(chosen):
        parts = (outputs.camera, outputs.lidar, batch.occupancy, chosen)
        return lost_sensor_term(*parts, **passes)

    losses = {}
    for sensors in ("camera", "lidar"):
        model.use_sensors(sensors)
        logits = model(batch)
        losses[sensors] = score(logits, batch.occupancy)
        model.use_sensors("both")
        chosen = {sensors: torch.arange(2)}
        term = lost(chosen)
        torch.testing.assert_close(term, losses[sensors])
    chosen = {"camera": torch.tensor([1])}
    term = lost(chosen)
    assert 0 < term < losses["camera"]


@pytest.mark.parametrize(("modality", "sensors"), [("lidar", "camera"), ("camera", "both")])
def test_sensors_that_a_network_lacks_are_rejected(modality, sensors):
    with pytest.raises(ValueError, match=f"modality '{modality}' cannot run on .* '{sensors}'"):
        make_model(modality=modality).use_sensors(sensors)


@pytest.mark.parametrize("modality", ["camera", "lidar"])
def test_networks_of_one_sensor_have_no_dropout(modality):
    parts = model_config()["parts"] | dict(branch=dict(type="BranchHead"))
    model = make_model(modality=modality, parts=parts, sensor_dropout=DROPOUT)
    plain = make_model(modality=modality)
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_without_dropout_the_network_is_as_before():
    off = make_model(sensor_dropout=dict(camera=0.0, lidar=0.0))
    assert off.state_dict().keys() == make_model().state_dict().keys()
    assert off(make_batch(), mode="loss") == make_model()(make_batch(), mode="loss")


@pytest.mark.parametrize("parts", [{}, {"elevation": ELEVATION}])
def test_frames_that_lost_different_sensors_are_predicted_as_each_alone(parts):
    model = robust_model(parts=model_config()["parts"] | parts).eval()
    batch = replace(make_batch(4), sensors=["lidar", "both", "camera", "lidar"])
    logits = model(batch)
    predictions = model(batch, mode="predict")
    assert model.sensors == "both"
    for frame, sensors in enumerate(batch.sensors):
        model.use_sensors(sensors)
        alone = batch.of([frame])
        torch.testing.assert_close(logits[frame], model(alone)[0], rtol=1e-4, atol=1e-4)
        [expected] = model(alone, mode="predict")
        assert predictions[frame].stem == expected.stem
        if parts:
            found = predictions[frame].elevation_m
            torch.testing.assert_close(found, expected.elevation_m, rtol=1e-4, atol=1e-4)
    model.use_sensors("lidar")
    assert torch.equal(model(batch), model(replace(batch, sensors=None)))


def test_an_error_leaves_the_sensors_of_the_network_as_they_were():
    model, batch = robust_model().eval(), make_batch(2)
    with pytest.raises(ValueError, match="without 'points'"):
        model(replace(batch, points=None, sensors=["lidar", "both"]))
    assert model.sensors == "both"
