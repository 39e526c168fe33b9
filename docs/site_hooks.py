"""What mkdocs does to the pages besides: images of assets/, and formulas as MathML.

The pages are also read on GitHub, where `../assets/` is beside docs/ and `$$` is a formula.
"""

import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ASSETS = Path(__file__).resolve().parents[1] / "assets"
FORMULA = re.compile(r"^\$\$(.+?)\$\$$", re.DOTALL | re.MULTILINE)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the images, which lie outside of docs/."""
    for path in sorted(ASSETS.iterdir()):
        files.append(File.generated(config, f"assets/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Point to the images where the site has them; write formulas as the browser draws them."""
    markdown = markdown.replace("](../assets/", "](assets/")
    return FORMULA.sub(lambda found: convert(found[1], display="block"), markdown)
