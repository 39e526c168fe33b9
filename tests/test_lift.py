import pytest
import torch
from jaxtyping import TypeCheckError
from torch.autograd import gradcheck

from model.lift import (
    DepthBins,
    Lift,
    ProjectedVoxels,
    cumulative_probability,
    mean_over_views,
    pixel_directions,
    project_grid,
    sample_frustum,
    sample_plane,
    sample_surface,
)
from tests.model_inputs import GRID, IMAGE_SIZE, make_batch, pinhole
from utils.geometry import VoxelGrid, project_points


def random_view(cameras: int = 2, voxels: int = 5) -> ProjectedVoxels:
    generator = torch.Generator().manual_seed(1)
    near = 1.3 * torch.rand(1, cameras, voxels, 3, generator=generator).double() - 0.65
    far = near + torch.tensor([0.0, 0.0, 0.3])
    return ProjectedVoxels(near, far, torch.rand(1, cameras, voxels, generator=generator) > 0.3)


def linear_sample(values: torch.Tensor, position: list[float]) -> torch.Tensor:
    """Slow twin: linear interpolation along every axis of values (K, *axes)."""
    for size, at in zip(values.shape[1:], position, strict=True):
        index = min(max(at * size - 0.5, 0.0), size - 1.0)
        low = min(int(index), size - 2) if size > 1 else 0
        share = index - low
        high = min(low + 1, size - 1)
        values = (1 - share) * values[:, low] + share * values[:, high]
    return values


