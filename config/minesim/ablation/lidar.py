# LiDAR only: no image is opened, no camera branch is built.
_base_ = "../minesim_full.py"
modality = "lidar"
