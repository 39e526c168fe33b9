# A head at half resolution: logits on the feature grid, interpolated to the label grid.
_base_ = "../unscenes3d_occ.py"
model = dict(
    parts=dict(
        lift=dict(evidence_channels=None),
        lidar_encoder=dict(evidence_channels=None),
        head=dict(type="CoarseOccupancyHead"),
    ),
)
