"""The lists of train, val and test, written from the scenes."""

from pathlib import Path

from dataset import layout
from dataset.formats import read_stem_list
from dataset.splits import SPLITS, all_splits, load_scenes
from utils.whole_files import write_whole


def write_lists(root: Path, source: str, *, force: bool) -> dict[str, int]:
    """Write ``imagesets/{train,val,test}.txt``, empty for a split without frames.

    Args:
        root: The data set.
        source: "official" or "region"; "auto" keeps lists that are there, else the first of the
            two that the scenes allow; "lists" takes nothing but lists that are there.
        force: Whether lists that differ may be replaced.

    Returns:
        Number of frames of each split.

    Raises:
        ValueError: If the scenes allow no such split, or no split has frames.
        FileNotFoundError: If there is neither ``scene_info.json`` nor a list.
        FileExistsError: If other lists are there.
    """
    found = all_splits(root, source, load_scenes(root))
    splits = {split: found[split].stems if split in found else () for split in SPLITS}
    paths = {split: root / layout.IMAGESETS / f"{split}.txt" for split in SPLITS}
    other = [
        str(path)
        for split, path in paths.items()
        if path.is_file() and read_stem_list(path) != list(splits[split])
    ]
    if other and not force:
        raise FileExistsError(
            f"{', '.join(other)} hold another split than '{source}'. Keep them with --split lists, "
            "or pass --force to replace them"
        )
    for split, path in paths.items():
        write_whole(path, "".join(f"{stem}\n" for stem in splits[split]))
    return {split: len(stems) for split, stems in splits.items()}
