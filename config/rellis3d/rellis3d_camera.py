# Camera only: no point cloud is read, no LiDAR branch is built.
_base_ = "rellis3d_occ.py"
modality = "camera"
