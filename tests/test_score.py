import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset.layout import LABEL_GRID
from engine.evaluation.score_options import OCC3D, OCC3D_GRID
from engine.metrics.occupancy import CONVENTIONS
from engine.metrics.ray_iou import RayCounts, ray_scores

SCRIPT = Path(__file__).parents[1] / "tools" / "score.py"
_SPEC = importlib.util.spec_from_file_location("score", SCRIPT)
score = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(score)

SHAPE = (6, 5, 4)


@pytest.fixture
def run(tmp_path, capsys):
    """Save frames and run the tool on them; gives the JSON file's content and what was printed."""

    def run(pred, gt, *options):
        for side, frames in (("pred", pred), ("gt", gt)):
            (tmp_path / side).mkdir(exist_ok=True)
            for stem, array in frames.items():
                np.save(tmp_path / side / f"{stem}.npy", array)
        out = tmp_path / "new" / "out.json"
        folders = ["--pred", str(tmp_path / "pred"), "--gt", str(tmp_path / "gt")]
        score.main(score.parse_arguments([*folders, "--json", str(out), *map(str, options)]))
        return json.loads(out.read_text()), capsys.readouterr().out

    return run


def frames(count, num_classes, seed=0, shape=SHAPE, ignored=0.1):
    rng = np.random.default_rng(seed)
    grids = rng.integers(0, num_classes, (count, *shape), dtype=np.uint8)
    grids[rng.random(grids.shape) < ignored] = 255
    return {f"16899{k}.25": grid for k, grid in enumerate(grids)}


def rows_of(grid, free_label=0):
    index = np.argwhere(grid != free_label)
    return np.concatenate([index, grid[tuple(index.T)][:, None]], axis=1).astype(np.int64)


