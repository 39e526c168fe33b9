# The full network without GSRefinement on MineSim-Bench.
_base_ = ["../../unscenes3d/ablation/no_gs_refinement.py", "../../_base_/minesim_bench.py"]
model = dict(
    parts=dict(image_encoder={{_base_._image_encoder}}),
    sensor_dropout={{_base_._sensor_dropout}},
    loss={{_base_._loss}},
)
data_root = {{_base_._data_root}}
dataset = {{_base_._dataset}}
augmentation = {{_base_._augmentation}}
schedule = {{_base_._schedule}}
runtime = {{_base_._runtime}}
