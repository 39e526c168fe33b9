"""A viewer session: shows the frame that the panel selects, and prepares the next ones."""

import logging
import math
import threading
import time
from typing import Any

import cv2
import numpy as np
import viser

from engine.frames.sources import FrameSource, SensorChoice, ViewFrame
from engine.pictures.frame_errors import frame_scores
from engine.viewer.choice import extras_of, layers_of, nearest_layer
from engine.viewer.control_panel import VIEWS, ControlPanel
from engine.viewer.loader import Loader, upcoming
from engine.viewer.nodes import FrameNodes
from utils.console import USER_ERRORS

IDLE_S = 0.25
"""Polling interval of the background loader [s]."""
FOV_RAD = math.radians(50)
"""Vertical field of view of all views except the camera's."""

logger = logging.getLogger(__name__)


class Session:
    """Shows a sequence to all clients that open the page.

    Args:
        server: The running server.
        source: The sequence.
        ahead: Number of frames to prepare after the current one.
        keep: Number of frames to keep in memory and in the browser.
        sensors: What the network of the source can predict from; None: there is no choice.
    """

    def __init__(
        self,
        server: viser.ViserServer,
        source: FrameSource,
        *,
        ahead: int = 6,
        keep: int = 24,
        sensors: SensorChoice | None = None,
    ) -> None:
        self._server, self._source, self._sensors = server, source, sensors
        self._ahead = min(ahead, keep - 1)
        self._keep = keep
        self._wake, self._is_closed = threading.Event(), False
        self._loader: Loader[ViewFrame] = Loader(source.read, keep=keep)
        self._nodes: dict[int, FrameNodes] = {}
        self._shown: int | None = None
        self._next_s = 0.0
        self._next_camera = 0
        _set_light(server.scene)
        count = len(source.stems)
        self._panel = ControlPanel(server.gui, source.labels, count, sensors, self._wake.set)
        self._panel.views.on_click(self._move_camera)
        self._panel.screenshot.on_click(self._save_screenshot)
        position, target = self._viewpoint(VIEWS[0])
        camera = server.initial_camera
        camera.position, camera.look_at, camera.fov = position, target, FOV_RAD

    def run(self) -> None:
        """Follow the panel until ``close`` is called."""
        self._wake.set()
        while not self._is_closed:
            self._wake.wait(min(IDLE_S, self._panel.period_s / 2))
            is_changed = self._wake.is_set()
            self._wake.clear()
            if self._is_closed:
                break
            if is_changed:
                self.follow()
            elif not self._prepare_one():
                self._play()

    def close(self) -> None:
        """Stop ``run`` and the loader."""
        self._is_closed = True
        self._wake.set()
        self._loader.close()

    def follow(self) -> None:
        """Show what the panel selects; wait until the frame is read."""
        self._use_sensors()
        index = self._panel.index
        self._loader.want(upcoming(index, len(self._source.stems), self._ahead))
        if not self._loader.is_ready(index):
            self._panel.set_status(f"Loading {self._source.stems[index]} …")
        try:
            nodes = self._nodes_of(index)
        except USER_ERRORS as error:
            logger.warning("frame %s cannot be shown: %s", self._source.stems[index], error)
            self._panel.set_status(f"**{self._source.stems[index]} cannot be shown:** {error}")
            return
        frame, choice = nodes.frame, self._panel.choice
        layer = nearest_layer(choice.layer, frame)
        with self._server.atomic():
            nodes.prepare(choice)
            nodes.show(True)
            for other, other_nodes in self._nodes.items():
                if other != index:
                    other_nodes.show(False)
        self._panel.show_available(layers_of(frame), extras_of(frame), layer)
        self._panel.show_voxel_counts(nodes.groups(layer) if layer is not None else [])
        if self._shown != index:
            self._next_s = time.monotonic() + self._panel.period_s
        self._shown = index
        self._panel.set_status(self._describe(frame, index))

    def _use_sensors(self) -> None:
        """Predict from the sensors of the panel, and drop the frames predicted from others."""
        wanted = self._panel.sensors
        if self._sensors is None or wanted is None or wanted == self._sensors.sensors:
            return
        self._panel.set_status(f"Predicting from {wanted} …")
        self._loader.close()
        self._sensors.use_sensors(wanted)
        self._loader = Loader(self._source.read, keep=self._keep)
        for nodes in self._nodes.values():
            nodes.remove()
        self._nodes, self._shown = {}, None

    def _play(self) -> None:
        """Advance to the next frame when it is due and loaded."""
        following = (self._panel.index + 1) % len(self._source.stems)
        is_due = self._panel.is_playing and time.monotonic() >= self._next_s
        if is_due and self._loader.is_ready(following):
            self._panel.go_to(following)
            self._wake.set()

    def _prepare_one(self) -> bool:
        """Add one preloaded frame to the scene, hidden; return whether there was one."""
        for index in upcoming(self._panel.index, len(self._source.stems), self._ahead):
            if index not in self._nodes and self._loader.is_ready(index):
                try:
                    self._nodes_of(index).prepare(self._panel.choice)
                except USER_ERRORS:  # Reported when the frame is selected.
                    continue
                return True
        return False

    def _nodes_of(self, index: int) -> FrameNodes:
        """Return the nodes of a frame; create them if needed, and evict those shown longest ago."""
        nodes = self._nodes.pop(index, None)
        if nodes is None:
            nodes = FrameNodes(
                self._server.scene,
                f"/frames/{index}",
                self._loader.get(index),
                self._source.grid,
                self._source.labels,
            )
        self._nodes[index] = nodes
        evictable = [other for other in self._nodes if other not in (index, self._shown)]
        for other in evictable[: max(0, len(self._nodes) - self._keep)]:
            self._nodes.pop(other).remove()
        return nodes

    def _describe(self, frame: ViewFrame, index: int) -> str:
        """Describe a frame in Markdown: its name, position, and scores."""
        sample = frame.sample
        place = f"{sample.scene} · " if sample.scene else ""
        text = f"**{place}{sample.stem}** ({index + 1} of {len(self._source.stems)})"
        if frame.prediction is not None and frame.label is not None:
            scores = frame_scores(frame.prediction, frame.label, self._source.labels)
            text += f"\n\nIoU {100 * scores.iou:.1f} %, mIoU {100 * scores.miou:.1f} %"
        return text

    def _viewpoint(self, view: str) -> tuple[Any, Any]:
        """Return position and target [m] of one of ``VIEWS``, from outside the grid."""
        (near, right, low), (far, left, _) = self._source.grid.origin_m, self._source.grid.end_m
        length, middle = far - near, (left + right) / 2
        ground = low + 0.15 * (self._source.grid.end_m[2] - low)
        center = (near + 0.5 * length, middle, ground)
        if view == "Above":
            return (center[0] - 0.01 * length, middle, ground + 1.15 * length), center
        if view == "Side":
            return (center[0], right - 0.5 * length, ground + 0.42 * length), center
        target = (near + 0.32 * length, middle, ground)
        return (near - 0.25 * length, middle, ground + 0.24 * length), target

    def _move_camera(self, event: Any) -> None:
        """Move the clicking client to its chosen view; "Camera" cycles through the cameras."""
        position, target = self._viewpoint(event.target.value)
        fov = FOV_RAD
        nodes = self._nodes.get(self._shown) if self._shown is not None else None
        cameras = nodes.cameras() if nodes is not None else []
        if event.target.value == "Camera" and cameras:
            shape = cameras[self._next_camera % len(cameras)]
            position, target = shape.lidar_from_cam[:3, 3], shape.center_m()
            fov = shape.fov_rad
            self._next_camera += 1
        else:
            self._next_camera = 0
        camera = event.client.camera
        with event.client.atomic():
            camera.up_direction = (0.0, 0.0, 1.0)
            camera.position, camera.look_at, camera.fov = position, target, fov

    def _save_screenshot(self, event: Any) -> None:
        """Let the clicking client download its view, without the panel."""
        client, stem = event.client, self._source.stems[self._panel.index]
        height, width = client.camera.image_height, client.camera.image_width
        image = client.get_render(height, width, transport_format="png")
        encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA))[1]
        client.send_file_download(f"{stem}.png", encoded.tobytes(), save_immediately=True)


def _set_light(scene: viser.SceneApi) -> None:
    """Light the scene by sky and a sun from behind left, so cube sides differ in tone."""
    scene.set_up_direction("+z")
    scene.configure_default_lights(False)
    scene.configure_environment_map(None)
    scene.add_light_hemisphere(
        "/light/sky", sky_color=(255, 255, 255), ground_color=(150, 150, 160), intensity=2.3
    )
    scene.add_light_directional("/light/sun", intensity=2.5, position=(-40.0, 30.0, 75.0))
    scene.set_background_image(_sky(), format="png")


def _sky() -> np.ndarray:
    """Return a vertical gradient from pale blue to white."""
    share = np.linspace(0, 1, 256)[:, None, None] ** 0.7
    rows = (1 - share) * np.array([208, 222, 238.0]) + share * np.array([250, 251, 252.0])
    return np.rint(rows.repeat(4, axis=1)).astype(np.uint8)
