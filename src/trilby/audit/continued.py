"""Laws of calls that continue from a cache: several tokens at once, and padding among them.

Many layers take their state only for one new token (`seq_len == 1`), and drop it for more. Others
mask padding in the first call alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..verify import Verdict
from ..verify.comparing.witness import Witness
from ..verify.wording import joined_lines
from .adapter import Built
from .probes import filler, judged, logits, logits_of, noise, not_run

FIRST, SEVERAL, ONES = 5, (3, 2, 1), (1,) * 6  # tokens of the first call, of the next ones
PADS, REAL, LAST = 2, 2, 2  # in a continued call of row 0: pads, tokens; tokens of the last call


def pieces(built: Built) -> Verdict:
    """Calls of several tokens from the cache equal one pass; broken alone, it is a guard."""
    if "carry" not in built.how:
        return not_run(built, "pieces", "it has no cache")
    ids = built.example(2, FIRST + sum(SEVERAL), 4)["input_ids"]
    plain = logits(built.module, ids)
    allowed = noise(built.module, lambda: logits(built.module, ids))
    several, ones = (_streamed(built, ids, sizes, plain, allowed) for sizes in (SEVERAL, ONES))
    if several:
        return several
    told = "one token at a time is right" if ones else "one token at a time is wrong too"
    kind = several.kind or ("state dropped" if ones else "cache")
    return replace(
        several, kind=kind, sentence=f"several tokens at once, {several.sentence}; {told}"
    )


def pads(built: Built) -> Verdict:
    """Padding on the left of a continued call, in one of two rows, changes nothing."""
    if "carry" not in built.how or "padding" not in built.how:
        return not_run(built, "pads", "it takes no mask, or has no cache")
    width = PADS + REAL
    ids = built.example(2, FIRST + width + LAST, 5)["input_ids"]
    short = torch.cat([ids[:, :FIRST], ids[:, FIRST + PADS :]], 1)
    allowed = noise(built.module, lambda: logits(built.module, ids))
    plain = torch.stack([logits(built.module, short)[0], logits(built.module, ids)[1, PADS:]])
    mask = torch.ones_like(ids)
    mask[0, FIRST : FIRST + PADS] = 0
    rows = ids.where(mask == 1, filler(built.module.model))
    try:
        got = _run(built, rows, (FIRST, width, LAST), mask)
    except Exception as reason:
        return _raised(built, "pads", reason)
    real = torch.stack([got[0][mask[0] == 1], got[1, PADS:]])
    found = judged(built, "pads", real, plain, allowed)
    witness = Witness(side="left", pads=PADS)
    kind = "" if found else found.kind or "padding"
    return replace(found, kind=kind, witness=witness)


def _streamed(
    built: Built, ids: Tensor, sizes: Sequence[int], plain: Tensor, allowed: float
) -> Verdict:
    try:
        got = _run(built, ids, (FIRST, *sizes), None)
    except Exception as reason:
        return _raised(built, "pieces", reason)
    return judged(built, "pieces", got, plain, allowed)


def _raised(built: Built, law: str, reason: Exception) -> Verdict:
    name, told = type(reason).__name__, joined_lines(reason, 200)
    said, witness = f"a continued call raises {name}: {told}", Witness(error=name, message=told)
    return Verdict(built.kind, law, "broken", "raises", sentence=said, witness=witness)


@torch.no_grad()
def _run(built: Built, rows: Tensor, sizes: Sequence[int], mask: Tensor | None) -> Tensor:
    """Logits of calls that each continue from the cache of the one before."""
    past: Any = None
    at, parts = 0, []
    for n in sizes:
        how: dict[str, Any] = {}
        if mask is not None:
            how["attention_mask"] = mask[:, : at + n]
        if built.module.counts:
            real = torch.ones_like(rows) if mask is None else mask
            how["position_ids"] = (real.cumsum(1) - 1).clamp(min=0)[:, at : at + n]
        went = built.module(rows[:, at : at + n], past_key_values=past, use_cache=True, **how)
        past, at = went.past_key_values, at + n
        parts.append(logits_of(went))
    return torch.cat(parts, 1)
