import math

import numpy as np
import pytest
import torch

from engine.metrics import ray_iou
from engine.metrics.ray_cast import cast_rays, lidar_directions, rays_in_grid
from engine.metrics.ray_iou import RayCounts, check_origins, choose_origins, ray_scores
from utils.geometry import VoxelGrid
from utils.labels import LabelSet

GRID = VoxelGrid((-4.0, -4.0, -1.0), 0.5, (16, 16, 6))
ORIGINS = torch.tensor([[0.1, 0.2, 0.6], [-1.3, 0.7, 0.4]], dtype=torch.float64)
LABELS = LabelSet("four", ("a", "b", "c", "free"), colors=((0, 0, 0),) * 4)
FREE = 3
CORRIDOR = VoxelGrid((0.0, 0.0, 0.0), 1.0, (12, 1, 1))
AT_ITS_START = torch.tensor([[0.5, 0.5, 0.5]])


def counts_of(*frames, grid=GRID, origins=ORIGINS, **options):
    counts = RayCounts(4, **({"free_label": FREE} | options))
    for pred, target in frames:
        counts.update(pred, target, origins, grid)
    return counts


def random_frame(seed, share=0.06):
    rng = np.random.default_rng(seed)
    target = np.where(rng.random(GRID.shape) < share, rng.integers(0, 3, GRID.shape), FREE)
    target[..., 0] = 1
    pred = np.where(rng.random(GRID.shape) < 0.02, rng.integers(0, 4, GRID.shape), target)
    return torch.from_numpy(pred).byte(), torch.from_numpy(target).byte()


@pytest.fixture
def straight(monkeypatch):
    """One ray an origin, along x, and walls across a corridor of voxels of a meter."""
    ahead = torch.tensor([[1.0, 0.0, 0.0]])
    monkeypatch.setattr(ray_iou, "lidar_directions", lambda: ahead)

    def wall(at, label=1):
        labels = torch.full(CORRIDOR.shape, FREE, dtype=torch.uint8)
        labels[at] = label
        return labels

    return wall


def slow_iou(frames, label, limit_m):
    """IoU of one class by a loop over rays, from where each ray ends."""
    hits = labeled = predicted = 0
    rays = rays_in_grid(ORIGINS, lidar_directions(), GRID)
    for pred, target in frames:
        first = torch.zeros(len(rays.starts)).long()
        guess, truth = (
            cast_rays(labels[None], rays, first, free_label=FREE) for labels in (pred, target)
        )
        ends = [values.tolist() for values in (*guess, *truth)]
        for guessed, guessed_depth, true, true_depth in zip(*ends, strict=True):
            if true == FREE:
                continue
            labeled += true == label
            predicted += guessed == label
            is_near = abs(guessed_depth - true_depth) * GRID.voxel_m < limit_m
            hits += guessed == true == label and is_near
    return hits / (labeled + predicted - hits)


def test_agrees_with_a_slow_loop_pooled_over_frames():
    frames = [random_frame(0), random_frame(1)]
    scores = ray_scores(counts_of(*frames), LABELS)
    for at in (1, 2, 4):
        slow = [slow_iou(frames, label, at) for label in range(3)]
        assert list(scores.per_class_at[at].values()) == pytest.approx(slow)
        assert scores.rayiou_at[at] == pytest.approx(np.mean(slow))
    assert scores.rayiou == pytest.approx(np.mean(list(scores.rayiou_at.values())))
    assert scores.per_class["b"] == pytest.approx(
        np.mean([values["b"] for values in scores.per_class_at.values()])
    )
    assert len(set(scores.rayiou_at.values())) == 3
    assert scores.frames == 2


def test_frames_together_have_the_counts_of_each_alone():
    frames = [random_frame(2, 0), random_frame(3, 0.3)]
    preds, targets = ([frame[part] for frame in frames] for part in (0, 1))
    found = RayCounts(4, free_label=FREE).of_frames(preds, targets, ORIGINS, GRID)
    for counts, frame in zip(found, frames, strict=True):
        expected = counts_of(frame)
        assert torch.equal(counts.hits, expected.hits)
        assert torch.equal(counts.labeled, expected.labeled)
        assert torch.equal(counts.predicted, expected.predicted)
        assert (counts.frames, counts.free_label) == (1, FREE)
    assert not torch.equal(found[0].labeled, found[1].labeled)


def test_labels_score_full_marks_against_themselves():
    _, target = random_frame(0)
    scores = ray_scores(counts_of((target, target)), LABELS)
    assert scores.rayiou == 1
    assert scores.rays > 10_000


