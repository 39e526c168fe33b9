# co_occ of UnScenes3D, on MineSim at full size.
_base_ = "../../unscenes3d/ablation/co_occ.py"
data_root = "data/minesim"
dataset = dict(split_source="lists")
