import dataclasses
import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

from dataset import layout
from dataset.augmentation import Augmentation
from dataset.inventory import FIELD_FOLDERS
from dataset.reading import Reading
from dataset.sample import Loss, SampleKey, collate
from dataset.unscenes3d import UnScenes3D
from engine.build.build import build_dataset
from tests.flat_options import build_flat
from tests.layout_files import GROUND_Z_M, Rig, world_from_imu, write_tiny_unscenes3d
from utils.config import load_config
from utils.geometry import project_points, transform_points
from utils.labels import IGNORE

GRID = layout.LABEL_GRID
EVERY_FIELD = tuple(name for name in FIELD_FOLDERS if name not in ("masks", "voxel_classes"))
RECORDED = (60, 96)
OUTPUT = (48, 64)

FLIPPED_IMAGE = {"image_flip_prob": 1.0}
FLIPPED_VOLUME = {"volume_flip_prob": 1.0}
SHIFTED_VOLUME = {"volume_height_m": 1.2}
EVERYTHING = {
    "image_scale": (0.8, 1.3),
    "image_shift": 0.1,
    "image_flip_prob": 0.5,
    "volume_flip_prob": 0.5,
    "volume_rotation_deg": 15.0,
    "volume_height_m": 0.7,
    "brightness": 0.1,
    "contrast": 0.1,
    "saturation": 0.1,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_unscenes3d(folder)
    return folder


@pytest.fixture
def own_root(tmp_path):
    """A small data set that a test may break."""
    write_tiny_unscenes3d(tmp_path, scenes={"scene_00000": "location_1"})
    return tmp_path


def build(root, fields=EVERY_FIELD, **options):
    options = {"split": "train", "grid": GRID, "image_size": OUTPUT, **options}
    return build_flat(UnScenes3D, root, fields=fields, **options)


def remove_all_but(root, folders):
    for path in root.iterdir():
        if path.name not in folders:
            shutil.rmtree(path)


# --- one whole frame ---


def test_a_whole_frame(root):
    dataset = build(root)
    assert len(dataset) == 2
    assert dataset.stems == ["1689903584.278848", "1689903584.778848"]
    assert dataset.scenes == ["scene_00000"] * 2
    sample = dataset[1]
    assert (sample.stem, sample.scene) == (dataset.stems[1], "scene_00000")
    assert sample.images.shape == (1, 3, *OUTPUT)
    assert sample.images.dtype == torch.uint8
    assert sample.points.shape[1] == 4
    assert sample.points.dtype == torch.float32
    assert sample.pixel_from_lidar.shape == (1, 4, 4)
    assert sample.pixel_from_lidar.dtype == torch.float32
    assert sample.occupancy.shape == GRID.shape
    assert sample.occupancy.dtype == torch.uint8
    assert sample.depth_m.shape == (1, *OUTPUT)
    assert sample.elevation_m.shape == (204, 217)
    assert sample.world_from_lidar.shape == (4, 4)
    assert sample.world_from_lidar.dtype == torch.float64
    assert sample.caption == "A truck stands beside a wall."
    assert sample.vehicle.velocity_mps == (1.2, 0.05, 0.0)
    assert torch.isfinite(sample.points).all()


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".jpeg"])
def test_images_with_another_suffix(own_root, suffix):
    expected = build(own_root, ("images",))[0]
    for path in list((own_root / "images").iterdir()):
        image = cv2.imread(str(path))
        path = path.rename(path.with_suffix(suffix))
        if suffix == ".png":
            cv2.imwrite(str(path), image)
    found = build(own_root, ("images",))
    assert len(found) == 2
    assert torch.equal(found[0].images, expected.images)


