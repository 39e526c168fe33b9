"""Placer: puts meshes on the ground where there is room and keeps track of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from dataset.minesim.scene.ground import DRIVEABLE, Ground
from dataset.minesim.scene.mesh import Mesh
from utils.labels import UNSCENES3D

Builder = Callable[[np.random.Generator], Mesh]
Zone = Literal["oncoming", "shoulder", "near", "far", "ahead"]
"""The oncoming lane, the road edge, inside the label grid, to its sides, past its end."""

CORRIDOR_M = 3.0
"""Half the width of the lane kept free for the ego vehicle [m]."""
_TRIES = 40
_LEVEL_SLOPE = 0.16  # Steepest ground, rise over run, that a machine may stand on.


@dataclass(frozen=True)
class SceneObject:
    """One object of the scene.

    Attributes:
        name: Name in captions, such as "haul truck".
        label: Class of its faces (``UNSCENES3D``); 0 is background.
        center_m: Center of its bounding box, world frame [m].
        size_m: Length, width and height of its bounding box [m].
        yaw_rad: Heading about z, 0 along the world x axis, counterclockwise [rad].
    """

    name: str
    label: int
    center_m: Float[np.ndarray, "3"]
    size_m: Float[np.ndarray, "3"]
    yaw_rad: float


@dataclass(frozen=True)
class Kind:
    """A kind of object, and how many of it to expect in each zone.

    Attributes:
        name: Name in captions.
        class_name: Class of its faces; "free" if the labels ignore it.
        builders: Mesh builders to choose from.
        mean_count: Mean number per scene for each zone.
        tilts: Whether it tilts with the ground, as anything on wheels does.
        faces_ego: Whether its front faces oncoming ego traffic.
    """

    name: str
    class_name: str
    builders: tuple[Builder, ...]
    mean_count: dict[Zone, float]
    tilts: bool = True
    faces_ego: bool = False


@dataclass
class Placer:
    """Puts meshes on the ground and keeps track of them.

    Attributes:
        ground: The ground to place them on.
        rng: Random generator.
        end_m: World x where the drive ends [m].
        meshes: All meshes placed so far.
        labels: Class of each mesh.
        objects: The placed meshes that have a name.
    """

    ground: Ground
    rng: np.random.Generator
    end_m: float
    meshes: list[Mesh] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    objects: list[SceneObject] = field(default_factory=list)
    _discs: list[tuple[float, float, float]] = field(default_factory=list)

    def scatter(self, kind: Kind) -> None:
        """Place a random number of objects of a kind, where there is room."""
        for zone, mean in kind.mean_count.items():
            for _ in range(int(self.rng.poisson(mean))):
                builder = kind.builders[int(self.rng.integers(len(kind.builders)))]
                mesh = _centered(builder(self.rng))
                if not self._try_to_place(kind, zone, mesh) and zone != "oncoming":
                    self._try_to_place(kind, "ahead", mesh)

    def _try_to_place(self, kind: Kind, zone: Zone, mesh: Mesh) -> bool:
        """Place a mesh somewhere in a zone; return False if no position was found."""
        low, high = mesh.bounds()
        reach = 0.5 * float(np.hypot(*(high - low)[:2]))
        for _ in range(_TRIES):
            x, d, yaw = self._candidate(zone)
            xy = self.ground.road.place(x, d)
            yaw = np.pi if kind.faces_ego else yaw
            heading = yaw + self.ground.road.heading_at(x)
            if self.has_room(xy, d, reach, across=0.5 * float((high - low)[1]), yaw=yaw):
                if not self._is_level(xy, heading, low, high):
                    continue
                self.put(mesh, kind.class_name, xy, heading, name=kind.name, tilts=kind.tilts)
                return True
        return False

    def _candidate(self, zone: Zone) -> tuple[float, float, float]:
        """Draw a position (x, d) and a heading relative to the road."""
        rng, road = self.rng, self.ground.road
        half, side = road.width_m / 2, float(rng.choice([-1.0, 1.0]))
        along = np.pi if side > 0 else 0.0
        if zone == "oncoming":
            return float(rng.uniform(25.0, self.end_m + 75.0)), -road.lane_m, np.pi
        if zone == "shoulder":
            d = side * (half - float(rng.uniform(-0.8, 2.2)))
            return float(rng.uniform(12.0, self.end_m + 75.0)), d, along
        if zone == "near":
            d = side * float(rng.uniform(half - 2.0, 42.0))
            return float(rng.uniform(12.0, self.end_m + 75.0)), d, float(rng.uniform(-np.pi, np.pi))
        if zone == "far":
            d = side * float(rng.uniform(43.0, 120.0))
            x = float(rng.uniform(20.0, self.end_m + 180.0))
            return x, d, float(rng.uniform(-np.pi, np.pi))
        x = float(rng.uniform(self.end_m + 82.0, self.end_m + 200.0))
        return x, side * float(rng.uniform(0.3, 1.1)) * half, along + float(rng.normal(0, 0.3))

    def has_room(
        self, xy: Float[np.ndarray, "2"], d: float, reach: float, *, across: float, yaw: float
    ) -> bool:
        """Return whether an object keeps clear of the ego lane and of all other objects.

        Args:
            xy: Its position [m].
            d: Lateral offset from the road [m].
            reach: Radius of its bounding circle [m].
            across: Half its width [m].
            yaw: Heading relative to the road [rad].
        """
        clear = across if abs(np.sin(yaw)) < 0.2 else reach
        if abs(d - self.ground.road.lane_m) < CORRIDOR_M + clear + 0.5:
            return False
        return all(
            np.hypot(xy[0] - x, xy[1] - y) > reach + other + 0.3 for x, y, other in self._discs
        )

    def _is_level(
        self,
        xy: Float[np.ndarray, "2"],
        heading: float,
        low: Float[np.ndarray, "3"],
        high: Float[np.ndarray, "3"],
    ) -> bool:
        """Return whether the footprint is level and drivable."""
        points = _footprint(xy, heading, low, high, count=5)
        if (self.ground.label_at(points) != DRIVEABLE).any():
            return False
        rise = float(np.ptp(self.ground.height_m(points)))
        return rise < _LEVEL_SLOPE * float(np.hypot(*(high - low)[:2])) + 0.1

    def face_class(self) -> UInt8[np.ndarray, "F"]:
        """Return the class of each face of all meshes, in order of placement."""
        counts = [len(mesh.faces) for mesh in self.meshes]
        return np.repeat(np.array(self.labels, dtype=np.uint8), np.array(counts, dtype=int))

    def put(
        self,
        mesh: Mesh,
        class_name: str,
        xy: Float[np.ndarray, "2"],
        heading: float,
        *,
        name: str = "",
        tilts: bool = True,
    ) -> None:
        """Place a mesh on the ground without checking for room; named meshes become objects."""
        mesh = _centered(mesh)
        low, high = mesh.bounds()
        world_from_mesh = self._pose(xy, heading, low, high, tilts=tilts)
        label = UNSCENES3D.index(class_name)
        self.meshes.append(mesh.transformed(world_from_mesh))
        self.labels.append(label)
        self._discs.append((float(xy[0]), float(xy[1]), 0.5 * float(np.hypot(*(high - low)[:2]))))
        if name:
            center = world_from_mesh[:3, :3] @ ((low + high) / 2) + world_from_mesh[:3, 3]
            self.objects.append(SceneObject(name, label, center, high - low, float(heading)))

    def _pose(
        self,
        xy: Float[np.ndarray, "2"],
        heading: float,
        low: Float[np.ndarray, "3"],
        high: Float[np.ndarray, "3"],
        *,
        tilts: bool,
    ) -> Float[np.ndarray, "4 4"]:
        """Return the pose on the plane through the ground at the corners of the footprint."""
        corners = _footprint(xy, heading, low, high)
        back_right, back_left, front_right, front_left = self.ground.height_m(corners)
        length, width = (high - low)[:2]
        forward = np.array([np.cos(heading), np.sin(heading), 0.0])
        left = np.array([-forward[1], forward[0], 0.0])
        if tilts:
            forward[2] = (front_right + front_left - back_right - back_left) / (2 * length)
            left[2] = (front_left + back_left - front_right - back_right) / (2 * width)
        up = np.cross(forward, left)
        up /= np.linalg.norm(up)
        forward /= np.linalg.norm(forward)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([forward, np.cross(up, forward), up], axis=1)
        ground = (back_right + front_right + front_left + back_left) / 4
        if not tilts:
            ground = min(back_right, front_right, front_left, back_left)
        pose[:3, 3] = [xy[0], xy[1], ground]
        return pose


def _centered(mesh: Mesh) -> Mesh:
    """Return the mesh with the center of its footprint at the origin."""
    low, high = mesh.bounds()
    return mesh.moved(-float(low[0] + high[0]) / 2, -float(low[1] + high[1]) / 2, 0.0)


def _footprint(
    xy: Float[np.ndarray, "2"],
    heading: float,
    low: Float[np.ndarray, "3"],
    high: Float[np.ndarray, "3"],
    *,
    count: int = 2,
) -> Float[np.ndarray, "N 2"]:
    """Return ``count`` × ``count`` points under a mesh's box: from back right, y fastest."""
    x, y = np.meshgrid(*(np.linspace(low[k], high[k], count) for k in (0, 1)), indexing="ij")
    x, y = x.reshape(-1), y.reshape(-1)
    cos, sin = np.cos(heading), np.sin(heading)
    return np.stack([xy[0] + cos * x - sin * y, xy[1] + sin * x + cos * y], axis=-1)
