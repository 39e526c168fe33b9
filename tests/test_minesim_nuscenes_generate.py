import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from torch.nn import functional

import eval_iou
import eval_novel_depth
import train
from dataset.minesim.write.nuscenes import recorder
from dataset.minesim.write.nuscenes.generate import generate_nuscenes
from dataset.minesim.write.nuscenes.plan import NuScenesOptions
from dataset.nuscenes.dataset import FIELDS, NuScenes
from dataset.nuscenes.index import CAMERAS, LIDAR
from dataset.nuscenes.labels import BENCHMARKS
from tests.flat_options import build_flat
from tests.minesim_world import tiny_world
from tests.nuscenes_config import write_nuscenes_config
from utils.geometry import project_points
from utils.labels import NUSCENES

WIDTH, HEIGHT = 160, 90
OPTIONS = NuScenesOptions(
    scenes=2,
    frames=2,
    image_size=(WIDTH, HEIGHT),
    sweeps=1,
    lidar_columns=40,
    surface_step_m=0.2,
    ground_cell_m=1.5,
)
ONE = replace(OPTIONS, scenes=1, frames=1, image_size=(32, 18), lidar_columns=4, surface_step_m=0.3)


OWN_FIELDS = tuple(name for name in FIELDS if name not in ("masks", "voxel_classes"))
"""What the data set itself provides; masks are a user's own."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Generate a data set; return it with the rendered depth by scene, sample and camera."""
    root = tmp_path_factory.mktemp("rig")
    depths: list[list[np.ndarray]] = []
    seen_by_cameras = recorder.seen_by_cameras

    def spy(caster, views, *rest):
        depths.append([view.depth_m for view in views])
        return seen_by_cameras(caster, views, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "seen_by_cameras", spy)
        summary = generate_nuscenes(root, OPTIONS, workers=1, progress=False)
    return SimpleNamespace(root=root, summary=summary, depths=depths)


def load(root, split="all", **options):
    name = options.get("labels_source", "occ3d")
    source = BENCHMARKS[name]
    settings = {"image_size": (HEIGHT, WIDTH), "frame": source.frame, **options}
    return build_flat(
        NuScenes, root / "nuscenes", split, grid=source.grid, fields=OWN_FIELDS, **settings
    )


def table(root, name):
    return json.loads((root / f"nuscenes/v1.0-mini/{name}.json").read_text())


