"""The mine regions."""

import pytest

from dataset.minesim.scene.locations import REGIONS, location


def test_names_match_the_mini_release() -> None:
    names = [region.name for region in REGIONS]
    assert names == ["location_1", "location_2", "location_3", "location_4_5", "location_6"]
    assert [location(name).name for name in names] == names


def test_regions_differ_in_soil_and_road() -> None:
    assert len({region.soil for region in REGIONS}) == len(REGIONS)
    for region in REGIONS:
        assert 20.0 <= region.road_width_m[0] < region.road_width_m[1] <= 35.0
        assert all(0.0 < channel < 1.0 for channel in (*region.soil, *region.dark))


def test_unknown_location_is_rejected() -> None:
    with pytest.raises(ValueError, match="unknown location 'location_9'"):
        location("location_9")
