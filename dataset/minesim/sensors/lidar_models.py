"""LiDAR models: beam pattern, field of view, density, range, noise and intensity by name.

The numbers are those of the data sheets, rounded; mounting heights are typical of the vehicles
that carry the sensor. What a data sheet does not state, such as how intensity fades with range, is
an estimate of ours.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class LidarModel:
    """A LiDAR.

    Attributes:
        name: Name on the command line.
        title: Name in captions.
        pattern: "rosette" never repeats; "beams" sweeps rows of fixed elevation.
        fov_deg: Width and height of the field of view.
        center_deg: Elevation of its center, as mounted.
        columns: Pulses per frame of a rosette, azimuth steps per frame of each beam otherwise.
        beams: Number of beams; 0 for a rosette.
        range_m: Distance at which a surface that reflects 10 % is detected with 90 % probability.
        max_range_m: Largest distance of a point.
        noise_m: Standard deviation of the range.
        white: Intensity, in 0–255, of a white surface nearby. 255 is kept for retroreflectors.
        fading_m: Distance over which the intensity falls to 1/e.
        height_m: Range of its height above the ground.
        source: Where the numbers come from.
    """

    name: str
    title: str
    pattern: Literal["rosette", "beams"]
    fov_deg: tuple[float, float]
    center_deg: float
    columns: int
    beams: int
    range_m: float
    max_range_m: float
    noise_m: float
    white: float
    fading_m: float
    height_m: tuple[float, float]
    source: str

    @property
    def elevations_deg(self) -> Float[np.ndarray, "beams"]:
        """Elevation of each beam, lowest first."""
        half = self.fov_deg[1] / 2
        if self.name == "hdl_64e":  # The lower block is coarser: 1/2° instead of 1/3°.
            lower, upper = -24.8 + 0.5 * np.arange(32), 2.0 - np.arange(32)[::-1] / 3
            return np.concatenate([lower, upper])
        return np.linspace(self.center_deg - half, self.center_deg + half, self.beams)


LIVOX_HAP = LidarModel(
    name="livox_hap",
    title="Livox HAP",
    pattern="rosette",
    fov_deg=(120.0, 25.0),
    center_deg=-5.0,
    columns=55_000,
    beams=0,
    range_m=150.0,
    max_range_m=150.0,
    noise_m=0.02,
    white=150.0,
    fading_m=250.0,
    height_m=(2.65, 2.65),
    source="Livox HAP user manual; the LiDAR of UnScenes3D",
)
"""The default: its height puts a level road in the middle of a layer of the label grid, not on a
layer boundary. It is tilted toward the road. Of its 55,000 pulses about 45,000 yield a point, as
some hit the sky and some are too weak."""

LIDAR_MODELS: dict[str, LidarModel] = {
    model.name: model
    for model in (
        LIVOX_HAP,
        LidarModel(
            name="livox_horizon",
            title="Livox Horizon",
            pattern="rosette",
            fov_deg=(81.7, 25.1),
            center_deg=-4.0,
            columns=24_000,
            beams=0,
            range_m=90.0,
            max_range_m=200.0,
            noise_m=0.02,
            white=150.0,
            fading_m=250.0,
            height_m=(2.0, 3.2),
            source="Livox Horizon user manual v1.0: 240,000 points/s, 90 m at 10 %",
        ),
        LidarModel(
            name="livox_avia",
            title="Livox Avia",
            pattern="rosette",
            fov_deg=(70.4, 77.2),
            center_deg=-10.0,
            columns=24_000,
            beams=0,
            range_m=190.0,
            max_range_m=200.0,
            noise_m=0.02,
            white=150.0,
            fading_m=300.0,
            height_m=(2.4, 3.6),
            source="Livox Avia user manual: 240,000 points/s, 190 m at 10 %",
        ),
        LidarModel(
            name="at128",
            title="Hesai AT128",
            pattern="beams",
            fov_deg=(120.0, 25.4),
            center_deg=-2.0,
            columns=1200,
            beams=128,
            range_m=200.0,
            max_range_m=210.0,
            noise_m=0.025,
            white=100.0,
            fading_m=600.0,
            height_m=(1.8, 3.2),
            source="Hesai AT128 user manual: 0.1° × 0.2° at 10 Hz, 200 m at 10 %",
        ),
        LidarModel(
            name="os1_128",
            title="Ouster OS1-128",
            pattern="beams",
            fov_deg=(360.0, 45.0),
            center_deg=0.0,
            columns=1024,
            beams=128,
            range_m=90.0,
            max_range_m=170.0,
            noise_m=0.025,
            white=100.0,
            fading_m=500.0,
            height_m=(2.2, 3.6),
            source="Ouster OS1 (Rev7) data sheet: 1024 columns at 10 Hz, 90 m at 10 %",
        ),
        LidarModel(
            name="hdl_64e",
            title="Velodyne HDL-64E",
            pattern="beams",
            fov_deg=(360.0, 26.8),
            center_deg=-11.4,
            columns=2083,
            beams=64,
            range_m=50.0,
            max_range_m=120.0,
            noise_m=0.02,
            white=110.0,
            fading_m=150.0,
            height_m=(1.65, 2.2),
            source="Velodyne HDL-64E S3 user manual: 50 m at 10 %; the LiDAR of KITTI, at 1.73 m",
        ),
        LidarModel(
            name="hdl_32e",
            title="Velodyne HDL-32E",
            pattern="beams",
            fov_deg=(360.0, 41.34),
            center_deg=-10.0,
            columns=1084,
            beams=32,
            range_m=50.0,
            max_range_m=100.0,
            noise_m=0.02,
            white=85.0,
            fading_m=120.0,
            height_m=(1.75, 2.4),
            source="Velodyne HDL-32E user manual; the LiDAR of nuScenes, 20 Hz, at 1.84 m",
        ),
        LidarModel(
            name="vlp_16",
            title="Velodyne VLP-16",
            pattern="beams",
            fov_deg=(360.0, 30.0),
            center_deg=0.0,
            columns=1800,
            beams=16,
            range_m=40.0,
            max_range_m=100.0,
            noise_m=0.03,
            white=100.0,
            fading_m=150.0,
            height_m=(1.4, 2.2),
            source="Velodyne VLP-16 user manual: 16 beams of ±15°, 100 m",
        ),
    )
}
"""All models by name."""
