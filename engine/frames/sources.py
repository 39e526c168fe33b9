"""Frame sources: a data set, a folder of saved predictions, or a network."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from mmengine.config import Config

from dataset import layout
from dataset.inventory import require_file, time_order
from dataset.nuscenes import labels as nuscenes_labels
from dataset.occupancy_files import (
    SUFFIX,
    check_labels,
    dense_from_rows,
    is_sparse,
    read_labels,
)
from dataset.options import restrict
from dataset.rellis3d.labels import RELEASES as RELLIS_RELEASES
from dataset.rellis3d.labels import LabelForm
from dataset.sample import Sample
from engine.build.build import build_dataset, build_grid
from engine.build.dataset_class import dataset_class
from engine.frames.annotations import Annotations
from engine.frames.splats import Splats
from utils.geometry import VoxelGrid
from utils.labels import NUSCENES, RELLIS3D, UNSCENES3D, WILDOCC, LabelSet, label_set

SENSORS = ("images", "pixel_from_lidar", "points")
ANNOTATIONS = ("occupancy", "elevation_m")
"""Optional fields of a sample to show."""
LABEL_GRIDS = {
    UNSCENES3D.name: layout.LABEL_GRID,
    NUSCENES.name: nuscenes_labels.BENCHMARKS["occ3d"].grid,
    RELLIS3D.name: LabelForm(RELLIS_RELEASES["V1"]).grid_in_lidar(),
    WILDOCC.name: LabelForm(RELLIS_RELEASES["V1"]).grid_in_lidar(),
}
"""Label grid by label set, for predictions without a config."""


class Predicted(NamedTuple):
    """A prediction of a frame.

    Attributes:
        occupancy: Label of each voxel.
        splats: Gaussians of the refinement, if any.
    """

    occupancy: UInt8[np.ndarray, "X Y Z"]
    splats: Splats | None = None


@dataclass
class ViewFrame:
    """A frame to show; missing data is None.

    Attributes:
        sample: Sensor data and annotations.
        predicted: Prediction, by a network or from a file.
    """

    sample: Sample
    predicted: Predicted | None = None

    @property
    def prediction(self) -> UInt8[np.ndarray, "X Y Z"] | None:
        """Predicted label of each voxel."""
        return None if self.predicted is None else self.predicted.occupancy

    @property
    def label(self) -> UInt8[np.ndarray, "X Y Z"] | None:
        """Label of each voxel."""
        return None if self.sample.occupancy is None else self.sample.occupancy.numpy()


@runtime_checkable
class FrameSource(Protocol):
    """A sequence of frames with one grid and one label set."""

    grid: VoxelGrid
    labels: LabelSet
    stems: list[str]

    def read(self, index: int) -> ViewFrame:
        """Read a frame; this may take seconds."""
        ...


@runtime_checkable
class SensorChoice(Protocol):
    """A network behind a frame source, with a choice of the sensors that it predicts from.

    Attributes:
        choices: What can be chosen.
    """

    choices: tuple[str, ...]

    @property
    def sensors(self) -> str:
        """What is chosen."""
        ...

    def use_sensors(self, sensors: str) -> None:
        """Predict from these sensors from now on."""
        ...


class Recordings:
    """Frames of a data set, each with a prediction if there is a predictor.

    Args:
        cfg: The config.
        split: "train", "val", "test" or "all".
        predict: Predicts from a sample; None: no prediction.
        stems: Only these frames, in this order; None: all of the split.
        among: Only frames among these, in the data set's order; None: all.
        scene: Only frames of this drive; None: all.
        annotations: Fields to read besides sensor data, for frames that have them.

    Attributes:
        predict: As given.

    Raises:
        FileNotFoundError: If the data is missing.
        ValueError: If no frame is left, or a stem is not in the split.
    """

    def __init__(
        self,
        cfg: Config,
        split: str,
        *,
        predict: Callable[[Sample], Predicted] | None = None,
        stems: Sequence[str] | None = None,
        among: Collection[str] | None = None,
        scene: str | None = None,
        annotations: Sequence[str] = ANNOTATIONS,
    ) -> None:
        self.grid, self.labels = build_grid(cfg), label_set(cfg.labels)
        self.predict = predict
        data = dataset_class(cfg)
        fields = [field for field in SENSORS if data.may_have(cfg.data_root, field)]
        if not {"images", "pixel_from_lidar"} <= set(fields):
            fields = [field for field in fields if field == "points"]
        if not fields:
            fields = ["occupancy"]
        self._main = build_dataset(cfg, split, fields=fields, stems=stems)
        self.stems: list[str] = list(self._main.stems)
        if among is not None:
            allowed = set(restrict(self.stems, list(among), split))
            self.stems = [stem for stem in self.stems if stem in allowed]
        if scene is not None:
            self._keep_scene(scene)
        self._place = {stem: place for place, stem in enumerate(self._main.stems)}
        remaining = [field for field in annotations if field not in fields]
        self._annotations = Annotations(cfg, split, self._main, self.stems, remaining)

    def read(self, index: int) -> ViewFrame:
        """Read and predict a frame."""
        stem = self.stems[index]
        sample = replace(self._main[self._place[stem]], **self._annotations.of(stem))
        return ViewFrame(sample, self.predict(sample) if self.predict else None)

    def _keep_scene(self, scene: str) -> None:
        """Drop the frames of other drives."""
        scene_of = dict(zip(self._main.stems, self._main.scenes, strict=True))
        self.stems = [stem for stem in self.stems if scene_of[stem] == scene]
        if not self.stems:
            raise ValueError(
                f"no frames of scene '{scene}'; scenes are {sorted(set(scene_of.values()))}"
            )


class SavedPredictions:
    """Predictions in files ``STEM.npy``; also a frame source when there is no data set.

    Args:
        folder: Folder of the files: dense grids, or rows x, y, z, class.
        grid: Their grid; None: that of ``LABEL_GRIDS``, with the voxel size inferred from the
            shape of the first file.
        labels: Their label set.
        any_voxel_size: Infer the voxel size also if the first file's shape differs from ``grid``.

    Raises:
        FileNotFoundError: If the folder is missing or has no such files.
        ValueError: If the voxel size cannot be inferred.
    """

    def __init__(
        self,
        folder: Path,
        grid: VoxelGrid | None,
        labels: LabelSet,
        *,
        any_voxel_size: bool = False,
    ) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"prediction folder {folder} not found")
        files = (path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))
        names = [require_file(path).stem for path in files]
        if not names:
            raise FileNotFoundError(f"{folder} has no predictions: expected STEM{SUFFIX} files")
        self.folder, self.labels = folder, labels
        self.stems = sorted(names, key=time_order)
        if grid is None or any_voxel_size:
            first = read_labels(self._path(self.stems[0]))
            if grid is None or (first.shape != grid.shape and not is_sparse(first)):
                grid = _grid_of(first, folder, labels)
        self.grid = grid

    def read(self, index: int) -> ViewFrame:
        """Read a prediction, without sensor data."""
        sample = Sample(stem=self.stems[index])
        return ViewFrame(sample, self.predict(sample))

    def predict(self, sample: Sample) -> Predicted:
        """Read the prediction of a frame.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it does not match the grid or the label set.
        """
        path = self._path(sample.stem)
        array = read_labels(path)
        try:
            grid = dense_from_rows(array, self.grid.shape) if is_sparse(array) else array
            if grid.size and not 0 <= grid.min() <= grid.max() <= 255:
                raise ValueError(
                    f"labels range from {grid.min()} to {grid.max()}, expected 0 to 255"
                )
            occupancy = grid.astype(np.uint8)
            check_labels(occupancy, self.grid, self.labels)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return Predicted(occupancy)

    def _path(self, stem: str) -> Path:
        return self.folder / f"{stem}{SUFFIX}"


def _grid_of(array: np.ndarray, folder: Path, labels: LabelSet) -> VoxelGrid:
    """Return the label grid at the voxel size of a dense array; for rows, the label grid."""
    fine = LABEL_GRIDS[labels.name]
    if is_sparse(array):
        return fine
    factor = max(1, fine.shape[0] // max(1, array.shape[0]))
    if tuple(count * factor for count in array.shape) != fine.shape:
        raise ValueError(
            f"the predictions in {folder} have shape {array.shape}, which is not a coarser version "
            f"of the label grid {fine.shape}: pass their config with --py-config"
        )
    return fine.coarsen(factor)
