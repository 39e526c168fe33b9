import json
import re
import sys
from pathlib import Path

import pytest

from dataset.fingerprints import fingerprint_drives, write_fingerprints
from dataset.splits import load_scenes
from engine.experiments import queue as queues
from engine.experiments.plan import Run, Settings, Step, shown_command
from engine.experiments.queue import LOG, NOTE, Queue, visible_gpus
from engine.experiments.record import (
    Facts,
    commit_of_code,
    is_recorded,
    make_record,
    read_records,
    training_cost,
)
from tests.documents import REPOSITORY
from tests.layout_files import write_tiny_unscenes3d
from tests.toy_training import write_toy_config
from tools import bench

FACTS = Facts({"title": "tiny", "hash": "ab"}, commit="c0ffee", device="CPU")
SCORES = {"miou": 0.5, "by_distance": []}


@pytest.fixture
def run(tmp_path):
    config = write_toy_config(tmp_path)
    settings = Settings(tmp_path / "data", tmp_path / "work", tmp_path / "results")
    return Run(config, 7, settings)


def change(run, **changes):
    return Run(run.config, run.seed, Settings(**(vars(run.settings) | changes)))


def write_logs(work, lines, name="1"):
    path = work / name / "vis_data/scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def stand_in(monkeypatch, run, *, fails_at=()):
    """Replace the commands of a run by short ones, which note their names in a file."""
    calls = run.settings.work_root / "calls"
    fails = run.settings.work_root / "fails"
    real = Run.steps

    def steps(self):
        found = []
        for step in real(self):
            code = (
                f"import pathlib, sys; out = pathlib.Path({str(step.output)!r})\n"
                f"with open({str(calls)!r}, 'a') as f: f.write('{self.seed} {step.name}\\n')\n"
                f"if {step.name!r} in {fails_at!r} and pathlib.Path({str(fails)!r}).exists():\n"
                "    sys.exit('no more memory')\n"
                f"out.parent.mkdir(parents=True, exist_ok=True); out.write_text({content(step)!r})"
            )
            found.append(Step(step.name, (sys.executable, "-c", code), step.output))
        return found

    def content(step):
        report = {
            "inference": {"fp32": {"stages": {"whole": {"median_ms": 5.0}}, "peak_bytes": None}}
        }
        report |= {"parameters": {"whole": 9}, "inputs": {}}
        robust = {"summary": {"clean_miou": 0.4, "mra": {"all": 0.9}}}
        return json.dumps({"latency": report, "robustness": robust}.get(step.name, SCORES))

    monkeypatch.setattr(Run, "steps", steps)
    monkeypatch.setattr("engine.experiments.record.shown_command", lambda words: "python x.py")
    calls.parent.mkdir(parents=True, exist_ok=True)
    fails.touch()
    write_logs(run.work_dir, [{"loss": 1.0, "time": 0.5, "step": 4}])
    return lambda: calls.read_text().splitlines() if calls.exists() else []


def test_the_commands_of_a_run_parse(run):
    run = change(run, overrides=("schedule.epochs=2",), robustness_frames=5, latency=True)
    steps = {step.name: step for step in run.steps()}
    assert list(steps) == ["train", "val", "test", "robustness", "latency"]
    for step in steps.values():
        shown = shown_command(step.words)
        script = re.fullmatch(r"python ((?:tools/)?\w+)\.py .*", shown)[1]
        module = __import__(script.replace("/", "."), fromlist=["parse_arguments"])
        module.parse_arguments(list(step.words[2:]))
    assert "--seed 7 --amp off --iter-resume --cfg-options schedule.epochs=2" in shown_command(
        steps["train"].words
    )
    assert "--ray-iou --distances 25 50" in shown_command(steps["test"].words)


def test_what_decides_a_network_is_its_identity(run):
    first = run.identity("ab")
    assert run.identity("ab") == first
    same = change(run, overrides=("runtime.num_workers=3",), robustness_frames=5)
    assert same.identity("ab") == first
    others = [
        change(run, overrides=("schedule.epochs=9",)).identity("ab"),
        change(run, amp="bf16").identity("ab"),
        Run(run.config, 8, run.settings).identity("ab"),
        run.identity("cd"),
    ]
    assert len({first, *others}) == 5


