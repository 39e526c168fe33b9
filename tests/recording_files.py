"""A recording of your own: the tiny UnScenes3D's frames, without that layout."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from dataset import layout
from dataset.inventory import complete_stems
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
