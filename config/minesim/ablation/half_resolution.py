# half_resolution of UnScenes3D, on MineSim at full size.
_base_ = "../../unscenes3d/ablation/half_resolution.py"
data_root = "data/minesim"
dataset = dict(split_source="lists")
