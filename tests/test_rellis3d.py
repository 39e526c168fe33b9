import shutil
from dataclasses import fields

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dataset.rellis3d import classes
from dataset.rellis3d.dataset import FIELDS, Rellis3D
from dataset.rellis3d.labels import RELEASES, LabelFiles
from dataset.rellis3d.layout import Frame
from dataset.sample import Loss, SampleKey, collate
from tests.flat_options import build_flat
from tests.rellis3d_files import (
    BUSH,
    GRASS,
    PUDDLE,
    SIZE,
    TREE,
    image_name,
    map_from_lidar,
    occupancy,
    photo,
    write_tiny_rellis,
)
from utils.geometry import VoxelGrid, project_points, transform_points
from utils.labels import IGNORE, RELLIS3D, WILDOCC

OWN_FIELDS = tuple(name for name in FIELDS if name not in ("masks", "voxel_classes"))
"""What the data set itself provides; masks are a user's own."""
GRID = VoxelGrid((0.0, -10.0, -2.0), 0.2, (100, 100, 40))
OUTPUT = (60, 96)
_LABELS = {field.name for field in fields(LabelFiles)}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_rellis(tmp_path_factory.mktemp("tiny") / "Rellis-3D")


@pytest.fixture
def own(tiny, tmp_path):
    """A copy that a test may break."""
    shutil.copytree(tiny.root.parent, tmp_path / "data")
    return tmp_path / "data/Rellis-3D"


def build(root, wanted=OWN_FIELDS, split="all", **options):
    label_files = LabelFiles(**{name: options.pop(name) for name in _LABELS & options.keys()})
    options = {
        "grid": GRID,
        "image_size": OUTPUT,
        "recorded_size": SIZE,
        **options,
    }
    return build_flat(Rellis3D, root, split, fields=wanted, label_files=label_files, **options)


def expected_labels(frame, grid=GRID, labels=RELLIS3D):
    ids = occupancy(frame, grid)
    return np.where(ids == 0, 0, classes.label_table(classes.RELLIS_IDS, labels)[ids])


# --- one whole frame ---


def test_a_whole_frame(tiny):
    dataset = build(tiny.root)
    assert dataset.stems == [frame.stem for frame in tiny.frames]
    assert dataset.scenes == ["00000"] * 4 + ["00003"] * 4
    sample = dataset[5]
    assert (sample.stem, sample.scene) == ("00003-000001", "00003")
    shapes = {
        "images": (torch.uint8, (1, 3, *OUTPUT)),
        "pixel_from_lidar": (torch.float32, (1, 4, 4)),
        "occupancy": (torch.uint8, GRID.shape),
        "depth_m": (torch.float32, (1, *OUTPUT)),
        "world_from_lidar": (torch.float64, (4, 4)),
    }
    for name, (dtype, shape) in shapes.items():
        value = getattr(sample, name)
        assert (value.dtype, tuple(value.shape)) == (dtype, shape), name
    assert sample.points.shape[1] == 4
    assert 0 < sample.points[:, 3].min() < sample.points[:, 3].max() < 1
    np.testing.assert_allclose(sample.world_from_lidar, map_from_lidar(tiny.frames[5]), atol=1e-8)
    # Neither points at the origin nor those on the vehicle.
    assert torch.linalg.vector_norm(sample.points[:, :2], dim=1).min() > 2.1


@pytest.mark.parametrize("labels", [RELLIS3D, WILDOCC])
def test_labels_are_the_world(tiny, labels):
    dataset = build(tiny.root, ["occupancy"], labels=labels.name)
    assert dataset.metainfo["classes"] == labels.class_names
    for index in (0, 5):
        found = dataset[index].occupancy.numpy()
        np.testing.assert_array_equal(found, expected_labels(tiny.frames[index], labels=labels))
    counts = np.bincount(found.ravel(), minlength=labels.num_classes)
    names = ("grass", "tree", "bush", "puddle")
    assert all(counts[labels.index(name)] > 20 for name in names)


def test_a_network_grid_with_a_margin_and_larger_voxels(tiny):
    margin = VoxelGrid((0.0, -10.4, -2.0), 0.2, (104, 104, 40))
    found = build(tiny.root, ["occupancy"], grid=margin)[1].occupancy.numpy()
    np.testing.assert_array_equal(found[:100, 2:102], expected_labels(tiny.frames[1]))
    assert (found[100:] == IGNORE).all()
    assert (found[:, :2] == IGNORE).all()
    coarse = VoxelGrid((0.0, -10.0, -2.0), 0.4, (50, 50, 20))
    found = build(tiny.root, ["occupancy"], grid=coarse)[1].occupancy.numpy()
    assert found.shape == coarse.shape
    assert set(np.unique(found)) == set(np.unique(expected_labels(tiny.frames[1])))


