"""RELLIS-3D, and the occupancy labels of WildOcc on it."""