def test_the_recorded_frame_without_a_resize(root):
    sample = build(root, image_size=RECORDED)[0]
    expected = Rig(RECORDED).pixel_from_lidar
    torch.testing.assert_close(sample.pixel_from_lidar[0], torch.from_numpy(expected).float())
    encoded = cv2.imread(str(root / f"depths/{sample.stem}.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(sample.depth_m[0], np.float32(encoded / 256))
    bgr = cv2.imread(str(root / f"images/{sample.stem}.jpg"))
    np.testing.assert_array_equal(sample.images[0].permute(1, 2, 0), bgr[..., ::-1])
    height = sample.elevation_m[100, 100]
    assert height == pytest.approx(GROUND_Z_M, abs=1 / 256)
    assert torch.isnan(sample.elevation_m[:10]).all()  # No point.
    assert torch.isnan(sample.elevation_m[-2, 0])  # Wrapped around.
    assert torch.isnan(sample.elevation_m[-1]).all()  # Of two places.


def test_background_is_ignored_and_the_rest_free(root):
    occupancy = build(root, ["occupancy"])[0].occupancy
    rows = np.load(root / "occ/1689903584.278848.npy")
    assert occupancy[255, 255, 31] == IGNORE
    assert (occupancy == IGNORE).sum() == 2
    assert (occupancy != 0).sum() == len(rows)


# --- consistency under augmentation ---


def colors_at(sample):
    """Pixel colors, the labels by which the points were made, and camera depths, in view."""
    pixels, depth = project_points(sample.pixel_from_lidar[0], sample.points[:, :3])
    column, row = torch.floor(pixels).long().T
    height, width = sample.images.shape[-2:]
    in_view = (depth > 0) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    color = sample.images[0][:, row[in_view], column[in_view]].T.float()
    depth_m = sample.depth_m[0, row[in_view], column[in_view]]
    label = (25.5 * sample.points[in_view, 3]).round().long()
    return color, label, depth[in_view], depth_m


@pytest.mark.parametrize(
    ("augmentation", "epoch"),
    [
        *((augmentation, 0) for augmentation in (None, FLIPPED_IMAGE, FLIPPED_VOLUME)),
        (SHIFTED_VOLUME, 0),
        *((EVERYTHING, e) for e in range(6)),
    ],
)
def test_points_land_on_their_own_color_and_depth(root, augmentation, epoch):
    dataset = build(root, augmentation=augmentation, image_size=(72, 100), seed=3)
    color, label, depth, depth_m = colors_at(dataset[SampleKey(1, epoch)])
    assert len(label) > 300
    # Wall, truck and ground as painted; the truck is by far the yellowest.
    yellowness = color[:, :2].mean(1) - color[:, 2]
    is_truck = label == 2
    assert is_truck.sum() > 5
    # Edges blur over a pixel or two, and the truck is 20 pixels wide.
    assert (yellowness[is_truck] > 60).float().mean() > 0.75
    assert (yellowness[~is_truck] < 60).float().mean() > 0.97
    known = depth_m > 0
    error = ((depth_m - depth).abs() / depth)[known]
    assert known.float().mean() > 0.8
    assert error.median() < 0.03  # A pixel on the ground spans a few percent of its depth.


@pytest.mark.parametrize("augmentation", [FLIPPED_IMAGE, FLIPPED_VOLUME, EVERYTHING])
def test_points_project_to_the_same_content_before_and_after(root, augmentation):
    plain, changed = build(root), build(root, augmentation=augmentation, seed=1)
    for epoch in range(4):
        before, after = plain[0], changed[SampleKey(0, epoch)]
        pixels, depth = project_points(before.pixel_from_lidar[0], before.points[:, :3])
        moved, moved_depth = project_points(after.pixel_from_lidar[0], after.points[:, :3])
        front = depth > 1.0
        # Camera depth is the same, and pixels follow one scale and shift along each axis.
        torch.testing.assert_close(moved_depth, depth, atol=1e-4, rtol=1e-4)
        for axis in range(2):
            ones = torch.ones_like(pixels[front, axis])
            basis = torch.stack([pixels[front, axis], ones], dim=1)
            fit = torch.linalg.lstsq(basis, moved[front, axis, None]).solution
            # Pixels are float32 and reach thousands beside the image.
            torch.testing.assert_close(
                (basis @ fit)[:, 0], moved[front, axis], atol=2e-2, rtol=1e-4
            )


@pytest.mark.parametrize(
    ("augmentation", "agree"),
    [(None, 0.98), (FLIPPED_VOLUME, 0.98), (SHIFTED_VOLUME, 0.98), (EVERYTHING, 0.85)],
)
def test_points_lie_in_their_own_labels(root, augmentation, agree):
    # A turned voxel is looked up by its center, so that points at a surface's rim miss it.
    dataset = build(root, ["points", "occupancy"], augmentation=augmentation, seed=3)
    for epoch in range(3):
        sample = dataset[SampleKey(0, epoch)]
        index = torch.floor(GRID.voxel_from_meters(sample.points[:, :3])).long()
        inside = ((index >= 0) & (index < torch.tensor(GRID.shape))).all(-1)
        found = sample.occupancy[tuple(index[inside].T)]
        label = (25.5 * sample.points[inside, 3]).round().long()
        judged = found != IGNORE
        assert judged.float().mean() > 0.8
        assert (found == label)[judged].float().mean() > agree


def test_poses_follow_the_augmentation(root):
    fields = ["points", "world_from_lidar"]
    plain, changed = build(root, fields), build(root, fields, augmentation=EVERYTHING)
    for epoch in range(3):
        worlds = []
        for sample in (plain[1], changed[SampleKey(1, epoch)]):
            worlds.append(transform_points(sample.world_from_lidar, sample.points[:, :3].double()))
        # Points are float32 and up to 50 m away.
        torch.testing.assert_close(worlds[0], worlds[1], atol=1e-4, rtol=0)


def test_elevation_follows_the_augmentation(root):
    plain = build(root, ["elevation_m"])[0].elevation_m
    flipped = build(root, ["elevation_m"], augmentation=FLIPPED_VOLUME)[0].elevation_m
    torch.testing.assert_close(flipped[:, :216], plain[:, :216].flip(1), equal_nan=True)
    assert flipped[:, 216].isnan().all()  # It comes from left of the labels.


def test_a_labeled_voxel_keeps_its_pixel_when_the_lidar_is_lower(root):
    fields = ["occupancy", "images", "pixel_from_lidar", "elevation_m", "world_from_lidar"]
    plain = build(root, fields)[0]
    changed = build(root, fields, augmentation=SHIFTED_VOLUME, seed=1)[0]
    shift_m = changed.elevation_m[100, 100] - plain.elevation_m[100, 100]
    assert abs(shift_m) > 0.25
    voxels = torch.round(shift_m / GRID.voxel_m).long()
    torch.testing.assert_close(shift_m, voxels * GRID.voxel_m, atol=1e-5, rtol=0)

    def truck(sample):
        centers_m = GRID.meters_from_voxel(torch.argwhere(sample.occupancy == 2) + 0.5)
        world = transform_points(sample.world_from_lidar, centers_m.double())
        return project_points(sample.pixel_from_lidar[0], centers_m)[0], world

    for before, after in zip(truck(plain), truck(changed), strict=True):
        torch.testing.assert_close(after, before, atol=1e-3, rtol=0)
    edge = changed.occupancy[..., :voxels] if voxels > 0 else changed.occupancy[..., voxels:]
    assert (edge == IGNORE).all()
    assert (changed.occupancy == IGNORE).sum() <= edge.numel() + 2


SENSORS = {
    "cloud": {"point_drop": 0.5, "noise_m": 0.05, "intensity_scale": 0.3},
    "image": {"blur_px": 1.0, "noise": 0.05, "patches": 2},
    "calibration": {"rotation_deg": 0.5, "translation_m": 0.05},
}


def differences(one, other):
    """Names of the fields of two samples that differ in a bit."""
    values = (
        (field.name, getattr(one, field.name), getattr(other, field.name))
        for field in dataclasses.fields(one)
    )
    return {
        name
        for name, first, second in values
        if isinstance(first, torch.Tensor)
        and (first.shape != second.shape or first.numpy().tobytes() != second.numpy().tobytes())
    }


def test_sensor_augmentation_off_is_the_identity(root):
    off = {"cloud": {}, "image": {}, "calibration": {}, "volume_height_m": 0.0}
    for options in ({}, {"num_sweeps": 2}, {"image_size": RECORDED}):
        plain, same = build(root, **options), build(root, augmentation=off, **options)
        assert not differences(plain[1], same[SampleKey(1, 3)])
    changed = build(root, augmentation=EVERYTHING, seed=3)
    beside = build(root, augmentation={**EVERYTHING, **off, "volume_height_m": 0.7}, seed=3)
    assert not differences(changed[SampleKey(1, 3)], beside[SampleKey(1, 3)])


@pytest.mark.parametrize(
    ("part", "changed"),
    [("cloud", {"points"}), ("image", {"images"}), ("calibration", {"pixel_from_lidar"})],
)
def test_a_sensor_augmentation_changes_that_input_and_no_label(root, part, changed):
    plain, augmented = build(root), build(root, augmentation={part: SENSORS[part]}, seed=3)
    assert differences(plain[1], augmented[SampleKey(1, 1)]) == changed
    again = build(root, augmentation={part: SENSORS[part]}, seed=3)
    assert not differences(augmented[SampleKey(1, 1)], again[SampleKey(1, 1)])
    for other in (SampleKey(1, 2), SampleKey(0, 1)):
        assert differences(augmented[SampleKey(1, 1)], augmented[other]) >= changed


def test_a_small_error_of_the_calibration_moves_pixels_a_little(root):
    augmentation = {"calibration": SENSORS["calibration"], "volume_flip_prob": 1.0}
    plain, changed = build(root)[0], build(root, augmentation=augmentation)[0]
    before, depth = project_points(plain.pixel_from_lidar[0], plain.points[:, :3])
    after, _ = project_points(changed.pixel_from_lidar[0], changed.points[:, :3])
    far = depth > 5.0
    moved_px = (after - before)[far].norm(dim=1)
    # 0.5° about three axes at a focal length of 56 pixels, and 0.09 m at 5 m: under two pixels.
    assert 0.0 < moved_px.median() < 2.0


def test_each_sweep_is_augmented_for_itself(root):
    drop = {"cloud": {"point_drop": 0.9}}
    whole = build(root, ["points"], num_sweeps=3)[1].points
    part = build(root, ["points"], num_sweeps=3, augmentation=drop, seed=3)[1].points
    is_kept = (whole[:, None] == part[None]).all(-1).any(1)
    assert is_kept.sum() == len(part) < len(whole)
    kept = [is_kept[whole[:, 4] == age_s] for age_s in whole[:, 4].unique()]
    shares = [mask.float().mean().item() for mask in kept]
    assert len(shares) == 3
    assert max(shares) - min(shares) < 0.2
    shortest = min(map(len, kept))
    assert not torch.equal(kept[0][:shortest], kept[1][:shortest])


def test_draws_depend_on_seed_epoch_and_index_only(root):
    def pixels(seed, draw):
        return build(root, ["pixel_from_lidar"], **options, seed=seed)[draw].pixel_from_lidar

    options = {"augmentation": EVERYTHING, "recorded_size": RECORDED}
    first = pixels(0, SampleKey(1, 5))
    torch.testing.assert_close(first, pixels(0, SampleKey(1, 5)), rtol=0, atol=0)
    torch.testing.assert_close(first, pixels(0, SampleKey(-1, 5)), rtol=0, atol=0)
    for other in (
        pixels(1, SampleKey(1, 5)),
        pixels(0, SampleKey(1, 6)),
        pixels(0, SampleKey(0, 5)),
    ):
        assert not torch.allclose(first, other)
    torch.testing.assert_close(pixels(0, 1), pixels(0, SampleKey(1, 0)), rtol=0, atol=0)


def test_crop_takes_a_part_of_the_recorded_image(root):
    sample = build(root, image_crop=(0.5, 0.25, 1.0, 0.75), image_size=(30, 48))[0]
    whole = build(root, image_size=RECORDED)[0]
    assert torch.equal(sample.images, whole.images[..., 30:, 24:72])
    assert torch.equal(sample.depth_m, whole.depth_m[..., 30:, 24:72])
    shift = torch.eye(4)
    shift[:2, 2] = -torch.tensor([24.0, 30.0])
    torch.testing.assert_close(sample.pixel_from_lidar[0], shift @ whole.pixel_from_lidar[0])


# --- grids ---


@pytest.mark.parametrize("factor", [2, 4])
def test_coarser_grids(root, factor):
    sample = build(root, ["occupancy", "points"], grid=GRID.coarsen(factor))[0]
    assert sample.occupancy.shape == tuple(n // factor for n in GRID.shape)
    index = torch.floor(GRID.coarsen(factor).voxel_from_meters(sample.points[:, :3])).long()
    found = sample.occupancy[tuple(index.clamp_min(0).T)]
    assert (found == (25.5 * sample.points[:, 3]).round().long()).float().mean() > 0.9


def test_a_grid_may_be_a_dictionary(root):
    grid = {"origin_m": (0.0, -38.4, -4.0), "voxel_m": 0.6, "shape": (128, 128, 16)}
    dataset = build(root, ["occupancy"], grid=grid)
    assert dataset.grid == GRID.coarsen(2)
    assert dataset[0].occupancy.shape == (128, 128, 16)


def test_another_box_is_rejected_only_where_labels_are_read(root):
    other = {"origin_m": (0.0, -40.0, -4.0), "voxel_m": 0.3, "shape": (256, 256, 32)}
    with pytest.raises(ValueError, match="is not a coarsening"):
        build(root, ["occupancy"], grid=other)
    assert build(root, ["points"], grid=other)[0].points is not None


# --- points and sweeps ---


def test_points_beyond_the_range_are_dropped(own_root):
    path = own_root / "clouds/1689903584.278848.bin"
    far = np.array([[109.9, 0, 0, 1], [110.0, 0, 0, 2], [300, 0, 0, 3]], np.float32)
    far.tofile(path)
    near = build(own_root, ["points"])[0].points[:, 3]
    torch.testing.assert_close(near, torch.tensor([1 / 255]))
    nearer = build(own_root, ["points"], max_range_m=200.0)[0].points[:, 3]
    torch.testing.assert_close(nearer, torch.tensor([1 / 255, 2 / 255]))


def test_the_unit_of_the_intensity_is_an_option(own_root):
    path = own_root / "clouds/1689903584.278848.bin"
    np.array([[9, 0, 0, 50], [9, 1, 0, 300]], np.float32).tofile(path)
    with pytest.raises(ValueError, match=r"278848\.bin .*0–255, found 50 % .*intensity_max sets"):
        build(own_root, ["points"])[0]
    intensity = build(own_root, ["points"], intensity_max=500.0)[0].points[:, 3]
    torch.testing.assert_close(intensity, torch.tensor([0.1, 0.6]))


def write_stamp(root, stem, stamp):
    path = root / f"vehicle_infos/{stem}.txt"
    lines = [line.split()[1:] for line in path.read_text().splitlines()]
    path.write_text("\n".join(" ".join([stamp, *line]) for line in lines))


def test_ages_are_those_of_the_stamps_and_must_be_plausible(own_root):
    stems = sorted(path.stem for path in (own_root / "clouds").iterdir())[:3]
    for stem, stamp in zip(stems, ("100.0", "100.5", "101.5"), strict=True):
        write_stamp(own_root, stem, stamp)
    ages = build(own_root, ["points"], num_sweeps=3)[1].points[:, 4].unique().tolist()
    assert ages == [0.0, 1.0, 1.5]
    for stamp, gap in (("500.0", "399.5"), ("100.5", "0"), ("1e11", r"1e\+11"), ("99", "-1.5")):
        write_stamp(own_root, stems[2], stamp)
        match = rf"vehicle_infos/{stems[1]}\.txt: expected a sweep at most 10 s .* found {gap} s"
        with pytest.raises(ValueError, match=match):
            build(own_root, ["points"], num_sweeps=3)[1]


def test_stems_state_the_time_where_there_is_no_stamp(tmp_path):
    scenes = {"scene_00000": "location_1"}
    write_tiny_unscenes3d(tmp_path, scenes=scenes, calibration_holds_pose=True)
    shutil.rmtree(tmp_path / "vehicle_infos")
    options = dict(num_sweeps=2, pose_rule="pose", split="all")
    assert build(tmp_path, ["points"], **options)[1].points[:, 4].unique().tolist() == [0.0, 0.25]
    info = tmp_path / "imagesets/scene_info.json"
    stem = sorted(path.stem for path in (tmp_path / "clouds").iterdir())[1]
    info.write_text(info.read_text().replace(stem, "front_a"))
    for folder in ("clouds", "calibs"):
        (path,) = (tmp_path / folder).glob(f"{stem}*")
        path.rename(path.with_stem("front_a"))
    with pytest.raises(ValueError, match=r"clouds/front_a\.bin: expected the time in seconds as"):
        [sample.points for sample in build(tmp_path, ["points"], **options)]


@pytest.mark.parametrize("holds_pose", [False, True])
def test_sweeps_are_moved_to_the_frame(tmp_path, holds_pose):
    scenes = {"scene_00000": "location_1", "scene_00001": "location_1"}
    write_tiny_unscenes3d(tmp_path, scenes=scenes, calibration_holds_pose=holds_pose)
    dataset = build(tmp_path, ["points"], num_sweeps=3, split_source="region")
    stems = sorted(path.stem for path in (tmp_path / "clouds").iterdir())[:4]  # One scene's.
    points = dataset[1].points.numpy()  # Tick 2, with the sweep and the sample before it.
    assert points.shape[1] == 5
    rig = Rig(RECORDED)
    world_from_now = world_from_imu(2) @ rig.imu_from_lidar
    expected = []
    for tick in (2, 1, 0):
        cloud = np.fromfile(tmp_path / f"clouds/{stems[tick]}.bin", np.float32).reshape(-1, 4)
        moved = np.linalg.inv(world_from_now) @ world_from_imu(tick) @ rig.imu_from_lidar
        xyz = cloud[:, :3] @ moved[:3, :3].T + moved[:3, 3]
        age_s = np.full(len(cloud), 0.25 * (2 - tick))
        expected.append(np.column_stack([xyz, cloud[:, 3] / 255, age_s]))
    # World coordinates of millions of meters, written with 12 digits.
    np.testing.assert_allclose(points, np.concatenate(expected), atol=2e-4)
    ground = points[np.isclose(points[:, 3], 110 / 255)]
    np.testing.assert_allclose(ground[:, 2], GROUND_Z_M, atol=2e-4)


def test_a_drive_begins_with_fewer_sweeps(root):
    plain, swept = build(root, ["points"]), build(root, ["points"], num_sweeps=4)
    torch.testing.assert_close(swept[0].points[:, :4], plain[0].points, rtol=0, atol=0)
    assert (swept[0].points[:, 4] == 0).all()
    assert swept[1].points[:, 4].unique().tolist() == [0.0, 0.25, 0.5]


def test_sweeps_turn_with_the_augmentation(root):
    fields = ["points", "world_from_lidar"]
    samples = [build(root, fields, num_sweeps=3, augmentation=a)[1] for a in (None, EVERYTHING)]
    worlds = [transform_points(s.world_from_lidar, s.points[:, :3].double()) for s in samples]
    torch.testing.assert_close(worlds[0], worlds[1], atol=1e-4, rtol=0)


def test_missing_files_of_sweeps_are_found_at_the_start(own_root):
    sweep = sorted((own_root / "clouds").iterdir())[1]
    sweep.unlink()
    assert len(build(own_root, ["points"])) == 2
    with pytest.raises(FileNotFoundError, match=f"clouds/ lacks 1 of 3: {sweep.stem}"):
        build(own_root, ["points"], num_sweeps=2)


def test_sweeps_need_scenes(own_root):
    shutil.rmtree(own_root / "imagesets")
    with pytest.raises(ValueError, match=r"num_sweeps=2 needs .* imagesets/scene_info\.json"):
        build(own_root, ["points"], split="all", num_sweeps=2)
    assert build(own_root, ["images"], split="all", num_sweeps=2)[0].points is None


# --- only what is asked for ---


@pytest.mark.parametrize("field", EVERY_FIELD)
def test_only_the_folders_of_a_field_are_opened(own_root, field):
    remove_all_but(own_root, [*FIELD_FOLDERS[field], layout.IMAGESETS])
    sample = build(own_root, [field], recorded_size=RECORDED)[0]
    filled = [name for name in EVERY_FIELD if getattr(sample, name) is not None]
    assert filled == [field]


def test_a_lidar_run_opens_no_image_and_a_camera_run_no_cloud(own_root):
    for path in (own_root / "images").iterdir():
        path.write_bytes(b"poison")
    sample = build(own_root, ["points", "occupancy"])[0]
    assert sample.images is None
    with pytest.raises(ValueError, match="6 bytes that cannot be decoded"):
        build(own_root, ["images"])[0]
    write_tiny_unscenes3d(own_root, scenes={"scene_00000": "location_1"})
    for path in (own_root / "clouds").iterdir():
        path.write_bytes(b"poison")
    sample = build(own_root, ["images", "pixel_from_lidar", "depth_m", "occupancy"])[0]
    assert sample.points is None
    with pytest.raises(ValueError, match="multiple of 16 bytes, found 6"):
        build(own_root, ["points"])[0]


def test_the_rule_pose_needs_no_vehicle_infos(tmp_path):
    scenes = {"scene_00000": "location_1"}
    write_tiny_unscenes3d(tmp_path, scenes=scenes, calibration_holds_pose=True)
    shutil.rmtree(tmp_path / "vehicle_infos")
    fields = ["points", "world_from_lidar"]
    sample = build(tmp_path, fields, pose_rule="pose", num_sweeps=2)[1]
    expected = world_from_imu(2) @ Rig(RECORDED).imu_from_lidar
    np.testing.assert_allclose(sample.world_from_lidar, expected, atol=1e-5)
    with pytest.raises(FileNotFoundError, match=r"lacks the folders \['vehicle_infos'\]"):
        build(tmp_path, fields, num_sweeps=2)


# --- splits and stems ---


def test_splits_by_the_three_ways(tmp_path):
    write_tiny_unscenes3d(tmp_path, imagesets=["scene_info", "lists"])
    stems = {split: build(tmp_path, ["points"], split=split).stems for split in ("val", "test")}
    for source in ("lists", "official", "region"):
        for split, expected in stems.items():
            dataset = build(tmp_path, ["points"], split=split, split_source=source)
            assert dataset.stems == expected
            assert set(dataset.scenes) == {{"val": "scene_00006", "test": "scene_00005"}[split]}


def test_the_source_is_logged(root):
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        stems = build(root, ["world_from_lidar"]).stems
        build(root, ["caption"], stems=stems)
    finally:
        logger.removeHandler(handler)
    assert "2 frames, split by official" in records[0]
    assert "{'extrinsic': 1}" in records[1]
    assert len(records) == 2  # Of frames that are named it is not said again.


def test_all_is_every_frame_on_disk(tmp_path):
    write_tiny_unscenes3d(tmp_path, imagesets=(), labels=False)
    dataset = build(tmp_path, ["images", "points", "pixel_from_lidar"], split="all")
    assert len(dataset) == 12
    assert dataset.stems == sorted(dataset.stems)
    assert dataset[11].scene == ""
    assert len(build(tmp_path, ["world_from_lidar"], split="all")) == 12


def test_all_needs_the_files_of_every_field(own_root):
    assert len(build(own_root, ["points"], split="all")) == 4
    dataset = build(own_root, ["points", "occupancy"], split="all")
    assert len(dataset) == 2
    assert dataset.scenes == ["scene_00000"] * 2


def test_stems_with_the_files_of_a_field(own_root):
    dataset = build(own_root, ["points"], split="all")
    labeled = [stem for stem in dataset.stems if (own_root / f"occ/{stem}.npy").exists()]
    assert dataset.stems_with("points") == dataset.stems
    assert dataset.stems_with("occupancy") == labeled != dataset.stems
    (own_root / f"depths/{labeled[0]}.png").unlink()
    assert dataset.stems_with("depth_m") == labeled[1:]
    shutil.rmtree(own_root / layout.CAPTIONS)
    assert dataset.stems_with("caption") == []


def test_stems_choose_and_order(root):
    stems = build(root, ["points"]).stems
    assert build(root, ["points"], stems=stems[::-1]).stems == stems[::-1]
    assert build(root, ["points"], split="all", stems=stems[1:]).stems == stems[1:]
    with pytest.raises(
        ValueError, match=r"1 of the requested stems .* in the split 'train' of 2 frames"
    ):
        build(root, ["points"], stems=["7.5"])
    with pytest.raises(FileNotFoundError, match=r"clouds/ lacks 1 of 1: 7\.5"):
        build(root, ["points"], split="all", stems=["7.5"])


@pytest.mark.parametrize("stems", [None, []])
def test_an_empty_split_is_rejected(tmp_path, stems):
    (tmp_path / "clouds").mkdir()
    with pytest.raises(ValueError, match=r"no frame of '.*' in 'all' has all of \('clouds',\)"):
        build(tmp_path, ["points"], split="all", stems=stems)


# --- refusals before training starts ---


def test_missing_folders_are_rejected_at_the_start(own_root):
    shutil.rmtree(own_root / "occ")
    with pytest.raises(FileNotFoundError, match=r"lacks the folders \['occ'\]"):
        build(own_root)


def test_missing_files_are_rejected_at_the_start(own_root):
    (own_root / "images/1689903584.778848.jpg").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"images/ lacks 1 of 2: 1689903584\.778848 \(\.jpg, .*\. Copy"
    ):
        build(own_root)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fields": ["lidar"]}, r"fields must be one or more of .*, got \['lidar'\]"),
        ({"fields": []}, "fields must be one or more of"),
        ({"num_sweeps": 0}, "num_sweeps must be at least 1, got 0"),
        ({"image_size": (0, 10)}, r"image_size must be \(height, width\) > 0, got \(0, 10\)"),
        ({"recorded_size": (10, -1)}, r"recorded_size must be \(height, width\) > 0"),
        (
            {"image_crop": (0.5, 0.0, 0.4, 1.0)},
            "image_crop must be .top, left, bottom, right. as frac",
        ),
        ({"image_crop": (0.0, 0.0, 1.2, 1.0)}, r"got \(0.0, 0.0, 1.2, 1.0\)"),
        ({"pose_rule": "map"}, "unknown pose_rule 'map'"),
        ({"split": "valid"}, "unknown split 'valid'"),
        ({"augmentation": {"flip": 1.0}}, r"unknown augmentation keys \['flip'\]"),
        ({"fields": ["pixel_from_lidar"]}, "needs recorded_size=.height, width., such as"),
    ],
)
def test_wrong_options_are_rejected(root, options, message):
    with pytest.raises(ValueError, match=message):
        build(root, **options)


