"""Where anyone's module is tried: sizes that it takes, small and large, its modes and dtypes."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from .sizes import Setting
from .subjects.module import Anyone

WIDE, HALF, SHORT = torch.float64, torch.bfloat16, torch.float16
WANTED = {  # lengths around which blocks and windows of the usual sizes end
    "quick": (5, 66),
    "default": (3, 5, 9, 33, 66),
    "thorough": (1, 2, 3, 5, 7, 8, 9, 17, 31, 32, 33, 63, 64, 65, 66, 130),
}
GROWN = {"quick": (66,), "default": (66, 130), "thorough": (66, 130, 300)}
COUNTED = 300  # positions that bfloat16 cannot count: 257 is 256 there


def plan(law: str, effort: str, thing: Anyone) -> list[Setting]:
    """The settings of one law, the example's own size first; none where the law cannot be tried."""
    settings = _PLANS[law](effort, thing)
    if WIDE in thing.without and law != "compiles":  # what it runs in itself, then
        own = thing.dtype if thing.dtype != WIDE else torch.float32
        here = [replace(s, dtype=own) if s.dtype == WIDE else s for s in settings]
        settings = [replace(s, literal=True) for s in here]
    known = [s for s in settings if s.dtype not in thing.without]
    if thing.large:  # what `SPARED` says; with a mask and without one are two paths
        known = [s for s in known if s.mode in ("", "masked") and s.dtype in (WIDE, thing.dtype)]
        known = [*known[:1], *sorted(known[1:], key=lambda s: s.mode != "masked")][:3]
    return list(dict.fromkeys(known))


def _own(thing: Anyone) -> Setting:
    B, T = thing.port.size
    return Setting(T, B, dtype=thing.dtype)


def _at(thing: Anyone, lengths: tuple[int, ...], **fields: object) -> list[Setting]:
    """The example's batch at each length that the module takes."""
    own = _own(thing)
    return [replace(own, T=n, **fields) for n in lengths if n in thing.lengths]  # type: ignore[arg-type]


def _near(thing: Anyone) -> tuple[int, ...]:
    """The longest length up to nine, else the example's own."""
    return (max((n for n in thing.lengths if n <= 9), default=_own(thing).T),)


def _modes(effort: str, thing: Anyone, *modes: str) -> list[Setting]:
    """The modes that there are to try, at a short length, and at a longer one."""
    if not thing.owned:
        modes = tuple(m for m in modes if m == "masked")
    known = [m for m in modes if m != "masked" or thing.padding]
    lengths = _near(thing) if effort == "quick" else (*_near(thing), 33)
    return [s for mode in known for s in _at(thing, lengths, mode=mode)]


def _repeats(effort: str, thing: Anyone) -> list[Setting]:
    return [_own(thing), *_modes("quick", thing, "train"), *_at(thing, WANTED[effort][-1:])]


def _causal(effort: str, thing: Anyone) -> list[Setting]:
    found = [_own(thing), *_at(thing, WANTED[effort]), *_at(thing, WANTED[effort], dtype=WIDE)]
    found += _modes(effort, thing, "train", "redrawn", "masked")
    return found + _at(thing, _near(thing), dtype=HALF)


def _resumes(effort: str, thing: Anyone) -> list[Setting]:
    lengths = WANTED[effort] if effort == "quick" else (*WANTED[effort], *GROWN[effort])
    return [replace(_own(thing), dtype=WIDE), *_at(thing, lengths, dtype=WIDE)]


def _isolated(effort: str, thing: Anyone) -> list[Setting]:
    own = replace(_own(thing), B=max(2, _own(thing).B))
    found = [own, *_at(thing, WANTED[effort], B=max(3, own.B)), replace(own, dtype=WIDE)]
    return found + [replace(s, B=own.B) for s in _modes(effort, thing, "train", "redrawn")]


def _marked(effort: str, thing: Anyone, rows: int = 1) -> list[Setting]:
    """For a mask or documents: in float64, two positions or more, `rows` of the batch or more."""
    own = replace(_own(thing), dtype=WIDE, B=max(rows, _own(thing).B))
    lengths = (5, 33) if effort == "quick" else WANTED[effort]
    found = [own, *(s for s in _at(thing, lengths, dtype=WIDE, B=own.B) if s.T > 1)]
    return found + [replace(s, dtype=WIDE, B=own.B) for s in _modes(effort, thing, "redrawn")]


def _differentiates(effort: str, thing: Anyone) -> list[Setting]:
    short = [replace(s, B=min(2, s.B)) for s in _at(thing, _near(thing), dtype=WIDE)]
    found = [*short, *(replace(s, mode="train") for s in short)]
    if effort == "quick":
        return found[:1]
    return found + _at(thing, (33,) if effort == "default" else (33, 66), dtype=WIDE)


def _sound(effort: str, thing: Anyone) -> list[Setting]:
    scales = (1.0,) if effort == "quick" else (1.0, 16.0, 1 / 16)
    lengths = {"quick": (66,), "default": (9, 66)}.get(effort, (1, 5, 9, 66, 130))
    known = [n for n in lengths if n in thing.lengths] or [_own(thing).T]
    found = [
        replace(_own(thing), T=n, dtype=dtype, scale=scale)
        for n in known for dtype in (torch.float32, HALF, SHORT) for scale in scales
    ]  # fmt: skip
    return found if effort == "quick" else found + _at(thing, (COUNTED,), dtype=HALF, B=1)


def _compiles(effort: str, thing: Anyone) -> list[Setting]:
    backend = "inductor" if effort == "thorough" else "aot_eager"
    own = _own(thing)
    return [replace(s, backend=backend) for s in (replace(own, dtype=WIDE), own)]


def _nowhere(_effort: str, _thing: Anyone) -> list[Setting]:
    return []


_PLANS: dict[str, Callable[[str, Anyone], list[Setting]]] = {
    "repeats": _repeats,
    "causal": _causal,
    "resumes": _resumes,
    "isolated": _isolated,
    "padding": partial(_marked, rows=3),
    "documents": _marked,
    "differentiates": _differentiates,
    "agrees": _nowhere,
    "sound": _sound,
    "compiles": _compiles,
}
