import hashlib
import json
from dataclasses import replace

import pytest

from dataset import layout
from dataset.minesim.write import generate as module
from dataset.minesim.write.generate import generate, make_scene
from dataset.minesim.write.plan import SPLITS, VERSION, GenerateOptions
from dataset.minesim.write.production import prepare_folder
from tests.minesim_world import tiny_world

OPTIONS = GenerateOptions(scenes=3, frames=2, image_size=(48, 30), map_voxel_m=0.3)


@pytest.fixture
def _tiny_worlds(monkeypatch):
    """Build cheap worlds in which the seed only changes the haze."""

    def build(seed, options):
        world = tiny_world(seconds=options.duration_s)
        haze = replace(world.environment, haze_m=1000.0 + seed % 1000)
        return replace(world, environment=haze, location=options.location)

    monkeypatch.setattr("dataset.minesim.scene.world.build_world", build)


def _hashes(root):
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


@pytest.mark.usefixtures("_tiny_worlds")
def test_writes_every_folder_and_the_lists(tmp_path):
    summary = generate(tmp_path / "data", OPTIONS, workers=1, progress=False)
    info = json.loads((tmp_path / "data/imagesets/scene_info.json").read_text())
    assert list(info) == ["scene_00000", "scene_00001", "scene_00002"]
    listed = {
        split: (tmp_path / f"data/imagesets/{split}.txt").read_text().split() for split in SPLITS
    }
    for split, scenes in summary.scenes.items():
        assert listed[split] == [stem for scene in scenes for stem in info[scene]["samples"]]
        assert len(listed[split]) == 2
    stems = {split: set(names) for split, names in listed.items()}
    assert not stems["train"] & stems["val"] | stems["val"] & stems["test"]
    for folder, suffix in layout.SUFFIXES.items():
        found = {path.name for path in (tmp_path / "data" / folder).iterdir()}
        wanted = [stem for scene in info.values() for stem in scene["samples"]]
        if folder in (layout.IMAGES, layout.CLOUDS, layout.CALIBS, layout.VEHICLE_INFOS):
            wanted += [stem for scene in info.values() for stem in scene["sweeps"]]
        assert found == {f"{stem}{suffix}" for stem in wanted}
    assert all(scene["location"].startswith("location_") for scene in info.values())
    assert (summary.samples, summary.sweeps) == (6, 3)
    assert summary.voxels[11] > summary.voxels[2] > 0
    about = json.loads((tmp_path / "data/minesim.json").read_text())
    assert about["version"] == VERSION
    assert about["options"]["frames"] == 2
    assert not (tmp_path / "data/.minesim").exists()


@pytest.mark.usefixtures("_tiny_worlds")
def test_an_interrupted_run_resumes_and_gives_the_same_bytes(tmp_path, monkeypatch):
    generate(tmp_path / "whole", OPTIONS, workers=1, progress=False)
    broken = tmp_path / "broken"
    prepare_folder(broken, OPTIONS, force=False)
    make_scene(broken, OPTIONS, 1, lambda: None)
    half = broken / ".minesim/scene_00002.partial/images"  # Where the run was interrupted.
    half.mkdir(parents=True)
    (half / "rubbish.jpg").write_text("")
    seen = []

    def make(root, options, number, on_frame):
        seen.append(number)
        make_scene(root, options, number, on_frame)

    monkeypatch.setattr(module, "make_scene", make)
    generate(broken, OPTIONS, workers=1, progress=False)
    assert seen == [0, 2]
    assert _hashes(broken) == _hashes(tmp_path / "whole")


@pytest.mark.usefixtures("_tiny_worlds")
def test_another_seed_gives_different_bytes(tmp_path):
    options = replace(OPTIONS, scenes=1, frames=1)
    generate(tmp_path / "a", options, workers=1, progress=False)
    generate(tmp_path / "b", replace(options, seed=1), workers=1, progress=False)
    first, second = _hashes(tmp_path / "a"), _hashes(tmp_path / "b")
    assert not set(first.values()) & set(second.values()) - set(_same_for_all(first))


def _same_for_all(hashes):
    """Return files that do not depend on the seed: calibration, captions, empty lists."""
    return [
        value
        for name, value in hashes.items()
        if name.startswith(("calibs", "image_caption")) or name.endswith(("val.txt", "test.txt"))
    ]


def test_worker_processes_write_the_same_bytes(tmp_path):
    options = replace(OPTIONS, scenes=2, frames=1, ground_cell_m=1.5)
    generate(tmp_path / "workers", options, workers=2, progress=False)
    prepare_folder(tmp_path / "here", options, force=False)
    make_scene(tmp_path / "here", options, 1, lambda: None)  # One scene is enough.
    here, workers = _hashes(tmp_path / "here"), _hashes(tmp_path / "workers")
    recorded = {name for name in here if not name.startswith(".minesim")}
    assert len(recorded) == len(layout.SUFFIXES)
    assert {name: workers[name] for name in recorded} == {name: here[name] for name in recorded}


@pytest.mark.usefixtures("_tiny_worlds")
def test_a_finished_data_set_is_only_replaced_with_force(tmp_path):
    options = replace(OPTIONS, scenes=1, frames=1)
    generate(tmp_path, options, workers=1, progress=False)
    with pytest.raises(FileExistsError, match="pass --force"):
        generate(tmp_path, options, workers=1, progress=False)
    before = set(_hashes(tmp_path))
    (tmp_path / "notes.txt").write_text("mine")
    generate(tmp_path, replace(options, seed=5), workers=1, force=True, progress=False)
    after = set(_hashes(tmp_path))
    assert "notes.txt" in after
    assert len(after) == len(before) + 1
    assert not {name for name in before & after if name.startswith("images/")}


def test_rejects_zero_workers(tmp_path):
    with pytest.raises(ValueError, match="workers must be at least 1"):
        generate(tmp_path, OPTIONS, workers=0)


def test_the_folder_is_locked_while_scenes_are_made(tmp_path, monkeypatch):
    def refuse(folder):
        raise ValueError(f"{folder} is in use")

    monkeypatch.setattr(module, "locked", refuse)
    with pytest.raises(ValueError, match="mine is in use"):
        generate(tmp_path / "mine", OPTIONS, workers=1, progress=False)
