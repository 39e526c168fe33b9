import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

from dataset.label_grids import resample_labels
from dataset.nuscenes.cache import CACHE
from dataset.nuscenes.dataset import FIELDS, NuScenes
from dataset.nuscenes.frames import NuScenesFrames
from dataset.nuscenes.index import CAMERAS, LIDAR
from dataset.nuscenes.labels import BENCHMARKS
from dataset.reading import Reading
from dataset.sample import Loss, Sample, SampleKey, collate
from dataset.transforms import coarsen_occupancy
from engine.build.build import build_dataset, build_grid
from tests.flat_options import build_flat
from tests.nuscenes_files import (
    CAR,
    COLORS,
    OTHERS,
    ego_from_sensor,
    paint,
    token,
    world_from_ego,
    write_tiny_nuscenes,
)
from utils.geometry import VoxelGrid, project_points, transform_points
from utils.labels import IGNORE, NUSCENES

OWN_FIELDS = tuple(name for name in FIELDS if name not in ("masks", "voxel_classes"))
"""What the data set itself provides; masks are a user's own."""
BASE = Path(__file__).parents[1] / "config/_base_/nuscenes.py"
GRID = BENCHMARKS["occ3d"].grid
OUTPUT = (72, 128)
CROP = (0.1, 0.0, 1.0, 1.0)
VIEWS = ("images", "points", "pixel_from_lidar", "depth_m")
FLIPPED_IMAGE = {"image_flip_prob": 1.0}
FLIPPED_VOLUME = {"volume_flip_prob": 1.0}
EVERYTHING = {
    "image_scale": (0.8, 1.3),
    "image_shift": 0.1,
    "image_flip_prob": 0.5,
    "volume_flip_prob": 0.5,
    "volume_rotation_deg": 15.0,
    "volume_height_m": 0.9,
    "brightness": 0.05,
    "contrast": 0.05,
    "saturation": 0.05,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny") / "nuscenes"
    return write_tiny_nuscenes(root, samples=2, benchmarks=tuple(BENCHMARKS))


@pytest.fixture
def own(tmp_path):
    """A data set that a test may break: one scene of two samples."""
    return write_tiny_nuscenes(tmp_path / "nuscenes", scenes=("scene-0061",), samples=2)


@pytest.fixture
def log():
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def build(tiny, fields=OWN_FIELDS, **options):
    options = {"split": "train", "grid": GRID, "image_size": OUTPUT, **options}
    return build_flat(NuScenes, tiny.root, fields=fields, **options)


# --- one whole frame ---


def test_a_whole_frame(tiny):
    dataset = build(tiny)
    assert dataset.stems == tiny.samples["scene-0061"]
    assert (dataset.scenes, len(dataset)) == (["scene-0061"] * 2, 2)
    assert dataset.version == "v1.0-mini"
    sample = dataset[1]
    assert (sample.stem, sample.scene) == (dataset.stems[1], "scene-0061")
    shapes = {
        "images": (torch.uint8, (6, 3, *OUTPUT)),
        "pixel_from_lidar": (torch.float32, (6, 4, 4)),
        "occupancy": (torch.uint8, GRID.shape),
        "depth_m": (torch.float32, (6, *OUTPUT)),
        "world_from_lidar": (torch.float64, (4, 4)),
    }
    for name, (dtype, shape) in shapes.items():
        value = getattr(sample, name)
        assert (value.dtype, tuple(value.shape)) == (dtype, shape), name
    assert sample.points.dtype == torch.float32
    assert sample.points.shape[1] == 4
    assert sample.elevation_m is sample.caption is sample.vehicle is None
    pose = world_from_ego(tiny.time_us[sample.stem])
    np.testing.assert_allclose(sample.world_from_lidar, pose, atol=1e-9)
    assert sample.world_from_lidar[0, 3] > 500  # Far from the origin: hence float64.


def test_it_goes_through_collate_and_workers(tiny):
    dataset = build(tiny, ["points"], split="val")
    assert dataset.stems == tiny.samples["scene-0103"]
    assert dataset.metainfo["classes"] == NUSCENES.class_names
    loader = DataLoader(dataset, batch_size=2, num_workers=1, collate_fn=collate)
    (batch,) = loader
    assert batch.stems == dataset.stems
    assert batch.images is None
    torch.testing.assert_close(batch.points[1], dataset[-1].points)


@pytest.mark.parametrize("field", OWN_FIELDS)
def test_nothing_is_opened_for_other_fields(own, field):
    dataset = build(own, [field])
    needed = {
        "images": ["samples"],
        "points": ["samples"],
        "depth_m": ["samples"],
        "neighbors": ["samples"],
        "lidar_rays": ["samples"],
        "video": ["samples"],
        "occupancy": ["../occ3d"],
    }.get(field, [])
    for folder in ("samples", "sweeps", "../occ3d"):
        if folder not in needed:
            (own.root / folder).rename(own.root / f"{folder}_gone")
    for channel in (LIDAR, *CAMERAS):
        if needed == ["samples"] and (channel == LIDAR) == (field in ("images", "video")):
            (own.root / "samples" / channel).rename(own.root / f"{channel}_gone")
    sample = build(own, [field])[0]
    assert [name for name in OWN_FIELDS if getattr(sample, name) is not None] == [field]
    assert len(dataset) == 2


# --- geometry ---


def in_view(sample, camera, points):
    """Pixels, depths and which points lie in the image of one camera."""
    pixels, depth = project_points(sample.pixel_from_lidar[camera], points)
    size = torch.tensor([OUTPUT[1], OUTPUT[0]])
    inside = (depth > 0.1) & ((pixels >= 0) & (pixels < size)).all(-1)
    column, row = torch.floor(pixels[inside]).long().T
    return row, column, depth[inside], inside


@pytest.mark.parametrize("frame", ["ego", "lidar"])
@pytest.mark.parametrize(
    ("augmentation", "epoch"),
    [(None, 0), (FLIPPED_IMAGE, 0), (FLIPPED_VOLUME, 0), *((EVERYTHING, e) for e in range(3))],
)
def test_points_land_on_their_own_color_and_depth(tiny, frame, augmentation, epoch):
    dataset = build(tiny, VIEWS, augmentation=augmentation, frame=frame, image_crop=CROP, seed=3)
    sample = dataset[SampleKey(1, epoch)]
    colors = torch.tensor([COLORS.get(value, (0, 0, 0)) for value in range(18)])
    for camera in range(len(CAMERAS)):
        row, column, depth, inside = in_view(sample, camera, sample.points[:, :3])
        assert inside.sum() > 100
        expected = colors[(25.5 * sample.points[inside, 3]).round().long()]
        seen = sample.images[camera][:, row, column].T.int()
        is_own = (seen - expected).abs().amax(1) < 60
        # Edges blur over a pixel; LiDAR and camera look from 0.6 m apart, so few points are hidden.
        assert is_own.float().mean() > 0.9, CAMERAS[camera]
        known = sample.depth_m[camera, row, column]
        assert (known > 0).all()
        assert (known <= depth + 1e-3).all()
        assert (known - depth).abs().median() < 1e-3
        assert (sample.depth_m[camera] > 0).sum() == len(torch.unique(row * 1000 + column))


def test_both_ego_poses_are_in_the_chain(tiny):
    """By hand: the car's corner, from the map, in the front camera."""
    dataset = build(tiny, ["pixel_from_lidar"], image_size=(90, 160))
    stem = dataset.stems[1]
    world_from_map = world_from_ego(tiny.time_us[dataset.stems[0]])  # Both begin at its origin.
    corner = world_from_map @ [14.0, -2.5, 1.6, 1.0]
    now = np.linalg.inv(world_from_ego(tiny.time_us[stem])) @ corner
    matrix = dataset[1].pixel_from_lidar[0].double()
    u, v, depth, _ = (matrix @ torch.from_numpy(now)).tolist()
    # The camera recorded 35 ms before, at 0.464998 s: 3.719984 m on the way and turned by
    # 0.0464998 rad; it sits 1.6 m ahead and 1.5 m up, f = 0.79·160, middle (0.51·160, 0.54·90).
    turn, x, y = 0.0464998, 3.719984, 0.5 * 0.8 * 0.464998**2
    ahead = np.cos(turn) * (14.0 - x) + np.sin(turn) * (-2.5 - y) - 1.6
    left = -np.sin(turn) * (14.0 - x) + np.cos(turn) * (-2.5 - y)
    assert depth == pytest.approx(ahead, abs=1e-4)
    assert u / depth == pytest.approx(81.6 - 126.4 * left / ahead, abs=1e-3)
    assert v / depth == pytest.approx(48.6 - 126.4 * 0.1 / ahead, abs=1e-3)


def test_a_frame_seen_from_another_one(tiny):
    """What novel views need: the poses of two frames take the one's points to the other's image."""
    dataset = build(tiny, (*VIEWS, "world_from_lidar"), augmentation=EVERYTHING)
    first, second = dataset[SampleKey(0, 1)], dataset[SampleKey(1, 2)]
    first_from_second = torch.linalg.inv(first.world_from_lidar) @ second.world_from_lidar

    upright = (25.5 * second.points[:, 3]).round() != NUSCENES.index("driveable_surface")

    def error(matrix):
        points = transform_points(matrix, second.points[upright, :3].double()).float()
        off = []
        for camera in range(len(CAMERAS)):
            row, column, depth, _ = in_view(first, camera, points)
            known = first.depth_m[camera, row, column]
            off.append(((known - depth).abs() / depth)[known > 0])
        return torch.cat(off).median()

    assert error(first_from_second) < 0.02  # Two points of one pixel are not of one depth.
    assert error(torch.eye(4, dtype=torch.float64)) > 0.1


@pytest.mark.parametrize("frame", ["ego", "lidar"])
def test_sweeps_are_brought_to_the_frame_and_carry_their_age(tiny, frame):
    sample = build(tiny, ["points"], num_sweeps=3, frame=frame)[1]
    ages = torch.unique(sample.points[:, 4])
    torch.testing.assert_close(ages, torch.tensor([0.0, 0.166666, 0.333332]))
    # All sweeps see one world: the car's near face, at x = 14 m in the map, is one plane.
    ego_from_volume = np.eye(4) if frame == "ego" else ego_from_sensor(LIDAR)
    map_from_now = np.linalg.inv(world_from_ego(tiny.time_us[tiny.samples["scene-0061"][0]]))
    map_from_volume = map_from_now @ world_from_ego(tiny.time_us[sample.stem]) @ ego_from_volume
    on_car = sample.points[(25.5 * sample.points[:, 3]).round() == CAR]
    place = transform_points(torch.from_numpy(map_from_volume), on_car[:, :3].double())
    for age in ages:
        near = place[on_car[:, 4] == age][:, 0].min()
        assert near == pytest.approx(14.0, abs=1e-3)
    single = build(tiny, ["points"], frame=frame)[1].points
    torch.testing.assert_close(sample.points[sample.points[:, 4] == 0][:, :4], single)


def test_sweeps_of_implausible_age_are_rejected(tiny, monkeypatch):
    dataset = build(tiny, ["points"], num_sweeps=3)
    monkeypatch.setattr(NuScenesFrames, "age_s", lambda self, row, sweep: 1000.0 * sweep)
    with pytest.raises(ValueError, match=r"\.pcd\.bin: expected a sweep at most 10 s before"):
        dataset[1]


def test_a_scene_begins_with_fewer_sweeps(tiny):
    points = build(tiny, ["points"], num_sweeps=9)[0].points
    assert points.shape[1] == 5
    assert (points[:, 4] == 0).all()


def test_returns_of_the_own_roof_are_left_out(tiny):
    sample = build(tiny, ["points", "depth_m"], frame="lidar")[0]
    cloud = np.fromfile(tiny.root / tiny.lidar_file[sample.stem], np.float32).reshape(-1, 5)
    assert len(sample.points) == len(cloud) - 2
    assert (sample.points[:, :2].abs() >= 1.0).any(1).all()
    assert sample.depth_m[sample.depth_m > 0].min() > 1.0


def test_lidar_frame_has_x_to_the_right(tiny):
    points = build(tiny, ["points"], frame="lidar")[0].points
    car = points[(25.5 * points[:, 3]).round() == CAR].mean(0)
    assert 10 < car[1] < 20  # Ahead.
    assert 0 < car[0] < 3  # A little to the right.
    points = build(tiny, ["points"], frame="ego")[0].points
    car = points[(25.5 * points[:, 3]).round() == CAR].mean(0)
    assert 10 < car[0] < 20
    assert -3 < car[1] < 0


# --- labels ---


def test_occ3d_is_the_volume_itself(tiny):
    sample = build(tiny, ["occupancy"])[1]
    painted = paint(GRID, world_from_ego(tiny.time_us[sample.stem]))
    np.testing.assert_array_equal(sample.occupancy, painted)
    assert (sample.occupancy == OTHERS).sum() > 10


@pytest.mark.parametrize("source", ["surroundocc", "openoccupancy"])
def test_other_labels_are_brought_to_the_volume(tiny, source):
    dataset = build(tiny, ["occupancy"], labels_source=source)
    occupancy = dataset[1].occupancy.numpy()
    painted = paint(GRID, world_from_ego(tiny.time_us[dataset.stems[1]]))
    centers = transform_points(
        torch.from_numpy(dataset.label_from_volume(1)).float(), GRID.centers_m().flatten(0, 2)
    )
    inside = BENCHMARKS[source].grid.contains(centers).reshape(GRID.shape).numpy()
    assert (occupancy[~inside] == IGNORE).all()
    assert 0.8 < inside.mean() < 0.95  # The labels end 3 m above the LiDAR.
    assert 0 < (occupancy[inside] == IGNORE).sum() < 200  # Others, which they call noise.
    # A thick wall, whose voxels differ at its faces alone.
    wall = NUSCENES.index("manmade")
    assert (occupancy == painted)[(painted == wall) & inside].mean() > 0.75
    assert (painted == wall)[occupancy == wall].mean() > 0.75


@pytest.mark.parametrize("name", BENCHMARKS)
def test_labels_as_a_benchmark_scores_them(tiny, name):
    dataset = build(tiny, ["points"])
    labels = dataset.labels(1, name)
    source = BENCHMARKS[name]
    world_from_label = world_from_ego(tiny.time_us[dataset.stems[1]])
    if source.frame == "lidar":
        world_from_label = world_from_label @ ego_from_sensor(LIDAR)
    painted = paint(source.grid, world_from_label)
    if name != "occ3d":
        painted[painted == OTHERS] = IGNORE  # Written as noise, as is one voxel more.
        painted[0, 0, 0] = IGNORE
    np.testing.assert_array_equal(labels.occupancy, painted)
    by_training = build(tiny, ["occupancy"], labels_source=name)[1].occupancy
    matrix = dataset.label_from_volume(1, name)
    factor = {"occ3d": 1, "surroundocc": 1, "openoccupancy": 2}[name]  # of 0.4, 0.5 and 0.2 m
    coarse = coarsen_occupancy(labels.occupancy, factor)
    np.testing.assert_array_equal(
        by_training, resample_labels(coarse, labels.grid.coarsen(factor), GRID, matrix)
    )


def test_labels_default_to_those_of_training(own):
    moved = own.root.parent / "elsewhere"
    (own.root.parent / "occ3d").rename(moved)
    dataset = build(own, ["occupancy"], labels_root=moved)
    np.testing.assert_array_equal(dataset.labels(0).occupancy, dataset[0].occupancy)
    np.testing.assert_array_equal(dataset.label_from_volume(0), np.eye(4))
    with pytest.raises(FileNotFoundError, match=r"occ3d/gts/scene-0061/\w+/labels\.npz"):
        dataset.labels(0, "occ3d")


def test_use_mask_ignores_what_no_camera_saw(tiny):
    masked = build(tiny, ["occupancy"], use_mask=True)[0].occupancy
    whole = build(tiny, ["occupancy"])[0].occupancy
    assert (masked[:, :, 8:] == IGNORE).all()
    torch.testing.assert_close(masked[:, :, :8], whole[:, :, :8])
    assert (whole != IGNORE).all()


def test_labels_of_a_grid_in_larger_voxels(tiny):
    grid = VoxelGrid((-20.0, -20.0, -1.0), 0.8, (50, 50, 4))
    occupancy = build(tiny, ["occupancy"], grid=grid)[0].occupancy
    assert occupancy.shape == grid.shape
    fine = build(tiny, ["occupancy"])[0].occupancy
    majority = coarsen_occupancy(fine[50:150, 50:150, :8].numpy(), 2)
    np.testing.assert_array_equal(occupancy, majority)
    # At their centers alone, surfaces one label thin would be half gone.
    at_centers = fine[51:151:2, 51:151:2, 1:8:2]
    assert (occupancy != 0).sum() > (at_centers != 0).sum()


@pytest.mark.parametrize("augmentation", [FLIPPED_VOLUME, EVERYTHING])
@pytest.mark.parametrize("frame", ["ego", "lidar"])
def test_labels_move_with_the_points(tiny, augmentation, frame):
    grid = GRID if frame == "ego" else BENCHMARKS["surroundocc"].grid
    source = "occ3d" if frame == "ego" else "surroundocc"
    dataset = build(
        tiny,
        ["occupancy", "points"],
        augmentation=augmentation,
        frame=frame,
        grid=grid,
        labels_source=source,
    )
    sample = dataset[SampleKey(0, 2)]
    place = torch.floor(grid.voxel_from_meters(sample.points[:, :3])).long()
    inside = ((place >= 0) & (place < torch.tensor(grid.shape))).all(-1)
    near = torch.zeros(int(inside.sum()), dtype=torch.bool)
    value = (25.5 * sample.points[inside, 3]).round().to(torch.uint8)
    value[value == OTHERS] = OTHERS if source == "occ3d" else IGNORE
    # A point lies on a face, so its voxel or the next one is of its class.
    for offset in np.ndindex(3, 3, 3):
        index = place[inside] + torch.tensor(offset) - 1
        index = torch.minimum(index.clamp(min=0), torch.tensor(grid.shape) - 1)
        near |= sample.occupancy[tuple(index.T)] == value
    assert inside.sum() > 2000
    assert near.float().mean() > 0.97
    if augmentation is FLIPPED_VOLUME:
        plain = build(tiny, ["occupancy"], frame=frame, grid=grid, labels_source=source)[0]
        torch.testing.assert_close(sample.occupancy, plain.occupancy.flip(1))


# --- augmentation ---


def test_augmentation_depends_on_seed_epoch_and_index_alone(tiny):
    fields = ["pixel_from_lidar", "points"]
    dataset = build(tiny, fields, augmentation=EVERYTHING, seed=1)
    first = dataset[SampleKey(1, 4)]
    dataset[SampleKey(0, 0)]
    again = build(tiny, fields, augmentation=EVERYTHING, seed=1)[SampleKey(1, 4)]
    torch.testing.assert_close(first.pixel_from_lidar, again.pixel_from_lidar, rtol=0, atol=0)
    torch.testing.assert_close(first.points, again.points, rtol=0, atol=0)
    others = [
        dataset[SampleKey(1, 5)],
        build(tiny, fields, augmentation=EVERYTHING, seed=2)[SampleKey(1, 4)],
    ]
    assert all(not torch.equal(first.points, other.points) for other in others)
    torch.testing.assert_close(dataset[1].points, dataset[SampleKey(1, 0)].points)


def test_sensor_augmentations_change_inputs_and_no_label(tiny):
    augmentation = {
        "cloud": {"point_drop": 0.5},
        "image": {"noise": 0.05},
        "calibration": {"rotation_deg": 0.5},
    }
    plain, changed = (
        build(tiny, VIEWS, augmentation=a, num_sweeps=2)[1] for a in (None, augmentation)
    )
    assert torch.equal(plain.depth_m, changed.depth_m)
    assert not torch.equal(plain.images, changed.images)
    assert len(changed.points) < len(plain.points)
    assert set(map(tuple, changed.points.tolist())) <= set(map(tuple, plain.points.tolist()))
    errors = torch.linalg.inv(plain.pixel_from_lidar) @ changed.pixel_from_lidar
    for camera, error in enumerate(errors):
        angle_deg = torch.rad2deg((error[:3, :3] - torch.eye(3)).abs().max())
        assert 0.0 < angle_deg < 0.6
        assert not torch.equal(error, errors[camera - 1])


def test_beams_are_those_of_each_sweeps_sensor(tiny):
    drop = {"cloud": {"beam_drop": 0.9, "beam_deg": 2.0}}
    frames = [
        build(tiny, ["points"], frame=f, augmentation=drop, num_sweeps=2)[0]
        for f in ("ego", "lidar")
    ]
    # The same points of the same beams, whatever the frame of the volume.
    np.testing.assert_array_equal(*(frame.points[:, 3:] for frame in frames))
    assert 0 < len(frames[0].points) < len(build(tiny, ["points"], num_sweeps=2)[0].points)


# --- splits, versions, caches ---


def test_splits(tiny):
    assert build(tiny, ["points"], split="val").scenes == ["scene-0103"] * 2
    assert build(tiny, ["points"], split="all").scenes == ["scene-0061"] * 2 + ["scene-0103"] * 2
    wanted = [tiny.samples["scene-0061"][1]]
    assert build(tiny, ["points"], stems=wanted).stems == wanted
    with pytest.raises(ValueError, match=r"1 of the requested stems are not in the split 'val'"):
        build(tiny, ["points"], split="val", stems=wanted)
    with pytest.raises(FileNotFoundError, match=r"no tables v1\.0-test for the split 'test'"):
        build(tiny, ["points"], split="test")


def test_the_index_is_cached_beside_the_tables(own):
    build(own, ["points"])
    assert (own.root / own.version / CACHE).is_file()
    own.edit("scene", lambda records: [{**records[0], "name": "scene-0103"}])
    assert build(own, ["points"], split="val").scenes == ["scene-0103"] * 2


# --- faults ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(fields=["points", "caption"]), r"fields must be in .* got \['points', 'caption'\]"),
        (dict(fields=[]), "fields must be in"),
        (dict(frame="world"), "frame must be one of"),
        (dict(num_sweeps=0), "num_sweeps must be at least 1, got 0"),
        (dict(labels_source="kitti"), "unknown labels 'kitti'"),
        (dict(labels_source="surroundocc", use_mask=True), "use_mask needs the masks of occ3d"),
        (dict(image_size=(0, 5)), r"image_size must be \(height, width\)"),
        (dict(image_crop=(0.0, 0.0, 2.0, 1.0)), "image_crop must be"),
        (dict(version="v2"), "unknown version 'v2'"),
        (dict(split="night"), "unknown split 'night'"),
        (dict(augmentation={"color": 1.0}), "unknown augmentation keys"),
        (dict(stems=[]), "no key frame of .* in 'train'"),
    ],
)
def test_wrong_options_are_named(tiny, options, message):
    with pytest.raises(ValueError, match=message):
        build(tiny, **options)