def hashes(root):
    files = (path for path in sorted(Path(root).rglob("*")) if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def test_the_loaders_splits_find_the_scenes(tiny):
    assert tiny.summary.scenes == {"train": ("scene-0061",), "val": ("scene-0103",)}
    assert set(load(tiny.root, "train").scenes) == {"scene-0061"}
    assert set(load(tiny.root, "val").scenes) == {"scene-0103"}
    assert len(load(tiny.root)) == tiny.summary.samples == 4
    about = json.loads((tiny.root / "minesim.json").read_text())
    assert about["layout"] == "nuscenes"
    assert about["voxels"]["driveable_surface"] == tiny.summary.voxels[11] > 0


def test_tables_are_linked_and_refer_to_existing_files(tiny):
    names = ("log", "scene", "sample", "sample_data", "ego_pose", "calibrated_sensor", "sensor")
    tables = {name: {r["token"]: r for r in table(tiny.root, name)} for name in names}
    for name, records in tables.items():
        assert len(records) == len(table(tiny.root, name)), f"{name} has a duplicate token"
        for record in records.values():
            for key, value in record.items():
                if key in {"prev", "next"} and value:
                    back = {"prev": "next", "next": "prev"}[key]
                    assert records[value][back] == record["token"]
                elif key.endswith("_token"):
                    other = key.removeprefix("first_").removeprefix("last_").removesuffix("_token")
                    assert value in tables[other], (name, key)
    for record in tables["sample_data"].values():
        assert (tiny.root / "nuscenes" / record["filename"]).is_file()
    sensors = {
        token: tables["sensor"][record["sensor_token"]]["channel"]
        for token, record in tables["calibrated_sensor"].items()
    }
    counted = Counter(sensors[r["calibrated_sensor_token"]] for r in tables["sample_data"].values())
    assert counted == {LIDAR: 6, **dict.fromkeys(CAMERAS, 4)}


def test_lidar_points_match_the_depth_images(tiny):
    dataset = load(tiny.root)
    agreeing, shifted = [], []
    for index, depths in enumerate(tiny.depths):
        sample = dataset[index]
        wrong = sample.pixel_from_lidar.clone()
        wrong[:, 1] += 4 * wrong[:, 2]  # Four rows too low.
        for camera, depth_m in enumerate(depths):
            agreeing.append(_agreement(sample.pixel_from_lidar[camera], sample.points, depth_m))
            shifted.append(_agreement(wrong[camera], sample.points, depth_m))
    assert min(len(errors) for errors in agreeing) > 20
    # The rest are at edges, where a pixel of so small an image covers two surfaces.
    assert (np.concatenate(agreeing) < 0.05).mean() > 0.95
    assert (np.concatenate(shifted) < 0.05).mean() < 0.5  # The measure is sensitive.


def _agreement(pixel_from_lidar, points, depth_m):
    """Return the relative error of each point's depth against the image's."""
    pixels, depth = (a.numpy() for a in project_points(pixel_from_lidar, points[:, :3]))
    u, v = pixels.T - 0.5
    inside = (depth > 0.5) & (u > 0) & (u < WIDTH - 1) & (v > 0) & (v < HEIGHT - 1)
    # Inverse depth is linear over the image of a plane.
    places = (axis[inside, None] for axis in (u, v))
    inverse = cv2.remap(1 / depth_m, *places, cv2.INTER_LINEAR)
    return np.abs(inverse.reshape(-1) * depth[inside] - 1)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_labels_match_the_points(tiny, name):
    dataset = load(tiny.root, labels_source=name)
    near, mirrored = [], []
    for index in range(len(dataset)):
        sample = dataset[index]
        points = sample.points[dataset.grid.contains(sample.points[:, :3]), :3].numpy()
        voxel = np.floor(dataset.grid.voxel_from_meters(points)).astype(int)
        occupied = functional.max_pool3d((sample.occupancy > 0)[None].float(), 3, 1, 1)[0].bool()
        occupied = occupied.numpy()
        near.append(occupied[tuple(voxel.T)])
        mirrored.append(occupied[::-1, ::-1][tuple(voxel.T)])
    assert np.concatenate(near).mean() > 0.99
    assert np.concatenate(mirrored).mean() < np.concatenate(near).mean() - 0.02


def test_masks_mark_visible_voxels(tiny):
    dataset = load(tiny.root)
    labels, points = dataset.labels(1), dataset[1].points[:, :3]
    points = points[dataset.grid.contains(points)].numpy()
    voxel = tuple(np.floor(dataset.grid.voxel_from_meters(points)).astype(int).T)
    assert labels.mask_lidar[voxel].mean() > 0.9
    by_camera = labels.mask_camera[voxel]
    assert by_camera[np.abs(points[:, :2]).max(axis=1) > 8.0].mean() > 0.9
    assert not labels.mask_camera[101:104, 99:101, 2].any()  # The road under the car.
    under = labels.mask_lidar[:, :, 0][labels.occupancy[:, :, 2] == 11]
    assert under.mean() < 0.1  # Nothing below the road is visible.
    road = NUSCENES.index("driveable_surface")
    assert labels.occupancy[100:108, 100, 2].tolist() == [road] * 8  # The car stands on it.


def test_sweeps_are_accumulated(tiny):
    alone, together = load(tiny.root)[1].points, load(tiny.root, num_sweeps=2)[1].points
    assert together.shape[1] == 5
    assert len(together) > 1.8 * len(alone)


def test_the_same_seed_gives_the_same_bytes(tmp_path, monkeypatch):
    def build(seed, options):
        """Build a cheap world that the seed shifts sideways."""
        world = tiny_world(seconds=options.duration_s)
        aside = np.float32([0, 3 * seed / 2**31, 0])
        return replace(world, vertices=world.vertices + aside, location=options.location)

    monkeypatch.setattr("dataset.minesim.scene.world.build_world", build)
    for name in ("a", "b"):
        generate_nuscenes(tmp_path / name, ONE, workers=1, progress=False)
    generate_nuscenes(tmp_path / "c", replace(ONE, seed=1), workers=1, progress=False)
    first, other = hashes(tmp_path / "a"), hashes(tmp_path / "c")
    assert first == hashes(tmp_path / "b")
    same = {"nuscenes/v1.0-mini/sensor.json"}  # The rig does not depend on the seed.
    assert {name for name in first if first[name] in other.values()} == same


def test_a_network_is_trained_and_evaluated_on_it_like_the_demo(tiny, tmp_path, capsys):
    """The smallest ``make nuscenes-demo``, plus the other benchmarks and the other renderer."""
    config = write_nuscenes_config(tmp_path / "config.py", tiny.root / "nuscenes")
    common = f"--py-config {config} --work-dir {tmp_path / 'out'}".split()
    train.main(train.parse_arguments([*common, "--depth-metric"]))
    (curves,) = (tmp_path / "out").glob("*/vis_data/scalars.json")
    assert '"depth_abs_rel"' in curves.read_text()

    def run(script, words):
        capsys.readouterr()
        scores = tmp_path / "scores.json"
        script.main(script.parse_arguments([*common, "--json", str(scores), *words.split()]))
        return json.loads(scores.read_text()), capsys.readouterr().out

    wanted = {
        "occ3d": "--occ3d --resolution 0.8 --sem --use-mask --scene-size 4",
        "surroundocc": "--benchmark surroundocc",
        "openoccupancy": "--resolution 0.4 --scene-size 4",
    }
    for name, words in wanted.items():
        scores, table = run(eval_iou, words)
        assert (scores["benchmark"], scores["frames"]) == (name, 2)
        assert 0 <= scores["miou"] <= scores["iou"] <= 1
        assert "driveable_surface" in table
    for renderer in ("volume", "gaussians"):
        scores, table = run(eval_novel_depth, f"--num-rays 12 24 --render {renderer}")
        assert set(scores["cameras"]) == set(CAMERAS)
        assert scores["frames"] == 2 * len(CAMERAS)  # Each key frame from the other.
        assert 0 < scores["abs_rel"] < 20
        assert "12×24 rays an image" in table
