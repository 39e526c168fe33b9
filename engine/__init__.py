"""What runs, scores and shows networks: everything between the scripts and the network."""
