import pytest

from dataset.sweep_ages import sweep_ages_s


def test_ages_are_counted_from_the_first():
    assert sweep_ages_s([("c", 5.0), ("b", 4.5), ("a", 2.0)]) == [0.0, 0.5, 3.0]
    assert sweep_ages_s([("c", 1.7e9)]) == [0.0]


@pytest.mark.parametrize(
    ("earlier", "found"),
    [(5.0, "0 s"), (6.0, "-1 s"), (-6.0, "11 s"), (5 - 1e8, r"1e\+08 s"), (float("nan"), "nan")],
)
def test_implausible_ages_name_the_file(earlier, found):
    message = rf"^b: expected a sweep at most 10 s before the next one, found {found}"
    with pytest.raises(ValueError, match=message):
        sweep_ages_s([("c", 5.0), ("b", earlier)])
