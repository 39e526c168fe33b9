# Camera only: no cloud is opened, no LiDAR branch is built.
_base_ = "../unscenes3d_occ.py"
modality = "camera"
