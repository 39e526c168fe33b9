"""Check values of a config against the annotations of what is built from them."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

_WORDS = {
    bool: "True or False",
    int: "an integer",
    float: "a finite number",
    str: "text",
    type(None): "None",
}
_PLURALS = {int: "integers", float: "finite numbers", str: "texts"}


def check_value(value: Any, annotation: Any, name: str, where: str) -> None:
    """Check the type of a value of a config.

    An integer is a number, too; True, NaN and infinity are not. A dict stands for a dataclass of
    these fields: an annotation says so with ``Grid | dict`` or ``Annotated[dict, Grid]``.

    Args:
        value: The value.
        annotation: The annotation of the argument or field that it is for. Types that a config
            cannot hold are not checked.
        name: Dotted key, such as "schedule.lr".
        where: The config file.

    Raises:
        ValueError: If the value has another type, or a dict has an unknown key.
    """
    fields_of = _dataclass_of(annotation)
    if fields_of is not None and isinstance(value, Mapping):
        check_fields(value, fields_of, name, where)
        return
    given = _mapping_values(annotation)
    if given is not None and isinstance(value, Mapping):
        for key, item in value.items():
            check_value(item, given, f"{name}.{key}", where)
    elif not _fits(value, annotation):
        hint = ""
        quoted = _as_texts(value)
        if quoted is not None and _fits(quoted, annotation):
            hint = f'; put it in quotes: "{name}={quoted!r}"'
        raise ValueError(f"{name} of {where} must be {_describe(annotation)}, got {value!r}{hint}")


def check_fields(values: Mapping[str, Any], kind: type, name: str, where: str) -> None:
    """Check the keys of a dict, and the types of its values, against the fields of a dataclass.

    Raises:
        ValueError: If a key is unknown, or a value has the wrong type.
    """
    hints = annotations_of(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    check_keys(values, known, f"{name} of {where}")
    for key, value in values.items():
        check_value(value, hints[key], f"{name}.{key}", where)


def annotations_of(constructor: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of the arguments of a class or function, by name."""
    is_class = isinstance(constructor, type) and not dataclasses.is_dataclass(constructor)
    target = constructor.__init__ if is_class else constructor
    return typing.get_type_hints(target, include_extras=True)


def check_keys(given: Iterable[str], known: Iterable[str], where: str) -> None:
    """Reject unknown keys, suggesting the closest known one.

    Raises:
        ValueError: If a key is unknown.
    """
    known = sorted(known)
    for key in given:
        if key not in known:
            raise ValueError(
                f"{where}: unknown key '{key}'{closest(key, known)} (known keys: {known})"
            )


def closest(word: str, known: Sequence[str]) -> str:
    """Return the end of an error message that suggests the closest known word, if any is close."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if not near:
        same_name = [key for key in known if key.rpartition(".")[2] == word.rpartition(".")[2]]
        near = same_name[:1]
    return f"; did you mean '{near[0]}'?" if near else ""


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, else the annotation alone."""
    is_union = get_origin(annotation) in (typing.Union, types.UnionType)
    return get_args(annotation) if is_union else (annotation,)


def _dataclass_of(annotation: Any) -> type | None:
    """The dataclass that a dict stands for, if any."""
    for kind in _alternatives(annotation):
        found = get_args(kind)[1] if get_origin(kind) is Annotated else kind
        if isinstance(found, type) and dataclasses.is_dataclass(found):
            return found
    return None


def _mapping_values(annotation: Any) -> Any:
    """The annotation of the values of a dict, if the annotation allows for one."""
    for kind in _alternatives(annotation):
        if kind is dict or get_origin(kind) in (dict, Mapping):
            return (*get_args(kind), Any, Any)[1]
    return None


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a value has the type, or one of the types, of an annotation."""
    return any(_fits_one(value, kind) for kind in _alternatives(annotation))


def _fits_one(value: Any, kind: Any) -> bool:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _fits(value, arguments[0])
    if origin is tuple and arguments[-1] is not Ellipsis:
        return (
            isinstance(value, list | tuple)
            and len(value) == len(arguments)
            and all(map(_fits, value, arguments))
        )
    if origin in (tuple, list, Sequence):
        return isinstance(value, list | tuple) and all(_fits(item, arguments[0]) for item in value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping)
    if kind in (int, float):
        return _is_number(value) and (kind is float or isinstance(value, int))
    return kind is Any or not isinstance(kind, type) or isinstance(value, kind)


def _as_texts(value: Any) -> Any:
    """A number as text, and a sequence of numbers and texts as texts; None for others."""
    if isinstance(value, list | tuple):
        return [item if isinstance(item, str) else str(item) for item in value]
    return str(value) if _is_number(value) else None


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and (isinstance(value, int) or math.isfinite(value))


def _describe(annotation: Any) -> str:
    """Say in words what an annotation allows for."""
    words = [_describe_one(kind) for kind in _alternatives(annotation) if kind is not Path]
    return " or ".join(dict.fromkeys(words))


def _describe_one(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if _dataclass_of(kind) is not None or kind is dict or origin in (dict, Mapping):
        return "a dict"
    if origin in (tuple, list, Sequence):
        is_fixed = origin is tuple and arguments[-1] is not Ellipsis
        items = _PLURALS.get(arguments[0], str(arguments[0]))
        return f"{len(arguments)} {items}" if is_fixed else f"a sequence of {items}"
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)))
