"""What an experiment runs: the commands of one config and seed, and where their results go."""

import hashlib
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from engine.checkpoint.files import BEST
from model.objective import LABEL_FREE_TERMS, LABELS
from utils.config import load_config, parse_options, plain

TRAIN, ROBUSTNESS, LATENCY = "train", "robustness", "latency"
DISTANCES_M = (25, 50)
"""Where ranges of distance end and the next begin."""
SPLITS = ("val", "test")

_ROOT = Path(__file__).resolve().parents[2]
_NOT_COMPARED = ("runtime", "data_root")
"""Sections of a config that do not change the trained network."""


@dataclass(frozen=True)
class Settings:
    """What is the same for all runs of an experiment.

    Attributes:
        data_root: The data set.
        work_root: Folder of the work directories.
        results: Folder of the records.
        overrides: Values of the config, as in ``--cfg-options``.
        amp: Mixed precision of the training.
        robustness_frames: Frames of the test split to score under corruptions; 0: none.
        latency: Whether to time the inference of one frame.
    """

    data_root: Path
    work_root: Path
    results: Path
    overrides: tuple[str, ...] = ()
    amp: str = "off"
    robustness_frames: int = 0
    latency: bool = False


@dataclass(frozen=True)
class Step:
    """One command of a run.

    Attributes:
        name: "train", "val", "test", "robustness" or "latency".
        words: The command.
        output: File that it writes.
    """

    name: str
    words: tuple[str, ...]
    output: Path


@dataclass(frozen=True)
class Run:
    """One config and seed.

    Attributes:
        config: The config file; its stem names the variant.
        seed: Random seed of the training.
        settings: What is the same for all runs.
    """

    config: Path
    seed: int
    settings: Settings

    @property
    def name(self) -> str:
        """Name of the run, of its work directory and of its record."""
        return f"{self.config.stem}_seed{self.seed}"

    @property
    def work_dir(self) -> Path:
        """Folder of checkpoints, logs and intermediate results."""
        return self.settings.work_root / self.name

    @property
    def record(self) -> Path:
        """File of the record."""
        return self.settings.results / f"{self.name}.json"

    def load_config(self) -> Config:
        """Load the config with its overrides.

        Raises:
            FileNotFoundError: If the config does not exist.
            ValueError: If it is invalid.
        """
        return load_config(self.config, parse_options(self.settings.overrides))

    def identity(self, data: str) -> str:
        """Return a hash of everything that decides the trained network.

        Args:
            data: Name, version and hash of the data.
        """
        content = [_decisive(self.load_config()), self.seed, self.settings.amp, data]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def steps(self) -> list[Step]:
        """Return the commands, in order."""
        settings, work = self.settings, self.work_dir
        data = ("--data-root", str(settings.data_root))
        weights = ("--resume-from", str(work / BEST))
        options = ("--cfg-options", *settings.overrides) if settings.overrides else ()
        config = ("--py-config", str(self.config))
        seed = ("--seed", str(self.seed), "--amp", settings.amp)
        training = (*config, "--work-dir", str(work), *data, *seed, "--iter-resume", *options)
        found = [Step(TRAIN, _script("train.py", training), work / BEST)]
        for split in SPLITS:
            scores = work / f"scores_{split}.json"
            logs = ("--work-dir", str(work / "scoring"), "--split", split, "--json", str(scores))
            extras = ("--ray-iou", "--distances", *map(str, DISTANCES_M))
            found.append(
                Step(split, _script("eval_iou.py", (*weights, *data, *logs, *extras)), scores)
            )
        if settings.robustness_frames:
            out = work / ROBUSTNESS
            limit = ("--split", "test", "--limit", str(settings.robustness_frames))
            words = (*weights, *data, "--out", str(out), *limit)
            found.append(
                Step(ROBUSTNESS, _script("eval_robustness.py", words), out / "results.json")
            )
        if settings.latency:
            timing = work / "latency.json"
            precision = "fp32" if settings.amp == "off" else settings.amp
            replayed = () if settings.amp == "off" else ("--compile", "--capture")  # Needs a GPU.
            timed = (*config, "--precision", precision, "--json", str(timing), *replayed, *options)
            found.append(Step(LATENCY, _script("tools/benchmark.py", timed), timing))
        return found


def shown_command(words: Sequence[str]) -> str:
    """Return a command as a user would type it in the folder of the repository."""
    shown = [word.removeprefix(f"{_ROOT}/") for word in words[1:]]
    return shlex.join(["python", *shown])


def _script(name: str, options: Sequence[str]) -> tuple[str, ...]:
    return (sys.executable, str(_ROOT / name), *options)


def _decisive(cfg: Config) -> dict[str, Any]:
    """Return the values of a config that decide the trained network.

    Training with labels reads no option of training without them.
    """
    values = plain(cfg.to_dict())
    decisive = {key: value for key, value in values.items() if key not in _NOT_COMPARED}
    loss = decisive["model"].get("loss")
    if loss and loss["supervision"] == LABELS:
        del loss["label_free"]
        loss["weights"] = {
            term: weight for term, weight in loss["weights"].items() if term not in LABEL_FREE_TERMS
        }
    return decisive
