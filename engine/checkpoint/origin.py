"""The config in a checkpoint: what trained the weights, and which settings apply to them now.

The network and its input belong to the weights: their settings come from the checkpoint. Everything
else, such as where the data is, comes from the config file of the command line, if there is one.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from dataset.options import INPUT_KEYS
from engine import __version__
from engine.checkpoint.weights import TrainedWeights
from utils.config import config_from_values, load_config, plain
from utils.labels import label_set
from utils.shortlist import shortlist

logger = logging.getLogger(__name__)

FORMAT = 1
"""Of the entries below; a higher number than this one cannot be read."""
NETWORK = ("labels", "grid", "modality", "model")
"""Sections of a config that make the network; ``INPUT_KEYS`` of ``dataset`` make its input."""

Values = Mapping[str, Any]


def describe_training(cfg: Config) -> dict[str, Any]:
    """Return what a checkpoint stores about its training, in plain values.

    Args:
        cfg: The config of the training, with all overrides.

    Raises:
        ValueError: If the config holds more than plain values.
    """
    values = plain(cfg.to_dict())
    _check_plain(values, "the config")
    return {
        "format": FORMAT,
        "config": values,
        "labels": list(label_set(cfg.labels).class_names),
        "versions": {"unsocc": __version__, "torch": str(torch.__version__)},
    }


def trained_config(
    weights: TrainedWeights, config_file: str | Path | None, options: Values
) -> Config:
    """Return the config to run trained weights with.

    Without a config file, it is that of the training. A config file provides all but the network
    and its input. ``options`` override both. Differences from the training are logged.

    Args:
        weights: The weights.
        config_file: A config file; may be None if the weights contain their config.
        options: Overrides by dotted key.

    Raises:
        FileNotFoundError: If the config file does not exist.
        ValueError: If there is no config, or one is invalid or contradicts the weights.
    """
    trained = stored_config(weights.facts, weights.path)
    if trained is None:
        if config_file is None:
            raise ValueError(
                f"{weights.path} does not contain its config: pass --py-config FILE, the config "
                "that it was trained with"
            )
        return load_config(config_file, options)
    base = trained
    if config_file is not None:
        base = _beside(trained, plain(load_config(config_file).to_dict()), config_file, weights)
    cfg = config_from_values(base, weights.path, options)
    now = plain(cfg.to_dict())
    _check_fixed(now, trained, "the command line", weights.path)
    typed = differences(_network_of(now), _network_of(trained))
    if typed:
        logger.warning("%s was trained with other settings: %s", weights.path, shortlist(typed))
    rest = differences(_rest_of(now), _rest_of(trained))
    if rest:
        logger.info("settings that differ from the training of %s: %s", weights.path,
                    shortlist(rest, most=8))  # fmt: skip
    return cfg


def stored_config(facts: Values, path: str | Path) -> dict[str, Any] | None:
    """Return the config that a checkpoint stores; None if it stores none.

    Args:
        facts: The entries of the checkpoint.
        path: Its file, for messages.

    Raises:
        ValueError: If the entries are invalid, are from a newer version, or the classes of the
            label set have changed since.
    """
    if "config" not in facts or "format" not in facts:
        return None
    if not isinstance(facts["format"], int) or facts["format"] > FORMAT:
        raise ValueError(
            f"{path} has format {facts['format']!r}, written by version "
            f"{dict(facts.get('versions') or {}).get('unsocc')} of this project; this is version "
            f"{__version__}, which reads formats up to {FORMAT}: update it"
        )
    config = facts["config"]
    if not isinstance(config, Mapping) or not all(key in config for key in (*NETWORK, "dataset")):
        raise ValueError(f"{path} contains an invalid config: train again, or pass another file")
    names = list(label_set(config["labels"]).class_names)
    if list(facts.get("labels", names)) != names:
        raise ValueError(
            f"{path} predicts the classes {list(facts['labels'])}, but the label set "
            f"'{config['labels']}' now has {names}"
        )
    return dict(config)


def compare_with_run(trained: Values | None, now: Values, path: Path, *, exact: bool) -> None:
    """Log how a training differs from the one that made its checkpoint.

    Args:
        trained: Config of the checkpoint, if it has one.
        now: Config of this run.
        path: The checkpoint.
        exact: Whether the run is meant to resume exactly: the schedule counts, too.

    Raises:
        ValueError: If the labels or the sensors differ.
    """
    if trained is None:
        return
    _check_fixed(now, trained, "this run", path)
    select = _training_of if exact else _network_of
    found = differences(select(now), select(trained))
    if found:
        logger.warning("%s was trained with other settings: %s", path, shortlist(found, most=8))


def differences(now: Values, trained: Values) -> list[str]:
    """Describe the keys whose values differ, as "key=now (trained with before)"."""
    ours, theirs = flat(now), flat(trained)
    keys = [*ours, *(key for key in theirs if key not in ours)]
    return [
        f"{key}={_text(key, ours)} (trained with {_text(key, theirs)})"
        for key in keys
        if (key in ours) != (key in theirs) or _as_json(ours[key]) != _as_json(theirs[key])
    ]


def flat(values: Values, prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _beside(
    trained: Values, given: dict[str, Any], file: str | Path, weights: TrainedWeights
) -> dict[str, Any]:
    """Return the values of a config file, but with the network and input of the weights."""
    _check_fixed(given, trained, str(file), weights.path, keys=("labels",))
    dataset, before = dict(given["dataset"]), trained["dataset"]
    is_same_kind = dataset.get("type") == before.get("type")
    for key in INPUT_KEYS:
        if key in before and (is_same_kind or key in dataset):
            dataset[key] = before[key]
        elif is_same_kind:
            dataset.pop(key, None)  # The training used the default.
    merged = given | {name: trained[name] for name in NETWORK} | {"dataset": dataset}
    ignored = differences(_network_of(given), _network_of(merged))
    if ignored:
        logger.warning(
            "settings of %s that are ignored, because %s was trained with others: %s",
            file,
            weights.path,
            shortlist(ignored),
        )
    return merged


def _check_fixed(
    now: Values,
    trained: Values,
    source: str,
    path: Path,
    keys: Sequence[str] = ("labels", "modality"),
) -> None:
    """Reject settings that no weights can be used with.

    Raises:
        ValueError: If the labels or the sensors differ from those of the training.
    """
    hints = {"labels": "", "modality": "; --sensors chooses what a network for both reads"}
    for key in keys:
        if now[key] != trained[key]:
            raise ValueError(
                f"{path} was trained with {key}='{trained[key]}', but {source} has "
                f"{key}='{now[key]}'{hints[key]}"
            )


def _network_of(values: Values) -> dict[str, Any]:
    """The values that make the network and its input; the loss has no part in them."""
    model = {key: value for key, value in values["model"].items() if key != "loss"}
    inputs = {key: value for key, value in values["dataset"].items() if key in INPUT_KEYS}
    return {name: values[name] for name in NETWORK} | {"model": model, "dataset": inputs}


def _training_of(values: Values) -> dict[str, Any]:
    """The values that a run must share with another to continue it exactly.

    ``engine/training/position.py`` compares the frames per update, which depend on more.
    """
    left_out = ("runtime", "data_root")
    found = {key: value for key, value in values.items() if key not in left_out}
    update = ("batch_size", "gradient_accumulation")
    schedule = {key: value for key, value in found["schedule"].items() if key not in update}
    return found | {"schedule": schedule}


def _rest_of(values: Values) -> dict[str, Any]:
    """The other values, without how a run is executed."""
    rest = {key: value for key, value in values["dataset"].items() if key not in INPUT_KEYS}
    left_out = (*NETWORK, "runtime")
    return {key: values[key] for key in values if key not in left_out} | {"dataset": rest}


def _text(key: str, values: Values) -> str:
    return repr(values[key]) if key in values else "nothing"


def _as_json(value: Any) -> Any:
    """Values as JSON compares them: lists and tuples are alike."""
    return list(map(_as_json, value)) if isinstance(value, list | tuple) else value


def _check_plain(value: Any, where: str) -> None:
    """Reject values that a checkpoint cannot store.

    Raises:
        ValueError: If there is one.
    """
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    elif not isinstance(value, str | int | float | None):
        raise ValueError(
            f"{where} is a {type(value).__name__}; checkpoints store the config, so it may only "
            "have numbers, strings, None, lists, tuples and dicts"
        )
    for key, item in items:
        _check_plain(item, f"{where}.{key}".removeprefix("the config."))
