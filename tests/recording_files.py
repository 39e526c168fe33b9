"""A recording of your own: the tiny UnScenes3D's frames, without that layout."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dataset import layout
from dataset.inventory import complete_stems
from tests.labeling_drive import write_drive
from tests.layout_files import Rig, write_tiny_unscenes3d


def write_recording(root: Path) -> list[str]:
    """Write ``images/``, ``clouds/`` and ``calib.txt`` of two frames below ``root``.

    Below ``root / "layout"`` the same frames are in UnScenes3D's layout. Returns their stems.
    """
    source = root / "layout"
    scenes = {"scene_00000": "location_1"}
    write_tiny_unscenes3d(source, scenes=scenes, sweeps=0, labels=False, imagesets=())
    for folder in (layout.IMAGES, layout.CLOUDS):
        shutil.copytree(source / folder, root / folder)
    stems = complete_stems(source, [layout.CALIBS])
    shutil.copy(source / layout.relative_path(layout.CALIBS, stems[0]), root / "calib.txt")
    return stems


def json_rig(image_size: tuple[int, int] = (60, 96), **changes: Any) -> dict[str, Any]:
    """The calibration of those frames as the content of a JSON file."""
    rig = Rig(image_size)
    # R0_rect turns the camera before it takes the image.
    rectify = np.eye(4)
    rectify[:3, :3] = rig.r0_rect
    camera = {
        "pixel_from_cam": rig.p2[:, :3].tolist(),
        "cam_from_lidar": (rectify @ rig.cam_from_lidar).tolist(),
    }
    return {"cameras": {"front": camera}} | changes


def write_json_rig(path: Path, content: Any) -> Path:
    """Write a calibration file."""
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_recordings(
    root: Path, names: Sequence[str] = ("1", "2", "3"), *, frames: int = 6, **calibration: Any
) -> list[str]:
    """Write recordings with poses below ``root``: the first frames of ``write_drive``.

    Args:
        root: Folder of the recordings, which all have the same stems and almost the same clouds.
        names: Their names.
        frames: Frames of each, a tenth of a second apart.
        calibration: Changes of ``calib.json``; None removes a key.

    Returns:
        The stems.
    """
    stems = write_drive(root / names[0], frames=frames)
    change_calibration(root / names[0], **calibration)
    for number, name in enumerate(names[1:], start=1):
        copy_recording(root / names[0], root / name, number)
    return stems


def copy_recording(source: Path, target: Path, number: int) -> Path:
    """Copy a recording; the first point of each cloud is ``number`` mm farther ahead."""
    shutil.copytree(source, target)
    for path in (target / "clouds").iterdir():
        rows = np.fromfile(path, np.float32)
        rows[0] += number / 1000
        rows.tofile(path)
    return target


def change_calibration(recording: Path, **changes: Any) -> None:
    """Change keys of a ``calib.json``; None removes one."""
    path = recording / "calib.json"
    content = json.loads(path.read_text()) | changes
    write_json_rig(path, {key: value for key, value in content.items() if value is not None})


def add_camera(recording: Path) -> None:
    """Give a recording a second camera, with the images of the first."""
    cameras = json.loads((recording / "calib.json").read_text())["cameras"]
    change_calibration(recording, cameras=cameras | {"rear": cameras["front"]})
    images = recording / "images"
    images.rename(recording / "front")
    images.mkdir()
    (recording / "front").rename(images / "front")
    shutil.copytree(images / "front", images / "rear")
