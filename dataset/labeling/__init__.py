"""Labels from recordings: occupancy, depth and elevation from clouds and poses."""
