# A head at half resolution: logits at the feature grid, interpolated to the labels'.
_base_ = "../unscenes3d_occ.py"
model = dict(
    parts=dict(
        lift=dict(evidence_channels=None),
        lidar_encoder=dict(evidence_channels=None),
        head=dict(type="CoarseOccupancyHead"),
    ),
)
