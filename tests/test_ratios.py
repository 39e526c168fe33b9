import math

from engine.metrics.ratios import mean_of_defined, null_if_nan, percent, pluralize, ratio


def test_nothing_to_divide_by_is_undefined():
    assert ratio(1, 4) == 0.25
    assert ratio(0, 4) == 0
    assert math.isnan(ratio(0, 0))


def test_means_leave_out_what_is_undefined():
    assert mean_of_defined([0.25, math.nan, 0.75]) == 0.5
    assert math.isnan(mean_of_defined([math.nan]))
    assert math.isnan(mean_of_defined(iter(())))


def test_undefined_scores_are_null_in_json_and_a_dash_in_tables():
    assert (null_if_nan(math.nan), null_if_nan(0.0)) == (None, 0)
    assert (percent(math.nan), percent(0.12345), percent(1.0)) == ("-", "12.35", "100.00")


def test_counts_come_with_their_noun():
    assert [pluralize(n, "frame") for n in (0, 1, 1500)] == ["0 frames", "1 frame", "1,500 frames"]
