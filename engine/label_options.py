"""Argument type of the options of label making, which several tools share."""

import argparse
from dataclasses import fields
from typing import Any

from dataset.labeling.options import LabelOptions

OPTIONS = {option.name: option for option in fields(LabelOptions)}


def setting(text: str) -> tuple[str, bool | int | float | str | tuple[float, ...]]:
    """Parse ``OPTION=VALUE``; values of several numbers have commas.

    Raises:
        argparse.ArgumentTypeError: If there is no such option, or the value has another type.
    """
    name, _, value = text.partition("=")
    if name not in OPTIONS:
        raise argparse.ArgumentTypeError(
            f"unknown option '{name}'; choose from {', '.join(OPTIONS)}"
        )
    default: Any = OPTIONS[name].default
    try:
        if isinstance(default, bool):
            return name, {"true": True, "false": False}[value.lower()]
        if isinstance(default, tuple):
            numbers = tuple(float(number) for number in value.split(","))
            if len(numbers) != len(default):
                raise ValueError
            return name, numbers
        return name, type(default)(value)
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(
            f"{name}: expected a value like {default}, got '{value}'"
        ) from None
