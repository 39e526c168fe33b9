"""Readers of ``imagesets/``: the drives of a data set, and the frames of a split."""

from dataclasses import dataclass
from pathlib import Path

from dataset.file_content import invalid, read_json, read_text


@dataclass(frozen=True)
class Scene:
    """One drive of ``scene_info.json``.

    Attributes:
        location: Region of the mine, such as "location_4_5".
        samples: Stems of the labeled frames.
        sweeps: Stems of the unlabeled frames between them.
    """

    location: str
    samples: tuple[str, ...]
    sweeps: tuple[str, ...]


def read_scene_info(path: Path) -> dict[str, Scene]:
    """Read the drives of a data set by name from ``scene_info.json``."""
    advice = 'Each scene must be {"location": text, "samples": [stems], "sweeps": [stems]}.'
    content = read_json(path)
    if not isinstance(content, dict):
        raise invalid(path, "an object of scenes", type(content).__name__, advice)
    scenes = {}
    for name, entry in content.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("samples"), list):
            raise invalid(path, f"a list of samples in '{name}'", "none", advice)
        stems = [entry["samples"], entry.get("sweeps", [])]
        if not all(isinstance(stem, str) for group in stems for stem in group):
            raise invalid(path, f"stems of '{name}' as strings", "other types", advice)
        scenes[name] = Scene(str(entry.get("location", "")), tuple(stems[0]), tuple(stems[1]))
    return scenes


def read_stem_list(path: Path) -> list[str]:
    """Read the stems of a split, one per line; an empty file is an empty split."""
    text = read_text(path) if path.stat().st_size else ""
    return [line.strip() for line in text.splitlines() if line.strip()]