def test_labels_of_v2(tmp_path):
    tiny = write_tiny_rellis(tmp_path / "Rellis-3D", sequences=("00001",), frames=2, release="V2.0")
    grid = RELEASES["V2.0"]
    dataset = build(tiny.root, ["occupancy"], grid=grid, labels_grid=grid, labels_axes="forward")
    assert dataset.label_form.release == "V2.0"
    np.testing.assert_array_equal(
        dataset[1].occupancy.numpy(), expected_labels(tiny.frames[1], grid)
    )
    with pytest.raises(ValueError, match=r"disagree with the points .* dataset.labels_axes='forw"):
        build(tiny.root, ["occupancy"], labels_grid=grid)


# --- geometry ---


def test_points_lie_in_voxels_and_on_pixels_of_their_class(tiny):
    dataset = build(tiny.root)
    grass = np.array(RELLIS3D.colors[RELLIS3D.index("grass")])
    for index in (1, 6):
        sample = dataset[index]
        points = sample.points[:, :3]
        voxel = torch.floor(GRID.voxel_from_meters(points)).long()
        inside = ((voxel >= 0) & (voxel < torch.tensor(GRID.shape))).all(1)
        label = sample.occupancy[tuple(voxel[inside].T)]
        assert (label > 0).float().mean() > 0.98
        pixel, depth = project_points(sample.pixel_from_lidar[0], points[inside])
        size = torch.tensor([OUTPUT[1], OUTPUT[0]])
        seen = (depth > 0.5) & ((pixel >= 1) & (pixel < size - 1)).all(1)
        column, row = pixel[seen].long().T
        color = sample.images[0][:, row, column].T.numpy().astype(int)
        is_green = np.abs(color - grass).max(axis=1) < 60
        assert (is_green == (label[seen].numpy() == RELLIS3D.index("grass"))).mean() > 0.85
        # The depth map has the points themselves.
        assert sample.depth_m[0, row, column] == pytest.approx(depth[seen], abs=3.0)
        assert (sample.depth_m > 0).sum() > 20


@pytest.mark.parametrize(
    "augmentation",
    [
        {"image_flip_prob": 1.0},
        {"volume_flip_prob": 1.0},
        {"volume_rotation_deg": 15.0, "image_scale": (0.8, 1.2), "volume_height_m": 0.6},
    ],
)
def test_augmentation_keeps_sensors_and_labels_together(tiny, augmentation):
    dataset = build(tiny.root, augmentation=augmentation, seed=3)
    plain = build(tiny.root)
    sample, still = dataset[SampleKey(2, 1)], plain[2]
    voxel = torch.floor(GRID.voxel_from_meters(sample.points[:, :3])).long()
    inside = ((voxel >= 0) & (voxel < torch.tensor(GRID.shape))).all(1)
    label = sample.occupancy[tuple(voxel[inside].T)]
    # A turned grid is resampled at its centers, which frays thin surfaces.
    assert (label > 0).float().mean() > (0.6 if "volume_rotation_deg" in augmentation else 0.98)
    # A point projects onto the same part of the world before and after, but for the crop.
    moved = still.world_from_lidar.inverse() @ sample.world_from_lidar
    matrix = sample.pixel_from_lidar[0].double() @ moved.inverse()
    if "image" not in next(iter(augmentation)) and "image_scale" not in augmentation:
        torch.testing.assert_close(matrix, still.pixel_from_lidar[0].double(), atol=1e-3, rtol=1e-4)


def test_sweeps_are_moved_by_the_poses_and_have_ages(tiny):
    dataset = build(tiny.root, ["points"], num_sweeps=3)
    points = dataset[3].points
    assert points.shape[1] == 5
    ages = points[:, 4].unique().tolist()
    assert ages == pytest.approx([0.0, 0.1, 0.2], abs=1e-4)
    # All sweeps see the same world: the ground stays at its height, boxes where they are.
    label = expected_labels(tiny.frames[3])
    voxel = np.floor(GRID.voxel_from_meters(points[:, :3].numpy().astype(float))).astype(int)
    inside = ((voxel >= 0) & (voxel < GRID.shape)).all(1)
    assert (label[tuple(voxel[inside].T)] > 0).mean() > 0.95
    alone = build(tiny.root, ["points"])[3].points
    torch.testing.assert_close(points[points[:, 4] == 0][:, :4], alone)
    assert build(tiny.root, ["points"], num_sweeps=3)[0].points[:, 4].max() == 0


def test_sweeps_without_images_are_a_tenth_apart(own, caplog):
    for sequence in ("00000", "00003"):
        shutil.rmtree(own / sequence / "pylon_camera_node")
    dataset = build(own, ["points"], num_sweeps=2)
    assert dataset[1].points[:, 4].max() == pytest.approx(0.1)
    assert "have no images, whose names state the times" in caplog.text


