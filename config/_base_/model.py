# The network at full size: 384×1280 images, 256×256×32 voxels of 0.3 m; one GPU.
model = dict(
    type="UnsOcc",
    coarsening=2,  # label voxels per feature voxel along each axis: 0.6 m
    parts=dict(
        image_encoder=dict(
            type="ImageEncoder",
            backbone="resnet50",  # or resnet18, resnet34, a network of timm
            weights="imagenet",  # None: random | "imagenet": the cache | "package" | path of a file
            stride=8,  # pixels per feature cell
            channels=256,
            num_stages=4,
            norm="frozen",  # pretrained statistics: one or two images a batch make poor ones
            frozen_stages=1,  # the stem and the first stage keep their pretrained weights
        ),
        lift=dict(
            type="Lift",
            bins=dict(min_m=2.0, max_m=82.0, num=96, spacing="linear"),  # of camera depth
            channels=128,
            hidden_channels=256,
            evidence_channels=3,  # image features beside the classes at every label voxel
        ),
        lidar_encoder=dict(
            type="LidarEncoder",
            subdivision=2,  # LiDAR voxels per label voxel along each axis: 0.15 m
            stage_channels=(16, 32, 64),  # at 0.15, 0.3 and 0.6 m
            channels=128,
            evidence_channels=15,
            intensity_max=255.0,  # unit of the intensity that the weights are trained with
            convolutions="auto",  # "torch" | "spconv" | "auto": spconv trains on a GPU that has it
        ),
        fusion=dict(type="RenderFusion", channels=128, hidden_channels=32),
        decoder=dict(type="UNet3d", channels=(128, 192, 256)),  # at 0.6, 1.2 and 2.4 m
        head=dict(type="OccupancyHead", channels=32, free_prior=0.95),
        refinement=dict(type="GSRefinement", num_gaussians=40_000, hidden_channels=64),  # a frame
    ),
    # Shares of the frames that training predicts a second time, without that sensor; 0: off.
    sensor_dropout=dict(camera=0.0, lidar=0.0),
    rendering=dict(
        stride=4,  # image pixels along each edge of a rendered pixel
        ray_step=2,  # rendered pixels between rays through the volumes
        near_m=1.0,  # camera depth where rays begin
        far_m=80.0,
        num_segments=128,  # samples of a volume along a ray
    ),
    loss=dict(
        weights=dict(  # each term that the network computes needs one; the others have no effect
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
            splat_semantic=0.2,
            splat_lovasz=0.2,
            splat_depth=0.2,
            elevation=5.0,
            novel_depth=1.0,
            camera_branch=0.5,
            lidar_branch=0.5,
            lost_sensor=1.0,
            lidar_rays=1.0,
            matched_columns=1.0,
            mask_classes=0.5,
            point_classes=0.5,
            unexplained_occupancy=1.0,
        ),
        class_weights=None,  # in the cross entropy, free first; None: all alike
        class_counts=None,  # voxels a frame, for the cross entropy of images; None: all alike
        effective_number_beta=0.99,  # how far those weights go from all alike (0) to 1 / count (1)
        supervision="labels",  # labels | video | lidar | both: what training learns from
        label_free=dict(  # without labels
            sources=4,  # other frames of the drive, nearest in time, labeled or not
            spacing_m=0.0,  # least distance that the vehicle moves from one of them to the next
            rays=4096,  # LiDAR rays a frame, of its own sweep and of those frames'
            pixels=2,  # of each cell of the feature map and each image that are compared
            proposals=64,  # depths at which they are compared with the other images
            depths_m=(3.0, 80.0),  # smallest and largest of those
            masks=None,  # folder with the classes of pixels, one PNG an image
            point_labels=None,  # folder with the classes of points, one file a cloud
            point_mapping=None,  # file of what those are, as config/labels/kitti.json
        ),
    ),
)
