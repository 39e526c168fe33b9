# How training changes the frames; a value of 0 is off. docs/training.md explains each part.
augmentation = dict(
    image_scale=(0.95, 1.05),  # zoom about the center
    image_shift=0.0,  # ± of the crop, as a share of its size
    image_flip_prob=0.0,  # mirror images and their projection
    brightness=0.2,  # ± share
    contrast=0.2,  # ± share
    saturation=0.0,  # ± share
    volume_flip_prob=0.5,  # mirror left and right
    volume_rotation_deg=5.0,  # ± about the vertical
    volume_height_m=0.0,  # ± of the LiDAR, rounded to whole voxels of the labels
    cloud=dict(
        intensity_scale=0.0,  # ± share
        intensity_offset=0.0,  # ± of the 0–1 intensity
        intensity_loss_prob=0.0,  # all intensities are 0
        point_drop=0.0,  # up to this share of the points
        beam_drop=0.0,  # up to this share of the beams
        beam_deg=0.5,  # elevation angles that make up a beam
        range_cut_prob=0.0,  # points beyond a distance are dropped
        range_cut_m=(20.0, 60.0),  # the distance
        noise_m=0.0,  # up to this standard deviation of each coordinate
    ),
    image=dict(
        blur_px=0.0,  # up to this standard deviation, at the size of the input
        noise=0.0,  # up to this standard deviation, as a share of the full scale
        patches=0,  # up to this number of them hides parts of an image
        patch_size=0.3,  # up to this share of the image's height and width
    ),
    calibration=dict(
        rotation_deg=0.0,  # ± of each camera against the LiDAR, about each axis
        translation_m=0.0,  # ± along each axis
    ),
)
