"""Load configs, apply command-line overrides, and reject unknown keys."""

import ast
import dataclasses
import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mmengine.config import Config

SECTIONS = (
    "labels",
    "grid",
    "modality",
    "sensors",
    "data_root",
    "dataset",
    "model",
    "augmentation",
    "schedule",
    "runtime",
)
"""The top-level keys of a config; augmentation and sensors may be None."""
OPTIONAL = ("augmentation", "sensors")
"""Those that may be missing, which is None."""
MODALITIES = ("both", "camera", "lidar")
"""Sensors a network can be built for."""
PRECISIONS = ("off", "bf16", "fp16")

_ARGUMENT_ERROR = re.compile("unexpected keyword argument|missing .*required .*argument")
"""Python's messages for a call with wrong arguments."""

Section = TypeVar("Section")


@dataclass(frozen=True)
class Schedule:
    """Training schedule; config/_base_/schedule.py explains each value.

    Raises:
        ValueError: If a value is out of range.
    """

    epochs: int
    batch_size: int
    repeat_threshold: float
    lr: float
    warmup_share: float
    min_lr_share: float
    weight_decay: float
    gradient_accumulation: int
    clip_grad_norm: float
    ema_decay: float
    amp: str
    val_interval: int

    def __post_init__(self) -> None:
        """Check the ranges."""
        _at_least("schedule", self, 1, ("epochs", "batch_size", "gradient_accumulation"))
        _at_least("schedule", self, 0, ("weight_decay", "clip_grad_norm", "val_interval"))
        if self.lr <= 0:
            raise ValueError(f"schedule.lr must be > 0, got {self.lr}")
        for name in ("warmup_share", "min_lr_share", "ema_decay", "repeat_threshold"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"schedule.{name} must be in [0, 1), got {value}")
        if self.amp not in PRECISIONS:
            raise ValueError(f"schedule.amp must be one of {PRECISIONS}, got '{self.amp}'")


@dataclass(frozen=True)
class Runtime:
    """Runtime options; config/_base_/runtime.py explains each value.

    Raises:
        ValueError: If a value is out of range.
    """

    num_workers: int
    log_interval: int
    checkpoint_iters: int
    best_metric: str
    tensorboard: bool
    find_unused_parameters: bool
    compile: bool
    cudnn_benchmark: bool

    def __post_init__(self) -> None:
        """Check the ranges."""
        _at_least("runtime", self, 0, ("num_workers",))
        _at_least("runtime", self, 1, ("log_interval", "checkpoint_iters"))