def test_a_missing_data_set_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no data set at '.*gone': set data_root"):
        NuScenes(tmp_path / "gone", "train", Reading(GRID, OWN_FIELDS))


def test_a_missing_table_is_named(own):
    own.table("ego_pose").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks the tables \['ego_pose\.json'\]"):
        build(own)


def file_of(tiny, channel, number=0):
    folder = tiny.root / "samples" / channel
    return sorted(folder.iterdir())[number]


@pytest.mark.parametrize("channel", ["CAM_BACK", LIDAR])
def test_missing_files_are_counted_and_named(own, log, channel):
    path = file_of(own, channel, 1)
    path.unlink()
    message = rf"1 of 2 key frames of 'train' \(v1\.0-mini\) lack 1 files: {path}"
    with pytest.raises(FileNotFoundError, match=message):
        build(own, VIEWS)
    dataset = build(own, VIEWS, split="all")
    assert dataset.stems == own.samples["scene-0061"][:1]
    assert any("1 key frames have all files of" in line for line in log)
    assert len(build(own, VIEWS, stems=own.samples["scene-0061"][:1])) == 1


def test_missing_sweeps_and_labels_are_named(own):
    for path in (own.root / "sweeps" / LIDAR).iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"lack 2 files: .*sweeps/LIDAR_TOP/"):
        build(own, ["points"], num_sweeps=3)
    assert build(own, ["points"], num_sweeps=3, split="all").stems == own.samples["scene-0061"][:1]
    (own.root.parent / "occ3d").rename(own.root.parent / "gone")
    with pytest.raises(FileNotFoundError, match=r"lack 2 files: .*occ3d/gts/scene-0061/"):
        build(own, ["occupancy"])
    with pytest.raises(ValueError, match=r"no key frame .* has all files of \['occupancy'\]"):
        build(own, ["occupancy"], split="all")


