# The network of full size for both sensors or either alone.
_base_ = ["minesim_full.py", "../_base_/any_sensor.py"]
model = {{_base_._any_sensor}}
