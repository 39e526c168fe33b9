import math
from statistics import mean

import pytest
import torch

from engine.metrics import depth
from engine.metrics.depth import DepthMeter
from engine.metrics.depth_errors import DepthRule, depth_errors

RULE = DepthRule()
NO_LABEL = torch.zeros(4)


def off_by(share):
    """A prediction and a label whose abs_rel is a given share."""
    target = torch.full((4,), 10.0, dtype=torch.float64)
    return target * (1 + share), target


def meter_of(*images):
    meter = DepthMeter(RULE)
    for number, (share, options) in enumerate(images):
        pred, target = (NO_LABEL + 1, NO_LABEL) if share is None else off_by(share)
        meter.update(f"{number}", pred, target, **options)
    return meter


def test_images_weigh_the_same_whatever_their_pixels():
    meter = DepthMeter(RULE)
    pred, target = off_by(0.1)
    meter.update("small", pred[:1], target[:1])
    pred, target = off_by(0.4)
    meter.update("large", pred, target)
    total = meter.scores().total
    assert total.errors.abs_rel == pytest.approx(0.25)
    assert total.errors.a1 == 0.5
    assert (total.frames, total.left_out, total.cameras) == (2, 0, {})


def test_cameras_weigh_the_same_whatever_their_images():
    front, back = dict(camera="front"), dict(camera="back")
    meter = meter_of((0.1, front), (0.2, front), (0.3, front), (0.6, back), (None, back))
    total = meter.scores().total
    assert total.errors.abs_rel == pytest.approx((0.2 + 0.6) / 2)
    assert list(total.cameras) == ["back", "front"]
    assert total.cameras["front"].errors.abs_rel == pytest.approx(0.2)
    assert (total.cameras["back"].frames, total.cameras["back"].left_out) == (1, 1)
    assert (total.frames, total.left_out) == (4, 1)


def test_a_camera_without_labels_is_left_out_of_the_mean():
    meter = meter_of((0.2, dict(camera="front")), (None, dict(camera="back")))
    total = meter.scores().total
    assert total.errors.abs_rel == pytest.approx(0.2)
    assert math.isnan(total.cameras["back"].errors.abs_rel)


def test_distances_are_binned_in_whole_meters_rounded_up():
    at = [0.0, 0.2, 1.0, 1.01, 2.0, 7.5]
    shares = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    meter = meter_of(*((s, dict(distance_m=d)) for s, d in zip(shares, at, strict=True)))
    scores = meter.scores()
    found = {bin_m: row.errors.abs_rel for bin_m, row in scores.by_distance.items()}
    assert found == pytest.approx({0: 0.1, 1: 0.25, 2: 0.45, 8: 0.6})
    assert [row.frames for row in scores.by_distance.values()] == [1, 2, 2, 1]
    assert scores.total.errors.abs_rel == pytest.approx(mean(shares))


def test_bins_average_over_cameras_like_the_whole():
    meter = meter_of(
        (0.1, dict(camera="front", distance_m=1.0)),
        (0.3, dict(camera="front", distance_m=1.0)),
        (0.5, dict(camera="back", distance_m=1.0)),
        (0.9, dict(camera="back", distance_m=3.0)),
    )
    scores = meter.scores()
    assert scores.by_distance[1].errors.abs_rel == pytest.approx((0.2 + 0.5) / 2)
    assert scores.by_distance[3].errors.abs_rel == pytest.approx(0.9)
    assert scores.total.errors.abs_rel == pytest.approx((0.2 + 0.7) / 2)


def test_an_image_counts_once():
    meter = meter_of((0.1, {}), (0.3, {}))
    meter.update("1", *off_by(0.5))
    assert meter.scores().total.errors.abs_rel == pytest.approx(0.3)


def test_meters_add_up_and_share_images(monkeypatch):
    whole, part = meter_of((0.1, {}), (0.3, {}), (None, {})), meter_of((0.1, {}))
    part.merge(whole)
    part.all_reduce()
    assert part.scores() == whole.scores()
    ranks = [meter_of((0.1, {})).images, whole.images]
    monkeypatch.setattr(depth, "all_gather_object", lambda images: ranks)
    rank = meter_of((0.1, {}))
    rank.all_reduce()
    assert rank.scores() == whole.scores()
    with pytest.raises(ValueError, match="cannot merge errors of different rules"):
        part.merge(DepthMeter(DepthRule(max_depth_m=50.0)))


def test_faults_name_the_image():
    meter = DepthMeter(RULE)
    with pytest.raises(ValueError, match="image a/b: prediction and label differ in shape"):
        meter.update("a/b", torch.ones(2), torch.ones(3))
    for distance in (-0.1, math.nan):
        with pytest.raises(ValueError, match="image a: distance_m must not be negative"):
            meter.update("a", *off_by(0.1), distance_m=distance)
    assert not meter.images


def test_json_of_one_camera():
    pred, target = off_by(0.3)
    found = meter_of((0.3, {}), (None, {})).scores().to_json()
    assert list(found) == [
        "abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3", "frames", "left_out",
        "min_depth", "max_depth", "median_scaling",
    ]  # fmt: skip
    assert tuple(found.values())[:7] == depth_errors(pred, target, RULE)
    assert tuple(found.values())[7:] == (1, 1, 0.1, 80.0, "none")


def test_json_of_cameras_and_distances():
    meter = meter_of(
        (0.3, dict(camera="front", distance_m=0.5)), (None, dict(camera="back", distance_m=2.5))
    )
    found = meter.scores().to_json()
    assert found["cameras"]["front"]["abs_rel"] == pytest.approx(0.3)
    assert found["cameras"]["back"]["abs_rel"] is None
    assert found["by_distance"]["1"]["frames"] == 1
    assert found["by_distance"]["3"]["abs_rel"] is None
    assert found["by_distance"]["3"]["left_out"] == 1


def test_nothing_to_score_is_null_and_a_dash():
    scores = meter_of((None, {})).scores()
    assert scores.to_json()["rmse"] is None
    assert scores.table().splitlines()[2].split() == ["all", *["-"] * 7, "0"]
    assert DepthMeter(RULE).scores().to_json()["frames"] == 0


def test_table_lists_distances_cameras_and_the_whole():
    meter = meter_of(
        (0.3, dict(camera="front", distance_m=0.5)),
        (0.1, dict(camera="back", distance_m=2.5)),
        (None, dict(camera="back", distance_m=2.5)),
    )
    lines = meter.scores().table().splitlines()
    assert lines[0].split() == [
        "abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3", "images",
    ]  # fmt: skip
    rows = [line.split()[:-7] for line in lines if line[0].isalpha()][:5]
    assert [" ".join(row) for row in rows] == [
        "to 1 m 0.3000", "to 3 m 0.1000", "back 0.1000", "front 0.3000", "all 0.2000",
    ]  # fmt: skip
    assert len({len(line) for line in lines[:8]}) == 1
    assert "over images, then over cameras: 2 images (1 more without valid pixels)." in lines[-2]
    assert lines[-1] == (
        "Pixels: labels between 0.1 and 80 m, predictions clamped to that range; no median scaling."
    )
