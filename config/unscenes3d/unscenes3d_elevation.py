# The reference model with road elevation as an extra task, beside occupancy.
_base_ = "unscenes3d_occ.py"
model = dict(
    parts=dict(
        elevation=dict(
            type="ElevationHead",
            cells={{_base_._elevation_cells}},
            channels=(32, 48, 64, 96),  # at 0.2, 0.4, 0.8 and 1.6 m
            context_channels=32,  # of the decoded columns
        ),
    ),
)
