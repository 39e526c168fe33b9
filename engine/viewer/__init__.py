"""The viewer: frames of a sequence in the browser (``tools/view.py``)."""
