"""Unpacks the archives of a release into one folder in the UnScenes3D layout."""
