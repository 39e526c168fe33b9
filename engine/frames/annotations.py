"""Optional fields of a data set, read for the frames that have them."""

import logging
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from dataset.frame_dataset import FrameDataset
from engine.build.build import build_dataset

logger = logging.getLogger(__name__)


class Annotations:
    """Labels, captions and other fields, for the frames that have them.

    Args:
        cfg: The config.
        split: "train", "val", "test" or "all".
        main: The data set of the split; it knows which frames have a field.
        stems: Frames that may be requested.
        fields: Fields of a sample to read.
    """

    def __init__(
        self,
        cfg: Config,
        split: str,
        main: FrameDataset,
        stems: Sequence[str],
        fields: Sequence[str],
    ) -> None:
        self._frames: dict[str, FrameDataset] = {}
        for field in fields:
            annotated = set(main.stems_with(field))
            chosen = [stem for stem in stems if stem in annotated]
            if not chosen:
                continue
            try:
                self._frames[field] = build_dataset(cfg, split, fields=(field,), stems=chosen)
            except (FileNotFoundError, ValueError) as error:
                logger.info("frames are shown without %s: %s", field, error)
        self._places = {
            field: {stem: place for place, stem in enumerate(frames.stems)}
            for field, frames in self._frames.items()
        }

    def of(self, stem: str) -> dict[str, Any]:
        """Return the fields that a frame has, by name.

        Raises:
            ValueError: If a file is not valid.
        """
        return {
            field: getattr(self._frames[field][places[stem]], field)
            for field, places in self._places.items()
            if stem in places
        }
