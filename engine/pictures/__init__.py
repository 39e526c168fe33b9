"""Images of frames: pages, panels and figures, rendered without a display."""
