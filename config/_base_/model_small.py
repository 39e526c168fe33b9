# The network for a CPU: the label grid coarsened by 4 to 64×64×8 voxels of 1.2 m, small images.
model = dict(
    type="UnsOcc",
    coarsening=2,  # label voxels per feature voxel along each axis
    parts=dict(
        image_encoder=dict(
            type="ImageEncoder",
            depth=18,
            weights=None,  # None: random | "imagenet": torchvision's cache | path of a file
            stride=8,  # pixels per feature cell
            channels=48,
            num_stages=3,  # without the last, which has half of the weights
            norm="group",  # the demo trains on one image at a time
        ),
        lift=dict(
            type="Lift",
            bins=dict(min_m=2.0, max_m=82.0, num=48, spacing="linear"),  # of camera depth
            channels=32,
            hidden_channels=64,
            evidence_channels=6,  # image features beside the classes at every label voxel
        ),
        lidar_encoder=dict(
            type="LidarEncoder",
            subdivision=1,  # LiDAR voxels per label voxel along each axis: 1.2 m
            stage_channels=(24, 32),  # at 1.2 and 2.4 m
            channels=32,
            evidence_channels=8,
        ),
        fusion=dict(type="RenderFusion", channels=32, hidden_channels=16),
        decoder=dict(type="UNet3d", channels=(32, 64, 96)),  # at 2.4, 4.8 and 9.6 m
        head=dict(type="OccupancyHead", channels=16, free_prior=0.9),
        refinement=dict(type="GSRefinement", num_gaussians=1000, hidden_channels=32),  # a frame
    ),
    rendering=dict(
        stride=8,  # image pixels a side of a rendered pixel
        ray_step=2,  # rendered pixels between rays through the volumes
        near_m=1.0,  # camera depth where rays begin
        far_m=80.0,
        num_segments=48,  # samples of a volume along a ray
    ),
    loss=dict(
        weights=dict(
            cross_entropy=1.0,
            lovasz_softmax=1.0,
            sem_scal=1.0,
            geo_scal=1.0,
            depth=0.5,
            image_semantic=1.0,
            image_lovasz=1.0,
            render_depth=2.0,
            render_semantic=1.0,
            render_alignment=0.1,
            render_color=1.0,
            splat_semantic=0.1,
            splat_lovasz=0.1,
            splat_depth=0.1,
            elevation=5.0,
            novel_depth=1.0,
        ),
        # Of the cross entropy: 1 / log(1.2 + share) by the published shares of the labels, over
        # that of driveable_surface.
        class_weights=(1.0, 3.3, 3.3, 3.4, 3.5, 3.4, 3.4, 3.5, 3.4, 3.4, 1.6, 1.0),
        # Of the pictures' cross entropy: voxels a frame by the published shares, of 68,000.
        class_counts=(0, 544, 578, 95, 14, 95, 102, 1, 286, 88, 20012, 46179),
        effective_number_beta=0.99,
    ),
)