def slow_iou(pred, gt, label):
    both = either = 0
    for stem in gt:
        for p, t in zip(pred[stem].flat, gt[stem].flat, strict=True):
            both += t != 255 and p == t == label
            either += t != 255 and label in (p, t)
    return both / either


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe\x80", ".*expected text in utf-16"), (b" \n", r" \(--stems\) is empty")],
)
def test_a_list_of_frames_must_name_some(tmp_path, content, message):
    (tmp_path / "stems.txt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"stems\.txt{message}"):
        score.listed_stems(tmp_path / "stems.txt")


def test_the_scores_are_written_though_nobody_reads_the_table(tmp_path, monkeypatch):
    np.save(tmp_path / "1.npy", np.zeros(LABEL_GRID.shape, np.uint8))
    out = tmp_path / "scores.json"
    words = ["--pred", str(tmp_path), "--gt", str(tmp_path), "--json", str(out)]
    reader, writer = os.pipe()
    os.close(reader)
    unread = io.TextIOWrapper(io.FileIO(writer, "w"), write_through=True)
    monkeypatch.setattr("sys.stdout", unread)
    with pytest.raises(BrokenPipeError):
        score.main(score.parse_arguments(words))
    with contextlib.suppress(BrokenPipeError):
        unread.close()
    assert "miou" in out.read_text().lower()


def test_scores_dense_grids_of_any_size(run):
    pred, gt = frames(3, 12, seed=1, ignored=0), frames(3, 12)
    found, printed = run(pred, gt)
    assert list(found) == [
        "iou", "precision", "recall", "miou", "long_tail_miou", "per_class_iou", "frames",
        "convention",
    ]  # fmt: skip
    per_class = found["per_class_iou"]
    assert per_class["barrier"] == pytest.approx(slow_iou(pred, gt, 1))
    assert per_class["driveable_surface"] == pytest.approx(slow_iou(pred, gt, 11))
    assert found["miou"] == pytest.approx(np.mean(list(per_class.values())))
    assert found["long_tail_miou"] == pytest.approx(np.mean(list(per_class.values())[:9]))
    assert (found["frames"], found["convention"]) == (3, "default")
    assert f"{100 * found['miou']:.2f}" in printed
    assert "Percent; 3 frames; grid 6×5×4 voxels." in printed


def test_sparse_rows_of_the_layout_score_as_their_grids(run, tmp_path):
    pred, gt = frames(2, 12, seed=1, ignored=0), frames(2, 12)
    expected, _ = run(pred, gt)
    sparse_gt = {}
    for stem, grid in gt.items():
        sparse_gt[stem] = rows_of(grid)
        sparse_gt[stem][sparse_gt[stem][:, 3] == 255, 3] = 0  # The layout's background rows.
    sparse_pred = {stem: rows_of(grid) for stem, grid in pred.items()}
    assert run(pred, sparse_gt)[0] == expected
    assert run(sparse_pred, gt)[0] == expected
    assert run(sparse_pred, sparse_gt, "--grid", *SHAPE)[0] == expected


def test_two_sparse_sides_of_the_layout_have_its_grid(run):
    found, printed = run({"a": np.array([[255, 255, 31, 11], [0, 0, 0, 0]])},
                         {"a": np.array([[255, 255, 31, 11], [0, 0, 0, 10]])})  # fmt: skip
    assert found["precision"] == 1
    assert found["recall"] == 0.5
    assert "256×256×32" in printed


def test_labels_score_full_marks_against_themselves(run):
    gt = frames(2, 12)
    found, _ = run(gt, gt)
    assert found["iou"] == found["miou"] == found["long_tail_miou"] == 1


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_other_label_sets_have_numbers_for_names(run, convention):
    pred, gt = frames(2, 18, seed=1, ignored=0), frames(2, 18)
    found, _ = run(pred, gt, "--num-classes", 18, "--free-label", 17, "--convention", convention)
    names = [str(label) for label in range(1 if convention == "selfocc" else 0, 17)]
    assert list(found["per_class_iou"]) == names
    assert found["per_class_iou"]["3"] == pytest.approx(slow_iou(pred, gt, 3))
    assert found["long_tail_miou"] is None
    assert found["convention"] == convention


def test_sparse_rows_of_other_label_sets(run):
    pred, gt = frames(1, 18, seed=1, ignored=0), frames(1, 18)
    options = ["--num-classes", 18, "--free-label", 17, "--ignore-label", 255]
    expected, _ = run(pred, gt, *options)
    sparse_pred = {stem: rows_of(grid, 17) for stem, grid in pred.items()}
    sparse_gt = {stem: rows_of(grid, 17) for stem, grid in gt.items()}
    assert run(sparse_pred, gt, *options)[0] == expected
    assert run(sparse_pred, sparse_gt, *options, "--grid", *SHAPE)[0] == expected


def test_another_ignored_label(run):
    found, _ = run(
        {"a": np.array([[[5, 1, 17, 2]]])},
        {"a": np.array([[[0, 1, 17, 3]]])},
        *["--num-classes", 18, "--free-label", 17, "--ignore-label", 0],
    )
    assert found["per_class_iou"]["1"] == 1
    assert found["per_class_iou"]["5"] is None
    assert "0" not in found["per_class_iou"]


def test_occ3d_ignores_what_default_rejects(run):
    pred, gt = {"a": np.array([[[1, 2]]])}, {"a": np.array([[[1, 18]]])}
    options = ["--num-classes", 18, "--free-label", 17]
    assert run(pred, gt, *options, "--convention", "occ3d")[0]["iou"] == 1
    with pytest.raises(ValueError, match=r"gt/a\.npy: the label of 1 scored voxels is \[18\]"):
        run(pred, gt, *options)


def test_undefined_scores_are_null_and_a_dash(run):
    nothing = np.full(SHAPE, 255)
    found, printed = run({"a": np.zeros(SHAPE)}, {"a": nothing})
    assert found["miou"] is found["iou"] is found["per_class_iou"]["car"] is None
    assert printed.splitlines()[0].split() == ["IoU", "-"]


def test_a_listed_part_of_the_frames(run, tmp_path):
    pred, gt = frames(2, 12, seed=1, ignored=0), frames(3, 12)
    with pytest.raises(FileNotFoundError, match=r"1 frames lack a prediction in .*168992\.25"):
        run(pred, gt)
    listed = tmp_path / "val.txt"
    listed.write_text("168990.25\n168991.25\n")
    assert run(pred, gt, "--stems", listed)[0]["frames"] == 2


def test_listed_stems_may_hold_spaces(run, tmp_path):
    grids = {"Image 7": np.ones((2, 2, 2), np.uint8), "Image 8": np.ones((2, 2, 2), np.uint8)}
    listed = tmp_path / "val.txt"
    listed.write_bytes("\ufeffImage 7\r\n\r\n".encode())  # As Windows' editor writes it.
    assert run(grids, grids, "--stems", listed)[0]["frames"] == 1


def test_grids_of_several_sizes(run):
    grids = {"a": np.ones((2, 2, 2), np.uint8), "b": np.ones((3, 2, 2), np.uint8)}
    assert "grid of several sizes" in run(grids, grids)[1]


def test_a_prediction_of_the_ignored_label_is_rejected(run, tmp_path):
    grid = np.zeros(SHAPE, np.uint8)
    with pytest.raises(ValueError, match=r"pred/a\.npy .* of 120 scored voxels .* \[255\]"):
        run({"a": np.full(SHAPE, 255, np.uint8)}, {"a": grid})
    assert not (tmp_path / "new").exists()


def occ3d_frame(seed=0):
    """A label of Occ3D's size, and a prediction that is one voxel off."""
    gt = np.full((200, 200, 16), 17, np.uint8)
    gt[:, :, :2] = 11
    gt[::9, ::7, 2:9] = np.random.default_rng(seed).integers(0, 17)
    return {"a": np.roll(gt, 1, axis=0)}, {"a": gt}


def test_ray_iou_on_grids_of_occ3d(run, tmp_path):
    origins = np.array([[0.9, 0.0, 1.84], [-12.0, 5.5, 1.7]])
    np.save(tmp_path / "o.npy", origins)
    pred, gt = occ3d_frame()
    counts = RayCounts(18, free_label=17)
    counts.update(pred["a"], gt["a"], torch.from_numpy(origins), OCC3D_GRID)
    expected = ray_scores(counts, OCC3D)
    rays = ["--metrics", "rayiou", "--origins", tmp_path / "o.npy"]
    found, printed = run(pred, gt, *rays)
    assert found == expected.to_json()
    assert 0.1 < found["rayiou@1"] < found["rayiou"] < 1
    assert f"{100 * found['rayiou']:.2f}" in printed
    assert "rays of 1 frame; grid 200×200×16 voxels." in printed
    numbered, _ = run(pred, gt, *rays, "--num-classes", 18, "--free-label", 17)
    assert numbered["rayiou"] == found["rayiou"]
    assert list(numbered["per_class_rayiou"]) == [str(label) for label in range(17)]


def test_voxels_under_a_mask_and_rays_together(run, tmp_path):
    np.save(tmp_path / "o.npy", np.array([[0.9, 0.0, 1.84]]))
    (tmp_path / "mask").mkdir()
    pred, gt = occ3d_frame()
    mask = np.zeros(gt["a"].shape, np.uint8)
    mask[:100] = 1
    np.save(tmp_path / "mask" / "a.npy", mask)
    options = ["--convention", "occ3d", "--mask", tmp_path / "mask"]
    both = ["--metrics", "occupancy", "rayiou", "--origins", tmp_path / "o.npy"]
    found, printed = run(pred, gt, *both, *options)
    assert found["rayiou"] == run(pred, gt, *both[:1], *both[2:])[0]["rayiou"]
    seen = {stem: grid[:100] for stem, grid in pred.items()}, {"a": gt["a"][:100]}
    assert found["miou"] == run(*seen, "--layout", "occ3d", "--convention", "occ3d")[0]["miou"]
    assert printed.index("mIoU") < printed.index("RayIoU")


def test_grids_whose_place_nobody_said_are_rejected(run, tmp_path):
    np.save(tmp_path / "o.npy", np.zeros((1, 3)))
    grids = {"a": np.full(SHAPE, 17)}
    rays = ["--metrics", "rayiou", "--origins", tmp_path / "o.npy"]
    with pytest.raises(ValueError, match=r"RayIoU does not know the position of the 6×5×4 voxels"):
        run(grids, grids, *rays)
    found, _ = run(grids, grids, *rays, "--voxel-m", 1, "--corner-m", -3, -2, -1)
    assert (found["rayiou"], found["rays"]) == (None, 0)


def test_depth_maps(run):
    gt = {"a": np.array([[2.0, 0.0]]), "b": np.array([[10.0, 90.0]]), "c": np.zeros((1, 2))}
    pred = {"a": np.array([[3.0, 1.0]]), "b": np.array([[11.0, 90.0]]), "c": np.ones((1, 2))}
    found, printed = run(pred, gt, "--task", "depth")
    assert found["abs_rel"] == pytest.approx((0.5 + 0.1) / 2)
    assert found["sq_rel"] == pytest.approx((0.5 + 0.1) / 2)
    assert (found["rmse"], found["a1"], found["frames"], found["left_out"]) == (1, 0.5, 2, 1)
    assert "2 images (1 more without valid pixels)." in printed
    scaled, _ = run(pred, gt, "--task", "depth", "--median-scaling", "torch")
    assert scaled["abs_rel"] == pytest.approx(0)
    assert scaled["median_scaling"] == "torch"
    near, _ = run(pred, gt, "--task", "depth", "--min-depth", 3, "--max-depth", 100)
    assert (near["min_depth"], near["max_depth"]) == (3, 100)
    assert near["abs_rel"] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num-classes", 18], "--num-classes needs --free-label"),
        (["--num-classes", 18, "--free-label", 18], "--free-label must be 0–17, got 18"),
        (["--num-classes", 300, "--free-label", 0], "number of classes must be 1–255, got 300"),
        (["--num-classes", 18, "--free-label", 0, "--ignore-label", 0], "must differ, both are 0"),
        (["--num-classes", 18, "--free-label", 0, "--ignore-label", 256], "must be 0–255, got 256"),
        (["--num-classes", 18, "--free-label", 0, "--layout", "unscenes3d"], "mutually exclusive"),
        (["--free-label", 0], "need --num-classes"),
        (["--ignore-label", 255], "need --num-classes"),
    ],
)
def test_options_that_make_no_sense_are_rejected(run, options, message):
    grid = {"a": np.zeros(SHAPE, np.uint8)}
    with pytest.raises(ValueError, match=message):
        run(grid, grid, *options)