def test_recorded_size_is_checked_against_the_image(root):
    with pytest.raises(ValueError, match=r"\.jpg.*expected the recorded_size \(10, 20\), found"):
        build(root, recorded_size=(10, 20))[0]


def test_depth_is_checked_against_the_image(own_root):
    path = own_root / "depths/1689903584.278848.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((4, 5), np.uint16))[1].tobytes())
    with pytest.raises(ValueError, match="expected the size of the image, 96×60, found 5×4"):
        build(own_root)[0]


# --- with the rest of the program ---


def test_it_is_built_from_a_config_and_rejects_unknown_keys(root):
    path = Path(__file__).parents[1] / "config/unscenes3d/unscenes3d_occ.py"
    cfg = load_config(path, {"data_root": str(root), "dataset.image_size": (12, 40)})
    dataset = build_dataset(cfg, "val")
    assert dataset.metainfo["classes"][11] == "driveable_surface"
    assert len(dataset) == 2
    assert dataset[0].images.shape == (1, 3, 12, 40)
    del cfg.dataset["image_size"]
    assert build_dataset(cfg, "val").image_size == (384, 1280)
    cfg.dataset["num_sweep"] = 2
    with pytest.raises(ValueError, match=r"'num_sweep'; did you mean 'num_sweeps'\? .known keys"):
        build_dataset(cfg, "val")
    cfg.dataset = {"type": "UnScenes3D", "reading": {}}
    with pytest.raises(ValueError, match="unknown key 'reading'"):
        build_dataset(cfg, "val")


