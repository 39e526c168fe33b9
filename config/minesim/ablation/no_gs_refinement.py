# no_gs_refinement of UnScenes3D, on MineSim at full size.
_base_ = "../../unscenes3d/ablation/no_gs_refinement.py"
data_root = "data/minesim"
dataset = dict(split_source="lists")
