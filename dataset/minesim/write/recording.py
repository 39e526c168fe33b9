"""Writes drives as recordings, with trucks that move and the truth about every fifth frame.

    OUT/drive_00000/clouds, images, labels, calib.json, poses.txt    a recording at 10 Hz
    OUT/drive_00000/truth/occ, depths, elevation                     labels of the simulator

Point labels are the classes of UnScenes3D, 100 more for trucks that move. The truth has each truck
where it is in that frame. One truck comes toward the vehicle on the other lane, the next drives
ahead on its own lane.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8, UInt16

from dataset import layout
from dataset.layout_files import PNG_OPTIONS, write_encoded
from dataset.map_labels import elevation_image, occupancy_rows
from dataset.minesim.scene.drive import RATE_HZ
from dataset.minesim.scene.machines import haul_truck
from dataset.minesim.scene.mesh import Mesh
from dataset.minesim.scene.world import World, world_of_scene
from dataset.minesim.sensors.camera import CameraFrame, CameraRenderer
from dataset.minesim.sensors.lidar import Scan, pulses, scan
from dataset.minesim.sensors.raycast import NO_HIT, Caster
from dataset.minesim.sensors.rig import Camera, Rig
from dataset.minesim.sensors.stage import Stage, make_stage
from dataset.minesim.write.labels import ClipMap, accumulate, depth_image, local_map
from dataset.minesim.write.schedule import FIRST_STAMP_S, SCENE_SPACING_S
from dataset.minesim.write.writer import JPEG_QUALITY
from dataset.occupancy_files import write_array
from dataset.recorded_poses import POSES, write_poses
from utils.labels import UNSCENES3D
from utils.parallel import map_in_processes
from utils.whole_files import write_json, write_whole

TRUTH = "truth"
TRUTH_STEP = 5
"""Frames from one with truth to the next."""
MOVING = 100
"""Added to the class of point labels of things that move."""
MOST_MOVERS = 2

_STREAM = 8
"""Separate from the streams of the scenes."""
_CLOCK, _CAMERA, _LIDAR, _MAP, _MOVERS, _SURFACE = range(6)
_LEAD_TICKS, _TAIL_TICKS = 15, 60
_OTHER_LANE_M = 7.5
_ONCOMING_MPS, _ONCOMING_START_M = 8.0, 75.0
_AHEAD_M, _AHEAD_SWING_M = 24.0, 6.0
_SURFACE_POINTS = 60_000
"""Points on a truck's surface that its truth is made from."""
_TRUCK = UNSCENES3D.index("truck")
_TRUCK_INTENSITY = 90.0
_SKY = np.array([0.3, -0.2, 0.9]) / np.linalg.norm([0.3, -0.2, 0.9])


@dataclass(frozen=True)
class RecordingOptions:
    """Options of recordings; they determine every byte.

    Attributes:
        drives: Number of drives.
        frames: Frames of a drive, at 10 Hz.
        image_size: Width and height of the images [px].
        seed: Random seed.
        movers: Trucks that move, up to ``MOST_MOVERS``.
        map_voxel_m: Spacing of the points that the truth is made from [m].
        truth_rays: Rays per scan for the truth, with a scan every 5 m. With the 45,000 of other
            layouts, the ground has holes that ten sweeps per second do not have.
        truth_range_m: Range of these scans [m]. With the 55 m of other layouts, ground is missing
            that the vehicle has only seen from farther away.
        ground_cell_m: Edge of the ground triangles on the road [m].

    Raises:
        ValueError: If a number is out of range.
    """

    drives: int
    frames: int
    image_size: tuple[int, int] = (960, 600)
    seed: int = 0
    movers: int = MOST_MOVERS
    map_voxel_m: float = 0.1
    truth_rays: int = 250_000
    truth_range_m: float = 100.0
    ground_cell_m: float = 0.4

    def __post_init__(self) -> None:
        """Validate the numbers."""
        if min(self.drives, self.frames) < 1:
            raise ValueError(
                f"expected at least one drive and one frame, got {self.drives} and {self.frames}"
            )
        if not 0 <= self.movers <= MOST_MOVERS:
            raise ValueError(f"expected 0 to {MOST_MOVERS} movers, got {self.movers}")


