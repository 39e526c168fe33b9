from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dataset import layout
from dataset.elevation import ElevationGrid, mean_heights
from engine.benchmark.synthetic import synthetic_batch
from loss.elevation import elevation_loss
from model.elevation_head import STRETCHES, UNIT_M, ElevationHead, surfaces_through
from tests.model_inputs import GRID, make_batch, make_model, model_config
from utils.config import load_config

CONFIG = Path(__file__).parents[1] / "config"
CELLS = ElevationGrid((4.0, -5.0), 0.5, (16, 20))
HEAD = dict(type="ElevationHead", channels=(8, 8, 8), context_channels=4, cells=CELLS)


def make_head(*, uses_points=True, seed=0):
    torch.manual_seed(seed)
    return ElevationHead(6, GRID, uses_points, CELLS, channels=(8, 8, 8), context_channels=4)


def decoded_volume(size=2):
    return torch.rand(size, 6, *GRID.shape, generator=torch.Generator().manual_seed(1))


def with_head(**changes):
    config = model_config(**changes)
    return make_model(**(changes | dict(parts=config["parts"] | dict(elevation=HEAD))))


def with_map(batch):
    return replace(batch, elevation_m=torch.full((len(batch), 16, 20), -1.2))


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("uses_points", [True, False])
def test_a_map_for_each_frame(size, uses_points):
    points = make_batch(size).points if uses_points else None
    heights = make_head(uses_points=uses_points)(decoded_volume(size), points)
    assert heights.shape == (size, 16, 20)
    assert heights.dtype == torch.float32