def load_config(path: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """Load a config file, apply overrides, and check its top level.

    Names with a leading underscore are what config files share with each other: they are dropped.

    Args:
        path: An mmengine text config.
        options: Overrides by dotted key, as returned by ``parse_options``.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not a valid config, an override has an unknown key, or a
            top-level section is missing or unknown.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"config {path} not found; the configs are in config/")
    try:
        cfg = Config.fromfile(str(path))
    except Exception as error:  # A config is Python code and can raise anything.
        kind = type(error).__name__
        raise ValueError(f"{path} is not a valid config: {kind}: {error}") from error
    for key in [key for key in cfg if key.startswith("_")]:
        cfg.pop(key)
    for name in OPTIONAL:
        if name not in cfg:
            cfg[name] = None
    for key, value in (options or {}).items():
        _check_option(cfg, key, value, path)
        cfg.merge_from_dict({key: value})
    _check_top_level(cfg, path)
    return cfg


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Parse ``key=value`` arguments into values by dotted key.

    A value is a Python literal (``1e-3``, ``(384, 1280)``, ``None``), ``true``, ``false``, or a
    plain string.

    Raises:
        ValueError: If an argument has no "=".
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not (separator and key):
            raise ValueError(f"--cfg-options expects key=value, got '{pair}'")
        options[key.strip()] = _parse_value(text.strip())
    return options


def read_section(cfg: Config, name: str, kind: type[Section]) -> Section:
    """Read the section ``name`` into the dataclass ``kind``.

    Raises:
        ValueError: If a key is missing or unknown, or a value has the wrong type.
    """
    values = _mapping(cfg, name)
    known = {field.name: field.type for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    where = _place(cfg)
    check_keys(values, known, f"{name} of {where}")
    missing = sorted(known.keys() - values.keys())
    if missing:
        raise ValueError(f"{name} of {where} is missing {missing}")
    for key, value in values.items():
        allowed = (int, float) if known[key] is float else known[key]
        is_flag = isinstance(value, bool) and known[key] is not bool
        if is_flag or not isinstance(value, allowed):  # type: ignore[arg-type]
            expected = getattr(known[key], "__name__", known[key])
            raise ValueError(f"{name}.{key} of {where} must be {expected}, got {value!r}")
    return kind(
        **{key: float(value) if known[key] is float else value for key, value in values.items()}
    )


def read_choice(cfg: Config, name: str, choices: Iterable[str]) -> str:
    """Read the top-level value ``name``.

    Raises:
        ValueError: If it is not one of ``choices``.
    """
    if cfg[name] not in choices:
        raise ValueError(f"{name} of {_place(cfg)} must be one of {choices}, got {cfg[name]!r}")
    return str(cfg[name])


def check_dataset_name(cfg: Config, name: str | None) -> None:
    """Check that the config is for the data set named on the command line, if any.

    Raises:
        ValueError: If it is for another one.
    """
    kind = _mapping(cfg, "dataset").get("type", "")
    if name is not None and name.lower() != str(kind).lower():
        raise ValueError(f"--dataset is {name}, but {_place(cfg)} is a config for {kind}")


def build_section(
    cfg: Config,
    name: str,
    registry: Any,
    injected: Mapping[str, Any] | None = None,
    *,
    groups: Mapping[str, type] | None = None,
) -> Any:
    """Build the object of a section: its ``type`` names the class, other keys are arguments.

    Args:
        cfg: The config.
        name: "model" or "dataset".
        registry: Registry that holds the class.
        injected: Arguments passed in addition to the keys of the section.
        groups: Dataclasses by argument name: a class with such an argument gets it built from the
            keys that are its fields.

    Raises:
        ValueError: If the class is unknown, a key is not one of its arguments (also in nested
            sections with their own ``type``), or an argument is missing.
    """
    values = plain(_mapping(cfg, name))
    where = f"{name} of {_place(cfg)}"
    groups = groups or {}
    constructor = _constructor(values, registry, where, groups)
    own = {key: value for key, value in values.items() if key != "type"}
    twice = sorted(own.keys() & (injected or {}).keys())
    if twice:
        raise ValueError(f"{where}: {twice} are set elsewhere in the config; remove them here")
    arguments = own | dict(injected or {})
    try:
        return constructor(**_grouped(arguments, constructor, groups))
    except TypeError as error:
        if not _ARGUMENT_ERROR.search(str(error)):
            raise
        raise ValueError(f"{where}: {error}") from error


def section_class(
    cfg: Config, name: str, registry: Any, *, groups: Mapping[str, type] | None = None
) -> Any:
    """Look up the class of a section, after a check of its keys.

    Args:
        cfg: The config.
        name: "model" or "dataset".
        registry: Registry that holds the class.
        groups: As in ``build_section``.

    Raises:
        ValueError: If the class is unknown, or a key is not one of its arguments.
    """
    where = f"{name} of {_place(cfg)}"
    return _constructor(plain(_mapping(cfg, name)), registry, where, groups or {})


def check_keys(given: Iterable[str], known: Iterable[str], where: str) -> None:
    """Reject unknown keys, suggesting the closest known one.

    Raises:
        ValueError: If a key is unknown.
    """
    known = sorted(known)
    for key in given:
        if key not in known:
            raise ValueError(
                f"{where}: unknown key '{key}'{_hint(key, known)} (known keys: {known})"
            )


def plain(value: Any) -> Any:
    """Convert mmengine's wrappers to plain dicts, lists and tuples."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    return [plain(item) for item in value] if isinstance(value, list) else value


def _constructor(
    values: Mapping[str, Any],
    registry: Any,
    where: str,
    groups: Mapping[str, type],
) -> Callable[..., Any]:
    """Look up the class of a section and check its keys, nested sections included."""
    kind = values.get("type")
    constructor = registry.get(kind) if isinstance(kind, str) else None
    if constructor is None:
        names = sorted(registry.module_dict)
        hint = _hint(str(kind), names)
        raise ValueError(f"{where}: unknown type {kind!r}{hint}")
    check_keys((key for key in values if key != "type"), _keys_of(constructor, groups), where)
    _check_nested(values, registry, where)
    return constructor


def _check_nested(values: Mapping[str, Any], registry: Any, where: str) -> None:
    """Check nested sections that have a ``type``, at any depth."""
    for key, value in values.items():
        if isinstance(value, Mapping) and "type" in value:
            _constructor(value, registry, f"{key} in {where}", groups={})
        elif isinstance(value, Mapping):
            _check_nested(value, registry, f"{key} in {where}")


def _keys_of(constructor: Callable[..., Any], groups: Mapping[str, type]) -> set[str]:
    """The keys that a class is built from: its arguments, and for grouped ones their fields."""
    arguments = set(inspect.signature(constructor).parameters)
    grouped = arguments & groups.keys()
    return (arguments - grouped).union(*(_field_names(groups[name]) for name in grouped))


def _grouped(
    arguments: Mapping[str, Any], constructor: Callable[..., Any], groups: Mapping[str, type]
) -> dict[str, Any]:
    """The arguments of a class, with the grouped ones built from their fields."""
    rest = dict(arguments)
    for name in inspect.signature(constructor).parameters.keys() & groups.keys():
        fields = {key: rest.pop(key) for key in _field_names(groups[name]) & rest.keys()}
        rest[name] = groups[name](**fields)
    return rest


def _field_names(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def _mapping(cfg: Config, name: str) -> Mapping[str, Any]:
    if not isinstance(cfg[name], Mapping):
        raise ValueError(f"{name} of {_place(cfg)} must be a dict, got {cfg[name]!r}")
    return cfg[name]


def _place(cfg: Config) -> str:
    return str(cfg.filename or "the config")


def _check_top_level(cfg: Config, path: Path) -> None:
    check_keys(cfg, SECTIONS, str(path))
    missing = [name for name in SECTIONS if name not in cfg and name not in OPTIONAL]
    if missing:
        raise ValueError(f"{path} is missing {missing}; inherit them from config/_base_/")
    read_choice(cfg, "modality", MODALITIES)


def _check_option(cfg: Config, key: str, value: Any, path: Path) -> None:
    """Reject an override whose key is not in the config."""
    values = cfg.to_dict()
    parent: Any = values
    for part in key.split("."):
        if not isinstance(parent, Mapping) or part not in parent:
            known = _dotted_keys(values)
            raise ValueError(f"--cfg-options: unknown key '{key}' in {path}{_hint(key, known)}")
        parent = parent[part]
    if isinstance(parent, Mapping) and value is not None:
        raise ValueError(f"--cfg-options: '{key}' is a section; set one of its keys, or None")


def _dotted_keys(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for key, value in values.items():
        keys.append(prefix + key)
        if isinstance(value, Mapping):
            keys += _dotted_keys(value, f"{prefix}{key}.")
    return keys


def _hint(word: str, known: Sequence[str]) -> str:
    """Suffix of an error message that suggests the closest known word, if any is close."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if not near:
        same_name = [key for key in known if key.rpartition(".")[2] == word.rpartition(".")[2]]
        near = same_name[:1]
    return f"; did you mean '{near[0]}'?" if near else ""


def _parse_value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _at_least(section: str, values: Any, least: int, names: Sequence[str]) -> None:
    for name in names:
        if getattr(values, name) < least:
            value = getattr(values, name)
            raise ValueError(f"{section}.{name} must be at least {least}, got {value}")