@dataclass(frozen=True)
class Mover:
    """A truck that moves.

    Attributes:
        mesh: Its mesh, x forward, on the ground.
        caster: Ray casting against it.
        normal: Unit normal of each face.
        surface: Points on its surface.
        world_from_mover: Pose at each tick of the drive.
    """

    mesh: Mesh
    caster: Caster
    normal: Float32[np.ndarray, "F 3"]
    surface: Float32[np.ndarray, "S 3"]
    world_from_mover: Float[np.ndarray, "T 4 4"]

    def distances(
        self,
        tick: int,
        origin: Float[np.ndarray, "3"],
        directions: Float32[np.ndarray, "R 3"],
    ) -> tuple[Float32[np.ndarray, " R"], np.ndarray]:
        """Return the distance along rays in the world, inf without a hit, and the face."""
        mover_from_world = np.linalg.inv(self.world_from_mover[tick])
        rotation = mover_from_world[:3, :3].astype(np.float32)
        start = (mover_from_world[:3, :3] @ origin + mover_from_world[:3, 3]).astype(np.float32)
        hits = self.caster.first_hits(start, np.ascontiguousarray(directions @ rotation.T))
        return np.where(hits.face == NO_HIT, np.float32(np.inf), hits.distance), hits.face


def write_recordings(root: Path, options: RecordingOptions, *, workers: int | None = None) -> None:
    """Write the drives that are missing.

    Args:
        root: Output folder.
        options: What to write.
        workers: Number of processes; None for one per core. The files do not depend on it.
    """
    missing = [n for n in range(options.drives) if not (_folder(root, n) / POSES).is_file()]
    write = partial(write_drive, root, options)
    for _ in map_in_processes(write, missing, title="MineSim", workers=workers, chunk_size=1):
        pass


def write_drive(root: Path, options: RecordingOptions, number: int) -> None:
    """Write one drive; ``poses.txt`` comes last."""
    folder = _folder(root, number)
    duration = (_LEAD_TICKS + options.frames + _TAIL_TICKS) / RATE_HZ
    world = world_of_scene(options.seed, number, duration_s=duration, cell_m=options.ground_cell_m)
    stage, rig = make_stage(world), Rig(Camera(*options.image_size))
    seed = (options.seed, _STREAM, number)
    clip = accumulate(
        stage,
        np.random.default_rng((*seed, _MAP)),
        voxel_m=options.map_voxel_m,
        num_rays=options.truth_rays,
        range_m=options.truth_range_m,
    )
    movers = draw_movers(world, np.random.default_rng((*seed, _MOVERS)), options.movers)
    renderer = CameraRenderer(stage, rig.camera)
    poses = {}
    for frame in range(options.frames):
        tick = _LEAD_TICKS + frame
        stem = f"{FIRST_STAMP_S + number * SCENE_SPACING_S + tick / RATE_HZ:.6f}"
        pose = world.drive.world_from_vehicle[tick]
        taken = renderer.take(pose, np.random.default_rng((*seed, _CAMERA, tick)))
        taken = with_movers(taken, movers, tick, pose @ rig.camera.vehicle_from_cam, rig.camera)
        cloud, label = scan_with_movers(
            stage, movers, tick, pose, rig, np.random.default_rng((*seed, _LIDAR, tick))
        )
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        write_encoded(folder / "images" / f"{stem}.jpg", taken.image[..., ::-1], quality)
        write_whole(folder / "clouds" / f"{stem}.bin", cloud.points.tobytes())
        write_whole(folder / "labels" / f"{stem}.label", label.astype("<u4").tobytes())
        if frame % TRUTH_STEP == 0:
            labels = true_labels(clip, movers, tick, pose, rig, taken.depth_m, cloud)
            _write_truth(folder / TRUTH, stem, labels)
        poses[stem] = pose @ rig.vehicle_from_lidar
    camera = {
        "pixel_from_cam": rig.camera.p2[:, :3].tolist(),
        "cam_from_lidar": rig.cam_from_lidar.tolist(),
    }
    content = {
        "cameras": {"front": camera},
        "network_from_lidar": np.eye(4).tolist(),
        "intensity_max": 255,
    }
    write_json(content, folder / "calib.json")
    write_poses(folder / POSES, poses)


