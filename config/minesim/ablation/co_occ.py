# After Co-Occ: volumes fused by nearest neighbours both ways, depth and colours rendered from the
# fused one, and a head at half resolution.
_base_ = "../minesim_full.py"
model = dict(
    parts=dict(
        lift=dict(evidence_channels=None),
        lidar_encoder=dict(evidence_channels=None),
        fusion=dict(
            _delete_=True,
            type="KnnFusion",
            channels=128,
            neighbors=2,  # of each voxel, in the other sensor's volume
            max_distance_m=2.4,  # between the centres of neighbours
            max_camera_voxels=16384,  # a frame: those with the largest features
        ),
        head=dict(type="CoarseOccupancyHead"),
        refinement=None,
    ),
)
