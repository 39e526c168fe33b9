"""Writes the lists of train, val and test from the scenes."""

from pathlib import Path

from dataset import layout
from dataset.scene_files import read_stem_list
from dataset.splits import SPLITS, all_splits, load_scenes
from utils.whole_files import write_whole


def write_lists(root: Path, source: str, *, force: bool) -> dict[str, int]:
    """Write ``imagesets/{train,val,test}.txt``, empty for a split without frames.

    Args:
        root: Folder of the data set.
        source: "official" or "region"; "lists" for the existing lists; "auto" for the existing
            lists, or else the first of official and region that works.
        force: Whether to replace existing lists that differ.

    Returns:
        Number of frames per split.

    Raises:
        ValueError: If the scenes do not match the source, or no split has frames.
        FileNotFoundError: If there is neither ``scene_info.json`` nor a list.
        FileExistsError: If existing lists differ.
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
            f"{', '.join(other)} differ from the split '{source}'. Keep them with --split lists, "
            "or pass --force to replace them"
        )
    for split, path in paths.items():
        write_whole(path, "".join(f"{stem}\n" for stem in splits[split]))
    return {split: len(stems) for split, stems in splits.items()}
