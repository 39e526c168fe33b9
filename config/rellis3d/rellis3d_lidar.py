# LiDAR only: no image is read, no camera branch is built.
_base_ = "rellis3d_occ.py"
modality = "lidar"
