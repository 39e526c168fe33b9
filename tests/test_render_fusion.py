import pytest
import torch

from model.render_fusion import INITIAL_DENSITY, RenderFusion, is_near_seen, is_seen

SHAPE = (6, 6, 4)


def make_fusion(camera: int = 5, lidar: int = 7, **options: int) -> RenderFusion:
    torch.manual_seed(0)
    return RenderFusion(camera, lidar, num_classes=4, channels=8, **options).eval()


def volumes(*, seed: int = 1, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """A camera that sees the half with small y, a LiDAR with one voxel at (1, 1, 1)."""
    generator = torch.Generator().manual_seed(seed)
    camera = torch.randn(batch, 5, *SHAPE, generator=generator)
    camera[:, :, :, 3:] = 0
    lidar = torch.zeros(batch, 7, *SHAPE)
    lidar[:, :, 1, 1, 1] = torch.rand(batch, 7, generator=generator) + 0.1
    return camera, lidar


def before_mix(fusion: RenderFusion, *inputs: torch.Tensor | None) -> torch.Tensor:
    """The weighted sum that the last convolutions get."""
    seen = []
    hook = fusion.mix.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    fusion(*inputs)
    hook.remove()
    return seen[0]


def test_a_voxel_that_one_sensor_sees_is_not_diluted_by_the_other() -> None:
    fusion = make_fusion()
    camera, lidar = volumes()
    together = before_mix(fusion, camera, lidar)
    camera_alone, lidar_alone = fusion.project_camera(camera), fusion.project_lidar(lidar)
    far_from_lidar = ~is_near_seen(lidar).expand_as(together)
    torch.testing.assert_close(together[far_from_lidar], camera_alone[far_from_lidar])
    moved = lidar.roll(4, dims=3)  # To y = 5, which the camera does not see.
    together, lidar_alone = before_mix(fusion, camera, moved), fusion.project_lidar(moved)
    not_camera = ~is_seen(camera).expand_as(together)
    torch.testing.assert_close(together[not_camera], lidar_alone[not_camera])
    assert lidar_alone[not_camera].abs().max() > 0


def test_where_both_see_the_gates_weigh_them() -> None:
    fusion = make_fusion()
    camera, lidar = volumes()
    together = before_mix(fusion, camera, lidar)[:, :, 1, 1, 1]
    parts = [
        project(volume)[:, :, 1, 1, 1]
        for project, volume in ((fusion.project_camera, camera), (fusion.project_lidar, lidar))
    ]
    assert (together - parts[0] - parts[1]).abs().min() > 1e-4
    with torch.no_grad():
        fusion.gates[-1].weight.zero_()
        fusion.gates[-1].bias.copy_(torch.tensor([30.0] * 8 + [-30.0] * 8))
    only_camera = before_mix(fusion, camera, lidar)[:, :, 1, 1, 1]
    torch.testing.assert_close(only_camera, parts[0])


def test_the_gates_see_the_neighborhood_and_both_densities() -> None:
    fusion = make_fusion()
    camera, lidar = volumes()
    here = before_mix(fusion, camera, lidar)[:, :, 1, 1, 1]
    other = camera.clone()
    other[:, :, 2, 2, 2] += 5.0  # A neighbor of the voxel, whose own features stay.
    assert (before_mix(fusion, other, lidar)[:, :, 1, 1, 1] - here).abs().max() > 1e-5
    for aspect in (fusion.camera_aspect, fusion.lidar_aspect):
        before = before_mix(fusion, camera, lidar)[:, :, 1, 1, 1]
        with torch.no_grad():
            aspect.density.bias += 5.0
        assert (before_mix(fusion, camera, lidar)[:, :, 1, 1, 1] - before).abs().max() > 1e-5


def test_fields_only_when_asked_for() -> None:
    fusion = make_fusion()
    plain, asked = fusion(*volumes()), fusion(*volumes(), with_fields=True)
    assert plain[1:] == (None, None, None)
    torch.testing.assert_close(plain.volume, asked.volume)
    assert asked.camera.features is None
    assert asked.fused is None
    assert (asked.camera.density >= 0).all()
    assert asked.camera.density.shape == asked.lidar.density.shape == (2, 1, *SHAPE)
    torch.testing.assert_close(asked.lidar.features.sum(1), torch.ones(2, *SHAPE))
    assert asked.lidar.features.shape == (2, 3, *SHAPE)


def test_an_untrained_density_lets_light_through() -> None:
    field = make_fusion()(*volumes(), with_fields=True).lidar
    empty = field.density[0, 0, 5, 5, 3].item()
    expected = torch.nn.functional.softplus(torch.tensor(INITIAL_DENSITY)).item()
    assert empty == pytest.approx(expected, rel=0.9)


def test_one_sensor_alone() -> None:
    camera, lidar = volumes()
    only_camera, only_lidar = make_fusion(lidar=0), make_fusion(camera=0)
    fused = only_camera(camera, None, with_fields=True)
    assert fused.volume.shape == (2, 8, *SHAPE)
    assert fused.camera is not None
    assert fused.lidar is None
    assert only_camera(camera, None).camera is None
    assert only_lidar(None, lidar, with_fields=True)[1:] == (None, None, None)


def test_frames_of_a_batch_do_not_mix() -> None:
    fusion = make_fusion()
    camera, lidar = volumes()
    both = fusion(camera, lidar, with_fields=True)
    alone = fusion(camera[1:], lidar[1:], with_fields=True)
    torch.testing.assert_close(both.volume[1:], alone.volume, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(both.camera.density[1:], alone.camera.density)


def test_nothing_seen_at_all_is_finite() -> None:
    fusion = make_fusion()
    fused = fusion(torch.zeros(1, 5, *SHAPE), torch.zeros(1, 7, *SHAPE), with_fields=True)
    assert fused.volume.isfinite().all()
    assert fused.lidar.density.isfinite().all()


def test_volumes_that_it_was_not_built_for_are_rejected() -> None:
    camera, lidar = volumes()
    with pytest.raises(ValueError, match=r"built for \(5, 7\) channels .* got \(0, 0\)"):
        make_fusion()(None, None)
    with pytest.raises(ValueError, match=r"built for \(5, 0\) channels .* got \(0, 7\)"):
        make_fusion(lidar=0)(None, lidar)
    with pytest.raises(ValueError, match=r"got \(5, 5\)"):
        make_fusion()(camera, camera)
    with pytest.raises(ValueError, match="at least one volume"):
        make_fusion(camera=0, lidar=0)
