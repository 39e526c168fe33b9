"""What the parts of the augmentation share: config sections, checks, random streams."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np

Ranges = TypeVar("Ranges")


class Stream(IntEnum):
    """Independent streams of random numbers of one frame; a new part gets a new number.

    Numbers start at 1: a seed sequence that ends with 0 is the same as one without it.
    """

    CLOUD = 1
    IMAGE = 2
    CALIBRATION = 3
    MIX = 4
    PASTE = 5
    RAYS = 6


def stream(frame: Sequence[int], part: Stream, number: int = 0) -> np.random.Generator:
    """Return the random numbers of one part of a frame's augmentation.

    Args:
        frame: Seed, epoch and index.
        part: The part.
        number: 0 for the part's choices, from 1 for what is drawn for each camera or sweep.
    """
    return np.random.default_rng((*frame, int(part), number))


def from_options(kind: type[Ranges], options: Mapping[str, Any] | None, name: str) -> Ranges:
    """Build a dataclass of ranges from a section of a config; a missing key keeps its default.

    Args:
        kind: The dataclass; a field that holds ranges itself is a nested section.
        options: The section; None for the defaults.
        name: Dotted name of the section, for messages.

    Raises:
        ValueError: If a key is unknown or a value is out of its range.
    """
    base = kind()
    defaults = {field.name: getattr(base, field.name) for field in fields(base)}  # type: ignore[arg-type]
    options = options or {}
    if unknown := sorted(set(options) - set(defaults)):
        raise ValueError(f"unknown {name} keys {unknown}; known: {sorted(defaults)}")
    values = {key: _value(value, defaults[key], f"{name}.{key}") for key, value in options.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{name}.{error}") from error


def check_shares(ranges: Any, names: Sequence[str], *, below_one: bool = False) -> None:
    """Check that values are in [0, 1], or in [0, 1) with ``below_one``.

    Raises:
        ValueError: If one is not.
    """
    for name in names:
        value = getattr(ranges, name)
        if not 0.0 <= value <= 1.0 or (below_one and value == 1.0):
            raise ValueError(f"{name} must be in [0, 1{')' if below_one else ']'}, got {value}")


def check_not_negative(ranges: Any, names: Sequence[str]) -> None:
    """Check that values are at least 0.

    Raises:
        ValueError: If one is not.
    """
    for name in names:
        if not getattr(ranges, name) >= 0:
            raise ValueError(f"{name} must be at least 0, got {getattr(ranges, name)}")


def check_interval(ranges: Any, name: str) -> None:
    """Check that a minimum and a maximum are in order, and above 0.

    Raises:
        ValueError: If they are not.
    """
    low, high = getattr(ranges, name)
    if not 0.0 < low <= high:
        raise ValueError(f"{name} must be 0 < min <= max, got {getattr(ranges, name)}")


def _value(value: Any, default: Any, name: str) -> Any:
    """Convert a value of a config to the type of its default."""
    if is_dataclass(default):
        return from_options(type(default), value, name)
    if isinstance(default, tuple):
        is_numbers = all(isinstance(item, float) for item in default) and default
        return tuple(float(item) for item in value) if is_numbers else tuple(value)
    return type(default)(value)
