"""What runs, scores and shows networks: everything between the scripts and the network."""

__version__ = "0.1.0"
