from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

from utils.value_types import annotations_of, check_keys, check_value


@dataclass(frozen=True)
class Bins:
    num: int
    spacing: str = "linear"


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (3, int),
        (3, float),
        (3.5, float),
        (True, bool),
        ("a", str),
        (None, str | None),
        (Path("a"), str | Path),
        ((1, 2), Sequence[int]),
        ([1, 2], tuple[int, int]),
        (("a",), tuple[str, ...]),
        ({"a": 1}, Mapping[str, float]),
        ({"a": None}, dict[str, Any]),
        ({"num": 3}, Bins | dict),
        ({"num": 3}, Annotated[dict, Bins] | None),
        (Bins(3), Bins | dict),
        (None, Annotated[dict, Bins] | None),
        (object(), Any),
    ],
)
def test_a_value_of_the_type_passes(value, annotation):
    check_value(value, annotation, "key", "a.py")


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        (True, int, "key of a.py must be an integer, got True"),
        (1.0, int, "key of a.py must be an integer, got 1.0"),
        (float("-inf"), float, "key of a.py must be a finite number, got -inf"),
        (1, bool, "key of a.py must be True or False, got 1"),
        (7, str, "key of a.py must be text, got 7; put it in quotes: \"key='7'\""),
        ([1, "b"], Sequence[str], "got [1, 'b']; put it in quotes: \"key=['1', 'b']\""),
        ("ab", Sequence[str], "key of a.py must be a sequence of texts, got 'ab'"),
        ((1, 2), tuple[int, int, int], "key of a.py must be 3 integers, got (1, 2)"),
        ((1, "b"), Sequence[int] | None, "must be a sequence of integers or None, got (1, 'b')"),
        ({"a": float("nan")}, Mapping[str, float], "key.a of a.py must be a finite number"),
        (3, Annotated[dict, Bins] | None, "key of a.py must be a dict or None, got 3"),
        ({"num": 3.5}, Bins | dict, "key.num of a.py must be an integer, got 3.5"),
        ({"nun": 3}, Bins | dict, "key of a.py: unknown key 'nun'; did you mean 'num'?"),
    ],
)
def test_a_value_of_another_type_is_refused(value, annotation, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011  The message is compared below.
        check_value(value, annotation, "key", "a.py")
    assert message in str(error.value)


def test_annotations_of_classes_and_functions():
    class Part:
        def __init__(self, width: int, name="a") -> None: ...

    def make(height: float) -> None: ...

    assert annotations_of(Part)["width"] is int
    assert annotations_of(Bins) == {"num": int, "spacing": str}
    assert annotations_of(make)["height"] is float


def test_an_unknown_key_is_refused():
    check_keys(["a"], ["a", "b"], "here")
    with pytest.raises(ValueError, match=r"here: unknown key 'zzz' \(known keys: \['a', 'b'\]"):
        check_keys(["zzz"], ["a", "b"], "here")
