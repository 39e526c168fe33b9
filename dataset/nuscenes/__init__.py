"""nuScenes: its tables, splits, frames, and the occupancy labels published for it."""
