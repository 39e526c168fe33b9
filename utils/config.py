"""Load configs, apply command-line overrides, and reject unknown keys."""

import ast
import codecs
import copy
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mmengine.config import Config

from utils.geometry import VoxelGrid
from utils.value_types import annotations_of, check_fields, check_keys, check_value, closest

SECTIONS = {
    "labels": str,
    "grid": VoxelGrid,
    "modality": str,
    "sensors": str | None,
    "data_root": str | Path,
    "dataset": dict,
    "model": dict,
    "augmentation": dict | None,
    "schedule": dict,
    "runtime": dict,
}
"""The top-level keys of a config, and the types of their values."""
OPTIONAL = ("augmentation", "sensors")
"""Those that may be missing, which is None."""
MODALITIES = ("both", "camera", "lidar")
"""Sensors a network can be built for."""
PRECISIONS = ("off", "bf16", "fp16")

Section = TypeVar("Section")


@dataclass(frozen=True)
class Schedule:
    """Training schedule; config/_base_/schedule.py explains each value.

    Raises:
        ValueError: If a value is out of range.
    """

    epochs: int
    batch_size: int
    lr: float
    warmup_share: float
    min_lr_share: float
    weight_decay: float
    gradient_accumulation: int
    clip_grad_norm: float
    ema_decay: float
    amp: str
    val_interval: int
    repeat_threshold: float = 0.0

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

    A config is Python code, and loading it runs that code: load only configs that you trust.
    Names with a leading underscore are what config files share with each other: they are dropped.

    Args:
        path: A Python file in the style of mmengine's configs.
        options: Overrides by dotted key, as returned by ``parse_options``.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not a valid config, an override has an unknown key, or a
            top-level section is missing, unknown or of the wrong type.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"config {path} not found; the configs are in config/")
    check_config_text(path)
    try:
        cfg = Config.fromfile(str(path))
    except Exception as error:  # A config is Python code and can raise anything.
        kind = type(error).__name__
        raise ValueError(f"{path} is not a valid config: {kind}: {error}") from error
    for key in [key for key in cfg if key.startswith("_")]:
        cfg.pop(key)
    return _finished(cfg, path, options or {})


def config_from_values(
    values: Mapping[str, Any], source: Path, options: Mapping[str, Any]
) -> Config:
    """Build a config from plain values, as ``load_config`` does from a file.

    Args:
        values: The sections.
        source: Where they are from, for messages.
        options: Overrides by dotted key.

    Raises:
        ValueError: As in ``load_config``.
    """
    text = f"# from {source}"  # mmengine would read that file as text otherwise.
    cfg = Config(copy.deepcopy(dict(values)), cfg_text=text, filename=str(source))
    return _finished(cfg, source, options)


def _finished(cfg: Config, source: Path, options: Mapping[str, Any]) -> Config:
    """Add the optional sections, apply overrides, and check the top level."""
    for name in OPTIONAL:
        if name not in cfg:
            cfg[name] = None
    for key, value in options.items():
        _check_option(cfg, key, value, source)
        cfg.merge_from_dict({key: value})
    _check_top_level(cfg, source)
    return cfg


def check_config_text(path: Path) -> None:
    """Check that a config and its base files are Python text, before any of it runs.

    Raises:
        ValueError: If a file is missing, is not Python or not UTF-8, is its own base, or
            ``_base_`` is not a list of file names.
    """
    chains: list[tuple[Path, ...]] = [(path.resolve(),)]
    while chains:
        chain = chains.pop()
        file = chain[-1]
        try:
            if file in chain[:-1]:
                raise ValueError("it is its own base; remove it from _base_")
            bases = _base_files(file)
        except (ValueError, OSError, SyntaxError) as error:
            inner = "" if file == path.resolve() else f"its base {file}: "
            raise ValueError(f"{path} is not a valid config: {inner}{error}") from error
        chains += [(*chain, base) for base in bases]


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

    A field with a default may be missing: checkpoints carry configs that are older than it.

    Raises:
        ValueError: If a key is missing or unknown, or a value has the wrong type.
    """
    values, where = mapping_of(cfg, name), place_of(cfg)
    check_fields(values, kind, name, where)
    hints = annotations_of(kind)
    missing = sorted(
        field.name
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
        if field.default is dataclasses.MISSING and field.name not in values
    )
    if missing:
        raise ValueError(f"{name} of {where} is missing {missing}")
    return kind(
        **{key: float(value) if hints[key] is float else value for key, value in values.items()}
    )


def read_choice(cfg: Config, name: str, choices: Iterable[str]) -> str:
    """Read the top-level value ``name``.

    Raises:
        ValueError: If it is not one of ``choices``.
    """
    if cfg[name] not in choices:
        raise ValueError(f"{name} of {place_of(cfg)} must be one of {choices}, got {cfg[name]!r}")
    return str(cfg[name])


def check_dataset_name(cfg: Config, name: str | None) -> None:
    """Check that the config is for the data set named on the command line, if any.

    Raises:
        ValueError: If it is for another one.
    """
    kind = mapping_of(cfg, "dataset").get("type", "")
    if name is not None and name.lower() != str(kind).lower():
        raise ValueError(f"--dataset is {name}, but {place_of(cfg)} is a config for {kind}")


def plain(value: Any) -> Any:
    """Convert mmengine's wrappers to plain dicts, lists and tuples."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    return [plain(item) for item in value] if isinstance(value, list) else value


def mapping_of(cfg: Config, name: str) -> Mapping[str, Any]:
    """Return a section of a config.

    Raises:
        ValueError: If it is no dict.
    """
    if not isinstance(cfg[name], Mapping):
        raise ValueError(f"{name} of {place_of(cfg)} must be a dict, got {cfg[name]!r}")
    return cfg[name]


def place_of(cfg: Config) -> str:
    """Return the path of a config's file, for messages."""
    return str(cfg.filename or "the config")


def _base_files(file: Path) -> list[Path]:
    """The files that a config names in ``_base_``, read without running it."""
    if file.suffix != ".py":
        raise ValueError("expected a Python file (.py), as in config/")
    if not file.is_file():
        raise ValueError("the file does not exist")
    content = file.read_bytes()
    if content.startswith(codecs.BOM_UTF8):
        raise ValueError("it starts with a byte order mark; save it as UTF-8 without one")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} is not UTF-8; save it as UTF-8") from error
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno} is not Python: {error.msg}") from error
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_base_":
            return [(file.parent / name).resolve() for name in _names(node.value)]
    return []


def _names(node: ast.expr) -> list[str]:
    """The file names that ``_base_`` is set to."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        value = None
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"_base_ must be a list of file names, got {ast.unparse(node)}")
    return list(names)


def _check_top_level(cfg: Config, path: Path) -> None:
    check_keys(cfg, SECTIONS, str(path))
    missing = [name for name in SECTIONS if name not in cfg and name not in OPTIONAL]
    if missing:
        raise ValueError(f"{path} is missing {missing}; inherit them from config/_base_/")
    for name, annotation in SECTIONS.items():
        check_value(cfg[name], annotation, name, str(path))
    read_choice(cfg, "modality", MODALITIES)


def _check_option(cfg: Config, key: str, value: Any, path: Path) -> None:
    """Reject an override whose key is not in the config."""
    values = cfg.to_dict()
    parent: Any = values
    for part in key.split("."):
        if not isinstance(parent, Mapping) or part not in parent:
            known = _dotted_keys(values)
            raise ValueError(f"--cfg-options: unknown key '{key}' in {path}{closest(key, known)}")
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
