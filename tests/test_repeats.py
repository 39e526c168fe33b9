import numpy as np
import pytest
import torch

from dataset.class_counts import frame_class_counts
from engine.build.build import build_dataset, train_loader
from engine.build.repeats import frame_repeats, repeat_factors
from engine.training.plan import dry_run
from tests.layout_files import write_tiny_unscenes3d
from tests.test_class_balance import demo
from utils.config import Schedule, read_section
from utils.distributed import Process

ALONE = Process(0, 1, torch.device("cpu"))


@pytest.fixture
def data(tmp_path):
    write_tiny_unscenes3d(
        tmp_path, scenes={"scene_00000": "location_1"}, imagesets=("lists",), frames=3, sweeps=0
    )
    return tmp_path


def training_stems(data):
    return (data / "imagesets/train.txt").read_text().split()


def remove_truck(data, stem):
    path = data / f"occ/{stem}.npy"
    rows = np.load(path)
    np.save(path, rows[rows[:, 3] != 2])


def test_factors_by_hand():
    counts = np.zeros((4, 12), np.int64)
    counts[:, 11] = 1000  # In every frame: not rare.
    counts[:2, 1] = 5  # In a half.
    counts[0, 7] = 1  # In a quarter.
    counts[3, 0] = 9  # Background does not count.
    factors = repeat_factors(counts, 0.75)
    np.testing.assert_allclose(factors, [3**0.5, 1.5**0.5, 1, 1])
    np.testing.assert_array_equal(repeat_factors(counts, 0.25), np.ones(4))
    np.testing.assert_array_equal(repeat_factors(np.zeros((2, 12), np.int64), 0.5), np.ones(2))


def test_counts_of_each_frame_are_cached_until_a_label_changes(data):
    stems = training_stems(data)
    counts = frame_class_counts(data, stems, "train", workers=1, progress=False)
    assert counts.shape == (3, 12)
    for row, stem in zip(counts, stems, strict=True):
        expected = np.bincount(np.load(data / f"occ/{stem}.npy")[:, 3], minlength=12)
        np.testing.assert_array_equal(row, expected)
    cache = data / "statistics/train_frames.json"
    before = cache.read_text()
    np.testing.assert_array_equal(frame_class_counts(data, stems, "train", workers=1), counts)
    assert cache.read_text() == before
    remove_truck(data, stems[1])
    assert frame_class_counts(data, stems, "train", workers=1)[1, 2] == 0
    assert cache.read_text() != before


def test_a_corrupt_cache_is_counted_again(data, caplog):
    stems = training_stems(data)
    counts = frame_class_counts(data, stems, "train", workers=1)
    (data / "statistics/train_frames.json").write_text("{")
    np.testing.assert_array_equal(frame_class_counts(data, stems, "train", workers=1), counts)
    assert "train_frames.json cannot be read, so the labels are counted again" in caplog.text


def test_training_repeats_the_frames_with_rare_classes(data):
    for stem in training_stems(data)[:2]:
        remove_truck(data, stem)
    frame_class_counts(data, training_stems(data), "train", workers=1, progress=False)
    cfg = demo(data, **{"schedule.repeat_threshold": 0.9})
    frames = build_dataset(cfg, "train", training=True)
    loader = train_loader(cfg, frames, ALONE, seed=0)
    # A third of the frames has a truck: sqrt(0.9 · 3) = 1.64, and two frames come once.
    assert len(loader) == 4
    keys = [key for batch in loader.batch_sampler for key in batch]
    assert sorted(key.index for key in keys) == [0, 1, 2, 2]
    assert "sampling  classes in less than 0.9 of the frames" in dry_run(cfg, ALONE, 0)


def test_sampling_is_uniform_by_default(data):
    cfg = demo(data)
    schedule = read_section(cfg, "schedule", Schedule)
    assert frame_repeats(cfg, build_dataset(cfg, "train"), schedule) is None
    assert not (data / "statistics").exists()


def test_labels_must_be_countable(data, monkeypatch):
    cfg = demo(data, **{"schedule.repeat_threshold": 0.5})
    frames = build_dataset(cfg, "train")
    cfg.dataset.type = "NuScenes"
    monkeypatch.setattr(type(frames), "has_statistics", False)
    with pytest.raises(ValueError, match="labels of NuScenes cannot be counted; set it to 0"):
        frame_repeats(cfg, frames, read_section(cfg, "schedule", Schedule))
