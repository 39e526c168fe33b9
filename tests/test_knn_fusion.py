import math

import pytest
import torch

from model.knn_fusion import (
    KnnFusion,
    NearestVoxels,
    Relate,
    ball_offsets,
    magnitude,
    nearest,
    strongest,
)
from tests.model_inputs import make_batch, make_model, model_config
from utils.geometry import VoxelGrid

GRID = VoxelGrid(origin_m=(0.0, -4.0, -2.0), voxel_m=1.0, shape=(6, 8, 4))


def make_fusion(**changes) -> KnnFusion:
    torch.manual_seed(0)
    arguments = dict(
        camera_channels=3,
        lidar_channels=2,
        grid=GRID,
        channels=8,
        max_distance_m=2.0,
    )
    return KnnFusion(**(arguments | changes))


def sparse_volume(channels: int, *, batch: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    filled = torch.rand(batch, 1, *GRID.shape, generator=generator) < 0.15
    return filled * (0.5 + torch.rand(batch, channels, *GRID.shape, generator=generator))


def random_voxels(share: float, *, seed: int, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, *GRID.shape, generator=generator) < share


@pytest.mark.parametrize(
    ("radius", "expected"), [(0.0, 1), (0.9, 1), (1.0, 7), (1.5, 19), (2.0, 33)]
)
def test_a_ball_holds_the_voxels_within_its_radius(radius, expected):
    offsets = ball_offsets(radius)
    assert len(offsets) == expected
    assert len(set(map(tuple, offsets.tolist()))) == expected
    distances = offsets.double().norm(dim=1)
    assert distances.max() <= radius
    assert (distances.diff() >= 0).all()
    assert offsets[0].tolist() == [0, 0, 0]


def test_rounding_does_not_shrink_a_ball():
    assert 0.6 / 0.2 < 3
    assert len(ball_offsets(0.6 / 0.2)) == len(ball_offsets(3.0))


def test_a_ball_of_negative_radius_is_rejected():
    with pytest.raises(ValueError, match=r"at least 0, got -1\.0 voxels"):
        make_fusion(max_distance_m=-1.0)


@pytest.mark.parametrize(("limit", "kept"), [(1, [3, 5]), (2, [2, 3, 5]), (100, [1, 2, 3, 5])])
def test_the_strongest_are_kept_frame_by_frame(limit, kept):
    strength = torch.tensor([0.0, 1.0, 2.0, 3.0, 0.0, 0.5, 0.0, 0.0]).view(2, 1, 2, 2)
    is_kept = strongest(strength, limit)
    assert is_kept.shape == strength.shape
    assert torch.nonzero(is_kept.flatten()).flatten().tolist() == kept


def test_magnitude_is_the_length_of_the_features():
    volume = torch.zeros(1, 2, 1, 1, 2, requires_grad=True)
    volume.data[0, :, 0, 0, 1] = torch.tensor([-3.0, 4.0])
    assert magnitude(volume).flatten().tolist() == [0.0, 5.0]
    assert not magnitude(volume).requires_grad


def nearest_slowly(query: list[int], keys: torch.Tensor, radius: float, count: int) -> list:
    """The keys [frame, x, y, z] around one, by distance and then by x, y, z."""
    around = [key for key in torch.nonzero(keys).tolist() if key[0] == query[0]]
    by_distance = sorted((math.dist(query, key), key) for key in around)
    return [key for distance, key in by_distance if distance <= radius][:count]


@pytest.mark.parametrize("radius", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_neighbors_agree_with_a_slow_loop(radius, share):
    queries, keys = random_voxels(0.2, seed=1), random_voxels(share, seed=2)
    count = min(3, len(ball_offsets(radius)))
    found = nearest(queries, keys, ball_offsets(radius), count)
    coordinates = torch.nonzero(torch.ones_like(keys))
    assert torch.equal(coordinates[found.voxel], torch.nonzero(queries))
    rows = zip(found.voxel.tolist(), found.neighbor, found.is_found, strict=True)
    for voxel, neighbor, is_found in rows:
        wanted = nearest_slowly(coordinates[voxel].tolist(), keys, radius, count)
        assert coordinates[neighbor[is_found]].tolist() == wanted
        assert is_found.tolist() == [True] * len(wanted) + [False] * (count - len(wanted))
        assert (neighbor[~is_found] == voxel).all()


def test_many_voxels_are_searched_in_parts(monkeypatch):
    queries, keys = random_voxels(0.5, seed=1), random_voxels(0.1, seed=2)
    whole = nearest(queries, keys, ball_offsets(2.0), 2)
    monkeypatch.setattr("model.knn_fusion._QUERIES_AT_ONCE", 7)
    for one, other in zip(whole, nearest(queries, keys, ball_offsets(2.0), 2), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("num_queries", "num_keys"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_is_found_where_nothing_is(num_queries, num_keys):
    queries, keys = torch.zeros(2, 1, *GRID.shape, dtype=torch.bool)
    queries.view(-1)[:num_queries], keys.view(-1)[:num_keys] = True, True
    found = nearest(queries, keys, ball_offsets(1.0), 2)
    assert found.neighbor.shape == (num_queries, 2)
    assert not found.is_found.any()


def test_a_voxel_is_enhanced_by_its_own_features_gated_by_its_neighbors():
    relate = Relate(channels=2, other_channels=1, neighbors=2)
    relate.gate.weight.data = torch.tensor([[1.0, 10.0], [-1.0, 0.5]])
    volume = torch.tensor([[2.0, 3.0, 5.0], [-1.0, 4.0, 6.0]]).view(1, 2, 3, 1, 1)
    other = torch.tensor([0.5, 0.25, 7.0]).view(1, 1, 3, 1, 1)
    neighbors = NearestVoxels(
        voxel=torch.tensor([0, 2]),
        neighbor=torch.tensor([[0, 1], [1, 2]]),
        is_found=torch.tensor([[True, True], [True, False]]),
    )
    # Gates: (0.5 + 2.5, -0.5 + 0.125 -> 0), and with the second neighbor gone (0.25, -0.25 -> 0).
    enhanced = relate(volume, other, neighbors)
    expected = [[2 + 2 * 3.0, 3.0, 5 + 5 * 0.25], [-1.0, 4.0, 6.0]]
    assert enhanced.shape == volume.shape
    torch.testing.assert_close(enhanced.view(2, 3), torch.tensor(expected))
    assert volume[0, 0, 0, 0, 0] == 2.0  # the input stays as it is


@pytest.mark.parametrize("batch", [1, 2])
def test_fuses_both_volumes(batch):
    fusion = make_fusion().eval()
    camera, lidar = sparse_volume(3, batch=batch, seed=1), sparse_volume(2, batch=batch, seed=2)
    fused = fusion(camera, lidar)
    assert fused.volume.shape == (batch, 8, *GRID.shape)
    assert fused[1:] == (None, None, None)
    assert not torch.equal(fused.volume, fusion(camera, 2 * lidar).volume)
    assert not torch.equal(fused.volume, fusion(2 * camera, lidar).volume)


def test_a_neighbor_counts_within_the_distance_only():
    fusion = make_fusion(max_distance_m=2.0).eval()
    camera, lidar = torch.zeros(1, 3, *GRID.shape), torch.zeros(1, 2, *GRID.shape)
    lidar[0, :, 0, 0, 0] = 1.0
    for y, is_near in ((1, True), (2, True), (3, False), (7, False)):
        camera = torch.zeros(1, 3, *GRID.shape)
        camera[0, :, 0, y, 0] = 1.0
        for relate in (fusion.relate_camera, fusion.relate_lidar):
            torch.nn.init.constant_(relate.gate.weight, 0.5)
        more_camera, more_lidar = fusion.enhance(camera, lidar)
        assert torch.equal(more_camera, camera) != is_near
        assert torch.equal(more_lidar, lidar) != is_near


def test_a_voxel_that_one_sensor_sees_alone_stays_what_it_is():
    fusion = make_fusion().eval()
    camera, lidar = torch.zeros(1, 3, *GRID.shape), torch.zeros(1, 2, *GRID.shape)
    camera[0, :, 2, 3, 1], lidar[0, :, 5, 7, 3] = 1.0, 1.0
    more_camera, more_lidar = fusion.enhance(camera, lidar)
    assert torch.equal(more_camera, camera)
    assert torch.equal(more_lidar, lidar)
    changed = (fusion(camera, lidar).volume != fusion(0 * camera, lidar).volume).any(dim=1)[0]
    assert changed[2, 3, 1]


def test_only_the_strongest_camera_voxels_take_part():
    fusion = make_fusion(max_camera_voxels=1, neighbors=1).eval()
    torch.nn.init.ones_(fusion.relate_lidar.gate.weight)
    torch.nn.init.ones_(fusion.relate_camera.gate.weight)
    camera, lidar = torch.zeros(1, 3, *GRID.shape), torch.zeros(1, 2, *GRID.shape)
    lidar[0, :, 2, 3, 1] = 1.0
    camera[0, :, 2, 3, 1], camera[0, :, 2, 4, 1] = 1.0, 2.0
    more_camera, more_lidar = fusion.enhance(camera, lidar)
    assert more_lidar[0, :, 2, 3, 1].tolist() == [1 + 6.0] * 2  # of the stronger, not the nearer
    assert more_camera[0, :, 2, 3, 1].tolist() == [1.0] * 3
    assert more_camera[0, :, 2, 4, 1].tolist() == [2 + 2 * 2.0] * 3


@pytest.mark.parametrize("sensor", ["camera", "lidar"])
def test_takes_one_volume(sensor):
    channels = dict(camera_channels=0, lidar_channels=0) | {f"{sensor}_channels": 3}
    volumes = dict(camera=None, lidar=None) | {sensor: sparse_volume(3)}
    fusion = make_fusion(**channels)
    fused = fusion(**volumes, with_fields=True)
    assert fused.volume.shape == (2, 8, *GRID.shape)
    assert (fused.fused is not None) == (sensor == "camera")
    loss = fused.volume.square().sum()
    if fused.fused is not None:
        loss = loss + sum(part.sum() for part in fused.fused)
    loss.backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in fusion.parameters())


def test_gives_the_fused_volume_as_a_field():
    fusion = make_fusion()
    fused = fusion(sparse_volume(3, seed=1), sparse_volume(2, seed=2), with_fields=True)
    density, colors = fused.fused
    assert (fused.camera, fused.lidar) == (None, None)
    assert density.shape == (2, 1, *GRID.shape)
    assert colors.shape == (2, 3, *GRID.shape)
    assert density.min() >= 0
    assert 0 <= colors.min() < colors.max() <= 1


def test_nothing_seen_by_either_sensor_is_no_trouble():
    fusion = make_fusion()
    camera = torch.zeros(1, 3, *GRID.shape, requires_grad=True)
    lidar = torch.zeros(1, 2, *GRID.shape, requires_grad=True)
    fused = fusion(camera, lidar, with_fields=True)
    loss = fused.volume.sum() + sum(part.sum() for part in fused.fused)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(weight.grad is not None for weight in fusion.parameters())


def test_a_batch_of_two_is_two_batches_of_one():
    fusion = make_fusion(max_camera_voxels=20).eval()
    camera, lidar = sparse_volume(3, seed=1), sparse_volume(2, seed=2)
    both = fusion(camera, lidar, with_fields=True)
    for frame in range(2):
        one = slice(frame, frame + 1)
        alone = fusion(camera[one], lidar[one], with_fields=True)
        torch.testing.assert_close(alone.volume, both.volume[one])
        torch.testing.assert_close(alone.fused.density, both.fused.density[one])


def test_the_layout_of_the_input_does_not_matter():
    fusion = make_fusion().eval()
    camera, lidar = sparse_volume(3, seed=1), sparse_volume(2, seed=2)
    last = dict(memory_format=torch.channels_last_3d)
    again = fusion(camera.contiguous(**last), lidar.contiguous(**last)).volume
    torch.testing.assert_close(fusion(camera, lidar).volume, again)


def test_a_gradient_reaches_both_inputs_and_every_parameter():
    fusion = make_fusion()
    camera = sparse_volume(3, seed=1).requires_grad_()
    lidar = sparse_volume(2, seed=2).requires_grad_()
    fused = fusion(camera, lidar, with_fields=True)
    (
        fused.volume.square().sum() + fused.fused.density.sum() + fused.fused.features.sum()
    ).backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in fusion.parameters())
    for volume in (camera, lidar):
        assert volume.grad.isfinite().all()
        assert volume.grad.any()


@pytest.mark.parametrize("enhanced", [0, 1])
def test_each_volume_learns_from_how_the_other_is_enhanced(enhanced):
    fusion = make_fusion()
    volumes = [sparse_volume(3, seed=1).requires_grad_(), sparse_volume(2, seed=2).requires_grad_()]
    fusion.enhance(*volumes)[enhanced].square().sum().backward()
    assert volumes[1 - enhanced].grad.any()


def test_gradients_are_right():
    relate = Relate(channels=2, other_channels=3, neighbors=2).double()
    queries, keys = random_voxels(0.1, seed=1, batch=1), random_voxels(0.1, seed=2, batch=1)
    neighbors = nearest(queries, keys, ball_offsets(2.0), 2)
    generator = torch.Generator().manual_seed(0)
    volumes = [
        torch.rand(1, c, *GRID.shape, dtype=torch.float64, generator=generator) for c in (2, 3)
    ]
    inputs = [volume.requires_grad_() for volume in volumes]
    assert torch.autograd.gradcheck(lambda a, b: relate(a, b, neighbors), inputs, fast_mode=True)


def test_works_under_autocast():
    fusion = make_fusion().eval()
    camera, lidar = sparse_volume(3, seed=1), sparse_volume(2, seed=2)
    wanted = fusion(camera, lidar, with_fields=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fused = fusion(camera, lidar, with_fields=True)
    assert fused.fused.density.dtype == fused.fused.features.dtype == torch.float32
    # bfloat16 keeps 8 bits of each of the 135 products that a voxel sums.
    torch.testing.assert_close(fused.volume.float(), wanted.volume, atol=0.03, rtol=0.03)


@pytest.mark.parametrize(
    "changes",
    [
        dict(neighbors=0),
        dict(neighbors=8, max_distance_m=1.0),
        dict(neighbors=2, max_distance_m=0.5),
        dict(max_camera_voxels=0),
    ],
)
def test_a_search_that_cannot_be_is_rejected(changes):
    with pytest.raises(ValueError, match=r"1 to \d+ neighbors.* within max_distance_m = .*; got"):
        make_fusion(**changes)


def test_a_volume_that_it_was_not_built_for_is_rejected():
    with pytest.raises(ValueError, match=r"built for \(3, 2\) channels .* got \(3, 3\)"):
        make_fusion()(sparse_volume(3), sparse_volume(3))


def test_nothing_to_fuse_is_rejected():
    with pytest.raises(ValueError, match="at least one volume"):
        make_fusion(camera_channels=0, lidar_channels=0)


def test_a_network_renders_depth_and_color_from_the_fused_volume():
    parts = model_config()["parts"]
    for sensor in ("lift", "lidar_encoder"):
        parts[sensor] |= dict(evidence_channels=None)
    parts |= dict(
        fusion=dict(type="KnnFusion", channels=16),
        head=dict(type="CoarseOccupancyHead", channels=16),
        refinement=None,
    )
    network = make_model(parts=parts)
    terms = network(make_batch(), mode="loss")
    assert {"loss_render_depth", "loss_render_color"} < set(terms)
    assert "loss_image_semantic" not in terms  # It would teach what nothing reads.
    sum(terms.values()).backward()
    assert all(weight.grad is not None for weight in network.parameters())


@pytest.mark.gpu
def test_the_gpu_gives_what_the_cpu_gives():
    fusion = make_fusion().eval()
    camera, lidar = sparse_volume(3, seed=1), sparse_volume(2, seed=2)
    masks = magnitude(camera) > 0, magnitude(lidar) > 0
    slow = nearest(*masks, fusion.offsets, 2)
    fast = nearest(*(mask.cuda() for mask in masks), fusion.offsets.cuda(), 2)
    assert all(torch.equal(one, other.cpu()) for one, other in zip(slow, fast, strict=True))
    with torch.no_grad():
        wanted = fusion(camera, lidar).volume
        got = fusion.cuda()(camera.cuda(), lidar.cuda()).volume
    # The GPU's convolution sums in another order, and in TF32 where that is on.
    torch.testing.assert_close(got.cpu(), wanted, atol=5e-3, rtol=5e-3)
