"""Checks that a data set in the UnScenes3D layout is complete and consistent."""
