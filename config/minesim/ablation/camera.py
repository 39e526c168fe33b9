# camera of UnScenes3D, on MineSim at full size.
_base_ = "../../unscenes3d/ablation/camera.py"
data_root = "data/minesim"
dataset = dict(split_source="lists")