def ground_returns(number=1500):
    """Returns of a slope, a tenth of them of dust 2 m above it."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(number, 4, generator=generator) * torch.tensor([16.0, 20.0, 1.0, 1.0])
    points[:, 1] -= 10.0
    points[:, 2] = -1.5 + 0.05 * points[:, 0] - 0.02 * points[:, 1]
    points[::10, 2] += 2.0
    return points


def test_an_untrained_head_lays_a_surface_through_the_returns():
    head = make_head()
    heights = head(decoded_volume(1), [ground_returns()])[0]
    x, y = head.cells.centers_m().unbind(-1)
    error = heights - (-1.5 + 0.05 * x - 0.02 * y)
    assert error.abs().mean() < 0.06  # The mean of all returns in a cell is 20 cm too high.


def test_the_surfaces_and_what_the_returns_are_like():
    points = ground_returns()
    surfaces, (count, weight, off) = surfaces_through([points], make_head().wide)
    assert len(surfaces) == len(STRETCHES)
    assert count.exp().sum() - count.numel() == pytest.approx(
        mean_heights([points], make_head().wide)[1].sum().item(), rel=1e-4
    )
    assert ((weight > 0) == (count > 0)).all()
    assert not off[count == 0].any()
    assert (off > 4).any()  # A cell of dust alone.
    believing = surfaces[-1].mean()
    assert all(surface.mean() < believing for surface in surfaces[:-1])


def test_what_is_learnt_can_choose_another_surface_and_correct_it():
    head, points = make_head(), [ground_returns()]
    with torch.no_grad():
        answer = head.network.out.bias.view(-1, 4)  # Of the four cells of a block each.
        answer[0] = 0.5 / UNIT_M
        answer[4] = 100.0  # The last surface but what the columns say.
        heights = head(decoded_volume(1), points)
    surfaces, _ = surfaces_through(points, head.wide)
    row, column = head.first
    expected = surfaces[3][:, 0, row : row + 16, column : column + 20] + 0.5
    torch.testing.assert_close(heights, expected)


def test_without_returns_the_decoded_columns_tell_the_height():
    head = make_head(uses_points=False)
    with torch.no_grad():
        head.columns.weight.zero_()
        head.columns.bias.zero_()
        head.columns.weight[0, 0] = 100.0
    decoded = torch.zeros(1, 6, *GRID.shape)
    level = (torch.arange(16) >= 8).long()  # The far half is one voxel higher.
    for x in range(16):
        decoded[0, 0, x, :, 1 + level[x]] = 1.0
    heights = head(decoded, None)[0]
    far, near = heights[0], heights[-1]
    torch.testing.assert_close(far, torch.full((20,), 0.5), atol=1e-3, rtol=0)
    torch.testing.assert_close(near, torch.full((20,), -0.5), atol=1e-3, rtol=0)


def test_a_frame_without_a_return_has_a_map_too():
    batch = make_batch(2)
    empty = batch.points[0].clone()
    empty[:, 0] = 100.0  # Outside of every region.
    head = make_head()
    mixed = head(decoded_volume(2), [batch.points[0], empty])
    assert mixed.isfinite().all()
    blind = make_head(uses_points=False)
    blind.columns.load_state_dict(head.columns.state_dict())
    torch.testing.assert_close(mixed[1], blind(decoded_volume(2), None)[1])


def test_frames_do_not_see_each_other():
    head, decoded, points = make_head(), decoded_volume(2), make_batch(2).points
    torch.nn.init.normal_(head.network.out.weight)
    together = head(decoded, points)
    torch.testing.assert_close(head(decoded[1:], points[1:])[0], together[1], atol=1e-5, rtol=1e-4)


def test_left_and_right_far_and_near_are_not_confused():
    head, points = make_head(), make_batch(1).points[0].clone()
    points[:, 2] = 0.1 * points[:, 0] + 0.01 * points[:, 1]
    heights = head(decoded_volume(1), [points])[0]
    assert heights[0].mean() > heights[-1].mean() + 0.5  # Row 0 is far.
    assert heights[:, 0].mean() > heights[:, -1].mean() + 0.05  # Column 0 is left.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(near_right_m=(9.0, -5.0)), "cells' x .*leaves the grid"),
        (dict(near_right_m=(4.0, -9.0)), "cells' y"),
    ],
)
def test_a_region_off_the_grid_is_rejected(change, message):
    with pytest.raises(ValueError, match=message):
        ElevationHead(6, GRID, True, replace(CELLS, **change))


# --- in the network ---


@pytest.mark.parametrize("modality", ["both", "camera", "lidar"])
def test_a_network_with_the_head_learns_from_the_map_and_predicts_one(modality):
    network, batch = with_head(modality=modality), with_map(make_batch())
    terms = network(batch, mode="loss")
    assert "loss_elevation" in terms
    sum(terms.values()).backward()
    assert [name for name, w in network.named_parameters() if w.grad is None] == []
    for prediction in network.eval()(batch, mode="predict"):
        assert prediction.elevation_m.shape == (16, 20)


def test_a_network_without_the_head_has_no_map():
    network, batch = make_model(modality="lidar"), make_batch()
    assert network.elevation is None
    assert "loss_elevation" not in network(batch, mode="loss")
    assert all(p.elevation_m is None for p in network(batch, mode="predict"))


def test_the_map_changes_nothing_of_the_occupancy():
    plain, full = make_model(modality="lidar").eval(), with_head(modality="lidar").eval()
    full.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        assert torch.equal(plain(make_batch()), full(make_batch()))


def test_training_without_the_label_is_rejected():
    with pytest.raises(ValueError, match="without 'elevation_m'"):
        with_head(modality="lidar")(make_batch(), mode="loss")


def test_learns_a_map_overfit():
    head, decoded, points = make_head(), decoded_volume(1), make_batch(1).points
    x, y = head.cells.centers_m().unbind(-1)
    label_m = (-1.5 + 0.4 * torch.sin(x) * torch.cos(y))[None]
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        losses.append(elevation_loss(head(decoded, points), label_m))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize(
    "name", ["unscenes3d/unscenes3d_elevation.py", "minesim/minesim_elevation.py"]
)
def test_the_configs_cells_are_those_of_the_labels(name):
    cells = ElevationGrid.from_config(load_config(CONFIG / name).model.parts.elevation.cells)
    assert cells == layout.elevation_grid(layout.elevation_shape(layout.ELEVATION_CELL_M))


def test_made_up_frames_have_a_map_where_the_network_needs_one():
    cfg = load_config(CONFIG / "minesim/minesim_elevation.py", {"modality": "camera"})
    assert synthetic_batch(cfg, 1).elevation_m.shape == (1, 204, 217)
