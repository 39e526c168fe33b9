# no_render_fusion of UnScenes3D, on MineSim at full size.
_base_ = "../../unscenes3d/ablation/no_render_fusion.py"
data_root = "data/minesim"
dataset = dict(split_source="lists")
