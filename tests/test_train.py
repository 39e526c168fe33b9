import json
import logging
import runpy
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

import train
from engine.checkpoint.files import save_atomically
from engine.checkpoint.weights import read_weights
from engine.runner import Trainer
from model.weight_files import read_checkpoint
from tests.layout_files import write_tiny_unscenes3d
from tests.toy_training import write_toy_config

CHECKPOINTS = ("latest.pth", "model_state_dict.pth")
WORDS = "--py-config {config} --work-dir {work_dir}"


class Stop(Exception):
    """Stands for a power cut."""


class Recorder(Hook):
    """Keeps the losses of each iteration, and may stop the run after some of them."""

    priority = "LOWEST"

    def __init__(self, stop_after: int):
        self.losses: list[float] = []
        self.seen: list[str] = []
        self.stop_after = stop_after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs["loss"])
        self.seen += data_batch.stems
        if len(self.losses) == self.stop_after:
            raise Stop

    def before_val_epoch(self, runner):
        if self.stop_after == -runner.epoch:
            raise Stop


def run(config: Path, work_dir: Path, words: str = "", *, stop_after: int = 0) -> Recorder:
    """Train; ``stop_after`` iterations the power fails, or before the validation of epoch -n."""
    recorder = Recorder(stop_after)

    class Recording(Trainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.register_hook(recorder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.training.trainer.Trainer", Recording)
        arguments = train.parse_arguments(
            [*WORDS.format(config=config, work_dir=work_dir).split(), *words.split()]
        )
        if stop_after:
            with pytest.raises(Stop):
                train.main(arguments)
        else:
            train.main(arguments)
    return recorder


def weights(work_dir: Path) -> dict[str, torch.Tensor]:
    state = read_checkpoint(work_dir / "latest.pth")
    return state["weights"] | {f"averaged {k}": v for k, v in state["averaged_weights"].items()}


def assert_same_end(work_dir: Path, other: Path) -> None:
    mine, theirs = weights(work_dir), weights(other)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    best = (other / "best.json").read_text()
    assert (work_dir / "best.json").read_text() == best
    mine, theirs = (read_weights(d / "model_state_dict.pth").tensors for d in (work_dir, other))
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of four epochs of three iterations that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    config = write_toy_config(folder)
    return config, folder / "out", run(config, folder / "out").losses


def test_a_run_leaves_what_is_needed_afterwards(whole):
    config, out, losses = whole
    assert len(losses) == 12
    best = json.loads((out / "best.json").read_text())
    assert best["metric"] == "miou"
    assert 1 <= best["epoch"] <= 4
    assert (out / config.name).is_file()
    assert not list(out.glob(".*.partial"))
    (log,) = out.glob("*/*.log")
    text = log.read_text()
    assert "loss_occupancy" in text
    assert "epoch 4: iou" in text
    assert "training finished; weights" in text


def test_the_same_seed_gives_the_same_losses(whole, tmp_path):
    config, _, losses = whole
    assert run(config, tmp_path / "again").losses == losses
    assert run(config, tmp_path / "other", "--seed 1").losses != losses


@pytest.mark.parametrize(
    ("words", "stop_after", "redone"),
    [
        ("", 6, 3),  # in the second epoch's last iteration: the epoch is trained again
        ("", 7, 1),  # in the third epoch
        ("--iter-resume", 5, 0),  # right after a write in mid-epoch
        ("--iter-resume", 4, 1),  # between two updates: nothing is written there
        ("--iter-resume", 9, 1),
        ("", -2, 0),  # before the second validation, which is made up for
    ],
)
def test_resuming_gives_what_an_uninterrupted_run_gives(whole, tmp_path, words, stop_after, redone):
    config, out, losses = whole
    words += " --cfg-options runtime.checkpoint_iters=1"
    first = run(config, tmp_path / "out", words, stop_after=stop_after).losses
    second = run(config, tmp_path / "out", words).losses
    assert first == losses[: len(first)]
    assert second == losses[len(losses) - len(second) :]
    assert len(first) + len(second) == len(losses) + redone
    assert_same_end(tmp_path / "out", out)


def test_a_finished_run_trains_no_further(whole, caplog):
    config, out, _ = whole
    assert run(config, out).losses == []


def test_resuming_elsewhere_leaves_the_first_run_alone(whole, tmp_path):
    config, out, _ = whole
    before = (out / "latest.pth").read_bytes()
    words = f"--resume-from {out / 'latest.pth'} --cfg-options schedule.epochs=5"
    assert len(run(config, tmp_path / "more", words).losses) == 3
    assert (out / "latest.pth").read_bytes() == before


def test_resuming_elsewhere_takes_the_best_weights_along(whole, tmp_path, caplog):
    config, out, _ = whole
    elsewhere = tmp_path / "more"
    run(config, elsewhere, f"--resume-from {out / 'latest.pth'}")  # It is at its end.
    for name in ("model_state_dict.pth", "best.json"):
        assert (elsewhere / name).read_bytes() == (out / name).read_bytes()
    lonely = tmp_path / "lonely/latest.pth"
    lonely.parent.mkdir()
    state = read_checkpoint(out / "latest.pth")
    save_atomically(state | {"best": state["best"] | {"value": 0.99}}, lonely)
    words = f"--resume-from {lonely} --cfg-options schedule.epochs=5"
    run(config, tmp_path / "anew", words)
    assert "lacks the best weights so far, of epoch" in caplog.text
    assert json.loads((tmp_path / "anew/best.json").read_text())["epoch"] == 5
    assert (tmp_path / "anew/model_state_dict.pth").is_file()


def test_scores_of_two_kinds_are_not_compared(whole, tmp_path, caplog):
    config, out, _ = whole
    words = f"--resume-from {out / 'latest.pth'} --cfg-options schedule.epochs=5"
    run(config, tmp_path / "other", f"{words} runtime.best_metric=long_tail_miou")
    assert "tracked the best miou, but this run tracks long_tail_miou" in caplog.text
    best = json.loads((tmp_path / "other/best.json").read_text())
    assert (best["metric"], best["epoch"]) == ("long_tail_miou", 5)


def test_weights_alone_are_where_a_training_begins(whole, tmp_path, caplog):
    config, out, losses = whole
    words = f"--resume-from {out / 'model_state_dict.pth'}"
    with caplog.at_level(logging.INFO, logger="engine"):
        again = run(config, tmp_path / "tuned", words).losses
    assert len(again) == 12
    assert again[0] < losses[0]
    assert "initial weights" in caplog.text


def test_epochs_of_another_length(whole, tmp_path, caplog):
    config, _, _ = whole
    words = "--iter-resume --cfg-options runtime.checkpoint_iters=1"
    run(config, tmp_path / "out", words, stop_after=3)
    with pytest.raises(ValueError, match="after 4 of 6 frames, which are no whole number of upd"):
        run(config, tmp_path / "out", words + " schedule.batch_size=3")
    run(config, tmp_path / "at_end", stop_after=4)
    again = run(config, tmp_path / "at_end", "--cfg-options schedule.batch_size=3").losses
    assert len(again) == 3 * 2
    assert "resumes with updates of 6 frames (processes × batch size × accumul" in caplog.text


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("--cfg-options schedule.batch_size=4 dataset.num_frames=7", "frames 7 instead of 6"),
        ("--cfg-options schedule.batch_size=4 --seed 1", "seed 1 instead of 42"),
    ],
)
def test_the_rest_of_an_epoch_is_not_divided_in_another_way(tmp_path, change, what):
    # Two iterations in each case, but of other frames.
    config = write_toy_config(tmp_path, batch_size=4, gradient_accumulation=1, epochs=1)
    words = "--iter-resume --cfg-options runtime.checkpoint_iters=1"
    run(config, tmp_path / "out", words, stop_after=1)
    with pytest.raises(ValueError, match=rf"would skip or repeat frames \({what}\): resume with"):
        run(config, tmp_path / "out", f"--iter-resume {change}")


