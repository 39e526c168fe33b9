"""The viewer: a sequence of frames in the browser (``tools/view.py``)."""
