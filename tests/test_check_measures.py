import math

import pytest

from dataset import layout
from dataset.check.measures import ANY, MEASURES, Measure


def test_values_as_a_table_shows_them():
    share = Measure("share", layout.CLOUDS)
    count = Measure("count", layout.CLOUDS, is_share=False)
    assert share.text(0.4567) == "45.7 %"
    assert (count.text(12345.0), count.text(12.34)) == ("12,345", "12.3")


@pytest.mark.parametrize(
    ("error", "warning", "expected"),
    [
        (ANY, ANY, ""),
        ((0.1, math.inf), ANY, "at least 10.0 %"),
        ((0.1, math.inf), (0.3, math.inf), "at least 30.0 %"),
        (ANY, (-math.inf, 0.2), "at most 20.0 %"),
        ((0.1, 0.9), (0.3, math.inf), "30.0 % to 90.0 %"),
    ],
)
def test_the_expected_range_is_within_both(error, warning, expected):
    assert Measure("share", layout.CLOUDS, error, warning).expected == expected


@pytest.mark.parametrize("name", MEASURES)
def test_limits_are_in_order_and_the_folder_is_one_of_the_layout(name):
    measure = MEASURES[name]
    assert measure.folder in layout.SUFFIXES
    assert measure.error[0] <= measure.warning[0] or measure.warning[0] == -math.inf
    assert measure.warning[1] <= measure.error[1] or measure.warning[1] == math.inf
    assert measure.expected
    assert measure.advice
