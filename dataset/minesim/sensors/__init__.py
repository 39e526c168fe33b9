"""The sensors that record a mine: camera, LiDAR and the light between."""
