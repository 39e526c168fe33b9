"""Recording of scenes and writing of data sets."""