def draw_movers(world: World, rng: np.random.Generator, number: int) -> list[Mover]:
    """Draw trucks and their ways: one oncoming, one ahead."""
    pose = world.drive.world_from_vehicle
    path = pose[:, :3, 3]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    time = world.drive.time_s - world.drive.time_s[_LEAD_TICKS]
    place = along[_LEAD_TICKS]
    ways = [
        (place + _ONCOMING_START_M - _ONCOMING_MPS * time, _OTHER_LANE_M, -1.0),
        (along + _AHEAD_M + _AHEAD_SWING_M * np.sin(0.4 * time), 0.0, 1.0),
    ]
    movers = []
    for way, aside, sign in ways[:number]:
        mesh = haul_truck(rng)
        poses = np.stack([_pose_on(world, along, path, s, aside, sign) for s in way])
        vertices = mesh.vertices.astype(np.float32)
        corners = vertices[mesh.faces]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(normal, axis=1)
        face = rng.choice(len(area), _SURFACE_POINTS, p=area / area.sum())
        weights = np.sort(rng.random((_SURFACE_POINTS, 2)), axis=1)
        weights = np.diff(weights, axis=1, prepend=0, append=1)
        surface = np.einsum("sc,sck->sk", weights, corners[face]).astype(np.float32)
        unit = (normal / np.maximum(area, 1e-9)[:, None]).astype(np.float32)
        movers.append(Mover(mesh, Caster(vertices, mesh.faces), unit, surface, poses))
    return movers


def _pose_on(
    world: World,
    along: Float[np.ndarray, "T"],
    path: Float[np.ndarray, "T 3"],
    s: float,
    aside: float,
    sign: float,
) -> Float[np.ndarray, "4 4"]:
    """Return the pose at a distance along the path of the vehicle, ``aside`` to its left."""

    def point(at: float) -> Float[np.ndarray, "2"]:
        inside = np.clip(at, along[0], along[-1])
        xy = np.array([np.interp(inside, along, path[:, i]) for i in (0, 1)])
        last = path[-1, :2] - path[-5, :2] if at > inside else path[4, :2] - path[0, :2]
        return xy + (at - inside) * last / np.linalg.norm(last)

    forward = point(s + 1.0) - point(s - 1.0)
    forward /= np.linalg.norm(forward)
    xy = point(s) + aside * np.array([-forward[1], forward[0]])
    forward = sign * forward
    ends = np.stack([xy + 4 * forward, xy - 4 * forward, xy])
    front, rear, middle = (float(z) for z in world.height_m(ends))
    x_axis = np.append(forward, (front - rear) / 8)
    x_axis /= np.linalg.norm(x_axis)
    y_axis = np.array([-forward[1], forward[0], 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x_axis, y_axis, np.cross(x_axis, y_axis)], axis=1)
    pose[:3, 3] = *xy, max(middle, (front + rear) / 2)
    return pose


def scan_with_movers(
    stage: Stage,
    movers: list[Mover],
    tick: int,
    world_from_vehicle: Float[np.ndarray, "4 4"],
    rig: Rig,
    rng: np.random.Generator,
) -> tuple[Scan, np.ndarray]:
    """Scan one frame; return the points, and their labels with ``MOVING`` added on trucks."""
    pose = world_from_vehicle @ rig.vehicle_from_lidar
    time_s = float(stage.world.drive.time_s[tick])
    cloud = scan(stage, pose, time_s, rng, model=rig.lidar)
    directions = pulses(rig.lidar, time_s)
    in_world = (directions @ pose[:3, :3].T.astype(np.float32)).astype(np.float32)
    nearest = np.full(len(directions), np.inf, np.float32)
    for mover in movers:
        nearest = np.minimum(nearest, mover.distances(tick, pose[:3, 3], in_world)[0])
    range_m = np.full(len(directions), np.inf, np.float32)
    range_m[cloud.pulse] = np.linalg.norm(cloud.points[:, :3], axis=1)
    hit = np.flatnonzero((nearest < range_m) & (nearest < rig.lidar.range_m))
    kept = nearest[cloud.pulse] >= range_m[cloud.pulse]
    distance = nearest[hit] + rng.normal(0, rig.lidar.noise_m, len(hit)).astype(np.float32)
    points = np.column_stack(
        [directions[hit] * distance[:, None], np.full(len(hit), _TRUCK_INTENSITY, np.float32)]
    ).astype(np.float32)
    label = np.concatenate([cloud.label[kept].astype(np.int64), np.full(len(hit), MOVING + _TRUCK)])
    joined = Scan(
        np.concatenate([cloud.points[kept], points]),
        (label % MOVING).astype(np.uint8),
        np.concatenate([cloud.is_dust[kept], np.zeros(len(hit), bool)]),
        np.concatenate([cloud.pulse[kept], hit]),
    )
    return joined, label


