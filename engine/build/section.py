"""Build the object that a section of a config describes, after a check of its keys and types."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mmengine.config import Config

from utils.config import mapping_of, place_of, plain
from utils.value_types import annotations_of, check_keys, check_value, closest

_ARGUMENT_ERROR = re.compile("unexpected keyword argument|missing .*required .*argument")
"""Python's messages for a call with wrong arguments."""


@dataclass(frozen=True)
class Section:
    """A section of a config: ``type`` names the class, other keys are its arguments.

    Attributes:
        cfg: The config.
        name: "model" or "dataset".
        registry: Registry that holds the class.
        groups: Dataclasses by argument name: a class with such an argument gets it built from the
            keys that are its fields.
    """

    cfg: Config
    name: str
    registry: Any
    groups: Mapping[str, type] = field(default_factory=dict)

    def find_class(self) -> Any:
        """Look up the class, after a check of the section's keys and types.

        Raises:
            ValueError: If the class is unknown, a key is not one of its arguments, or a value has
                the wrong type; also in nested sections with their own ``type``.
        """
        values = plain(mapping_of(self.cfg, self.name))
        return self._check(values, self.name, self.groups)

    def build(self, injected: Mapping[str, Any] | None = None) -> Any:
        """Build the object.

        Args:
            injected: Arguments passed in addition to the keys of the section.

        Raises:
            ValueError: As ``find_class``, or if an argument is missing or set twice.
        """
        constructor, given = self.find_class(), dict(injected or {})
        values = plain(mapping_of(self.cfg, self.name))
        own = {key: value for key, value in values.items() if key != "type"}
        twice = sorted(own.keys() & given.keys())
        if twice:
            raise ValueError(
                f"{self._where}: {twice} are set elsewhere in the config; remove them here"
            )
        hints = _annotations(constructor, self.groups)
        for key in given.keys() & hints.keys() & self.cfg.keys():
            check_value(given[key], hints[key], key, place_of(self.cfg))
        try:
            return constructor(**_grouped(own | given, constructor, self.groups))
        except TypeError as error:
            if not _ARGUMENT_ERROR.search(str(error)):
                raise
            raise ValueError(f"{self._where}: {error}") from error

    @property
    def _where(self) -> str:
        return f"{self.name} of {place_of(self.cfg)}"

    def _check(
        self, values: Mapping[str, Any], name: str, groups: Mapping[str, type]
    ) -> Callable[..., Any]:
        """Check a section, or one nested in it, at the dotted key ``name``; return its class."""
        file, kind = place_of(self.cfg), values.get("type")
        constructor = self.registry.get(kind) if isinstance(kind, str) else None
        if constructor is None:
            hint = closest(str(kind), sorted(self.registry.module_dict))
            raise ValueError(f"{name} of {file}: unknown type {kind!r}{hint}")
        own = {key: value for key, value in values.items() if key != "type"}
        hints = _annotations(constructor, groups)
        check_keys(own, hints, f"{name} of {file}")
        for key, value in own.items():
            check_value(value, hints[key], f"{name}.{key}", file)
        self._check_nested(own, name)
        return constructor

    def _check_nested(self, values: Mapping[str, Any], name: str) -> None:
        """Check nested sections that have a ``type``, at any depth."""
        for key, value in values.items():
            if isinstance(value, Mapping) and "type" in value:
                self._check(value, f"{name}.{key}", groups={})
            elif isinstance(value, Mapping):
                self._check_nested(value, f"{name}.{key}")


def _annotations(constructor: Callable[..., Any], groups: Mapping[str, type]) -> dict[str, Any]:
    """Annotations of the keys that a class is built from; for grouped arguments, their fields."""
    known = annotations_of(constructor)
    found = {key: known.get(key, Any) for key in inspect.signature(constructor).parameters}
    for name in found.keys() & groups.keys():
        del found[name]
        found |= annotations_of(groups[name])
    return found


def _grouped(
    arguments: Mapping[str, Any], constructor: Callable[..., Any], groups: Mapping[str, type]
) -> dict[str, Any]:
    """The arguments of a class, with the grouped ones built from their fields."""
    rest = dict(arguments)
    for name in inspect.signature(constructor).parameters.keys() & groups.keys():
        names = {field.name for field in fields(groups[name])}
        rest[name] = groups[name](**{key: rest.pop(key) for key in names & rest.keys()})
    return rest