def test_stems_with_the_files_of_a_field(own):
    first, second = own.samples["scene-0061"]
    file_of(own, "CAM_BACK").unlink()
    (own.root.parent / "occ3d/gts/scene-0061" / second / "labels.npz").unlink()
    dataset = build(own, ["points"])
    assert dataset.stems_with("points") == [first, second]
    assert dataset.stems_with("images") == [second]
    assert dataset.stems_with("occupancy") == [first]
    assert dataset.stems_with("caption") == []


def test_a_file_that_goes_later_is_named(own):
    dataset = build(own, VIEWS)
    path = file_of(own, "CAM_FRONT")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{path} .* not found"):
        dataset[0]


def test_a_cut_cloud_is_named(own):
    path = file_of(own, LIDAR)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match=rf"{path}.*expected rows of 5 float32, a multiple of 20"):
        build(own, ["points"])[0]


def test_a_cut_image_is_named(own):
    path = file_of(own, "CAM_BACK_LEFT")
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(ValueError, match=rf"{path}.*expected a complete image"):
        build(own, ["images"])[0]


def test_a_image_of_another_size_is_named(own):
    own.edit("sample_data", lambda records: [{**record, "width": 320} for record in records])
    with pytest.raises(ValueError, match=r"CAM_FRONT.*expected \(90, 320\) .* got \(90, 160\)"):
        build(own, ["images"])[0]


