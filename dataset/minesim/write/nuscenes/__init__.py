"""Recording and writing of scenes in the nuScenes layout."""
