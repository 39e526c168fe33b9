"""The table of materials."""

import pytest

from dataset.minesim.scene.materials import MATERIALS, linear_rgb, material_index


def test_index_finds_every_material() -> None:
    assert [material_index(material.name) for material in MATERIALS] == list(range(len(MATERIALS)))


def test_unknown_material_is_rejected() -> None:
    with pytest.raises(ValueError, match="unknown material 'cheese'"):
        material_index("cheese")


def test_linear_rgb_by_hand() -> None:
    # sRGB 188 is about half the light of white; 10 is on the linear part of the curve.
    black, half, foot = linear_rgb(0, 188, 10)
    assert black == 0.0
    assert half == pytest.approx(0.5029, abs=1e-4)
    assert foot == pytest.approx(10 / 255 / 12.92)
    assert linear_rgb(255, 255, 255) == pytest.approx((1.0, 1.0, 1.0))