@pytest.mark.parametrize(("offset", "right"), [(0, "124"), (1, "24"), (2, "4"), (3, "4"), (4, "")])
def test_a_depth_must_be_less_than_the_threshold_off(straight, offset, right):
    for near, far in ((4, 4 + offset), (4 + offset, 4)):
        counts = counts_of((straight(near), straight(far)), grid=CORRIDOR, origins=AT_ITS_START)
        scores = ray_scores(counts, LABELS)
        assert scores.rayiou_at == {at: float(str(at) in right) for at in (1, 2, 4)}


def test_a_predicted_class_counts_only_on_rays_that_the_label_ends(straight):
    free = straight(4, FREE)
    only_predicted = counts_of((straight(4), free), grid=CORRIDOR, origins=AT_ITS_START)
    assert only_predicted.rays == 0
    assert math.isnan(ray_scores(only_predicted, LABELS).rayiou)
    missed = counts_of((free, straight(4)), grid=CORRIDOR, origins=AT_ITS_START)
    assert (missed.labeled[1], missed.predicted[FREE]) == (1, 1)
    assert ray_scores(missed, LABELS).rayiou == 0


def test_by_hand_over_three_frames(straight):
    frames = [
        (straight(4, 0), straight(4, 1)),
        (straight(5), straight(5)),
        (straight(7), straight(4)),
    ]
    scores = ray_scores(counts_of(*frames, grid=CORRIDOR, origins=AT_ITS_START), LABELS)
    # Class b: three labeled, two predicted; one hit, and one more from 4 m on. Class a: 0 of 1.
    assert scores.per_class_at[1] == pytest.approx({"a": 0, "b": 1 / 4, "c": math.nan}, nan_ok=True)
    assert scores.per_class_at[4]["b"] == pytest.approx(2 / 3)
    assert scores.rayiou == pytest.approx((1 / 4 + 1 / 4 + 2 / 3) / 6)
    assert scores.rays == 3


def test_free_may_be_any_label(straight):
    swap = torch.tensor([3, 1, 2, 0], dtype=torch.uint8)
    frames = [random_frame(0)]
    swapped = [(swap[pred.long()], swap[target.long()]) for pred, target in frames]
    usual, other = counts_of(*frames), counts_of(*swapped, free_label=0)
    assert torch.equal(usual.hits[:, swap.long()], other.hits)
    names = ("free", "b", "c", "a")
    found = ray_scores(other, LabelSet("swapped", names, colors=((0, 0, 0),) * 4))
    assert found.rayiou == pytest.approx(ray_scores(usual, LABELS).rayiou)
    assert list(found.per_class) == ["b", "c", "a"]


def test_rays_that_end_at_an_ignored_label_do_not_count(straight):
    target = straight(6)
    target[3] = 255
    counts = counts_of((straight(6), target), grid=CORRIDOR, origins=AT_ITS_START)
    assert (counts.rays, counts.frames) == (0, 1)
    target[3] = 4
    counts = counts_of(
        (straight(6), target), grid=CORRIDOR, origins=AT_ITS_START, ignore_invalid=True
    )
    assert counts.rays == 0


def test_what_is_no_label_is_rejected(straight):
    with pytest.raises(ValueError, match=r"the label of 1 scored rays is \[4\]; expected 0–3"):
        counts_of((straight(6), straight(3, 4)), grid=CORRIDOR, origins=AT_ITS_START)
    with pytest.raises(ValueError, match=r"the prediction of 1 scored rays is \[255\]"):
        counts_of((straight(6, 255), straight(3)), grid=CORRIDOR, origins=AT_ITS_START)
    with pytest.raises(ValueError, match="the prediction has values from -3 to -1; expected"):
        counts_of((straight(6).int() - 4, straight(3)), grid=CORRIDOR, origins=AT_ITS_START)
    negative = straight(3).int()
    negative[3] = -1
    with pytest.raises(ValueError, match="the label has values from -1 to 3; expected"):
        counts_of((straight(6), negative), grid=CORRIDOR, origins=AT_ITS_START)
    occ3d = dict(grid=CORRIDOR, origins=AT_ITS_START, ignore_invalid=True)
    assert counts_of((straight(6), negative), **occ3d).rays == 0


def test_shapes_must_be_the_grid_s():
    pred, target = random_frame(0)
    with pytest.raises(ValueError, match=r"the label must have the shape .* got \(16, 16, 5\)"):
        counts_of((pred, target[..., :5]))
    with pytest.raises(ValueError, match=r"the prediction must have .* got \(15, 16, 6\)"):
        counts_of((pred[:15], target))


def test_origins_that_no_lidar_has_are_rejected():
    check_origins(torch.tensor([[0.0, 0.0, 9.0], [-40.0, 0.0, 0.0]]), GRID)
    with pytest.raises(ValueError, match="at least one ray origin, got none"):
        check_origins(torch.zeros(0, 3), GRID)
    for far in (1e6, math.nan, -math.inf):
        with pytest.raises(ValueError, match="far outside the grid, which spans"):
            check_origins(torch.tensor([[0.0, 0.0, 0.0], [0.0, far, 0.0]]), GRID)