def test_options_of_training_without_labels_decide_nothing_with_labels(run):
    demo = Run(REPOSITORY / "config/minesim/minesim_occ.py", 7, run.settings)
    options = ("model.loss.label_free.sources=9", "model.loss.weights.lidar_rays=9.0")
    assert change(demo, overrides=options).identity("ab") == demo.identity("ab")
    lidar = change(demo, overrides=("model.loss.supervision=lidar",))
    other = change(demo, overrides=(*lidar.settings.overrides, *options))
    assert other.identity("ab") != lidar.identity("ab")


def test_the_records_are_of_the_configs_as_they_are():
    for path in sorted((REPOSITORY / "assets/bench").glob("*.json")):
        record = json.loads(path.read_text())
        config = REPOSITORY / f"config/minesim/bench/{record['variant']}.py"
        settings = Settings(path.parent, path.parent, path.parent, amp=record["amp"])
        run = Run(config, record["seed"], settings)
        assert run.identity(record["data"]["hash"]) == record["identity"], path


def test_the_cost_of_a_training_counts_each_iteration_once(tmp_path):
    line = {"loss": 1.0, "time": 0.5, "memory": 2048}
    write_logs(tmp_path, [line | {"step": 10}, line | {"step": 20, "time": 9.0}])
    write_logs(tmp_path, [line | {"step": 20, "memory": 3072}, line | {"step": 24}], name="2")
    write_logs(tmp_path, [{"miou": 0.1, "step": 24}], name="3")
    cost = training_cost(tmp_path, batch_size=4)
    assert cost == {"seconds": 12.0, "iterations": 24, "frames_per_s": 8.0, "peak_gib": 3.0}
    with pytest.raises(FileNotFoundError, match="no has no logs of a training"):
        training_cost(tmp_path / "no", 4)


def test_runs_are_recorded_and_not_repeated(run, monkeypatch):
    calls = stand_in(monkeypatch, run)
    other = Run(run.config, 8, run.settings)
    write_logs(other.work_dir, [{"loss": 1.0, "time": 0.5, "step": 4}])
    assert Queue(FACTS, [], 2).execute([run, other]) == {}
    assert sorted(calls()) == [
        f"{seed} {name}" for seed in (7, 8) for name in ("test", "train", "val")
    ]
    [first, second] = read_records(run.settings.results)
    assert (first["seed"], second["seed"]) == (7, 8)
    assert first["scores"] == {"val": SCORES, "test": SCORES}
    assert first["training"]["iterations"] == 4
    assert (first["commit"], first["data"]["title"]) == ("c0ffee", "tiny")
    assert first["config"]["schedule"]["epochs"] == run.load_config().schedule.epochs
    Queue(FACTS, [], 1).execute([run, other])
    assert len(calls()) == 6
    Queue(FACTS, [], 1).execute([change(run, latency=True)])
    more = change(run, robustness_frames=5)
    Queue(FACTS, [], 1).execute([more])
    assert calls()[6:] == ["7 latency", "7 robustness"]
    [found, _] = read_records(run.settings.results)
    assert found["robustness"] == {"frames": 5, "clean_miou": 0.4, "mra": {"all": 0.9}}
    assert found["latency"]["median_ms"] == 5.0
    assert is_recorded(more, "ab")


def test_a_failed_run_resumes_where_it_failed(run, monkeypatch):
    calls = stand_in(monkeypatch, run, fails_at=("val",))
    failures = Queue(FACTS, [], 1).execute([run])
    assert failures[run.name].startswith("val ended with status 1; ")
    assert failures[run.name].endswith(f"{run.work_dir / LOG} ends with: no more memory")
    assert not run.record.exists()
    (run.settings.work_root / "fails").unlink()
    assert Queue(FACTS, [], 1).execute([run]) == {}
    assert calls() == ["7 train", "7 val", "7 val", "7 test"]