def test_of_a_foreign_training_state_only_the_weights_are_used(whole, tmp_path, caplog):
    config, out, losses = whole
    state = read_weights(out / "model_state_dict.pth").tensors
    save_atomically({"state_dict": state, "optimizer": {}, "epoch": 3}, tmp_path / "foreign.pth")
    words = f"--resume-from {tmp_path / 'foreign.pth'} --cfg-options schedule.epochs=1"
    again = run(config, tmp_path / "tuned", words).losses
    assert len(again) == 3
    assert again[0] < losses[0]
    assert "foreign.pth is the training state of another program: only its weights" in caplog.text


def test_a_run_that_diverges_keeps_the_last_good_checkpoint(tmp_path):
    config = write_toy_config(tmp_path, gradient_accumulation=1, batch_size=6, val_interval=0)
    run(config, tmp_path / "out", stop_after=3)
    with pytest.raises(FloatingPointError, match=r"the training diverged before iteration \d: "):
        run(config, tmp_path / "out", "--cfg-options schedule.lr=1e39")
    for name in CHECKPOINTS:
        read_weights(tmp_path / "out" / name)  # finite, from before


def test_a_checkpoint_says_what_trained_it(whole):
    out = whole[1]
    for name in CHECKPOINTS:
        facts = torch.load(out / name, weights_only=True)
        assert facts["config"]["model"] == {"type": "ToyNetwork", "dropout": 0.2, "fail_at": 0}
        assert facts["labels"][0] == "free"
        assert facts["versions"]["torch"] == torch.__version__
        assert facts["weights"].keys() == read_weights(out / name).tensors.keys()


