"""The lines of a reproducer that make f, in the dtype and the mode of a setting."""

import textwrap
from typing import Any

import torch
from torch import nn

from ..copies.owning import Owning
from ..sizes import Setting
from ..subjects.user_module import UserModule
from .arguments import Unwritten
from .source import Source

PLAIN = ("import ", "from ", "f = ", "torch.nn.utils.")  # lines that need no function around them


def origin(user: UserModule, setting: Setting) -> list[str]:
    """How f is had: imported or made again, in a function if that takes names of its own.

    What cannot be written is `...`, and a comment says what belongs there.
    """
    target: Any = user.target
    module = isinstance(target, nn.Module) and not isinstance(target, Owning)
    way = target if module else getattr(target, "way", target)
    source = Source()
    try:
        made = _made(source, user, way, module)
    except Unwritten as what:
        name = user.name.removesuffix(".forward")
        fill = f"f = ...  # fill in {name}: {what} cannot be written"
        return [fill, *_ready(user, setting, "f")]
    fill = f"  # fill in {source.missing}" if source.missing else ""
    if all(row.startswith(PLAIN) for row in source.lines):
        lines = source.lines if made == "f" else [*source.lines, f"f = {made}"]
        at = next(i for i, row in enumerate(lines) if row.startswith("f = "))
        lines[at] += fill
        if made == "f":
            return [*lines, *_ready(user, setting, "f")]
        if not source.modules:
            return [*lines, *_unseen(user, setting)]
    inside = textwrap.indent("\n".join(source.lines), "    ").splitlines()
    back = f"    return {made}, [{', '.join(source.modules)}]"
    ready = _ready(user, setting, "reached")
    return ["def make():", *inside, back, f"f, reached = make(){fill}", *ready]


def _made(source: Source, user: UserModule, way: Any, module: bool) -> str:
    """The expression of f: made by the class or function that the user gave, or made again."""
    if user.factory is None:
        return source.expression(way, "f" if module else "")
    call = f"{source.expression(user.factory)}()"
    source.lines.append(f"f = {call}")
    source.modules += ["f"] if module else []
    return "f"


def _unseen(user: UserModule, setting: Setting) -> list[str]:
    """What to say of a function that is imported, and the modules that it reaches with it."""
    told = f"# the modules that f reaches: in {setting.dtype}, mode {setting.mode or 'eval'}"
    return [told] if isinstance(user.target, Owning) else []


def _ready(user: UserModule, setting: Setting, name: str) -> list[str]:
    """The lines that put f, or the modules in it, into the dtype and the mode."""
    if not isinstance(user.target, nn.Module):
        return []
    mode = "train" if setting.mode == "train" else "eval"
    cast = f".to({setting.dtype})" if setting.dtype != torch.float32 else ""
    alone = name == "f"
    lines = [f"f = f.{mode}(){cast}" if alone else f"for m in {name}: m.{mode}(){cast}"]
    if setting.mode == "redrawn":
        every = "f.parameters()" if alone else f"[p for m in {name} for p in m.parameters()]"
        lines.append(f"for p in {every}: p.data += 0.5 * torch.randn_like(p)")
    return lines
