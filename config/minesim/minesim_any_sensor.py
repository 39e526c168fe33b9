# The demo's network for both sensors or either alone: predict.py and eval_iou.py --sensors.
_base_ = ["minesim_occ.py", "../_base_/any_sensor.py"]
model = {{_base_._any_sensor}}
