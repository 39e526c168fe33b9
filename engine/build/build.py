"""Build data sets, networks and optimizers from a config, for all scripts."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor, nn

import model as _models  # noqa: F401  Fills the registry.
from dataset import layout
from dataset.frame_dataset import FrameDataset
from dataset.nuscenes.labels import BENCHMARKS
from dataset.sample import collate
from engine.agreement import check_agreement, describe_names
from engine.build.class_balance import with_class_balance, without_class_balance
from engine.build.dataset_class import GROUPS
from engine.build.label_free import (
    check_no_labels_needed,
    label_free_arguments,
    label_free_fields,
)
from engine.build.loader import FrameLoader, keep_freed_memory
from engine.build.optimizer import MixedPrecisionUpdates, Updates
from engine.build.repeats import frame_repeats
from engine.build.sampler import EpochBatches, EvalIndices
from engine.build.section import Section
from engine.checkpoint.weights import TrainedWeights, fill
from model.objective import LABELS, LossOptions
from model.unsocc import UnsOcc
from utils.config import (
    MODALITIES,
    Runtime,
    Schedule,
    plain,
    read_choice,
    read_section,
)
from utils.distributed import Process
from utils.geometry import VoxelGrid
from utils.registry import DATASETS, MODELS

Network = TypeVar("Network", bound=BaseModel)

logger = logging.getLogger(__name__)

AMP_DTYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def build_grid(cfg: Config) -> VoxelGrid:
    """Return the grid that the network predicts and labels are coarsened to."""
    return VoxelGrid.from_config(cfg.grid)


def fields_of(modality: str, *, training: bool) -> tuple[str, ...]:
    """Return the Sample fields that a network of this modality needs, including labels.

    Args:
        modality: "both", "camera" or "lidar".
        training: Whether to include the fields that only the losses need.
    """
    depth = ("depth_m",) if training and modality != "lidar" else ()
    return ("occupancy", *input_fields(modality), *depth)


def input_folders(cfg: Config) -> list[Path]:
    """Return the folders that a config's data set reads, whether they exist or not."""
    root, labels = Path(cfg.data_root), cfg.dataset.get("labels_root")
    beside = [root.absolute().parent / made.folder for made in BENCHMARKS.values()]
    within = [root / name for name in layout.SUFFIXES]
    return [root, *within, *([Path(labels)] if labels else beside)]


def input_fields(modality: str) -> tuple[str, ...]:
    """Return the Sample fields that are inputs of a network of this modality."""
    points = () if modality == "camera" else ("points",)
    images = () if modality == "lidar" else ("images", "pixel_from_lidar")
    return (*points, *images)


def loss_options(cfg: Config) -> LossOptions:
    """Return what training of a config minimizes.

    Raises:
        ValueError: If the supervision is unknown, or a number is out of its range.
    """
    network = plain(without_class_balance(cfg).get("model") or {})
    return LossOptions(**{"weights": {}, **network.get("loss", {})})


def sensors_of(cfg: Config) -> str:
    """What the network of a config predicts from: "both", "camera" or "lidar".

    Raises:
        ValueError: If its modality lacks one of these sensors.
    """
    modality = read_choice(cfg, "modality", MODALITIES)
    sensors = cfg.get("sensors") or modality
    if sensors not in MODALITIES or modality not in ("both", sensors):
        raise ValueError(
            f"a network of modality '{modality}' cannot predict from sensors '{sensors}'"
        )
    return str(sensors)


def build_dataset(
    cfg: Config,
    split: str,
    *,
    training: bool = False,
    fields: Sequence[str] | None = None,
    stems: Sequence[str] | None = None,
    seed: int = 0,
    allow_missing: bool = False,
) -> FrameDataset:
    """Build the data set of a config.

    Args:
        cfg: The config.
        split: "train", "val", "test" or "all".
        training: Whether to augment, and to read the fields that only the losses need.
        fields: Fields to read; None for those that the modality and ``training`` need.
        stems: Frames to read; None for the full split.
        seed: Random seed of the augmentation.
        allow_missing: Whether a frame may lack its images or its point cloud, which are then None.

    Raises:
        FileNotFoundError: If the data is missing.
        ValueError: If the data or the section is invalid.
    """
    sensors = sensors_of(cfg)
    if training:
        _check_all_sensors(cfg, sensors)
    injected: dict[str, Any] = {
        "data_root": cfg.data_root,
        "split": split,
        "grid": build_grid(cfg),
        "labels": cfg.labels,
        "fields": tuple(fields or _default_fields(cfg, sensors, training)),
    }
    if stems is not None:
        injected["stems"] = list(stems)
    if allow_missing:
        injected["allow_missing"] = True
    if training:
        injected |= _training_arguments(cfg, seed)
    frames: FrameDataset = Section(cfg, "dataset", DATASETS, GROUPS).build(injected)
    return frames


