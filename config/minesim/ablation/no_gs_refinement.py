# no_gs_refinement of UnScenes3D, on MineSim at full size.
_base_ = ["../../unscenes3d/ablation/no_gs_refinement.py", "../../_base_/minesim_encoder.py"]
model = dict(parts=dict(image_encoder={{_base_._image_encoder}}))
data_root = "data/minesim"
dataset = dict(split_source="lists")
