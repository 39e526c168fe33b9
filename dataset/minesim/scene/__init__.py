"""The mine itself: terrain, road, machines and weather, as one triangle mesh."""
