"""The nodes of a frame in a viser scene, created when first shown."""

from collections.abc import Callable
from typing import Any

import numpy as np
import trimesh
import viser
import viser.transforms

from engine.frames.sources import ViewFrame
from engine.viewer.choice import (
    CAMERAS,
    DIFFERENCE,
    ELEVATION,
    GAUSSIANS,
    POINTS,
    PREDICTION,
    UNLABELED,
    Choice,
    extras_of,
    nearest_layer,
)
from engine.viewer.shapes import (
    CameraShape,
    beveled_cube,
    camera_shape,
    elevation_mesh,
    height_colors,
)
from engine.viewer.voxels import VoxelGroup, class_groups, error_groups, unlabeled_border
from utils.geometry import VoxelGrid
from utils.labels import LabelSet

IMAGE_DISTANCE = 0.1
"""Distance of an image from its camera, as a share of the grid's length."""
LINEAR = np.rint(255 * (np.arange(256) / 255) ** 2.2).astype(np.uint8)
"""Conversion of sRGB to linear values: viser does not convert the colors of instances."""
CAMERA_COLOR = (45, 52, 66)
UNLABELED_COLOR = (150, 150, 160)
POINT_M = 0.11
"""Width of a LiDAR point [m]."""
ABOVE_GROUND_M = 0.08
"""Offset that lifts the elevation surface out of the voxel faces [m]."""


