"""The simulated sensors: camera, LiDAR, and the lighting and shading that they record."""
