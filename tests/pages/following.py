"""A page followed word for word: its Python is run, and must print what the page says."""

import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path

Block = tuple[str, str]


def blocks(path: Path) -> list[Block]:
    """(language, code) of each block of a page, in order."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S)


def followed(
    path: Path,
    takes: Callable[[str], bool] = lambda code: True,
    command: Callable[[str], None] = lambda line: None,
) -> int:
    """Run the blocks in one namespace; what one prints must be the `text` block behind it.

    Args:
        takes: whether a block of Python can be run here.
        command: what to do with a block without a language, which holds a command.

    Returns:
        how many texts were compared.
    """
    names: dict[str, object] = {}
    printed, compared = "", 0
    for language, code in blocks(path):
        if language == "python" and takes(code):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(code, path.name, "exec"), names)
            printed = out.getvalue()
        elif language == "text":
            assert printed.split() == code.split(), f"{path.name} prints\n{printed}"
            compared += 1
        elif language == "":
            command(code)
    return compared
