import numpy as np
import pytest
import torch

from dataset.image_decoding import EncodedImage
from dataset.minesim.sensors.rig import REFERENCE_SIZE
from engine.benchmark import synthetic
from engine.benchmark.end_to_end import (
    END_TO_END,
    STAGES,
    jpeg,
    predictor_of,
    recorded_frame,
    time_end_to_end,
)
from engine.benchmark.synthetic import network_projections
from engine.benchmark.timing import Clock
from tests.benchmark_config import tiny_config
from tests.model_inputs import IMAGE_SIZE


@pytest.fixture(autouse=True)
def _few_points(monkeypatch):
    monkeypatch.setattr(synthetic, "POINTS_PER_SWEEP", 500)


def test_a_recorded_frame_is_timed_by_stage(tmp_path):
    clock = Clock(torch.device("cpu"))
    cfg = tiny_config(tmp_path)
    found = time_end_to_end(cfg, clock, amp="off", compiled=False, iterations=1, warmup=0)
    assert list(found["stages"]) == [*STAGES, END_TO_END]
    assert min(time["p10_ms"] for time in found["stages"].values()) > 0
    assert found["first_frame_s"] > 0


@pytest.mark.parametrize("modality", ["both", "lidar"])
def test_a_frame_in_memory_is_read_like_one_on_disk(tmp_path, modality):
    cfg = tiny_config(tmp_path, modality=modality)
    sample = recorded_frame(cfg, predictor_of(cfg, torch.device("cpu"), "off"))()
    assert sample.points.shape[1] == 4
    assert len(sample.points) > 100
    if modality == "lidar":
        assert sample.images is None
        return
    assert sample.images.shape == (1, 3, *IMAGE_SIZE)
    torch.testing.assert_close(sample.pixel_from_lidar, network_projections(cfg))


def test_images_are_jpegs_of_the_recorded_size():
    image = EncodedImage("a.jpg", jpeg(0))
    assert image.is_jpeg
    assert image.size == REFERENCE_SIZE[::-1]
    # About as many bytes as a photo: 0.2 to 0.6 of the pixels.
    assert 0.2 < len(image.data) / np.prod(REFERENCE_SIZE) < 0.6
    assert jpeg(1) != image.data
