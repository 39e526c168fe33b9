"""LiDAR odometry: poses of a recording from its point clouds alone (docs/custom_data.md)."""
