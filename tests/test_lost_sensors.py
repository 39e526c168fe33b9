"""Frames that lack the data of a sensor."""

from unittest.mock import Mock

import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from dataset import lost_sensors
from dataset.lost_sensors import LossWatch, has_content, is_blank, losses_of, with_losses
from dataset.sample import Batch, Loss, Sample
from engine.evaluation.lost_sensor_hook import LostSensorHook

FIELDS = ("images", "points", "pixel_from_lidar")


def frame(*, cameras=1, blank=(), points=3):
    images = torch.randint(0, 256, (cameras, 3, 16, 24), dtype=torch.uint8)
    for camera in blank:
        images[camera] = 7
    cloud = None if points is None else torch.rand(points, 4)
    matrices = torch.eye(4).expand(cameras, 4, 4)
    return Sample("1.0", images=images, points=cloud, pixel_from_lidar=matrices)


def test_a_single_color_is_blank_whatever_the_color():
    image = np.zeros((300, 480, 3), np.uint8)
    assert is_blank(image)
    assert is_blank(image + np.uint8([200, 10, 90]))
    assert not is_blank(np.random.default_rng(0).integers(0, 9, image.shape, np.uint8))
    image[:150] = 8
    assert not is_blank(image)
    assert not is_blank(torch.from_numpy(image))


def test_a_file_has_content_if_it_exists_and_is_not_empty(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_bytes(b"x")
    names = ("none", "empty", "full")
    assert [has_content(tmp_path / name) for name in names] == [False, False, True]


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (frame(), ()),
        (frame(blank=[0]), (Loss.BLANK_IMAGE,)),
        (frame(cameras=2, blank=[1]), (Loss.SOME_IMAGES,)),
        (frame(cameras=2, blank=[0, 1], points=0), (Loss.BLANK_IMAGE, Loss.NO_POINTS)),
        (Sample("1.0", points=torch.rand(1, 4)), (Loss.NO_IMAGE,)),
        (frame(points=None), (Loss.NO_CLOUD,)),
    ],
)
def test_what_a_frame_lacks_is_named(sample, expected):
    assert losses_of(sample, FIELDS) == expected
    kept = with_losses(sample, FIELDS, drop=False)
    assert kept.lost == expected
    assert kept.images is sample.images


def test_only_requested_fields_can_be_lost():
    assert losses_of(Sample("1.0", points=torch.rand(1, 4)), ["points"]) == ()
    assert losses_of(frame(points=None), ["images", "pixel_from_lidar"]) == ()


def test_a_lost_sensor_is_dropped_and_the_other_one_kept():
    without_camera = with_losses(frame(blank=[0]), FIELDS, drop=True)
    assert (without_camera.images, without_camera.pixel_from_lidar) == (None, None)
    assert without_camera.points is not None
    without_lidar = with_losses(frame(points=0), FIELDS, drop=True)
    assert without_lidar.points is None
    assert without_lidar.images is not None
    assert with_losses(frame(cameras=2, blank=[1]), FIELDS, drop=True).images is not None


def test_a_frame_without_any_sensor_is_an_error_that_names_it():
    reasons = r"single color and the point cloud has no points in range\. Restore"
    with pytest.raises(ValueError, match=rf"frame 1\.0 has nothing to predict from.*{reasons}"):
        with_losses(frame(blank=[0], points=0), FIELDS, drop=True)


@pytest.mark.parametrize("allow_missing", [True, False, None])
def test_each_cause_is_warned_of_once_with_numbers(caplog, allow_missing):
    watch = LossWatch(allow_missing=allow_missing)
    for number in range(9):
        watch.see(f"{number}.0", (Loss.NO_IMAGE,) if number < 7 else ())
    watch.see("9.0", (Loss.SOME_IMAGES, Loss.NO_POINTS))
    watch.close()
    watch.close()
    image, some, points = caplog.messages
    names = "0.0, 1.0, 2.0, 3.0, 4.0 and 2 more"
    assert image.startswith(f"7 of 10 frames: {Loss.NO_IMAGE.value} ({names}); ")
    assert "black images in their place" in some
    assert ("from the camera alone" in points) == (allow_missing is True)
    assert ("--allow-missing predicts" in image) == (allow_missing is False)
    assert image.endswith("check the data") == (allow_missing is None)


def test_all_processes_are_counted_and_each_frame_once(caplog, monkeypatch):
    """A distributed sampler repeats frames to fill the last batch."""
    hook = LostSensorHook(allow_missing=True)
    batch = Batch(["1.0", "2.0"], ["", ""], lost=[(Loss.NO_CLOUD,), ()])
    other = {"1.0": (Loss.NO_CLOUD,), "3.0": (Loss.NO_CLOUD,)}
    monkeypatch.setattr(lost_sensors, "all_gather_object", lambda seen: [dict(seen), other])
    runner = Mock(Runner, rank=0)
    hook.before_val_iter(runner, 0, batch)
    hook.before_val_iter(runner, 1, Batch(["4.0"], [""]))
    hook.after_val_epoch(runner)
    [message] = caplog.messages
    assert message.startswith("2 of 4 frames: the point cloud is missing")
    assert "(1.0, 3.0)" in message
