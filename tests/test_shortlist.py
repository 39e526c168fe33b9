import pytest

from utils.shortlist import shortlist


@pytest.mark.parametrize(
    ("names", "most", "text"),
    [
        ([], 3, ""),
        (["a"], 3, "a"),
        (["a", "b", "c"], 3, "a, b, c"),
        (["a", "b", "c", "d", "e"], 3, "a, b, c and 2 more"),
        ([1, 2], 1, "1 and 1 more"),
    ],
)
def test_the_first_names_and_the_number_of_the_others(names, most, text):
    assert shortlist(iter(names), most=most) == text
