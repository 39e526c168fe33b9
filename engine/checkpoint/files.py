"""The files of a training: their names, and how they are written.

``latest.pth`` holds everything needed to resume a run. ``model_state_dict.pth`` holds the weights
with the best validation score, under the key ``weights``. ``best.json`` says which validation that
was.
"""

import os
from pathlib import Path
from typing import Any

import torch

from utils.whole_files import new_file

LATEST = "latest.pth"
BEST = "model_state_dict.pth"
BEST_MARK = "best.json"
AVERAGED = "averaged_weights"
"""Key of the moving average of the weights in ``latest.pth``, which is None without one."""


def save_atomically(content: Any, path: Path) -> None:
    """Write a checkpoint atomically: at any moment, ``path`` is the complete old or new file."""
    with new_file(path) as partial, partial.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
