"""The mesh toolkit: closed solids whose faces point outward."""

import numpy as np
import pytest

from dataset.minesim.scene.mesh import (
    Mesh,
    axis_rotation,
    ball,
    boulder,
    box,
    cone,
    merge,
    slab,
    taper,
    tube,
    wheel,
)

RED = (1.0, 0.0, 0.0)


def open_edges(mesh: Mesh) -> int:
    """Count directed edges without an opposite one."""
    pairs = mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    forward = {(int(a), int(b)) for a, b in pairs}
    return sum((b, a) not in forward for a, b in forward)


SOLIDS = {
    "box": (box((2, 3, 4), (5, 1, 2), "paint", RED), 24.0),
    # Prismatoid: (A0 + 4 Am + A1) h / 6 with 2×2, 1.5×1.5 and 1×1.
    "taper": (taper((2, 2, 3), (1, 1), (0, 0, 9), "paint", RED, shift=(4, 0)), 3 * (4 + 9 + 1) / 6),
    "slab": (slab([(0, 0), (2, 0), (2, 1), (0, 1)], (-1, 1), "paint", RED), 4.0),
    "tube": (
        tube((1, 1, 1), (1, 4, 5), 0.5, "steel", RED, sides=64),
        # Area of a regular 64-gon of radius 0.5, times the length 5.
        5 * 0.5 * 64 * 0.25 * np.sin(2 * np.pi / 64),
    ),
    "cone": (
        cone((0, 0, 0), (0, 0, 3), (2, 1), "paint", RED, sides=96),
        np.pi * 3 * (4 + 2 + 1) / 3,
    ),
    "ball": (ball((1, 2, 3), (4, 4, 4), "cloth", RED), 6 * 3.6587),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_solids_are_closed_and_have_their_volume(name: str) -> None:
    mesh, volume = SOLIDS[name]
    assert open_edges(mesh) == 0
    # 0.3 %: a 96-gon approximates a circle.
    assert mesh.volume() == pytest.approx(volume, rel=3e-3)


def test_boulder_is_closed_broken_and_repeatable() -> None:
    first = boulder(np.random.default_rng(3), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5))
    again = boulder(np.random.default_rng(3), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5))
    assert open_edges(first) == 0
    assert 0.5 < first.volume() < 3.6
    assert np.array_equal(first.vertices, again.vertices)


def test_wheel_stands_on_the_ground_where_it_is_put() -> None:
    low, high = wheel((5.0, 2.0, 1.0), 1.0, 0.6, RED).bounds()
    assert low[2] == pytest.approx(0.0, abs=0.02)
    assert (low[1] + high[1]) / 2 == pytest.approx(2.0)


@pytest.mark.parametrize(("axis", "source", "goal"), [("x", 1, 2), ("y", 2, 0), ("z", 0, 1)])
def test_axis_rotation_is_right_handed(axis: str, source: int, goal: int) -> None:
    turned = axis_rotation(axis, np.pi / 2) @ np.eye(3)[source]
    assert np.allclose(turned, np.eye(3)[goal])


def test_axis_rotation_rejects_other_axes() -> None:
    with pytest.raises(ValueError, match="axis must be"):
        axis_rotation("w", 1.0)


def test_transforms_keep_the_original() -> None:
    mesh = box((1, 1, 1), (0, 0, 0.5), "paint", RED)
    before = mesh.vertices.copy()
    moved = mesh.moved(1.0, 2.0, 3.0).scaled(2.0, 1.0, 1.0).turned("z", np.pi / 2, (2.0, 2.0, 0.0))
    assert np.array_equal(mesh.vertices, before)
    # The center moves (0, 0) -> (1, 2) -> (2, 2), which is the pivot, and stays there.
    low, high = moved.bounds()
    assert np.allclose((low + high) / 2, [2.0, 2.0, 3.5])
    assert np.allclose(high - low, [1.0, 2.0, 1.0])
    assert moved.volume() == pytest.approx(2.0)


def test_transformed_applies_the_pose() -> None:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = axis_rotation("z", np.pi / 2), [10.0, 0.0, 0.0]
    mesh = box((1, 1, 1), (2, 0, 0), "paint", RED).transformed(pose)
    assert np.allclose(mesh.vertices.mean(axis=0), [10.0, 2.0, 0.0])


def test_merge_keeps_all_parts() -> None:
    first, second = SOLIDS["box"][0], SOLIDS["ball"][0]
    both = merge([first, second])
    assert both.volume() == pytest.approx(first.volume() + second.volume())
    assert len(both.faces) == len(both.face_material) == len(both.face_color) == 92


def test_merge_of_no_meshes_is_rejected() -> None:
    with pytest.raises(ValueError, match="at least one mesh"):
        merge([])
