"""ROS bags to recordings (docs/custom_data.md): clouds, images, calibration and poses."""