def test_neighbors_rays_and_video_are_of_the_same_sequence(tiny):
    dataset = build(tiny.root, ["neighbors", "lidar_rays", "video", "images", "pixel_from_lidar"])
    assert dataset.neighbors(1) == [[1], [0], [1], [2], [5], [4], [5], [6]]
    sample = dataset[4]
    assert sample.neighbors.depth_m.shape == (2, 1, *OUTPUT)
    assert (sample.neighbors.depth_m > 0).any()
    assert sample.lidar_rays.has_point.shape == GRID.shape
    torch.testing.assert_close(sample.video.images[0], sample.images)
    # A point of the world falls on the pixel of each neighbor's image that shows it.
    point = torch.tensor([[6.0, 0.0, -1.2]])
    for slot, number in enumerate((0, 1, 2)):
        pixel, depth = project_points(sample.video.pixel_from_lidar[slot, 0], point)
        frame = Frame("00003", number)
        there = np.linalg.inv(map_from_lidar(frame)) @ map_from_lidar(Frame("00003", 0))
        moved = transform_points(torch.from_numpy(there).float(), point)
        own = dataset[4 + number].pixel_from_lidar[0]
        expected, expected_depth = project_points(own, moved)
        torch.testing.assert_close(pixel, expected, atol=1e-2, rtol=1e-3)
        torch.testing.assert_close(depth, expected_depth, atol=1e-3, rtol=1e-4)


def test_images_are_the_recorded_ones(tiny):
    sample = build(tiny.root, ["images"], image_size=SIZE)[1]
    seen = photo(tiny.frames[1])
    names = {GRASS: "grass", TREE: "tree", BUSH: "bush", PUDDLE: "puddle"}
    image = sample.images[0].permute(1, 2, 0).numpy().astype(int)
    for number, name in names.items():
        inner = cv2.erode((seen == number).astype(np.uint8), np.ones((5, 5))) > 0
        color = RELLIS3D.colors[RELLIS3D.index(name)]
        assert not inner.any() or np.abs(image[inner].mean(axis=0) - color).max() < 12, name


# --- what is read ---


@pytest.mark.parametrize("field", OWN_FIELDS)
def test_nothing_is_opened_for_other_fields(own, field):
    needed = {
        "images": {"pylon_camera_node"},
        "video": {"pylon_camera_node", "poses.txt", "camera_info.txt", "transforms.yaml"},
        "points": {"os1_cloud_node_kitti_bin"},
        "depth_m": {"os1_cloud_node_kitti_bin", "camera_info.txt", "transforms.yaml"},
        "neighbors": {
            "os1_cloud_node_kitti_bin", "poses.txt", "camera_info.txt", "transforms.yaml",
        },
        "lidar_rays": {"os1_cloud_node_kitti_bin", "poses.txt"},
        "world_from_lidar": {"poses.txt", "os1_cloud_node_kitti_bin"},
        "pixel_from_lidar": {"camera_info.txt", "transforms.yaml", "os1_cloud_node_kitti_bin"},
        "occupancy": {"os1_cloud_node_kitti_bin"},
    }[field]  # fmt: skip
    for sequence in ("00000", "00003"):
        for path in (own / sequence).iterdir():
            if path.name not in needed:
                path.rename(path.with_name(f"{path.name}_gone"))
    if field != "occupancy":
        (own.parent / "wildocc").rename(own.parent / "gone")
    sample = build(own, [field])[0]
    assert [name for name in OWN_FIELDS if getattr(sample, name) is not None] == [field]


def test_it_goes_through_collate_and_workers(tiny):
    dataset = build(tiny.root, ["points", "occupancy"], split="val")
    assert dataset.stems == ["00000-000002", "00003-000002"]
    (batch,) = DataLoader(dataset, batch_size=2, num_workers=1, collate_fn=collate)
    assert batch.stems == dataset.stems
    torch.testing.assert_close(batch.points[1], dataset[-1].points)


def test_stems_are_selected(tiny):
    dataset = build(tiny.root, ["images"], stems=["00003-000001", "00000-000002"])
    assert dataset.stems == ["00003-000001", "00000-000002"]
    with pytest.raises(ValueError, match="1 of the requested stems are not in the split 'train'"):
        build(tiny.root, ["images"], split="train", stems=["00000-000002"])


