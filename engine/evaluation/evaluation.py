"""What is run to score a network, whatever the data set."""

from typing import Any, NamedTuple

from mmengine.model import BaseModel

from dataset.frame_dataset import FrameDataset
from engine.evaluation.occupancy_metric import OccupancyMetric
from engine.metrics.occupancy import OccupancyScores


class Evaluation(NamedTuple):
    """What is run to score a network.

    Attributes:
        frames: The data set.
        network: What predicts the grid that the labels of ``frames`` lie on.
        metric: Compares them.
        grid: The grid in words.
        facts: What else the scores' JSON says.
    """

    frames: FrameDataset
    network: BaseModel
    metric: OccupancyMetric
    grid: str
    facts: dict[str, Any]

    def table(self) -> str:
        """The scores, once the network has run, for a terminal."""
        tables = []
        for found in self.metric.found:
            is_masked = self.facts.get("use_mask") and isinstance(found, OccupancyScores)
            seen = ", those that a camera saw" if is_masked else ""
            tables.append(found.table(self.grid + seen))
        return "\n\n".join(tables)

    def to_json(self) -> dict[str, Any]:
        """The same as fractions, by key."""
        scores: dict[str, Any] = {}
        for found in self.metric.found:
            scores |= found.to_json()
        return scores | self.facts