def test_a_label_of_another_shape_is_named(own):
    path = own.root.parent / "occ3d" / "gts" / "scene-0061" / own.samples["scene-0061"][0]
    content = dict(np.load(path / "labels.npz"))
    np.savez(path / "labels.npz", **content | {"semantics": content["semantics"][:100]})
    with pytest.raises(ValueError, match=r"labels\.npz: expected .*'semantics', got uint8"):
        build(own, ["occupancy"])[0]


def test_a_scene_of_no_split_is_in_all_only(own):
    own.edit("scene", lambda records: [{**records[0], "name": "scene-x"}])
    with pytest.raises(ValueError, match="none of the 8 official scenes of 'train'"):
        build(own, ["points"])
    path = own.root.parent / "occ3d" / "gts"
    (path / "scene-0061").rename(path / "scene-x")
    dataset = build(own, split="all")
    assert dataset.scenes == ["scene-x"] * 2
    assert dataset.labels(0).occupancy.any()
    assert token("scene-0061")  # Its token has not changed.


# --- the config ---


def test_the_base_config_builds_it(tiny):
    cfg = Config.fromfile(BASE)
    cfg.data_root = str(tiny.root)
    assert build_grid(cfg) == GRID
    frames = build_dataset(cfg, "train", training=True)
    sample = frames[SampleKey(1, 0)]
    assert sample.images.shape == (6, 3, 256, 704)
    assert sample.points.shape[1] == 5
    assert sample.depth_m.shape == (6, 256, 704)
    assert sample.occupancy.shape == GRID.shape
    assert (sample.occupancy == IGNORE).any()
    # Pixels stay square: 1600×900 recorded, and the sky cut off.
    top = cfg.dataset.image_crop[0]
    assert pytest.approx(256 / (900 * (1 - top)), rel=1e-3) == 704 / 1600


