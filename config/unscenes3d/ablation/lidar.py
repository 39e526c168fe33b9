# LiDAR only: no image is read, no camera branch is built.
_base_ = "../unscenes3d_occ.py"
modality = "lidar"
