"""From the archives of a release to one folder in the layout."""
