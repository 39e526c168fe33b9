"""Which objects a scene holds and how many: machines, people, cones, signs and rocks.

All objects are static, as parked and working machines are for the seconds of a clip. None of them
blocks the ego lane, and none overlap. The mean counts are tuned to bring the class shares of the
label voxels close to the published ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from dataset.minesim.scene import earthmovers, machines, props
from dataset.minesim.scene.ground import Ground
from dataset.minesim.scene.mesh import Mesh, merge, tube
from dataset.minesim.scene.placer import Builder, Kind, Placer
from dataset.minesim.scene.terrain import Terrain

KINDS: tuple[Kind, ...] = (
    Kind(
        "excavator",
        "excavator",
        (earthmovers.excavator,),
        {"near": 0.12, "far": 0.4, "ahead": 0.15},
    ),
    Kind(
        "haul truck",
        "truck",
        (machines.haul_truck,),
        {"oncoming": 0.22, "near": 0.16, "far": 0.5, "ahead": 0.4},
    ),
    Kind(
        "wide-body truck",
        "widebody",
        (machines.widebody_truck,),
        {"oncoming": 0.05, "near": 0.1, "far": 0.35, "ahead": 0.2},
    ),
    Kind(
        "wheel loader",
        "machinery",
        (earthmovers.wheel_loader,),
        {"near": 0.1, "shoulder": 0.05, "far": 0.35, "ahead": 0.1},
    ),
    Kind(
        "machine",
        "machinery",
        (earthmovers.dozer, earthmovers.grader, earthmovers.roller, machines.water_truck),
        {"near": 0.11, "shoulder": 0.06, "far": 0.35, "ahead": 0.15},
    ),
    Kind("office", "terrain", (props.hut,), {"near": 0.06, "far": 0.3}),
    Kind(
        "pickup",
        "car",
        (machines.pickup,),
        {"near": 0.12, "shoulder": 0.12, "far": 0.5, "ahead": 0.3},
    ),
    Kind("light mast", "free", (machines.light_mast,), {"near": 0.15, "shoulder": 0.1, "far": 0.3}),
    Kind("worn tire", "free", (props.worn_tire,), {"near": 0.6, "far": 1.0}),
    Kind(
        "person",
        "pedestrian",
        (props.person,),
        {"near": 0.2, "shoulder": 0.1, "far": 0.6, "ahead": 0.3},
        tilts=False,
    ),
    Kind(
        "sign",
        "traffic_cone",
        (props.sign_board,),
        {"shoulder": 1.6, "ahead": 0.6},
        tilts=False,
        faces_ego=True,
    ),
)


_NIGHT_MASTS = Kind(
    "light mast", "free", (machines.light_mast,), {"near": 1.6, "shoulder": 1.0, "far": 0.4}
)


def place_objects(
    rng: np.random.Generator,
    ground: Ground,
    terrain: Terrain,
    end_m: float,
    *,
    plants: bool,
    density: Mapping[str, float] | None = None,
) -> Placer:
    """Place all objects of a scene.

    Args:
        rng: Random generator.
        ground: The ground to place them on.
        terrain: Tells where walls and drops are.
        end_m: World x where the drive ends [m].
        plants: Whether there is grass.
        density: Factors of the mean counts by class; those not in it keep theirs.
    """
    placer = Placer(ground, rng, end_m)
    for kind in KINDS:
        placer.scatter(_denser(kind, (density or {}).get(kind.class_name, 1.0)))
    _cone_rows(placer)
    _edge_structures(placer, terrain)
    _stones(placer, terrain)
    _power_line(placer)
    if plants:
        _tufts(placer)
    return placer


def _denser(kind: Kind, factor: float) -> Kind:
    """Return a kind with its mean counts multiplied by a factor."""
    counts = {zone: factor * mean for zone, mean in kind.mean_count.items()}
    return replace(kind, mean_count=counts)


def place_light_masts(placer: Placer, rng: np.random.Generator) -> None:
    """Place light masts beside the road for work at night, drawn by ``rng`` alone."""
    replace(placer, rng=rng).scatter(_NIGHT_MASTS)


def _variants(rng: np.random.Generator, builder: Builder, count: int = 6) -> Callable[[], Mesh]:
    """Return a function that draws from a few prebuilt meshes, for objects that occur in bulk."""
    made = [builder(rng) for _ in range(count)]
    return lambda: made[int(rng.integers(count))]


def _cone_rows(placer: Placer) -> None:
    """Place rows of cones or delineator blocks along the edge of the road."""
    rng, road = placer.rng, placer.ground.road
    for builder, share, spacing in (
        (props.traffic_cone, 0.58, (4.0, 8.0)),
        (props.bollard, 0.45, (5.0, 9.0)),
    ):
        if rng.random() > share:
            continue
        one = _variants(rng, builder, 3)
        side = float(rng.choice([-1.0, 1.0]))
        start = float(rng.uniform(5.0, placer.end_m + 30.0))
        inset = float(rng.uniform(0.3, 1.4))
        for x in start + float(rng.uniform(*spacing)) * np.arange(int(rng.integers(6, 18))):
            d = side * (road.half_width_at(x) - inset + rng.normal(0.0, 0.12))
            xy = road.place(x, d)
            if placer.has_room(xy, d, 0.5, across=0.5, yaw=0.0):
                yaw = float(rng.uniform(0, np.pi))
                placer.put(one(), "traffic_cone", xy, yaw, name="traffic cone", tilts=False)


def _edge_structures(placer: Placer, terrain: Terrain) -> None:
    """Place block walls and fences along the edge of the road; they are labeled terrain."""
    rng, road = placer.rng, placer.ground.road
    for builder, name, share in (
        (props.block_wall, "retaining wall", 0.25),
        (props.fence, "fence", 0.2),
    ):
        if rng.random() > share:
            continue
        sign = float(rng.choice([-1.0, 1.0]))
        side = terrain.left if sign > 0 else terrain.right
        out = 0.2 if side.kind != "floor" else float(rng.uniform(0.5, 7.0))
        x = float(rng.uniform(15.0, placer.end_m + 60.0))
        d = sign * (road.half_width_at(x) + out)
        xy = road.place(x, d)
        mesh = builder(rng)
        reach = 0.5 * float(np.ptp(mesh.vertices[:, 0]))
        if placer.has_room(xy, d, reach, across=0.5, yaw=0.0):
            placer.put(mesh, "terrain", xy, road.heading_at(x), name=name)


def _stones(placer: Placer, terrain: Terrain) -> None:
    """Place fallen rocks: many along the foot of walls, some anywhere beside the road."""
    rng, road = placer.rng, placer.ground.road
    one = _variants(rng, props.stone, 10)
    for sign, side in ((-1.0, terrain.right), (1.0, terrain.left)):
        count = int(rng.poisson(38.0 if side.kind == "wall" else 6.0))
        clusters = rng.uniform(0.0, placer.end_m + 110.0, size=5)
        for _ in range(count):
            x = float(clusters[int(rng.integers(5))] + rng.normal(0.0, 7.0))
            out = rng.normal(1.0, 0.8) if side.kind == "wall" else rng.uniform(0.0, 9.0)
            d = sign * (road.half_width_at(x) + out)
            xy = road.place(x, d)
            if placer.has_room(xy, d, 0.2, across=0.2, yaw=0.0):
                placer.put(one(), "barrier", xy, float(rng.uniform(0, 2 * np.pi)))


def _power_line(placer: Placer) -> None:
    """Place a row of poles with sagging wires beside the road; they are background."""
    rng, road = placer.rng, placer.ground.road
    if rng.random() > 0.35:
        return
    sign, out = float(rng.choice([-1.0, 1.0])), float(rng.uniform(14.0, 40.0))
    pole = props.power_pole(rng)
    heads: list[float] = []
    for x in np.arange(-20.0, placer.end_m + 320.0, 45.0):
        d = sign * (road.width_m / 2 + out)
        xy = road.place(x, d)
        if not placer.has_room(xy, d, 0.5, across=0.5, yaw=0.0):
            heads.clear()
            continue
        placer.put(pole, "free", xy, road.heading_at(x), name="power pole", tilts=False)
        heads.append(placer.meshes[-1].vertices.max(axis=0)[2] - 0.2)
        if len(heads) > 1:
            before = road.place(x - 45.0, d)
            placer.meshes.append(_wires(before, heads[-2], xy, heads[-1]))
            placer.labels.append(0)


def _wires(
    start: Float[np.ndarray, "2"], start_z: float, end: Float[np.ndarray, "2"], end_z: float
) -> Mesh:
    """Build three wires between two pole heads with a sag of 0.8 m."""
    share = np.linspace(0.0, 1.0, 7)
    along = (end - start) / np.linalg.norm(end - start)
    parts = []
    for side in (-1.0, 0.0, 1.0):
        shift = side * np.array([-along[1], along[0]])
        xy = start + shift + share[:, None] * (end - start)
        z = start_z + share * (end_z - start_z) - 3.2 * share * (1 - share)
        points = np.column_stack([xy, z])
        for a, b in pairwise(points):
            ends = [(float(p[0]), float(p[1]), float(p[2])) for p in (a, b)]
            parts.append(tube(ends[0], ends[1], 0.02, "steel", machines.BLACK, sides=4))
    return merge(parts)


def _tufts(placer: Placer) -> None:
    """Place dry grass beside the road; it is background."""
    rng, road = placer.rng, placer.ground.road
    one = _variants(rng, props.tuft, 8)
    for _ in range(int(rng.integers(20, 120))):
        x = float(rng.uniform(0.0, placer.end_m + 120.0))
        d = float(rng.choice([-1.0, 1.0])) * (road.width_m / 2 + float(rng.uniform(2.5, 30.0)))
        xy = road.place(x, d)
        if placer.has_room(xy, d, 0.2, across=0.2, yaw=0.0):
            placer.put(one(), "free", xy, float(rng.uniform(0, np.pi)), tilts=False)
