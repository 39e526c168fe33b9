"""Is a data set in the UnScenes3D layout whole, and do its files agree with each other?"""