def with_movers(
    taken: CameraFrame,
    movers: list[Mover],
    tick: int,
    world_from_cam: Float[np.ndarray, "4 4"],
    camera: Camera,
) -> CameraFrame:
    """Draw the trucks into an image, with flat shading."""
    image, depth = taken.image.copy(), taken.depth_m.copy()
    rays = camera.rays.reshape(3, -1).T @ world_from_cam[:3, :3].T.astype(np.float32)
    for mover in movers:
        near, face = mover.distances(tick, world_from_cam[:3, 3], rays.astype(np.float32))
        is_first = near < depth.reshape(-1)
        shown = face[is_first]
        toward = mover.world_from_mover[tick, :3, :3].T @ _SKY
        light = 0.45 + 0.4 * np.clip(mover.normal[shown] @ toward, 0, 1)
        color = 255 * np.clip(mover.mesh.face_color[shown] * light[:, None], 0, 1) ** (1 / 2.2)
        image.reshape(-1, 3)[is_first] = color.astype(np.uint8)
        depth.reshape(-1)[is_first] = near[is_first]
    return CameraFrame(image, depth)


@dataclass(frozen=True)
class Truth:
    """Labels of the simulator, as in ``occ``, ``depths`` and ``elevation``."""

    rows: UInt8[np.ndarray, "V 4"]
    depth: UInt16[np.ndarray, "H W"]
    elevation: UInt16[np.ndarray, "rows cols"]


def true_labels(
    clip: ClipMap,
    movers: list[Mover],
    tick: int,
    world_from_vehicle: Float[np.ndarray, "4 4"],
    rig: Rig,
    surface_depth_m: Float32[np.ndarray, "H W"],
    cloud: Scan,
) -> Truth:
    """Return the true labels of a frame, with each truck where it is."""
    pose = world_from_vehicle @ rig.vehicle_from_lidar
    points, label = local_map(clip, pose)
    lidar_from_world = np.linalg.inv(pose)
    trucks = [np.zeros((0, 3), np.float32)]
    for mover in movers:
        lidar_from_mover = lidar_from_world @ mover.world_from_mover[tick]
        moved = mover.surface @ lidar_from_mover[:3, :3].T + lidar_from_mover[:3, 3]
        trucks.append(moved.astype(np.float32))
    truck = np.concatenate(trucks)
    every = np.concatenate([points, truck])
    every_label = np.concatenate([label, np.full(len(truck), _TRUCK, np.uint8)])
    own: Float32[np.ndarray, "N 3"] = cloud.points[~cloud.is_dust, :3]
    return Truth(
        occupancy_rows(every, every_label).astype(np.uint8),
        depth_image(np.concatenate([every, own]), surface_depth_m, rig),
        elevation_image(points),
    )


def _write_truth(folder: Path, stem: str, truth: Truth) -> None:
    write_array(folder / layout.relative_path(layout.OCCUPANCY, stem), truth.rows)
    for name, image in ((layout.DEPTHS, truth.depth), (layout.ELEVATION, truth.elevation)):
        write_encoded(folder / layout.relative_path(name, stem), image, PNG_OPTIONS)


def _folder(root: Path, number: int) -> Path:
    return root / f"drive_{number:05d}"