# --- views of other key frames ---


@pytest.mark.parametrize("frame", ["ego", "lidar"])
@pytest.mark.parametrize("augmentation", [None, EVERYTHING])
def test_a_neighbors_points_fall_on_its_depth(tiny, frame, augmentation):
    options = dict(frame=frame, image_crop=CROP)
    fields = ["neighbors", "world_from_lidar"]
    sample = build(tiny, fields, augmentation=augmentation, seed=3, **options)[SampleKey(0, 1)]
    other = build(tiny, ["points", "world_from_lidar"], **options)[1]
    assert sample.neighbors.depth_m.shape == (2, 6, *OUTPUT)
    assert not sample.neighbors.depth_m[1].any()  # The scene has no third key frame.
    here_from_there = torch.linalg.inv(sample.world_from_lidar) @ other.world_from_lidar
    points = transform_points(here_from_there, other.points[:, :3].double()).float()
    view = Sample(
        "view",
        depth_m=sample.neighbors.depth_m[0],
        pixel_from_lidar=sample.neighbors.pixel_from_lidar[0],
    )
    for camera in range(len(CAMERAS)):
        row, column, depth, _ = in_view(view, camera, points)
        known = view.depth_m[camera, row, column]
        assert len(known) > 100
        assert (known > 0).all()  # Its own points, so that each pixel has one.
        assert (known - depth).abs().median() < 1e-2


def test_a_key_frame_may_lack_a_sensor_if_allowed(own):
    fields = ("images", "points", "pixel_from_lidar")
    options = dict(fields=fields, split="train", grid=GRID, image_size=OUTPUT)
    dataset = build_flat(NuScenes, own.root, **options)
    paths = [dataset._files(row, {"images"}) for row in dataset._rows]
    paths[0][2].unlink()
    for path in paths[1]:
        path.unlink()
    with pytest.raises(FileNotFoundError, match="lack 7 files"):
        build_flat(NuScenes, own.root, **options)
    some, blind = build_flat(NuScenes, own.root, allow_missing=True, **options)
    assert some.lost == (Loss.SOME_IMAGES,)
    assert [bool(image.any()) for image in some.images] == [True, True, False, True, True, True]
    assert (blind.images, blind.lost) == (None, (Loss.NO_IMAGE,))
    [cloud] = dataset._files(dataset._rows[0], {"points"})
    cloud.unlink()
    assert build_flat(NuScenes, own.root, allow_missing=True, **options)[0].points is None
    [cloud] = dataset._files(dataset._rows[1], {"points"})
    cloud.unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 key frames .* lack 7 files"):
        build_flat(NuScenes, own.root, allow_missing=True, **options)