def test_frames_without_labels_are_left_out_with_numbers(own, caplog):
    for name in ("00000/000003", "00003/000002", "00003/000003"):
        (own.parent / f"wildocc/V1/{name}.npy").unlink()
    dataset = build(own, ["occupancy"])
    assert len(dataset) == 5
    assert "3 of 8 frames lack the files of ['occupancy']" in caplog.text
    assert "00000: 1 (from 3 to 3), 00003: 2 (from 2 to 3). They are left out" in caplog.text
    assert len(build(own, ["points"]).stems_with("occupancy")) == 5
    assert len(build(own, ["points"]).stems_with("elevation_m")) == 0
    with pytest.raises(FileNotFoundError, match=r"1 of 1 frames lack .*'occupancy'"):
        build(own, ["occupancy"], stems=["00000-000003"])


def test_frames_without_a_pose_are_left_out_where_poses_are_read(own, caplog):
    path = own / "00000/poses.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["0 " * 12, *lines[1:]]) + "\n")
    assert build(own, ["world_from_lidar"]).stems[0] == "00000-000001"
    assert "1 of 8 frames lack the files of ['world_from_lidar'], such as row 0" in caplog.text
    assert len(build(own, ["points"], num_sweeps=2)) == 8


def test_faults_of_a_sequence_are_found_before_any_frame(own):
    (own / "00003/transforms.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"00003/transforms\.yaml not found"):
        build(own, ["images", "pixel_from_lidar"])
    (own / "00000/poses.txt").write_text("1 2 3\n")
    with pytest.raises(ValueError, match=r"00000/poses\.txt: expected 12 numbers"):
        build(own, ["points"], num_sweeps=2)
    assert len(build(own, ["points", "images"])) == 8


def test_missing_files_of_sensors_fail(own):
    (own / "00000/os1_cloud_node_kitti_bin/000001.bin").unlink()
    with pytest.raises(FileNotFoundError, match=(
        r"1 of 4 frames lack the files of \['points'\], such as .*00000/os1.*/000001\.bin"
    )):  # fmt: skip
        build(own, ["points"], split="train")
    assert len(build(own, ["points"])) == 7  # The split "all" has the frames that are complete.


def test_a_lost_sensor_is_none(own):
    (own / "00000/os1_cloud_node_kitti_bin/000001.bin").write_bytes(b"")
    (own / f"00000/pylon_camera_node/{image_name(Frame('00000', 2))}.jpg").unlink()
    dataset = build(own, ["images", "points", "pixel_from_lidar"], allow_missing=True)
    assert len(dataset) == 8
    assert dataset[1].points is None
    assert dataset[1].lost == (Loss.NO_CLOUD,)
    assert dataset[2].images is None
    assert dataset[2].lost == (Loss.NO_IMAGE,)


def test_an_image_of_another_size_is_refused(own):
    path = own / f"00000/pylon_camera_node/{image_name(Frame('00000', 0))}.jpg"
    cv2.imwrite(str(path), np.zeros((60, 96, 3), np.uint8))
    with pytest.raises(ValueError, match=r"expected the recorded_size \(120, 192\).*found \(60, 9"):
        _ = build(own, ["images"])[0]


def test_the_reading_of_the_labels_is_checked(tiny, own, caplog):
    with pytest.raises(ValueError, match=r"Set dataset.labels_axes='ouster'"):
        build(tiny.root, ["occupancy"], labels_axes="mirrored_x")
    for sequence in ("00000", "00003"):
        shutil.rmtree(own / sequence / "os1_cloud_node_semantickitti_label_id")
    build(own, ["occupancy"], labels_axes="mirrored_x")
    assert "could not be checked: no frame has point labels" in caplog.text


def test_labels_elsewhere(own):
    (own.parent / "wildocc").rename(own.parent / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"there are no labels at .*wildocc"):
        build(own, ["occupancy"])
    assert build(own, ["points"]).stems_with("occupancy") == []
    assert len(build(own, ["occupancy"], labels_root=own.parent / "elsewhere")) == 8


def test_what_a_data_set_may_have(own):
    assert all(Rellis3D.may_have(own, name) for name in ("images", "points", "pixel_from_lidar"))
    for sequence in ("00000", "00003"):
        shutil.rmtree(own / sequence / "pylon_camera_node")
    assert not Rellis3D.may_have(own, "images")
    assert Rellis3D.may_have(own, "points")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(wanted=["caption"]), "fields must be in"),
        (dict(wanted=[]), "fields must be in"),
        (dict(labels="unscenes3d"), r"one of \['rellis3d', 'wildocc'\] for Rellis3D"),
        (dict(intensity_max=0.0), "intensity_max must be above 0"),
        (dict(augmentation={"mix": {"sector_prob": 1.0}}), "need the UnScenes3D layout"),
        (dict(split="mini"), "unknown split 'mini'"),
    ],
)  # fmt: skip
def test_invalid_options(tiny, options, message):
    with pytest.raises(ValueError, match=message):
        build(tiny.root, **options)
