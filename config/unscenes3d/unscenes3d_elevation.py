# The reference model with road elevation as an extra task, beside occupancy.
_base_ = "unscenes3d_occ.py"
model = dict(
    parts=dict(
        elevation=dict(
            type="ElevationHead",
            cells=dict(  # of the label's 0.1 m: dataset/layout.py says how they are counted
                near_right_m=(25.0, -10.88),  # corner in the LiDAR frame
                cell_m=0.1,
                shape=(204, 217),  # rows, the first far away, and columns, the first on the left
            ),
            channels=(32, 48, 64, 96),  # at 0.2, 0.4, 0.8 and 1.6 m
            context_channels=32,  # of the decoded columns
        ),
    ),
)
