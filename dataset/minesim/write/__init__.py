"""Records scenes and writes them as a data set."""
