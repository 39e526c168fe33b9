from dataclasses import replace

import numpy as np
import pytest
import torch

from dataset.sample import Sample
from engine.pictures.branch_maps import COLOR, DEPTH, SEMANTIC, render_branches
from model.fusion import Field, Fused
from model.outputs import Outputs
from tests.model_inputs import GRID, IMAGE_SIZE, make_batch, make_model, model_config
from utils.labels import FREE, IGNORE, UNSCENES3D

TRUCK = UNSCENES3D.index("truck")
WALL = 10
"""First of the voxels along x that are filled; the camera stands 1 m behind the LiDAR."""


def sample(*, cameras=1):
    batch = make_batch(1, cameras=cameras)
    return Sample(
        batch.stems[0],
        images=batch.images[0],
        points=batch.points[0],
        pixel_from_lidar=batch.pixel_from_lidar[0],
    )


def labeled(**kinds):
    occupancy = torch.zeros(GRID.shape, dtype=torch.uint8)
    occupancy[WALL:] = TRUCK
    points = torch.tensor([[WALL, 0.5, 0.5, 1.0]])
    return replace(sample(**kinds), occupancy=occupancy, points=points)


def wall(coarsening=1):
    """An opaque wall across the whole grid, in feature or label voxels."""
    grid = GRID.coarsen(coarsening)
    filled = torch.zeros(1, 1, *grid.shape)
    filled[:, :, WALL // coarsening :] = 1.0
    return filled


def see_a_wall(network, monkeypatch, **fields):
    """Have a network see a wall of trucks with both sensors, whatever comes in."""
    classes = torch.zeros(1, 11, *network.feature_grid.shape)
    classes[:, TRUCK - 1] = 1.0
    density = 50 * wall(2)
    fused = Fused(torch.empty(1, 16, 8, 8, 2), **fields)
    if not fields:
        fused = fused._replace(camera=Field(density, None), lidar=Field(density, classes))
    logits = torch.full((1, 12, *GRID.shape), -9.0)
    logits[:, FREE] = 9 - 18 * wall()[:, 0]
    logits[:, TRUCK] = 18 * wall()[:, 0] - 9
    decoded = torch.zeros(1, network.decoder.channels, *network.feature_grid.shape)
    outputs = Outputs(logits, decoded, fused, None, None, None)
    monkeypatch.setattr(network, "infer", lambda batch, with_fields: outputs)


def by_name(rendered):
    return {(one.branch, one.kind): one for one in rendered.maps}


def test_each_branch_shows_the_wall_where_it_is(monkeypatch):
    network = make_model()
    see_a_wall(network, monkeypatch)
    behind_the_wall = GRID.shape[1] * GRID.shape[2] * (GRID.shape[0] - WALL)
    rendered = render_branches(network, labeled(), num_gaussians=behind_the_wall)
    maps = by_name(rendered)
    assert list(maps) == [
        ("LiDAR", SEMANTIC), ("camera", DEPTH), ("Gaussians", SEMANTIC), ("Gaussians", DEPTH),
    ]  # fmt: skip
    rows, columns = IMAGE_SIZE
    middle = (rows // 2, columns // 2)
    for branch in ("LiDAR", "Gaussians"):
        assert maps[branch, SEMANTIC].values.shape == IMAGE_SIZE
        assert maps[branch, SEMANTIC].values[middle] == TRUCK
        # The grid's top is 2 m above the camera: sky above 2 / 11 · 30 pixels.
        assert (maps[branch, SEMANTIC].values[:6] == FREE).all()
    # Between voxels of 2 m the density rises over half of one before the wall.
    assert maps["camera", DEPTH].values[middle] == pytest.approx(WALL + 1, abs=1.2)
    # Gaussians are balls at the voxels' centers.
    assert maps["Gaussians", DEPTH].values[middle] == pytest.approx(WALL + 1.5, abs=0.6)
    assert (maps["camera", DEPTH].values[:4] == 0).all()
    assert rendered.far_m == 18.0
    assert (rendered.occupancy[WALL:] == TRUCK).all()
    assert not rendered.occupancy[:WALL].any()


def test_what_supervises_stands_beside_each_map(monkeypatch):
    network = make_model()
    see_a_wall(network, monkeypatch)
    maps = by_name(render_branches(network, labeled()))
    for branch in ("LiDAR", "Gaussians"):
        target = maps[branch, SEMANTIC].target
        assert target[16, 32] == TRUCK
        assert (target[:6] == IGNORE).all()
    dense = maps["Gaussians", DEPTH].target
    assert dense[16, 32] == pytest.approx(WALL + 1)
    assert (dense[:6] == 0).all()
    sparse = maps["camera", DEPTH].target
    assert np.count_nonzero(sparse) == 1
    assert sparse.max() == pytest.approx(WALL + 1)
    bare = by_name(render_branches(network, replace(labeled(), occupancy=None, points=None)))
    assert all(one.target is None for one in bare.values())


def test_a_fused_volume_shows_depth_and_color(monkeypatch):
    network = make_model()
    colors = torch.zeros(1, 3, *network.feature_grid.shape)
    colors[:, 1] = 1.0
    see_a_wall(network, monkeypatch, fused=Field(50 * wall(2), colors))
    network.refinement = None
    maps = by_name(render_branches(network, labeled(), stride=2))
    assert list(maps) == [("fused", DEPTH), ("fused", COLOR)]
    found = maps["fused", COLOR]
    assert found.values.shape == found.target.shape == (16, 32, 3)
    assert found.values[8, 16, 1] > 250
    assert found.values[8, 16, 0] == 0
    np.testing.assert_array_equal(found.target[8, 16], labeled().images[0, :, 17, 33].numpy())


def test_the_image_shows_the_classes_that_the_lift_tells(monkeypatch):
    network = make_model()
    outputs = network.eval().infer(make_batch(1, cameras=2), with_fields=True)
    scores = torch.zeros(1, 2, 11, 4, 8)
    scores[:, 0, 0] = 1.0
    scores[:, 1, TRUCK - 1, :, 4:] = 3.0
    seen = outputs._replace(camera=outputs.camera._replace(class_logits=scores))
    monkeypatch.setattr(network, "infer", lambda batch, with_fields: seen)
    maps = render_branches(network, labeled(cameras=2), camera=1).maps
    assert maps[0][:2] == ("image", SEMANTIC)
    assert maps[0].values.shape == IMAGE_SIZE
    assert (maps[0].values[:, 36:] == TRUCK).all()
    assert (maps[0].values[:, :28] == 1).all()
    assert maps[0].target[16, 32] == TRUCK


def test_a_network_renders_what_it_sees_to_each_camera():
    network = make_model().train()
    rendered = render_branches(network, sample(cameras=2), camera=1, stride=4)
    assert not network.training
    assert all(one.values.shape == (8, 16) for one in rendered.maps)
    with pytest.raises(ValueError, match=r"frame 16.0 has 2 cameras, numbered from 0; got 2"):
        render_branches(network, sample(cameras=2), camera=2)


def test_networks_that_render_nothing_are_rejected(monkeypatch):
    with pytest.raises(ValueError, match=r"renders nothing: .* config has model.rendering"):
        render_branches(make_model(rendering=None), sample())
    network = make_model(parts=model_config()["parts"] | dict(refinement=None))
    see_a_wall(network, monkeypatch, fused=None)
    with pytest.raises(ValueError, match="no branch of this network renders anything"):
        render_branches(network, sample())
