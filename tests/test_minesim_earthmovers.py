"""Earthmoving machines."""

from collections.abc import Callable

import numpy as np
import pytest

from dataset.minesim.scene import earthmovers
from dataset.minesim.scene.mesh import Mesh

# Ranges of the longer and the shorter horizontal extent and of the height [m].
SIZES = {
    "excavator": ((8.0, 20.0), (4.0, 17.0), (4.8, 11.5)),
    "wheel_loader": ((7.5, 11.5), (3.0, 7.0), (3.2, 4.6)),
    "dozer": ((5.5, 8.5), (3.5, 5.0), (3.0, 4.6)),
    "grader": ((8.0, 9.8), (3.0, 4.0), (3.0, 3.8)),
    "roller": ((5.0, 6.2), (2.3, 2.8), (2.8, 3.4)),
}


def build(name: str, seed: int) -> Mesh:
    builder: Callable[[np.random.Generator], Mesh] = getattr(earthmovers, name)
    return builder(np.random.default_rng(seed))


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("seed", range(5))
def test_sizes_and_detail(name: str, seed: int) -> None:
    mesh = build(name, seed)
    low, high = mesh.bounds()
    extent = high - low
    for value, (least, most) in zip(
        (extent[:2].max(), extent[:2].min(), extent[2]), SIZES[name], strict=True
    ):
        assert least <= value <= most
    # Buckets may dig in slightly.
    assert -0.6 < low[2] < 0.02
    assert 400 <= len(mesh.faces) <= 2000
    assert mesh.volume() > 0.0


def test_beam_has_its_depth_in_every_direction() -> None:
    for end in ([2.0, 0.0], [-2.0, 0.0], [0.0, -2.0]):
        girder = earthmovers.beam(np.array([[0.0, 0.0], end]), (0.5, 0.5), 0.3, (1.0, 1.0, 0.0))
        assert girder.volume() == pytest.approx(2.0 * 0.5 * 0.3)


def test_crawler_stands_on_the_ground() -> None:
    low, high = earthmovers.crawler(6.0, 1.2, 0.8, 2.0).bounds()
    assert low[2] == pytest.approx(0.0)
    assert high[0] - low[0] == pytest.approx(6.0)
    assert (low[1] + high[1]) / 2 == pytest.approx(2.0)


def test_excavators_differ_in_pose() -> None:
    shapes = [build("excavator", seed).bounds()[1] for seed in range(4)]
    assert np.ptp(np.array(shapes), axis=0).min() > 0.2
