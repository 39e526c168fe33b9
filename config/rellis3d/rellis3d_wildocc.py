# The seven classes that WildOcc is scored on; all others are one class, "others".
_base_ = "rellis3d_occ.py"
labels = "wildocc"
model = dict(loss={{_base_._benchmark_balance}})