def test_workers_give_the_same_frames(root):
    dataset = build(root, augmentation=Augmentation(**EVERYTHING), num_sweeps=2)
    draws = [SampleKey(0, 3), SampleKey(1, 3)]
    here = collate([dataset[draw] for draw in draws])
    loader = DataLoader(dataset, batch_size=2, sampler=draws, num_workers=1, collate_fn=collate)
    (there,) = list(loader)
    assert there.stems == here.stems
    assert torch.equal(there.images, here.images)
    assert torch.equal(there.occupancy, here.occupancy)
    assert all(torch.equal(a, b) for a, b in zip(there.points, here.points, strict=True))


def test_reading_twice_gives_the_same(root):
    dataset = build(root)
    first, second = dataset[0], dataset[0]
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.points, second.points)
    assert torch.equal(first.occupancy, second.occupancy)


def test_a_root_that_is_not_there_is_named_before_its_splits(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no data set at"):
        UnScenes3D(tmp_path / "nowhere", "train", Reading(GRID, ["points"]))


# --- views of other frames ---


def agreement_with_neighbor(sample, other, number, *, moved=True):
    """Relative errors of a neighbor's own upright points, brought here, in its depth map."""
    here_from_there = torch.linalg.inv(sample.world_from_lidar) @ other.world_from_lidar
    upright = other.points[(other.points[:, 3] / 10).round() != 11, :3].double()
    points = transform_points(here_from_there, upright) if moved else upright
    points = points.float()
    depth_map = sample.neighbors.depth_m[number, 0]
    pixels, depth = project_points(sample.neighbors.pixel_from_lidar[number, 0], points)
    column, row = pixels.floor().long().T
    inside = (depth > 0) & (row >= 0) & (row < OUTPUT[0]) & (column >= 0) & (column < OUTPUT[1])
    known = depth_map[row[inside], column[inside]]
    return ((known - depth[inside]).abs() / depth[inside])[known > 0]


@pytest.mark.parametrize("augmentation", [None, FLIPPED_IMAGE, FLIPPED_VOLUME, EVERYTHING])
def test_a_neighbors_points_fall_on_its_depth(tmp_path, augmentation):
    write_tiny_unscenes3d(tmp_path, scenes={"scene_00000": "location_1"}, frames=3)
    sample = build(tmp_path, ["neighbors", "world_from_lidar"], augmentation=augmentation, seed=3)[
        SampleKey(0, 1)
    ]
    others = build(tmp_path, ["points", "world_from_lidar"])
    assert sample.neighbors.depth_m.shape == (2, 1, *OUTPUT)
    for number, index in enumerate((1, 2)):  # Nearest first.
        errors = agreement_with_neighbor(sample, others[index], number)
        assert len(errors) > 100
        assert errors.median() < 0.02  # LiDAR and camera look from 2 m apart; pixels are large.
    if augmentation is None:
        still = agreement_with_neighbor(sample, others[2], 1, moved=False)
        assert still.median() > 2 * errors.median()


def test_where_a_drive_has_fewer_frames_views_have_no_depth(root):
    sample = build(root, ["neighbors"], num_neighbors=3)[1]
    assert sample.neighbors.depth_m[0].any()
    assert not sample.neighbors.depth_m[1:].any()


def test_neighbors_need_a_drive(own_root):
    (own_root / layout.IMAGESETS / layout.SCENE_INFO).unlink()
    with pytest.raises(ValueError, match=r"2 frames are in no drive of imagesets/scene_info\.json"):
        build(own_root, ["neighbors"], split="all")


def test_the_frame_before_is_that_of_the_same_drive(root):
    frames = build(root, ["points"], split="all")
    for index, scene in enumerate(frames.scenes):
        before = frames.previous(index)
        earlier = [
            stem
            for stem, other in zip(frames.stems, frames.scenes, strict=True)
            if scene and other == scene and float(stem) < float(frames.stems[index])
        ]
        assert (before is None) == (not earlier)
        assert before is None or frames.stems[before] == max(earlier, key=float)
    assert any(frames.previous(index) is not None for index in range(len(frames)))


# --- frames that lack a sensor ---

INPUTS = ("images", "points", "pixel_from_lidar")


def path_in(root, folder, stem):
    return root / layout.relative_path(folder, stem)


@pytest.mark.parametrize("empty", [True, False])
def test_a_frame_may_lack_a_sensor_if_allowed(own_root, empty):
    first, second = build(own_root, INPUTS).stems
    for folder, stem in ((layout.IMAGES, first), (layout.CLOUDS, second)):
        path_in(own_root, folder, stem).unlink()
        if empty:
            path_in(own_root, folder, stem).touch()
    with pytest.raises(
        ValueError if empty else FileNotFoundError, match=r"empty file|--allow-missing"
    ):
        build(own_root, INPUTS)[0]
    dataset = build(own_root, INPUTS, allow_missing=True)
    blind, deaf = dataset[0], dataset[1]
    assert (blind.images, blind.pixel_from_lidar, blind.lost) == (None, None, (Loss.NO_IMAGE,))
    assert blind.points is not None
    assert (deaf.points, deaf.lost) == (None, (Loss.NO_CLOUD,))
    assert deaf.images is not None
    frames = collate([blind, deaf])
    assert frames.sensors == ["lidar", "camera"]


def test_every_frame_on_disk_with_a_sensor_is_read_if_allowed(own_root):
    stems = build(own_root, INPUTS, split="all").stems
    path_in(own_root, layout.IMAGES, stems[0]).unlink()
    path_in(own_root, layout.CLOUDS, stems[1]).unlink()
    for folder in (layout.IMAGES, layout.CLOUDS):
        path_in(own_root, folder, stems[2]).unlink()
    assert build(own_root, INPUTS, split="all").stems == stems[3:]
    allowed = build(own_root, INPUTS, split="all", allow_missing=True)
    assert allowed.stems == [*stems[:2], *stems[3:]]


def test_a_frame_of_a_split_without_any_sensor_is_an_error(own_root):
    stem = build(own_root, INPUTS).stems[1]
    for folder in (layout.IMAGES, layout.CLOUDS):
        path_in(own_root, folder, stem).unlink()
    with pytest.raises(FileNotFoundError, match=rf"images/ and clouds/ both lack 1 of 2: {stem}"):
        build(own_root, INPUTS, allow_missing=True)


def test_what_is_no_sensor_may_not_be_missing(own_root):
    path_in(own_root, layout.CALIBS, build(own_root, INPUTS).stems[0]).unlink()
    with pytest.raises(FileNotFoundError, match="calibs/ lacks 1 of 2"):
        build(own_root, INPUTS, allow_missing=True)


def test_a_blank_image_is_told_and_dropped_if_allowed(own_root):
    path = path_in(own_root, layout.IMAGES, build(own_root, INPUTS).stems[0])
    cv2.imwrite(str(path), np.zeros((*RECORDED, 3), np.uint8))
    kept = build(own_root, INPUTS)[0]
    assert kept.lost == (Loss.BLANK_IMAGE,)
    assert kept.images is not None
    assert build(own_root, INPUTS, allow_missing=True)[0].images is None


def test_earlier_sweeps_that_are_missing_are_left_out_and_named(own_root, caplog):
    options = dict(split="all", num_sweeps=2)
    dataset = build(own_root, ["images", "pixel_from_lidar", "points"], **options)
    lost, following = dataset.stems[:2]
    path_in(own_root, layout.CLOUDS, lost).unlink()
    dataset = build(own_root, INPUTS, allow_missing=True, **options)
    assert f"1 of {len(dataset)} point clouds of sweeps are missing" in caplog.text
    assert dataset[0].lost == (Loss.NO_CLOUD,)
    assert dataset.stems[1] == following
    assert dataset[1].points[:, 4].unique().tolist() == [0.0]
