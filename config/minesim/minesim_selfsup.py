# The demo without labels, from the LiDAR rays of the drives: no file of a label is opened.
_base_ = "minesim_occ.py"
model = dict(loss=dict(supervision="lidar"))
