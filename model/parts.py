"""The parts of the network: their configs, and how one is built."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from utils.registry import MODELS


@dataclass(frozen=True)
class Parts:
    """Config of every part of the network. Parts that the modality does not use are not built.

    Attributes:
        image_encoder: Images to features of one stride.
        lift: Image features to a volume, through depth distributions.
        lidar_encoder: Points to a volume.
        fusion: The two volumes, either of which may be absent, to one.
        decoder: The fused volume to one with the context of the whole scene.
        head: The decoded volume and the sensors' evidence to logits.
        refinement: The decoded volume and the logits to Gaussians, in training; None: no Gaussians.
        elevation: The decoded volume and the points to ground heights; None: no elevation.
        branch: Each sensor's own volume to logits, in training; None: no such supervision.
    """

    image_encoder: dict[str, Any]
    lift: dict[str, Any]
    lidar_encoder: dict[str, Any]
    fusion: dict[str, Any]
    decoder: dict[str, Any]
    head: dict[str, Any]
    refinement: dict[str, Any] | None = None
    elevation: dict[str, Any] | None = None
    branch: dict[str, Any] | None = None


def build_part(config: Mapping[str, Any], **given: Any) -> Any:
    """Build a part from its config and from what the rest of the network determines.

    Args:
        config: The part's ``type`` and its options.
        **given: What is determined elsewhere. The part gets those that its constructor names.

    Raises:
        ValueError: If the config sets a value that is determined elsewhere.
    """
    twice = sorted(config.keys() & given.keys())
    if twice:
        raise ValueError(f"{config['type']}: the network sets {twice}; remove them from the config")
    constructor = MODELS.get(config["type"])
    named = inspect.signature(constructor).parameters if constructor else {}
    return MODELS.build({**config, **{key: given[key] for key in given if key in named}})
