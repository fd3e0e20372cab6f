"""Where a user's module is tried: parts that the laws put their sizes together from."""

from dataclasses import replace

import torch

from ..sizes import Setting
from ..subjects.user_module import UserModule

WIDE, HALF = torch.float64, torch.bfloat16
LENGTHS = {  # around which blocks and windows of the usual sizes end
    "quick": (5, 66),
    "default": (3, 5, 9, 33, 66),
    "thorough": (1, 2, 3, 5, 7, 8, 9, 17, 31, 32, 33, 63, 64, 65, 66, 130),
}


def possible(settings: list[Setting], user: UserModule, own_dtype_only: bool) -> list[Setting]:
    """The settings of a law that can be tried on a module, without repetitions.

    Logic is judged in float64. A module that refuses float64 is judged in its own dtype instead,
    unless `own_dtype_only`, which leaves such settings away.
    """
    if WIDE in user.refused_dtypes and not own_dtype_only:
        own = user.dtype if user.dtype != WIDE else torch.float32
        here = [replace(s, dtype=own) if s.dtype == WIDE else s for s in settings]
        settings = [replace(s, literal=True) for s in here]
    known = [s for s in settings if s.dtype not in user.refused_dtypes]
    if user.large:  # what `SPARED` says; with a mask and without one are two paths
        known = [s for s in known if s.mode in ("", "masked") and s.dtype in (WIDE, user.dtype)]
        known = [*known[:1], *sorted(known[1:], key=lambda s: s.mode != "masked")][:3]
    return list(dict.fromkeys(known))


def own(user: UserModule) -> Setting:
    """The size and the dtype of the example."""
    B, T = user.example.size
    return Setting(T, B, dtype=user.dtype)


def at_lengths(user: UserModule, lengths: tuple[int, ...], **fields: object) -> list[Setting]:
    """The example's batch at each of the lengths, or at the longest below one that it refuses."""
    first = own(user)
    nearest = lambda n: max((k for k in user.lengths if k < n), default=0)
    known = [nearest(n) if n in user.refused_lengths else n for n in lengths]
    known = [n for n in dict.fromkeys(known) if n in user.lengths]
    return [replace(first, T=n, **fields) for n in known]  # type: ignore[arg-type]


def short(user: UserModule) -> tuple[int, ...]:
    """The longest length up to nine, else the example's own."""
    return (max((n for n in user.lengths if n <= 9), default=own(user).T),)


def in_modes(effort: str, user: UserModule, *modes: str) -> list[Setting]:
    """In each of the modes that can be tried, at a short length, and at a longer one."""
    if not user.owned:
        modes = tuple(m for m in modes if m == "masked")
    known = [m for m in modes if m != "masked" or user.padding]
    lengths = short(user) if effort == "quick" else (*short(user), 33)
    return [s for mode in known for s in at_lengths(user, lengths, mode=mode)]


def marked(effort: str, user: UserModule, rows: int = 1) -> list[Setting]:
    """For a mask or documents: in float64, two positions or more, `rows` of the batch or more."""
    first = replace(own(user), dtype=WIDE, B=max(rows, own(user).B))
    lengths = (5, 33) if effort == "quick" else LENGTHS[effort]
    found = [first, *(s for s in at_lengths(user, lengths, dtype=WIDE, B=first.B) if s.T > 1)]
    redrawn = in_modes(effort, user, "redrawn")
    return found + [replace(s, dtype=WIDE, B=first.B) for s in redrawn]
