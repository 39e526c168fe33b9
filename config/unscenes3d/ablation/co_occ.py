# After Co-Occ: volumes fused by nearest neighbors in both directions, depth and color rendered from
# the fused volume, and a head at half resolution.
_base_ = "../unscenes3d_occ.py"
model = dict(
    parts=dict(
        lift=dict(evidence_channels=None),
        lidar_encoder=dict(evidence_channels=None),
        fusion=dict(
            _delete_=True,
            type="KnnFusion",
            channels=128,
            neighbors=2,  # of each voxel, in the other sensor's volume
            max_distance_m=2.4,  # between the centers of neighbors
            max_camera_voxels=16384,  # a frame: those with the largest features
        ),
        head=dict(type="CoarseOccupancyHead"),
        refinement=None,
    ),
)
