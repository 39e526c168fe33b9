"""Records and writes scenes in nuScenes' layout."""