def test_other_settings_than_those_of_the_checkpoint_are_named(whole, tmp_path, caplog):
    config, out, _ = whole
    words = f"--resume-from {out / 'model_state_dict.pth'} --cfg-options schedule.epochs=1"
    run(config, tmp_path / "tuned", f"{words} model.dropout=0.5")
    assert "was trained with other settings: model.dropout=0.5 (trained with 0.2)\n" in caplog.text


def test_another_seed_is_mentioned(whole, tmp_path, caplog):
    config, out, _ = whole
    run(config, tmp_path / "out", f"--resume-from {out / 'latest.pth'} --seed 7")
    assert "resumes, but not exactly: seed 7 instead of 42" in caplog.text


def test_accumulation_uses_every_frame_of_an_odd_epoch(tmp_path):
    # Three iterations, two an update: the last one updates alone, in every epoch.
    config = write_toy_config(tmp_path, gradient_accumulation=2, epochs=2)
    run(config, tmp_path / "out")
    assert read_checkpoint(tmp_path / "out/latest.pth")["updates"] == 4
    run(config, tmp_path / "one", "--gradient-accumulation 1")
    assert read_checkpoint(tmp_path / "one/latest.pth")["updates"] == 6


def test_without_validation_the_last_weights_are_kept(tmp_path):
    config = write_toy_config(tmp_path, val_interval=0, ema_decay=0.0, epochs=1)
    run(config, tmp_path / "out")
    last = read_checkpoint(tmp_path / "out/latest.pth")["weights"]
    kept = read_weights(tmp_path / "out/model_state_dict.pth").tensors
    assert all(torch.equal(kept[name], last[name]) for name in last)
    assert not (tmp_path / "out/best.json").exists()


def test_validation_comes_every_few_epochs_and_at_the_end(tmp_path, caplog):
    config = write_toy_config(tmp_path, val_interval=2, epochs=3)
    with caplog.at_level(logging.INFO, logger="engine"):
        run(config, tmp_path / "out")
    lines = [line for line in caplog.messages if line.startswith("epoch")]
    assert [line.split(":")[0] for line in lines] == ["epoch 2", "epoch 3"]


def test_curves_for_tensorboard(tmp_path):
    config = write_toy_config(tmp_path, epochs=1)
    run(config, tmp_path / "out", "--cfg-options runtime.tensorboard=true")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = (tmp_path / "out").rglob("events.out.tfevents*")
    curves = EventAccumulator(str(file))
    curves.Reload()
    names = curves.Tags()["scalars"]
    expected = {"loss/occupancy", "loss/total", "val/miou", "val/iou", "iou/terrain"}
    assert {*expected, "schedule/learning_rate", "speed/iteration_s"} <= set(names)
    assert len(curves.Scalars("loss/total")) == 3
    assert curves.Tags()["images"] == ["from_above/val_0", "from_above/val_2", "from_above/val_5"]