class TestDepthBins:
    def test_uniform_edges(self):
        bins = DepthBins(2.0, 10.0, 4, "uniform")
        assert bins.edges_m().tolist() == [2.0, 4.0, 6.0, 8.0, 10.0]

    def test_linear_widths_grow_by_one_unit_a_bin(self):
        bins = DepthBins(1.0, 13.0, 3, "linear")  # widths 2, 4, 6
        torch.testing.assert_close(bins.edges_m(), torch.tensor([1.0, 3.0, 7.0, 13.0]))

    @pytest.mark.parametrize("spacing", ["uniform", "linear"])
    def test_coordinate_counts_edges(self, spacing):
        bins = DepthBins(2.0, 82.0, 48, spacing)
        expected = torch.arange(49, dtype=torch.float32)
        # float32 keeps 1e-6 of 82 m, and a bin is 0.07 m wide at least.
        torch.testing.assert_close(bins.coordinate(bins.edges_m()), expected, atol=2e-4, rtol=0)

    @pytest.mark.parametrize("spacing", ["uniform", "linear"])
    def test_coordinate_tells_what_lies_off_the_range(self, spacing):
        bins = DepthBins(2.0, 10.0, 4, spacing)
        near, far = bins.coordinate(torch.tensor([1.0, 11.0])).tolist()
        assert near < 0
        assert far > 4

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((5.0, 5.0, 3), "0 <= min_m < max_m"),
            ((1.0, 5.0, 0), "num >= 1"),
            ((1.0, 5.0, 3, "log"), "spacing must be"),
        ],
    )
    def test_wrong_fields_are_rejected(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            DepthBins(*arguments)


class TestProjectGrid:
    def test_a_voxel_worked_by_hand(self):
        grid = VoxelGrid((3.5, -0.5, -0.5), 1.0, (1, 1, 1))  # its center is (4, 0, 0)
        view = project_grid(
            grid, pinhole(32, 64, 30.0)[None, None], (32, 64), (4, 8), DepthBins(2.0, 10.0, 4)
        )
        # The optical axis hits the middle of the image. The voxel reaches from 3.5 to 4.5 m;
        # edge k of the bins lies at 2 + 8·k(k + 1)/20 m, so that k = 1.5 there at 3.5 m, and
        # (√(1 + 4·6.25) − 1) / 2 = 2.0495 at 4.5 m; 5 edges cover [-1, 1], the first at -0.8.
        near = torch.tensor([0.0, 0.0, 2 * (1.5 + 0.5) / 5 - 1])
        far = torch.tensor([0.0, 0.0, 2 * (2.0495098 + 0.5) / 5 - 1])
        torch.testing.assert_close(view.near[0, 0, 0], near)
        torch.testing.assert_close(view.far[0, 0, 0], far)
        assert view.in_view.all()

    @pytest.mark.parametrize(
        "center",
        [(-4.0, 0.0, 0.0), (4.0, 6.0, 0.0), (4.0, 0.0, 4.0), (1.0, 0.0, 0.0), (20.0, 0.0, 0.0)],
        ids=["behind", "left of it", "above it", "too near", "too far"],
    )
    def test_what_is_not_in_view(self, center):
        grid = VoxelGrid(tuple(value - 0.5 for value in center), 1.0, (1, 1, 1))
        view = project_grid(
            grid, pinhole(32, 64, 30.0)[None, None], (32, 64), (4, 8), DepthBins(2.0, 10.0, 4)
        )
        assert not view.in_view.any()
        assert view.near.isfinite().all()
        assert view.far.isfinite().all()

    def test_samples_in_view_reach_to_the_rim_and_there_are_none_elsewhere(self):
        projection = make_batch(cameras=2).pixel_from_lidar
        bins = DepthBins(1.0, 21.0, 8)
        view = project_grid(GRID, projection, IMAGE_SIZE, (4, 8), bins)
        features = 1 + torch.rand(2, 2, 1, 4, 8)
        frustum = 1 + torch.rand(2, 2, 9, 4, 8)
        plane = sample_plane(features, view)
        inside = sample_frustum(frustum, view.far)
        centers_m = GRID.centers_m().reshape(-1, 3)
        pixels, depth_m = project_points(projection, centers_m.expand(2, 2, -1, -1))
        u, v = (pixels / pixels.new_tensor(IMAGE_SIZE[::-1])).unbind(-1)
        assert ((u < 0.5 / 8) & view.in_view).any(), "none lies beyond the outermost centers"
        edge = (bins.coordinate(depth_m + GRID.voxel_m / 2) + 0.5) / 9
        assert not plane[:, :, 0][~view.in_view].any()
        assert not inside[:, :, 0][~view.in_view].any()
        for frame, camera, voxel in view.in_view.nonzero()[::29].tolist():
            which = (frame, camera, voxel)
            place = [v[which].item(), u[which].item()]
            expected = linear_sample(features[frame, camera], place)
            torch.testing.assert_close(plane[frame, camera, :, voxel], expected)
            expected = linear_sample(frustum[frame, camera][None], [edge[which].item(), *place])
            torch.testing.assert_close(inside[frame, camera, :, voxel], expected)

    def test_autocast_does_not_blur_it(self):
        projection = make_batch().pixel_from_lidar
        bins = DepthBins(1.0, 21.0, 8)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            blurred = project_grid(GRID, projection, IMAGE_SIZE, (4, 8), bins)
        plain = project_grid(GRID, projection, IMAGE_SIZE, (4, 8), bins)
        assert torch.equal(blurred.near, plain.near)


class TestSampling:
    def test_plane_against_a_slow_loop(self):
        features = torch.rand(1, 2, 3, 4, 6, dtype=torch.float64)
        view = random_view()
        sampled = sample_plane(features, view)
        for camera in range(2):
            for voxel in range(5):
                u, v, _ = ((view.near[0, camera, voxel] + 1) / 2).tolist()
                expected = linear_sample(features[0, camera], [v, u])
                torch.testing.assert_close(sampled[0, camera, :, voxel], expected)

    def test_frustum_against_a_slow_loop(self):
        values = torch.rand(1, 2, 5, 4, 6, dtype=torch.float64)
        coordinates = random_view().near
        sampled = sample_frustum(values, coordinates)
        for camera in range(2):
            for voxel in range(5):
                u, v, d = ((coordinates[0, camera, voxel] + 1) / 2).tolist()
                expected = linear_sample(values[0, camera][None], [d, v, u])
                torch.testing.assert_close(sampled[0, camera, :, voxel], expected)

    def test_cumulative_probability_worked_by_hand(self):
        logits = torch.tensor([0.2, 0.5, 0.3]).log().view(1, 1, 3, 1, 1)
        expected = torch.tensor([0.0, 0.2, 0.7, 1.0])
        torch.testing.assert_close(cumulative_probability(logits).flatten(), expected)

    def test_the_surface_lies_within_one_of_the_voxels_along_a_ray(self):
        cumulative = cumulative_probability(torch.randn(1, 1, 6, 1, 1, dtype=torch.float64))
        edges = (torch.arange(7, dtype=torch.float64) + 0.5) / 7 * 2 - 1
        axis = torch.zeros(7, 2, dtype=torch.float64)
        places = torch.cat([axis, edges[:, None]], dim=1)[None, None]
        every = torch.ones(1, 1, 6, dtype=torch.bool)
        inside, before = sample_surface(
            cumulative, ProjectedVoxels(places[..., :-1, :], places[..., 1:, :], every)
        )
        torch.testing.assert_close(inside.sum(), torch.tensor(1.0, dtype=torch.float64))
        torch.testing.assert_close(before.flatten(), cumulative.flatten()[:-1])

    def test_mean_is_over_the_cameras_that_see_a_voxel(self):
        values = torch.tensor([[[[1.0, 2.0, 0.0]], [[3.0, 0.0, 0.0]]]])
        in_view = torch.tensor([[[True, True, False], [True, False, False]]])
        assert mean_over_views(values, in_view).tolist() == [[[2.0, 2.0, 0.0]]]

    def test_gradients(self):
        view = random_view(cameras=2, voxels=3)

        def lifted(context: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            inside, before = sample_surface(cumulative_probability(logits), view)
            values = torch.cat([sample_plane(context, view) * inside, before], dim=2)
            return mean_over_views(values, view.in_view)

        context = torch.rand(1, 2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
        logits = torch.rand(1, 2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
        assert gradcheck(lifted, (context, logits))

    def test_wrong_shapes_are_caught(self):
        with pytest.raises(TypeCheckError):
            sample_plane(torch.rand(1, 2, 3, 4), random_view())


def test_directions_point_back_at_the_pixels():
    batch = make_batch(2, cameras=2)
    directions = pixel_directions(batch.pixel_from_lidar, (32, 64), (4, 8))  # (B, N, 3, h, w)
    torch.testing.assert_close(directions.norm(dim=2), torch.ones(2, 2, 4, 8))
    position = torch.linalg.inv(batch.pixel_from_lidar)[..., None, None, :3, 3]
    points = position + 7 * directions.permute(0, 1, 3, 4, 2)
    pixels, depth_m = project_points(batch.pixel_from_lidar, points.flatten(2, 3))
    assert (depth_m > 0).all()
    expected = torch.tensor(
        [[8 * column + 4.0, 8 * row + 4.0] for row in range(4) for column in range(8)]
    )
    torch.testing.assert_close(pixels, expected.expand(2, 2, -1, -1), atol=1e-3, rtol=1e-4)


def test_directions_follow_a_mirrored_image():
    projection = pinhole(32, 64, 30.0)[None, None]
    mirror = torch.eye(4)
    mirror[0, 0], mirror[0, 2] = -1.0, 64.0
    plain = pixel_directions(projection, (32, 64), (4, 8))
    mirrored = pixel_directions(mirror @ projection, (32, 64), (4, 8))
    torch.testing.assert_close(mirrored, plain.flip(-1))


def make_lift(**changes) -> Lift:
    torch.manual_seed(0)
    arguments = dict(
        in_channels=4,
        grid=GRID,
        coarsening=2,
        num_classes=4,
        bins=dict(min_m=1.0, max_m=21.0, num=8),
        channels=5,
        hidden_channels=6,
        evidence_channels=3,
    )
    return Lift(**(arguments | changes))


class TestLift:
    @pytest.mark.parametrize(("batch", "cameras", "coarsening"), [(1, 1, 1), (2, 3, 2)])
    def test_shapes(self, batch, cameras, coarsening):
        projection = make_batch(batch, cameras=cameras).pixel_from_lidar
        lifted = make_lift(coarsening=coarsening)(
            torch.rand(batch, cameras, 4, 4, 8), projection, IMAGE_SIZE
        )
        assert lifted.volume.shape == (batch, 5, *GRID.coarsen(coarsening).shape)
        assert lifted.evidence.shape == (batch, 8, *GRID.shape)
        assert lifted.class_logits.shape == (batch, cameras, 3, 4, 8)
        assert lifted.depth_logits.shape == (batch, cameras, 8, 4, 8)
        for volume in (lifted.volume, lifted.evidence):
            assert volume.is_contiguous(memory_format=torch.channels_last_3d)

    def test_volumes_have_the_type_of_the_features(self):
        projection = make_batch(1).pixel_from_lidar
        with torch.autocast("cpu", dtype=torch.bfloat16):
            lifted = make_lift()(torch.rand(1, 1, 4, 4, 8).bfloat16(), projection, IMAGE_SIZE)
        assert lifted.volume.dtype == lifted.evidence.dtype == torch.bfloat16
        assert lifted.depth_logits.dtype == torch.float32

    def test_no_evidence_if_not_asked_for(self):
        lift = make_lift(evidence_channels=None)
        projection = make_batch(1).pixel_from_lidar
        lifted = lift(torch.rand(1, 1, 4, 4, 8), projection, IMAGE_SIZE)
        assert lift.evidence_channels == 0
        assert lifted.evidence is None
        assert lifted.class_logits is None
        assert lifted.volume.shape == (1, 5, *GRID.coarsen(2).shape)

    def test_a_certain_depth_fills_its_voxels_only(self):
        lift = make_lift(coarsening=1).eval()
        last = lift.heads[-1]
        with torch.no_grad():
            last.weight.zero_()
            last.bias.zero_()
            last.bias[3] = 100.0  # Every pixel's surface lies in bin 3.
            last.bias[8:] = 1.0
        projection = pinhole(*IMAGE_SIZE, 30.0)[None, None]
        lifted = lift(torch.rand(1, 1, 4, 4, 8), projection, IMAGE_SIZE)
        depth_m = GRID.centers_m()[..., 0]
        until_near, until_far = (
            (lift.bins.coordinate(depth_m + shift) - 3).clamp(0, 1) for shift in (-0.5, 0.5)
        )
        in_view = project_grid(GRID, projection, IMAGE_SIZE, (4, 8), lift.bins).in_view
        in_view = in_view.view(GRID.shape)
        expected = (until_far - until_near) * in_view
        assert 0 < (expected > 0).sum() < in_view.sum()
        torch.testing.assert_close(lifted.volume[0, 0], expected, atol=1e-5, rtol=0)
        inside, before = lifted.evidence[0, -2:]
        torch.testing.assert_close(inside, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(before, until_near * in_view, atol=1e-5, rtol=0)
        assert not lifted.evidence[0][:, ~in_view].any()

    def test_voxels_in_view_see_the_classes_of_their_pixels(self):
        lift = make_lift()
        projection = pinhole(*IMAGE_SIZE, 30.0)[None, None]
        lifted = lift(torch.rand(1, 1, 4, 4, 8), projection, IMAGE_SIZE)
        view = project_grid(GRID, projection, IMAGE_SIZE, (4, 8), lift.bins)
        probability = sample_plane(lifted.class_logits.softmax(dim=2), view)[0, 0]
        seen = lifted.evidence[0, 3:6]
        torch.testing.assert_close(seen.flatten(1), probability)
        in_view = view.in_view[0, 0].view(GRID.shape)
        torch.testing.assert_close(seen.sum(0), in_view.float())

    def test_every_parameter_gets_a_gradient(self):
        lift = make_lift()
        lifted = lift(torch.rand(2, 1, 4, 4, 8), make_batch().pixel_from_lidar, IMAGE_SIZE)
        (lifted.volume.square().sum() + lifted.evidence.square().sum()).backward()
        gradients = [weight.grad for weight in lift.parameters()]
        assert all(gradient is not None and gradient.any() for gradient in gradients)

    def test_double_precision_projections_are_taken(self):
        lift = make_lift()
        projection = make_batch().pixel_from_lidar.double()
        assert lift(torch.rand(2, 1, 4, 4, 8), projection, IMAGE_SIZE).volume.dtype == torch.float32