class FrameNodes:
    """The nodes of a frame under one parent, which can hide them all.

    Args:
        scene: The scene to add them to.
        name: Path of the parent node.
        frame: The frame.
        grid: Its grid.
        labels: Its label set.

    Attributes:
        frame: The frame.
    """

    def __init__(
        self,
        scene: viser.SceneApi,
        name: str,
        frame: ViewFrame,
        grid: VoxelGrid,
        labels: LabelSet,
    ) -> None:
        self.frame = frame
        self._scene, self._name, self._grid, self._labels = scene, name, grid, labels
        self._parent = scene.add_frame(name, show_axes=False, visible=False)
        self._layers: dict[str, list[tuple[VoxelGroup, Any]]] = {}
        self._extras: dict[str, list[Any]] = {}
        self._builders: dict[str, Callable[[], list[Any]]] = {
            POINTS: self._add_points,
            CAMERAS: self._add_cameras,
            ELEVATION: self._add_elevation,
            GAUSSIANS: self._add_gaussians,
            UNLABELED: self._add_unlabeled,
        }

    def prepare(self, choice: Choice) -> None:
        """Create the nodes of a choice, and set their visibility under the parent."""
        layer = nearest_layer(choice.layer, self.frame)
        if layer is not None and layer not in self._layers:
            self._layers[layer] = [(group, self._add_voxels(layer, group))
                                   for group in self.groups(layer)]  # fmt: skip
        for extra in choice.extras.intersection(extras_of(self.frame)):
            if extra not in self._extras:
                self._extras[extra] = self._builders[extra]()
        for name, nodes in self._layers.items():
            for group, node in nodes:
                _show(node, name == layer and choice.shows(group))
        for extra, extra_nodes in self._extras.items():
            for node in extra_nodes:
                _show(node, extra in choice.extras)

    def show(self, is_shown: bool) -> None:
        """Show or hide the frame."""
        _show(self._parent, is_shown)

    def remove(self) -> None:
        """Remove the frame from the scene."""
        self._parent.remove()

    def groups(self, layer: str) -> list[VoxelGroup]:
        """Return the voxel groups of a layer that the frame has."""
        if layer in self._layers:
            return [group for group, _ in self._layers[layer]]
        predicted, label = self.frame.prediction, self.frame.label
        if layer == DIFFERENCE:
            assert predicted is not None, "a difference needs a prediction"
            assert label is not None, "a difference needs a label"
            return error_groups(predicted, label, self._grid, self._labels)
        voxels = predicted if layer == PREDICTION else label
        assert voxels is not None, "a layer that is shown needs voxels"
        return class_groups(voxels, self._grid, self._labels)

    def cameras(self) -> list[CameraShape]:
        """Return the cameras of the frame."""
        sample = self.frame.sample
        if sample.images is None or sample.pixel_from_lidar is None:
            return []
        height, width = sample.images.shape[-2:]
        distance = IMAGE_DISTANCE * (self._grid.end_m[0] - self._grid.origin_m[0])
        return [
            camera_shape(projection, width, height, distance_m=distance)
            for projection in sample.pixel_from_lidar.numpy()
        ]

    def _add_voxels(self, layer: str, group: VoxelGroup) -> Any:
        mesh = beveled_cube(self._grid.voxel_m)
        part = "ground" if group.is_ground else "objects"
        identity = np.broadcast_to(
            np.array([1, 0, 0, 0], dtype=np.float32), (len(group.centers_m), 4)
        )
        return self._scene.add_batched_meshes_simple(
            f"{self._name}/{layer}/{group.name}_{part}",
            mesh.vertices,
            mesh.faces,
            batched_wxyzs=identity,
            batched_positions=group.centers_m,
            batched_colors=LINEAR[group.colors],
            lod="off",
            flat_shading=True,
            cast_shadow=False,
            receive_shadow=False,
        )

    def _add_points(self) -> list[Any]:
        assert self.frame.sample.points is not None, "frames without points have no such node"
        points = self.frame.sample.points.numpy()[:, :3]
        node = self._scene.add_point_cloud(
            f"{self._name}/points",
            points,
            height_colors(points[:, 2]),
            point_size=POINT_M,
            point_shape="circle",
            precision="float32",
        )
        return [node]

    def _add_cameras(self) -> list[Any]:
        assert self.frame.sample.images is not None, "frames without images have no such nodes"
        nodes: list[Any] = []
        images = self.frame.sample.images.permute(0, 2, 3, 1).numpy()
        for number, (shape, image) in enumerate(zip(self.cameras(), images, strict=True)):
            width, height = np.ptp(shape.corners_m, axis=0)[:2]
            rotation = viser.transforms.SO3.from_matrix(shape.lidar_from_cam[:3, :3])
            nodes.append(
                self._scene.add_image(
                    f"{self._name}/camera_{number}/image",
                    image,
                    render_width=float(width),
                    render_height=float(height),
                    jpeg_quality=90,
                    wxyz=rotation.wxyz,
                    position=shape.center_m(),
                )
            )
            nodes.append(
                self._scene.add_line_segments(
                    f"{self._name}/camera_{number}/edges",
                    shape.edges_m(),
                    CAMERA_COLOR,
                    thickness=2.0,
                    thickness_units="screen",
                )
            )
        return nodes

    def _add_elevation(self) -> list[Any]:
        assert self.frame.sample.elevation_m is not None, (
            "frames without elevation have no such node"
        )
        mesh = elevation_mesh(self.frame.sample.elevation_m.numpy())
        if not len(mesh.faces):
            return []
        surface = trimesh.Trimesh(
            mesh.vertices + np.array([0, 0, ABOVE_GROUND_M], dtype=np.float32),
            mesh.faces,
            vertex_colors=height_colors(mesh.vertices[:, 2]),
            process=False,
        )
        node = self._scene.add_mesh_trimesh(
            f"{self._name}/elevation", surface, cast_shadow=False, receive_shadow=False
        )
        return [node]

    def _add_gaussians(self) -> list[Any]:
        assert self.frame.predicted is not None, "frames without a prediction have no such node"
        splats = self.frame.predicted.splats
        assert splats is not None, "frames without Gaussians have no such node"
        node = self._scene.add_gaussian_splats(
            f"{self._name}/gaussians",
            centers=splats.centers_m,
            covariances=splats.covariances_m2,
            rgbs=splats.colors,
            opacities=splats.opacities,
        )
        return [node]

    def _add_unlabeled(self) -> list[Any]:
        assert self.frame.label is not None, "frames without labels have no such node"
        centers_m = unlabeled_border(self.frame.label, self._grid)
        node = self._scene.add_point_cloud(
            f"{self._name}/unlabeled",
            centers_m,
            UNLABELED_COLOR,
            point_size=0.5 * self._grid.voxel_m,
            point_shape="circle",
            precision="float32",
        )
        return [node]


def _show(node: Any, is_shown: bool) -> None:
    """Set a node's visibility if it changes: viser would send a message in any case."""
    if node.visible != is_shown:
        node.visible = is_shown