def test_a_loss_that_is_nan_ends_the_run_with_its_frames(tmp_path, capsys):
    config = write_toy_config(tmp_path)
    with pytest.raises(FloatingPointError, match=r"frames \['train_\d', 'train_\d'\] is nan"):
        run(config, tmp_path / "out", "--cfg-options model.fail_at=2")


def test_a_wrong_score_to_compare_by_is_rejected_before_training(tmp_path):
    config = write_toy_config(tmp_path)
    with pytest.raises(ValueError, match="best_metric must be one of"):
        run(config, tmp_path / "out", "--cfg-options runtime.best_metric=mIoU")
    assert not (tmp_path / "out/latest.pth").exists()


def test_half_precision_needs_a_gpu(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match=r"with precision bf16 needs a CUDA device.*--amp off"):
        run(write_toy_config(tmp_path), tmp_path / "out", "--amp bf16")


def test_a_wrong_data_set_name_and_data_without_depth(tmp_path):
    config = write_toy_config(tmp_path, epochs=1)
    with pytest.raises(ValueError, match="is a config for ToyFrames"):
        run(config, tmp_path / "out", "--dataset nuscenes")
    with pytest.raises(ValueError, match="have no depth labels; build the data set with"):
        run(config, tmp_path / "out", "--depth-metric")
    with pytest.raises(ValueError, match=r"--depth-metric reports at validation, .*val_interval=0"):
        run(config, tmp_path / "out", "--depth-metric --cfg-options schedule.val_interval=0")


def test_a_dry_run_says_what_would_happen_and_writes_nothing(tmp_path, capsys):
    config = write_toy_config(tmp_path)
    run(config, tmp_path / "out", "--dry-run")
    assert "4 epochs of 3 iterations" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_script_ends_with_one_message_and_a_status(tmp_path, monkeypatch, capsys):
    words = f"train.py --py-config {tmp_path / 'nowhere.py'} --work-dir {tmp_path / 'out'}"
    monkeypatch.setattr("sys.argv", words.split())
    with pytest.raises(SystemExit) as end:
        runpy.run_path(train.__file__, run_name="__main__")
    assert end.value.code == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: config ")


def test_an_interruption_prints_how_to_resume():
    words = ["--py-config", "c.py", "--work-dir", "out/occ"]
    said = train.resume_hint(train.parse_arguments(words))
    latest = Path("out/occ/latest.pth")
    assert said == f"stopped; run the same command again to resume from {latest}, if it exists"
    # Given again, this would begin from the weights again.
    said = train.resume_hint(train.parse_arguments([*words, "--resume-from", "w.pth"]))
    assert said.startswith("stopped; run the same command without --resume-from again")


def test_the_real_network_resumes_exactly(tmp_path):
    """One frame an iteration of the demo's network on the demo's grid, on both sensors."""
    write_tiny_unscenes3d(tmp_path / "data", imagesets=("lists",), image_size=(40, 64))
    config = Path(train.__file__).parent / "config/minesim/minesim_occ.py"
    words = (
        f"--cfg-options data_root={tmp_path / 'data'} dataset.image_size=(64,96) "
        "schedule.batch_size=1 schedule.epochs=2 schedule.val_interval=1 runtime.num_workers=0 "
        "runtime.tensorboard=false"
    )
    losses = run(config, tmp_path / "whole", words).losses
    assert len(losses) == 4
    assert run(config, tmp_path / "parts", words, stop_after=3).losses == losses[:3]
    assert run(config, tmp_path / "parts", words).losses == losses[2:]
    assert_same_end(tmp_path / "parts", tmp_path / "whole")


def test_a_work_directory_is_locked_while_it_trains(tmp_path, monkeypatch):
    def refuse(folder):
        raise ValueError(f"{folder} is in use")

    monkeypatch.setattr(train, "locked", refuse)
    with pytest.raises(ValueError, match="run is in use"):
        run(write_toy_config(tmp_path), tmp_path / "run")
    assert not (tmp_path / "run").exists()
