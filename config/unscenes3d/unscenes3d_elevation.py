# The reference model with road elevation as an extra task, beside occupancy.
_base_ = "unscenes3d_occ.py"
model = dict(
    parts=dict(
        elevation=dict(
            type="ElevationHead",
            # The release counts its cells of 0.1 m from the near right corner of the labels'
            # region on; the last ones would reach beyond it and are left out.
            x_m=(25.0, 45.4),  # near and far end in the LiDAR frame
            y_m=(-10.88, 10.82),  # right and left end
            shape=(204, 217),  # labels of other cells are met by interpolation
            channels=(32, 48, 64, 96),  # at 0.1, 0.2, 0.4 and 0.8 m
            context_channels=32,  # of the decoded columns
        ),
    ),
)
