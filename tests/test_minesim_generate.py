import hashlib
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dataset import layout
from dataset.minesim.write import generate as module
from dataset.minesim.write.generate import generate, make_scene
from dataset.minesim.write.plan import SPLITS, VERSION, GenerateOptions
from dataset.minesim.write.production import prepare_folder
from dataset.minesim.write.variation import Variation
from tests.minesim_world import TRUCK, tiny_world

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


@pytest.mark.usefixtures("_tiny_worlds")
def test_explicit_defaults_give_the_bytes_of_no_option(tmp_path):
    options = replace(OPTIONS, scenes=1, frames=1)
    explicit = Variation(conditions=("standard",), lidars=("livox_hap",))
    generate(tmp_path / "a", options, workers=1, progress=False)
    generate(tmp_path / "b", replace(options, variation=explicit), workers=1, progress=False)
    first, second = _hashes(tmp_path / "a"), _hashes(tmp_path / "b")
    assert first.pop("minesim.json") != second.pop("minesim.json")  # It records the options.
    assert first == second


@pytest.mark.usefixtures("_tiny_worlds")
def test_each_scene_has_its_own_sensors_and_calibration(tmp_path):
    models = ("hdl_32e", "livox_horizon", "vlp_16")
    variation = Variation(lidars=models, camera=True)
    options = replace(OPTIONS, scenes=2, frames=1, variation=variation)
    generate(tmp_path, options, workers=1, progress=False)
    about = json.loads((tmp_path / "minesim.json").read_text())
    info = json.loads((tmp_path / "imagesets/scene_info.json").read_text())
    assert about["options"]["variation"]["lidars"] == list(models)
    heights = set()
    for name, scene in info.items():
        (stem,) = scene["samples"]
        record = about["scene_sensors"][name]
        lines = (tmp_path / f"calibs/{stem}.txt").read_text().splitlines()
        matrices = {key: np.array(row.split(), float) for key, row in (x.split(":") for x in lines)}
        assert matrices["Tr_velo_to_imu"][11] == pytest.approx(record["lidar_height_m"])
        assert matrices["P2"][0] == pytest.approx(record["camera_focal_px"])
        assert record["lidar"] in models
        cloud = np.fromfile(tmp_path / f"clouds/{stem}.bin", np.float32).reshape(-1, 4)
        assert 0 <= cloud[:, 3].min() < 100 < cloud[:, 3].max() <= 255
        assert "The LiDAR is a" in (tmp_path / f"image_caption/{stem}.txt").read_text()
        heights.add(record["lidar_height_m"])
        _check_labels_project_on_the_truck(tmp_path, stem, matrices)
    assert len(heights) == 2


def _check_labels_project_on_the_truck(root, stem, matrices):
    """Check that labeled voxels fall where the depth label has the depth of their object."""
    rows = np.load(root / f"occ/{stem}.npy")
    truck = layout.LABEL_GRID.meters_from_voxel(rows[rows[:, 3] == TRUCK, :3] + 0.5)
    truck = truck[truck[:, 0] < truck[:, 0].min() + 0.2]  # Its rear, which faces the camera.
    cam = truck @ matrices["Tr_velo_to_cam"].reshape(3, 4)[:, :3].T
    cam += matrices["Tr_velo_to_cam"].reshape(3, 4)[:, 3]
    u, v, depth = (cam @ matrices["P2"].reshape(3, 4)[:, :3].T).T
    label = cv2.imread(str(root / f"depths/{stem}.png"), cv2.IMREAD_UNCHANGED) / 256
    column, row = (u / depth).astype(int), (v / depth).astype(int)
    inside = (column >= 0) & (column < label.shape[1]) & (row >= 0) & (row < label.shape[0])
    seen = label[row[inside], column[inside]]
    error = np.abs(seen - depth[inside])[seen > 0]
    assert len(error) > 20
    assert np.median(error) < 0.5  # Half a voxel, and the pitch of the camera.


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
