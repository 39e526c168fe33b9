# The demo with road elevation as an extra task, for two CPU cores and a few minutes.
_base_ = "minesim_occ.py"
model = dict(
    parts=dict(
        elevation=dict(
            type="ElevationHead",
            cells={{_base_._elevation_cells}},
            channels=(16, 24, 32, 48),  # at 0.2, 0.4, 0.8 and 1.6 m
            context_channels=8,  # of the decoded columns
        ),
    ),
)
schedule = dict(epochs=5)
