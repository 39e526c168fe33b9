"""MineSim: an open-pit mine in triangle meshes, and the sensors that record it."""
