# Camera only: no cloud is opened, no LiDAR branch is built.
_base_ = "../minesim_full.py"
modality = "camera"
