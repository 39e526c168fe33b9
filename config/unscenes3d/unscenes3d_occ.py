# The reference model on UnScenes3D: camera and LiDAR, logits on the full label grid.
_base_ = [
    "../_base_/unscenes3d.py",
    "../_base_/model.py",
    "../_base_/schedule.py",
    "../_base_/runtime.py",
]
model = dict(loss={{_base_._class_balance}})
