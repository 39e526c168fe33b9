"""Frames of the same split that the augmentation mixes in, or pastes objects of."""

from collections.abc import Callable, Sequence, Set

import numpy as np
from jaxtyping import Float64, Int64
from mmengine.logging import MMLogger

from dataset.augment.mix import mix
from dataset.augment.parts import FrameParts
from dataset.augment.paste import paste_object
from dataset.augment.ranges import Stream
from dataset.augmentation import Choices
from utils.labels import LabelSet

_TRIES = 8
"""Frames that are drawn to find one with the same projection."""

_RARE = 0.5
"""Classes in a smaller share of the frames are rare."""


class OtherFrames:
    """Draws other frames for a frame, and takes over what its choices say.

    Images can be exchanged only between frames with the same projection; frames with another one
    are drawn again, at most a few times.

    Args:
        read_parts: Reads a frame by its index, with the choices of the frame it is for.
        projection_of: Returns the recorded projection of a frame; None if no image is read.
        num_frames: Number of frames.
        frames_of: Indices of the frames that have a class, by label; classes to paste.
    """

    def __init__(
        self,
        read_parts: Callable[[int, Choices], FrameParts],
        projection_of: Callable[[int], Float64[np.ndarray, "4 4"]] | None,
        num_frames: int,
        frames_of: dict[int, Int64[np.ndarray, " _"]],
    ) -> None:
        self._read_parts = read_parts
        self._projection_of = projection_of
        self._all = np.arange(num_frames)
        self._frames_of = {label: frames for label, frames in frames_of.items() if len(frames)}
        self._warned = False

    def take_over(self, index: int, parts: FrameParts, choices: Choices) -> FrameParts:
        """Return a frame with what it gets from others.

        Args:
            index: Index of the frame.
            parts: Its parts.
            choices: The values drawn for it.
        """
        if choices.mix.is_on:
            rng = choices.stream(Stream.MIX, 0)
            other = self._draw(index, parts, choices, self._all, rng)
            parts = parts if other is None else mix(parts, other, choices.mix)
        for number in range(choices.pasted_objects if self._frames_of else 0):
            rng = choices.stream(Stream.PASTE, number)
            label = int(rng.choice(sorted(self._frames_of)))
            other = self._draw(index, parts, choices, self._frames_of[label], rng)
            if other is not None:
                pasted = paste_object(parts, other, label, choices.paste.turn_deg, rng)
                parts = parts if pasted is None else pasted
        return parts

    def _draw(
        self,
        index: int,
        parts: FrameParts,
        choices: Choices,
        candidates: Int64[np.ndarray, " _"],
        rng: np.random.Generator,
    ) -> FrameParts | None:
        """Draw another frame of the same projection; None if none is found."""
        candidates = candidates[candidates != index]
        if not len(candidates):
            return None
        for other in rng.choice(candidates, _TRIES).tolist():
            if self._has_same_projection(index, other):
                found = self._read_parts(other, choices)
                if _is_close(parts.pixel_from_lidar, found.pixel_from_lidar):
                    return found
        if not self._warned:
            MMLogger.get_current_instance().warning(
                f"augmentation.mix and augmentation.paste: none of {_TRIES} frames drawn for frame "
                f"{index} has its calibration and image size, so it stays as it is"
            )
            self._warned = True
        return None

    def _has_same_projection(self, index: int, other: int) -> bool:
        if self._projection_of is None:
            return True
        return _is_close(self._projection_of(index), self._projection_of(other))


def check_fields(fields: Set[str]) -> None:
    """Check that a frame with these fields can get parts of others.

    Raises:
        ValueError: If it cannot.
    """
    if "neighbors" in fields or "occupancy" not in fields:
        raise ValueError(
            "augmentation.mix and augmentation.paste change the scene of a frame: they need its "
            "labels, and cannot be used with the depth of its neighbors. Set "
            "model.rendering.novel_views=0, or switch them off"
        )


def frames_with(
    counts: Int64[np.ndarray, "F C"], names: Sequence[str], labels: LabelSet
) -> dict[int, Int64[np.ndarray, " _"]]:
    """Return the indices of the frames that have each class to paste, by label.

    Args:
        counts: Voxels by frame and class.
        names: The classes; empty for those of the long tail that are not ground and occur in less
            than half of the frames.
        labels: The classes of the data set.

    Raises:
        ValueError: If a class is unknown.
    """
    has_class = counts > 0
    chosen = [labels.index(name) for name in names]
    if not chosen:
        rare = np.flatnonzero(has_class.mean(axis=0) < _RARE)
        chosen = [
            label for label in labels.long_tail if label in rare and label not in labels.ground
        ]
    return {label: np.flatnonzero(has_class[:, label]) for label in chosen}


def _is_close(
    one: Float64[np.ndarray, "4 4"] | None, other: Float64[np.ndarray, "4 4"] | None
) -> bool:
    if one is None or other is None:
        return one is other
    return np.allclose(one, other, rtol=1e-4, atol=1e-2)