def _check_all_sensors(cfg: Config, sensors: str) -> None:
    """Reject training from fewer sensors than those of the modality."""
    if sensors != cfg.modality:
        raise ValueError(
            f"training reads all sensors of modality '{cfg.modality}', got sensors '{sensors}': "
            "remove it, and see model.sensor_dropout for a network that does without one"
        )
    if cfg.dataset.get("allow_missing"):
        raise ValueError(
            "training needs all sensors of each frame: remove dataset.allow_missing, and see "
            "model.sensor_dropout"
        )


def _training_arguments(cfg: Config, seed: int) -> dict[str, Any]:
    """Return the arguments of a data set that only training needs."""
    found: dict[str, Any] = {"augmentation": plain(cfg.get("augmentation")), "seed": seed}
    options = loss_options(cfg)
    if options.supervision != LABELS:
        found |= label_free_arguments(options.label_free_options)
        check_no_labels_needed(cfg, options)
    elif novel_views(cfg):
        found["num_neighbors"] = novel_views(cfg)
    return found


def has_elevation(cfg: Config) -> bool:
    """Return whether the network of a config has an elevation head."""
    return plain(cfg.get("model") or {}).get("parts", {}).get("elevation") is not None


def novel_views(cfg: Config) -> int:
    """Return the number of other frames of the scene that training renders novel views at."""
    rendering = plain(cfg.get("model") or {}).get("rendering") or {}
    is_used = cfg.modality != "lidar" and loss_options(cfg).supervision == LABELS
    return rendering.get("novel_views", 0) if is_used else 0


def _default_fields(cfg: Config, modality: str, training: bool) -> tuple[str, ...]:
    options = loss_options(cfg)
    if training and options.supervision != LABELS:
        return (*input_fields(modality), *label_free_fields(options))
    fields = [*fields_of(modality, training=training)]
    if training and has_elevation(cfg):
        fields.append("elevation_m")
    if training and novel_views(cfg):
        fields.append("neighbors")
    return tuple(fields)


def build_model(cfg: Config, *, seed: int = 0) -> UnsOcc:
    """Build the network of a config on the CPU; the same seed gives the same weights.

    A class balance of "from_data" is left out here; training resolves it with ``balance_classes``
    first.

    Raises:
        ValueError: If the section is invalid.
    """
    injected = {
        "grid": build_grid(cfg),
        "labels": cfg.labels,
        "modality": read_choice(cfg, "modality", MODALITIES),
    }
    torch.manual_seed(seed)
    network: UnsOcc = Section(without_class_balance(cfg), "model", MODELS).build(injected)
    sensors = sensors_of(cfg)
    if sensors != cfg.modality:
        network.use_sensors(sensors)
        _warn_without_dropout(network, f"from sensors '{sensors}'")
    return network


def check_allow_missing(cfg: Config, network: UnsOcc) -> None:
    """Check that a network can predict frames that lack a sensor; warn if that is new to it.

    Raises:
        ValueError: If it reads a single sensor.
    """
    sensors = sensors_of(cfg)
    if sensors != "both":
        raise ValueError(
            f"--allow-missing needs a network that reads both sensors, this one reads '{sensors}': "
            "leave the option out"
        )
    _warn_without_dropout(network, "frames that lack a sensor")


def _warn_without_dropout(network: UnsOcc, what: str) -> None:
    if network.sensor_dropout is None:
        logger.warning(
            "the network predicts %s but was trained without model.sensor_dropout, so a missing "
            "sensor is new to it",
            what,
        )


def load_network(cfg: Config, weights: TrainedWeights, device: torch.device) -> UnsOcc:
    """Build the network of a config and load trained weights, on the given device.

    Raises:
        ValueError: If the section is invalid, or the weights do not match the network.
    """
    network = build_model(cfg)
    fill(network, weights.tensors, weights.path)
    return place(network, device)


def balance_classes(cfg: Config) -> Config:
    """Return the config with its class balance computed from the training split, if requested.

    Training without labels counts none: it has no classes to balance.

    Raises:
        FileNotFoundError: If the data is missing.
        ValueError: If the config or a label is invalid.
    """
    Section(without_class_balance(cfg), "model", MODELS).find_class()  # Before minutes of counting.
    if loss_options(cfg).supervision != LABELS:
        return without_class_balance(cfg)
    return with_class_balance(cfg, lambda: build_dataset(cfg, "train", fields=("occupancy",)))


