"""Builds data sets from flat options, as configs give them."""

from dataclasses import fields
from typing import Any

from dataset.reading import Reading
from dataset.sample_dataset import SampleDataset

_READING = {field.name for field in fields(Reading)}


def build_flat(kind: type[SampleDataset], root: Any, split: str, **options: Any) -> Any:
    """A data set of a class; options that are fields of ``Reading`` go there."""
    reading = {name: options.pop(name) for name in _READING & options.keys()}
    return kind(root, split, Reading(**reading), **options)
