"""The description of the package for a package index: the README, with links that work there.

A package index shows the README without the files beside it, so a relative link leads nowhere.
Where `[project.urls]` has the address of the files, each becomes an absolute link. Without an
address it becomes the name of the file, which the source distribution has; a picture is left out.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE = re.compile(r"\[([^\]]*)\]\((?!https?:|#|mailto:)([^)]+)\)")
PICTURE = re.compile(r"<picture>.*?</picture>\n*", re.S)
FILE = re.compile(r'(src|srcset)="(?!https?:)([^"]+)"')


def described(text: str, source: str | None) -> str:
    """The README for a package index.

    Args:
        text: of README.md.
        source: the address of the files, ending before the path of one; None: there is none.
    """
    if source:
        text = FILE.sub(lambda found: f'{found[1]}="{source.rstrip("/")}/{found[2]}"', text)
        return RELATIVE.sub(lambda link: f"[{link[1]}]({source.rstrip('/')}/{link[2]})", text)
    text = PICTURE.sub("", text)
    return RELATIVE.sub(lambda link: _named(link[1], link[2]), text)


def _named(words: str, path: str) -> str:
    """The words of a link, and the file unless the words name it already."""
    file = path.partition("#")[0]
    known = words.strip("`/").endswith(Path(file).name) or file.startswith(words)
    return f"`{file}`" if known else f"{words} (`{file}`)"


class CustomMetadataHook(MetadataHookInterface):
    """Hatchling calls it when it builds or installs the package."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        source = metadata.get("urls", {}).get("Files")
        metadata["readme"] = {"content-type": "text/markdown", "text": described(text, source)}