def test_runs_as_a_script_from_any_folder(tmp_path):
    for side in ("pred", "gt"):
        (tmp_path / side).mkdir()
        np.save(tmp_path / side / "a.npy", np.ones((4, 2, 2), np.uint8))
    command = [sys.executable, str(SCRIPT), "--pred", "pred", "--gt", "gt", "--json", "out.json"]
    done = subprocess.run(
        [*command, "--convention", "selfocc"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, json.loads((tmp_path / "out.json").read_text())["miou"]) == (0, 1)
    assert "mIoU" in done.stdout
    assert "warning: the convention 'selfocc' inflates" in done.stderr


def test_a_full_size_frame_takes_well_under_50_ms(tmp_path):
    gt = next(iter(frames(1, 12, shape=LABEL_GRID.shape).values()))
    pred = next(iter(frames(1, 12, seed=1, shape=LABEL_GRID.shape, ignored=0).values()))
    for side, grid in (("pred", pred), ("gt", gt)):
        (tmp_path / side).mkdir()
        for stem in range(5):
            np.save(tmp_path / side / f"{stem}.npy", grid)
    task = score.task_of(score.parse_arguments(["--pred", "p", "--gt", "g", "--json", "j"]))
    start = time.process_time()
    score.score_grids(tmp_path / "pred", tmp_path / "gt", task)
    per_frame_s = (time.process_time() - start) / 5  # Waiting for busy cores does not count.
    assert per_frame_s < 0.2  # Four times the aim: processors differ.
