import pytest
from torch.utils.data import Dataset

from dataset.sample import Sample
from tests.benchmark_config import write_config
from tests.model_inputs import GRID, make_batch
from tools import overfit


class Frames(Dataset):
    """The frames of the tests' batch."""

    def __init__(self, count):
        batch = make_batch(count)
        fields = ("images", "points", "pixel_from_lidar", "occupancy", "depth_m")
        self.samples = [
            Sample(batch.stems[i], **{name: getattr(batch, name)[i] for name in fields})
            for i in range(count)
        ]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    monkeypatch.setattr(overfit, "build_dataset", lambda *_, **__: Frames(2))
    monkeypatch.setattr(overfit, "LABEL_GRID", GRID)

    def make(*words):
        path = str(write_config(tmp_path))
        options = ["--cfg-options", "schedule.lr=0.01", "schedule.batch_size=2"]
        return overfit.parse_arguments(["--py-config", path, "--frames", "2", *words, *options])

    return make


def test_frames_are_learned_overfit(arguments, capsys):
    overfit.main(arguments("--iterations", "40"))
    assert "mIoU" in capsys.readouterr().out


def test_a_missed_target_is_an_error(arguments, capsys):
    with pytest.raises(SystemExit, match="1"):
        overfit.main(arguments("--iterations", "2"))
    assert "below the target of 90" in capsys.readouterr().err


def test_more_frames_than_there_are_are_rejected(arguments):
    with pytest.raises(ValueError, match=r"--frames must be from 1 to 2, .* got 3"):
        overfit.main(arguments("--frames", "3"))
