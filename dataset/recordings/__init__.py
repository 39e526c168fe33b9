"""Your own recordings as a data set, without labels."""
