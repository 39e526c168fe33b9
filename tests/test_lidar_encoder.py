import copy

import pytest
import torch

from model import spconv_backend
from model.lidar_encoder import LidarEncoder, refine
from utils.geometry import VoxelGrid

GRID = VoxelGrid(origin_m=(0.0, -4.0, -1.0), voxel_m=1.0, shape=(8, 8, 4))


def random_points(count: int = 200, *, seed: int = 0, columns: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(count, columns, generator=generator)
    return points * torch.tensor([8.0, 8.0, 4.0, 1.0, 0.5][:columns]) - torch.tensor(
        [0.0, 4.0, 1.0, 0.0, 0.0][:columns]
    )


def make_encoder(**changes) -> LidarEncoder:
    torch.manual_seed(0)
    arguments = dict(
        grid=GRID,
        coarsening=2,
        subdivision=2,
        stage_channels=(4, 6, 8),
        channels=5,
        evidence_channels=3,
    )
    return LidarEncoder(**(arguments | changes))


def test_refine_undoes_coarsen():
    assert refine(GRID.coarsen(2), 2) == GRID


@pytest.mark.parametrize(
    ("coarsening", "subdivision", "stages"), [(2, 2, 3), (2, 1, 2), (1, 1, 1), (1, 2, 2)]
)
def test_shapes(coarsening, subdivision, stages):
    encoder = make_encoder(
        coarsening=coarsening, subdivision=subdivision, stage_channels=(4, 6, 8)[:stages]
    )
    for batch_size in (1, 2):
        got = encoder([random_points(seed=seed) for seed in range(batch_size)])
        assert got.volume.shape == (batch_size, 5, *GRID.coarsen(coarsening).shape)
        assert got.evidence.shape == (batch_size, 4, *GRID.shape)


@pytest.mark.parametrize("points", [random_points(), torch.zeros(0, 4)])
def test_no_evidence_if_not_asked_for(points):
    encoder = make_encoder(evidence_channels=None)
    got = encoder([points])
    assert encoder.evidence_channels == 0
    assert got.evidence is None
    got.volume.sum().backward()
    assert all(weight.grad is not None for weight in encoder.parameters())


def test_evidence_flags_the_label_voxels_with_a_point():
    points = random_points(40)
    flags = make_encoder()([points]).evidence[0, 0]
    expected = torch.zeros(GRID.shape)
    for x, y, z in torch.floor(GRID.voxel_from_meters(points[:, :3])).int().tolist():
        expected[x, y, z] = 1
    assert 20 < expected.sum() < 40
    assert torch.equal(flags, expected)


def test_features_are_zero_where_nothing_is():
    got = make_encoder()([random_points(5)])
    assert not got.evidence[:, 1:][(got.evidence[:, :1] == 0).expand(-1, 3, -1, -1, -1)].any()
    occupied = torch.nn.functional.max_pool3d(got.evidence[:, :1], 2)
    assert not got.volume[(occupied == 0).expand(-1, 5, -1, -1, -1)].any()
    assert got.volume.any()


def test_frames_do_not_see_each_other():
    encoder = make_encoder()
    points = [random_points(seed=seed) for seed in range(2)]
    together = encoder(points)
    for frame in range(2):
        alone = encoder([points[frame]])
        torch.testing.assert_close(together.volume[frame], alone.volume[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            together.evidence[frame], alone.evidence[0], atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("empty", [torch.empty(0, 4), torch.full((3, 4), -50.0)])
def test_a_frame_without_points_in_the_grid_is_zero(empty):
    got = make_encoder()([random_points(), empty])
    assert got.volume[0].any()
    assert not got.volume[1].any()
    assert not got.evidence[1].any()


@pytest.mark.parametrize("columns", [4, 5])
def test_a_batch_without_points_is_zero_and_trains(columns):
    encoder = make_encoder()
    got = encoder([torch.empty(0, columns), torch.empty(0, columns)])
    assert got.volume.shape == (2, 5, 4, 4, 2)
    assert not got.volume.any()
    assert not got.evidence.any()
    (got.volume.sum() + got.evidence.sum()).backward()
    assert all(weight.grad is not None and not weight.grad.any() for weight in encoder.parameters())


def test_points_outside_change_nothing():
    encoder, points = make_encoder(), random_points()
    outside = torch.tensor([[-1.0, 0.0, 0.0, 9.0], [1.0, 0.0, 3.1, 9.0]])
    torch.testing.assert_close(
        encoder([points]).volume, encoder([torch.cat([outside, points])]).volume
    )


def test_one_point_is_enough_to_train():
    encoder = make_encoder()
    got = encoder([random_points(1)])
    got.volume.sum().backward()
    assert got.volume.isfinite().all()


def test_every_parameter_gets_a_gradient():
    encoder = make_encoder()
    got = encoder([random_points(columns=5)])
    (got.volume.square().sum() + got.evidence.square().sum()).backward()
    without = [name for name, weight in encoder.named_parameters() if not weight.grad.any()]
    assert without == []


@pytest.mark.parametrize(
    "changes",
    [
        dict(stage_channels=(4, 6)),
        dict(subdivision=3, stage_channels=(4, 6, 8)),
        dict(subdivision=1, coarsening=4, stage_channels=(4, 6)),
    ],
)
def test_stages_must_fit_the_resolutions(changes):
    with pytest.raises(ValueError, match="one stage for each of the resolutions"):
        make_encoder(**changes)


ROOM = (300, 250, 150)


@pytest.mark.parametrize(
    "points",
    [
        [random_points(), random_points(50, seed=1)],
        [random_points(), torch.empty(0, 4)],
        [torch.full((3, 4), -50.0)],
    ],
)
def test_fixed_shapes_change_neither_values_nor_gradients(points):
    found = []
    for room in (None, ROOM):
        encoder = make_encoder()
        volume, evidence, numbers = encoder(points, room)
        (volume.square().sum() + evidence.square().sum()).backward()
        gradients = [weight.grad for weight in encoder.parameters()]
        found.append((volume, evidence, numbers, gradients))
    wanted, got = found
    torch.testing.assert_close(got[:3], wanted[:3], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got[3], wanted[3], atol=1e-4, rtol=1e-4)


def test_only_fixed_shapes_are_compiled(monkeypatch):
    runs = []

    def compile_(function, **options):
        assert options == {"mode": "default"}
        return lambda *args: runs.append(args) or function(*args)

    monkeypatch.setattr(torch, "compile", compile_)
    encoder, points = make_encoder(), [random_points(), random_points(50, seed=1)]
    encoder.compile(mode="default")
    wanted = encoder(points)
    assert runs == []
    found = encoder(points, ROOM)
    assert runs == [(points, ROOM)]
    copied = copy.deepcopy(encoder)
    copied(points, ROOM)
    assert len(runs) == 1, "the compiled code is that of the other encoder's weights"
    torch.testing.assert_close(tuple(found), tuple(wanted), atol=1e-5, rtol=1e-5)


def test_voxels_of_each_resolution_are_counted_even_without_room():
    points, encoder = [random_points(), random_points(seed=1)], make_encoder()
    _, evidence, numbers = encoder(points)
    assert numbers[1] == evidence[:, 0].sum()
    assert (numbers[:-1] > numbers[1:]).all()
    small = encoder(points, (400, int(numbers[1]) - 1, 100))
    assert torch.equal(small.num_voxels[:2], numbers[:2])
    assert small.evidence[:, 0].sum() == numbers[1] - 1


@pytest.mark.gpu
def test_the_gpu_gives_what_the_cpu_gives():
    encoder = make_encoder().eval()
    points = [random_points(seed=seed) for seed in range(2)]
    with torch.no_grad():
        wanted = encoder(points)
        got = encoder.cuda()([frame.cuda() for frame in points])
    # The GPU's kernels sum in another order, some of them in TF32.
    torch.testing.assert_close(got.volume.cpu(), wanted.volume, atol=5e-3, rtol=5e-3)
    torch.testing.assert_close(got.evidence.cpu(), wanted.evidence, atol=5e-3, rtol=5e-3)


def test_the_network_sees_the_unit_that_its_weights_were_trained_with():
    points = random_points()
    raw = points * torch.tensor([1.0, 1, 1, 255])
    expected = make_encoder(intensity_max=1.0)([raw]).volume
    torch.testing.assert_close(make_encoder()([points]).volume, expected)
    for wrong in (0.0, float("nan")):
        with pytest.raises(ValueError, match="intensity_max must be a number above 0"):
            make_encoder(intensity_max=wrong)


def test_an_unknown_implementation_is_rejected():
    with pytest.raises(ValueError, match=r"must be one of .*'auto'.* got 'minkowski'"):
        make_encoder(convolutions="minkowski")


def test_spconv_and_torch_are_the_same_network():
    if not spconv_backend.is_installed():
        pytest.skip("needs spconv")
    points, found = [random_points(), random_points(seed=1)], {}
    for convolutions in ("torch", "spconv"):
        encoder = make_encoder(convolutions=convolutions)
        volume, evidence, _ = encoder(points)
        (volume.square().sum() + evidence.square().sum()).backward()
        gradients = {name: weight.grad for name, weight in encoder.named_parameters()}
        found[convolutions] = volume.detach(), evidence.detach(), gradients
    torch.testing.assert_close(*(values[:2] for values in found.values()), atol=1e-5, rtol=1e-4)
    # The sums of the gradients are large, and taken in another order.
    torch.testing.assert_close(*(values[2] for values in found.values()), atol=1e-3, rtol=1e-3)