def place(network: Network, device: torch.device, *, compile_mode: str | None = None) -> Network:
    """Move a network to a device, in the fastest memory layout.

    On a GPU, dense convolutions use channels last, the layout of its matrix units. spconv's weights
    are five-dimensional, too, but must keep their layout. On a CPU, the process keeps the memory of
    freed tensors from then on: otherwise the system fills that of most new ones with zeros first.

    Args:
        network: The network, modified in place.
        device: The device.
        compile_mode: Mode of torch.compile for the dense parts; None does not compile.
    """
    network = network.to(device)
    if device.type == "cuda":
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                _set_layout(layer.weight, torch.channels_last)
            if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
                _set_layout(layer.weight, torch.channels_last_3d)
    if device.type == "cpu":
        keep_freed_memory()
    if compile_mode is not None:
        network.compile_parts(compile_mode)
    return network


def _set_layout(weight: Tensor, memory_format: torch.memory_format) -> None:
    weight.data = weight.data.contiguous(memory_format=memory_format)


def train_loader(cfg: Config, frames: FrameDataset, process: Process, seed: int) -> FrameLoader:
    """Build the loader of this process's shuffled, augmented batches.

    Raises:
        ValueError: If other processes have other frames.
    """
    check_agreement({"training frames": describe_names("frames", frames.stems)})
    schedule = read_section(cfg, "schedule", Schedule)
    batches = EpochBatches(
        frames,
        schedule.batch_size,
        seed=seed,
        rank=process.rank,
        world_size=process.world_size,
        repeats=frame_repeats(cfg, frames, schedule),
    )
    return FrameLoader(frames, batch_sampler=batches, **_loader_options(cfg, process))


def eval_loader(
    cfg: Config, frames: FrameDataset, process: Process, batch_size: int
) -> FrameLoader:
    """Build the loader of this process's share of the frames, in order.

    Raises:
        ValueError: If other processes have other frames.
    """
    options = _loader_options(cfg, process)
    share = share_of(frames.stems, process)
    return FrameLoader(frames, batch_size=batch_size, sampler=share, **options)


def share_of(stems: Sequence[str], process: Process) -> EvalIndices:
    """Return the indices of this process's share of the frames to score.

    Raises:
        ValueError: If other processes have other frames.
    """
    check_agreement({"frames to score": describe_names("frames", stems)})
    return EvalIndices(stems, rank=process.rank, world_size=process.world_size)


def build_optimizer(network: nn.Module, schedule: Schedule, device: torch.device) -> Updates:
    """Build AdamW for the trainable weights, without weight decay on biases and norms.

    Raises:
        ValueError: If no weight is trainable, or the device lacks the precision.
    """
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    if not weights:
        raise ValueError("the network has no trainable weights")
    if amp_dtype(schedule.amp, device) is not None and device.type != "cuda":
        raise ValueError(
            f"training with precision {schedule.amp} needs a CUDA device, this is a {device}: use "
            "--amp off"
        )
    groups = [
        {
            "params": [weight for weight in weights if weight.ndim > 1],
            "weight_decay": schedule.weight_decay,
        },
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=schedule.lr, fused=True)
    options: dict[str, Any] = {"accumulative_counts": schedule.gradient_accumulation}
    if schedule.clip_grad_norm:
        options["clip_grad"] = {"max_norm": schedule.clip_grad_norm}
    dtype = amp_dtype(schedule.amp, device)
    if dtype is None:
        return Updates(optimizer, **options)
    # bfloat16 has float32's range, so its loss needs no scaling.
    scaling: Any = "dynamic" if dtype is torch.float16 else {"enabled": False}
    return MixedPrecisionUpdates(optimizer=optimizer, dtype=dtype, loss_scale=scaling, **options)


def amp_dtype(name: str, device: torch.device) -> torch.dtype | None:
    """Return the dtype of automatic mixed precision; None if it is off.

    A CPU may predict in bf16, which is faster if it multiplies bf16 in hardware.

    Raises:
        ValueError: If the name is unknown, or the device does not support it.
    """
    if name not in AMP_DTYPES:
        raise ValueError(f"precision must be one of {sorted(AMP_DTYPES)}, got '{name}'")
    if name == "fp16" and device.type != "cuda":
        raise ValueError(f"precision {name} needs a CUDA device, this is a {device}: use --amp off")
    return AMP_DTYPES[name]


def _loader_options(cfg: Config, process: Process) -> dict[str, Any]:
    workers = read_section(cfg, "runtime", Runtime).num_workers
    return {
        "num_workers": workers,
        "collate_fn": collate,
        "pin_memory": process.device.type == "cuda",
        "persistent_workers": workers > 0,
    }
