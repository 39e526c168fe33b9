# concat of UnScenes3D, on MineSim at full size.
_base_ = "../../unscenes3d/ablation/concat.py"
data_root = "data/minesim"
dataset = dict(split_source="lists")
