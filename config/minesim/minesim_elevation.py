# The demo with road elevation as an extra task, for two CPU cores and some minutes.
_base_ = "minesim_occ.py"
model = dict(
    parts=dict(
        elevation=dict(
            type="ElevationHead",
            # MineSim counts its cells of 0.1 m from the far left corner of the region on.
            x_m=(25.08, 45.48),  # near and far end in the LiDAR frame
            y_m=(-10.82, 10.88),  # right and left end
            shape=(204, 217),
            channels=(16, 24, 32, 48),  # at 0.1, 0.2, 0.4 and 0.8 m
            context_channels=8,  # of the decoded columns
        ),
    ),
)
schedule = dict(epochs=5)