def test_a_failure_after_scoring_leaves_the_scores(run, monkeypatch):
    calls = stand_in(monkeypatch, run, fails_at=("latency",))
    run = change(run, latency=True)
    assert list(Queue(FACTS, [], 1).execute([run])) == [run.name]
    [record] = read_records(run.settings.results)
    assert record["scores"]["test"] == SCORES
    assert "latency" not in record
    (run.settings.work_root / "fails").unlink()
    assert Queue(FACTS, [], 1).execute([run]) == {}
    assert calls() == ["7 train", "7 val", "7 test", "7 latency", "7 latency"]
    assert "latency" in read_records(run.settings.results)[0]


def test_results_of_other_settings_are_refused(run, monkeypatch):
    stand_in(monkeypatch, run)
    other = change(run, amp="bf16")
    Queue(FACTS, [], 1).execute([run])
    with pytest.raises(
        ValueError, match=r"toy_seed7\.json is of another config, precision or data"
    ):
        Queue(FACTS, [], 1).execute([other])
    run.record.unlink()
    [failure] = Queue(FACTS, [], 1).execute([other]).values()
    assert "toy_seed7 is of another config, precision or data: remove it" in failure
    assert json.loads((run.work_dir / NOTE).read_text())["identity"] == run.identity("ab")


def test_each_job_has_a_gpu(run, monkeypatch):
    stand_in(monkeypatch, run)
    seen = []
    call = Queue._call
    monkeypatch.setattr(
        Queue, "_call", lambda s, step, log, gpu: (seen.append(gpu), call(s, step, log, gpu))
    )
    Queue(FACTS, ["3"], 1).execute([run])
    assert seen == ["3"] * 3
    monkeypatch.setattr(queues.torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert visible_gpus() == ["4", "6"]


def test_the_commit_of_the_code():
    assert re.fullmatch(r"[0-9a-f]{40}\+?|unknown", commit_of_code())


def test_a_record_needs_all_steps(run):
    write_logs(run.work_dir, [{"loss": 1.0, "time": 0.5, "step": 4}])
    with pytest.raises(FileNotFoundError, match=r"scores_val\.json not found; run tools/bench\.py"):
        make_record(run, FACTS, ("train", "val", "test"))


def test_variants_by_name_and_path(run):
    names = {path.stem for path in bench.configs_of([])}
    assert {"full", "lidar", "co_occ"} <= names
    assert bench.configs_of(["lidar", str(run.config)])[1] == Path(run.config)
    with pytest.raises(
        FileNotFoundError, match=r"fulll\.py not found; the variants are camera, co"
    ):
        bench.configs_of(["fulll"])


def test_each_variant_runs_once_and_names_differ(tmp_path):
    full = bench.VARIANTS / "full.py"
    assert bench.configs_of(["full", "full", str(full)]) == [full]
    other = tmp_path / "full.py"
    other.write_text("")
    with pytest.raises(ValueError, match=rf"{full} and {other} have the same name.*rename one"):
        bench.configs_of(["full", str(other)])


def test_the_data_are_verified_before_anything_runs(run, tmp_path, monkeypatch, capsys):
    calls = stand_in(monkeypatch, run, fails_at=("test",))
    write_tiny_unscenes3d(tmp_path / "data", frames=1, sweeps=0)
    drives = fingerprint_drives(tmp_path / "data", load_scenes(tmp_path / "data"), workers=1)
    file = tmp_path / "data.csv"
    write_fingerprints(drives, "tiny, version 1", file)
    folders = f"--data-root {tmp_path}/data --data-file {file} --work-root {tmp_path}/work"
    words = f"{run.config} --seeds 7 {folders} --results {tmp_path}/results --commit c0ffee"

    def main():
        bench.main(bench.parse_arguments(words.split()))

    with pytest.raises(
        ValueError, match=r"1 of 1 runs failed: toy_seed7: test ended with status 1"
    ):
        main()
    (run.settings.work_root / "fails").unlink()
    main()
    assert "tiny, version 1: all 3 drives are the same up to rounding" in capsys.readouterr().err
    assert calls() == ["7 train", "7 val", "7 test", "7 test"]
    [record] = read_records(tmp_path / "results")
    assert record["data"]["title"] == "tiny, version 1"
    assert record["commit"] == "c0ffee"
    write_fingerprints(dict(list(drives.items())[1:]), "tiny, version 2", file)
    with pytest.raises(ValueError, match=r"is not the data of .*data\.csv \(tiny, version 2\)"):
        main()
