"""How much memory this process may use: the limits of its control groups, else the machine's."""

import os
from pathlib import Path

_NONE = 1 << 60  # bytes; the first version writes a number like this where there is no limit


def available(root: str = "/") -> int:
    """How many bytes this process may use at most; 0 if the system does not say.

    The smallest of: the memory of the machine, and the limits of the control groups (version 1 or
    2) of the process and of the groups above them.
    """
    limits = [_machine(), *_groups(Path(root))]
    return min((n for n in limits if 0 < n < _NONE), default=0)


def _machine() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system says
        return 0


def _groups(root: Path) -> list[int]:
    """The limits in the files of the groups; a container sees its own group at the top."""
    found, names = list[int](), tuple[str, ...]()
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, kinds, path = (*line.split(":", 2), "", "")[:3]
        if kinds == "":
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.high")
        elif "memory" in kinds.split(","):
            top, names = root / "sys/fs/cgroup/memory", ("memory.limit_in_bytes",)
        else:
            continue
        group = top / path.strip("/")
        for folder in (group, *group.parents):
            if folder == top or top in folder.parents:
                told = [_read(folder / name).strip() for name in names]
                found += [int(text) for text in told if text.isdigit()]
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
