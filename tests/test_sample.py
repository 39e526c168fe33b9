import pickle
from dataclasses import replace

import pytest
import torch

from dataset.sample import (
    Batch,
    Loss,
    NeighborViews,
    Sample,
    SampleKey,
    VehicleState,
    collate,
)


def sample(stem="1.0", **changes):
    values = {
        "stem": stem,
        "scene": "scene_00000",
        "images": torch.zeros(1, 3, 4, 6, dtype=torch.uint8),
        "points": torch.zeros(5, 4),
        "pixel_from_lidar": torch.eye(4)[None],
        "occupancy": torch.ones(2, 2, 2, dtype=torch.uint8),
        "world_from_lidar": torch.eye(4, dtype=torch.float64),
        "caption": "A truck.",
        "vehicle": VehicleState((1.0, 0.0, 0.0), (0.0, 0.0, 9.8)),
    }
    return Sample(**{**values, **changes})


def test_a_key_is_a_frame_and_an_epoch():
    key = SampleKey(3)
    assert (key.index, key.epoch) == (3, 0)
    assert key == SampleKey(3, epoch=0) != SampleKey(3, epoch=7)
    assert pickle.loads(pickle.dumps(SampleKey(3, 7))) == SampleKey(3, 7)


def test_an_index_stands_for_a_key():
    assert SampleKey.of(2, 5) == SampleKey(2, 0)
    assert SampleKey.of(-1, 5) == SampleKey(4, 0)
    assert SampleKey.of(SampleKey(-2, 3), 5) == SampleKey(3, 3)
    for key in (5, -6, SampleKey(5, 1)):
        with pytest.raises(IndexError):
            SampleKey.of(key, 5)


@pytest.mark.parametrize("size", [1, 2])
def test_collate_stacks_all_but_points(size):
    batch = collate([sample(str(i), points=torch.full((3 + i, 4), float(i))) for i in range(size)])
    assert len(batch) == size
    assert batch.stems == [str(i) for i in range(size)]
    assert batch.scenes == ["scene_00000"] * size
    assert batch.images.shape == (size, 1, 3, 4, 6)
    assert batch.pixel_from_lidar.shape == (size, 1, 4, 4)
    assert batch.occupancy.shape == (size, 2, 2, 2)
    assert batch.world_from_lidar.dtype == torch.float64
    assert [len(points) for points in batch.points] == [3 + i for i in range(size)]
    assert batch.captions == ["A truck."] * size
    assert batch.vehicles[0].velocity_mps == (1.0, 0.0, 0.0)
    assert batch.depth_m is None
    assert batch.elevation_m is None


def test_points_of_any_numbers_go_together():
    counts = range(12)  # A checker looks at one entry of a list, so there are many.
    for _ in range(20):
        batch = collate([sample(str(i), points=torch.zeros(i, 5)) for i in counts])
        assert [len(points) for points in batch.points] == list(counts)


def test_fields_that_no_sample_has_stay_none():
    batch = collate([Sample("1.0"), Sample("2.0")])
    assert batch == Batch(stems=["1.0", "2.0"], scenes=["", ""])


@pytest.mark.parametrize("field", ["images", "points", "caption", "vehicle"])
def test_fields_that_some_samples_lack_are_rejected(field):
    with pytest.raises(ValueError, match=rf"frames \['2.0'\] lack '{field}'"):
        collate([sample("1.0"), sample("2.0", **{field: None})])


def test_shapes_that_differ_are_rejected():
    other = sample("2.0", occupancy=torch.ones(2, 2, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"'occupancy' differs in shape.*'2.0': \(2, 2, 4\)"):
        collate([sample("1.0"), other])


def neighbors(count=2):
    return NeighborViews(torch.zeros(count, 1, 4, 4), torch.ones(count, 1, 4, 6))


def test_views_of_neighbors_are_stacked_and_must_be_as_many():
    batch = collate([sample(str(i), neighbors=neighbors()) for i in range(3)])
    assert batch.neighbors.pixel_from_lidar.shape == (3, 2, 1, 4, 4)
    assert batch.neighbors.depth_m.shape == (3, 2, 1, 4, 6)
    with pytest.raises(ValueError, match=r"'neighbors' differs in shape .*'1': \(3, 1, 4, 4\)"):
        collate([sample("0", neighbors=neighbors()), sample("1", neighbors=neighbors(3))])
    with pytest.raises(ValueError, match=r"frames \['1'\] lack 'neighbors'"):
        collate([sample("0", neighbors=neighbors()), sample("1")])


def test_a_batch_moves_whole():
    batch = collate([sample(neighbors=neighbors())])
    moved = batch.to("meta")
    tensors = [moved.images, moved.pixel_from_lidar, moved.occupancy, *moved.points]
    tensors += moved.neighbors
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert moved.stems == batch.stems
    assert moved.captions == batch.captions
    assert moved.depth_m is None
    assert batch.images.device.type == "cpu"


def test_frames_that_lost_a_sensor_go_into_one_batch():
    images, matrix = torch.ones(2, 3, 4, 6, dtype=torch.uint8), 2 * torch.ones(2, 4, 4)
    whole = Sample("1.0", images=images, points=torch.rand(5, 4), pixel_from_lidar=matrix)
    blind = Sample("2.0", points=torch.rand(3, 4), lost=(Loss.NO_IMAGE,))
    deaf = replace(whole, stem="3.0", points=None, lost=(Loss.NO_POINTS,))
    batch = collate([whole, blind, deaf])
    assert batch.sensors == ["both", "lidar", "camera"]
    assert batch.lost == [(), (Loss.NO_IMAGE,), (Loss.NO_POINTS,)]
    assert not batch.images[1].any()
    assert batch.points[2].shape == (0, 4)
    assert collate([blind]).sensors == ["lidar"]
    assert collate([whole]).sensors is None
    some = batch.of([2, 0])
    assert some.stems == ["3.0", "1.0"]
    assert torch.equal(some.images, batch.images[[2, 0]])
    assert [len(points) for points in some.points] == [0, 5]
    assert some.sensors is None
    with pytest.raises(ValueError, match="lack 'images'"):
        collate([whole, replace(blind, lost=())])


def test_a_single_color_in_an_image_of_all_sensors_drops_nothing():
    sample = Sample("1.0", images=torch.zeros(1, 3, 4, 6).byte(), points=torch.rand(5, 4))
    batch = collate([replace(sample, lost=(Loss.BLANK_IMAGE,))])
    assert batch.sensors is None
    assert batch.lost == [(Loss.BLANK_IMAGE,)]