def test_arrays_and_integers_of_any_kind_and_inputs_unchanged():
    pred, target = random_frame(0)
    expected = counts_of((pred, target))
    arrays = [labels.numpy().astype(np.int32) for labels in (pred, target)]
    found = counts_of(arrays)
    assert torch.equal(found.hits, expected.hits)
    assert np.array_equal(arrays[0], pred.numpy())
    assert found.hits.dtype == found.labeled.dtype == torch.int64


def test_counts_of_parts_add_up():
    frames = [random_frame(seed) for seed in range(3)]
    whole, part = counts_of(*frames), counts_of(*frames[:2])
    part.merge(counts_of(frames[2]))
    part.all_reduce()
    for name in ("labeled", "predicted", "hits", "frames"):
        assert torch.equal(*(torch.as_tensor(getattr(c, name)) for c in (part, whole)))
    with pytest.raises(ValueError, match=r"cannot merge .*: \(4, 3\) and \(4, 0\)"):
        part.merge(RayCounts(4, free_label=0))


def test_all_reduce_adds_each_count_in_its_place(monkeypatch):
    counts = counts_of(random_frame(0))
    before = [counts.labeled, counts.predicted, counts.hits, counts.frames]
    monkeypatch.setattr(ray_iou, "all_reduce", lambda packed: packed.mul_(2))
    counts.all_reduce()
    after = [counts.labeled, counts.predicted, counts.hits, counts.frames]
    assert all(
        torch.equal(torch.as_tensor(2 * a), torch.as_tensor(b))
        for a, b in zip(before, after, strict=True)
    )


def test_a_label_set_of_another_size_is_rejected():
    with pytest.raises(ValueError, match="the counts are over 5 labels, but 'four' has 4"):
        ray_scores(RayCounts(5), LABELS)


def test_json_holds_fractions_and_null(straight):
    frames = [(straight(4), straight(4))]
    scores = ray_scores(counts_of(*frames, grid=CORRIDOR, origins=AT_ITS_START), LABELS)
    found = scores.to_json()
    assert list(found) == [
        "rayiou", "rayiou@1", "rayiou@2", "rayiou@4", "per_class_rayiou", "per_class_rayiou@1",
        "per_class_rayiou@2", "per_class_rayiou@4", "rays", "frames",
    ]  # fmt: skip
    assert found["per_class_rayiou@2"] == {"a": None, "b": 1.0, "c": None}
    assert (found["rayiou"], found["rays"], found["frames"]) == (1, 1, 1)
    assert ray_scores(RayCounts(4, free_label=FREE), LABELS).to_json()["rayiou@1"] is None


def test_table_lists_percent_and_dashes(straight):
    frames = [(straight(5), straight(4))]
    counts = counts_of(*frames, grid=CORRIDOR, origins=AT_ITS_START)
    lines = ray_scores(counts, LABELS).table("12×1×1 voxels").splitlines()
    assert lines[0].split() == ["RayIoU", "@1", "m", "@2", "m", "@4", "m"]
    assert lines[2].split() == ["a", "-", "-", "-", "-"]
    assert lines[3].split() == ["b", "66.67", "0.00", "100.00", "100.00"]
    assert lines[6].split() == ["mean", "66.67", "0.00", "100.00", "100.00"]
    assert lines[8] == "Percent; 1 ray of 1 frame; grid 12×1×1 voxels."


def test_origins_are_the_near_ones_at_most_eight_evenly():
    track = np.stack([np.arange(-50.0, 50.0, 5.0), np.zeros(20), np.zeros(20)], axis=1)
    near = choose_origins(track)  # -35, -30, … 35 m: fifteen.
    assert near[:, 0].tolist() == [-35, -25, -15, -5, 5, 15, 25, 35]
    shifted = choose_origins(track + np.array([1.0, 0, 0]))  # -39 m itself is too far; -34 … 36 m.
    assert shifted[:, 0].tolist() == [-34, -24, -14, -4, 6, 16, 26, 36]
    along_y = track[:, [1, 0, 2]]
    assert choose_origins(along_y)[:, 1].tolist() == near[:, 0].tolist()
    assert choose_origins(track[:9] + np.array([0, 0, 99.0])).shape == (
        6,
        3,
    )  # Heights do not matter.
    twenty = np.zeros((20, 3)) + np.arange(20)[:, None]
    assert choose_origins(twenty)[:, 0].tolist() == [0, 3, 5, 8, 11, 14, 16, 19]
