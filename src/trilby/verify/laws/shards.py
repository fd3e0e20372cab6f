"""A law of its own: a sequence in pieces on several ranks is the whole on one process."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ..comparing.difference import difference
from ..comparing.finding import Finding
from ..copies.nested import convert
from ..precision.allowance import FACTOR
from ..ranks.case import Case, Found
from ..ranks.processes import Answer
from ..ranks.sharded import Sharded, said
from ..sizes import Setting
from ..subjects.subject import FINE
from .law import Law

AGAIN = "again"  # the mode of a setting whose calls are made twice


def shards(subject: Sharded, setting: Setting) -> Iterator[Finding]:
    """y, the state and all gradients of every rank are those of one process.

    At rounding in float64; in a narrower dtype not much worse than one process in that dtype. Two
    calls give the same bits.
    """
    for told, case in subject.cases(setting):
        exact = case if setting.dtype == torch.float64 else _wide(case)
        wanted = subject.single(exact)
        answers = subject.pieces(case)
        faults = [_failed(one, answers, case, told) for one in answers if one.outcome != "returns"]
        if faults:
            refused = {one.told for one in answers if one.outcome == "raises"}
            alike = len(faults) == case.world and len(refused) == 1
            uneven = len({*case.pieces}) > 1
            if alike and uneven and not subject.owns:
                note = f"it refuses pieces of {' '.join(map(str, case.pieces))}, {refused.pop()}"
                yield Finding("raises", note=note)
                return
            yield min(faults, key=_order)
            return
        known = wanted if exact is case else subject.plain(case)
        yield from _compared(case, answers, wanted, known, setting.dtype, told)
        if setting.mode == AGAIN:
            yield from _again(case, answers, subject.pieces(case), told)


def _wide(case: Case) -> Case:
    """The same call in float64, of the numbers that were rounded already."""
    args, kwargs, way = convert((case.args, case.kwargs, case.way), torch.float64)
    return replace(case, args=args, kwargs=kwargs, way=way)


KINDS = {"ends": "ends", "raises": "raises", "waits": "hangs"}
"""What became of a call -> what a verdict calls it; first what explains the others."""


def _order(found: Finding) -> int:
    return [*KINDS.values()].index(found.kind)


def _failed(one: Answer, answers: list[Answer], case: Case, told: str) -> Finding:
    """What became of a rank; of one that waits also where the others stand."""
    kind, place = KINDS[one.outcome], f"rank {one.rank}"
    others = [f"rank {a.rank} {said(a)}" for a in answers if a is not one]
    more = "; ".join(["", *others]) if kind == "hangs" else ""
    found = Finding(kind, True, torch.inf, 0.0, place, f"{place} {said(one)}{told}{more}")
    return found.at(
        rank=one.rank,
        pieces=case.pieces,
        error=one.error,
        message=one.told,
        start=told.removeprefix(", "),
    )


def _compared(
    case: Case, answers: list[Answer], wanted: Found, known: Found, dtype: torch.dtype, told: str
) -> Iterator[Finding]:
    """Rank by rank: y, the state, the gradients of what a rank has alone, then of what all have."""
    own = {f"d {case.names[path]}" for path in case.cut} | {"y"}
    largest = max((_size(x) for n, x in wanted.items() if n.startswith("d ")), default=0.0)
    for name, x in wanted.items():
        allowed = _allowed(x, known.get(name), dtype, largest if name.startswith("d ") else 0.0)
        shared = name.startswith("d ") and name not in own
        for one in answers[:1] if shared else answers:
            part = x[:, case.here(one.rank)] if name in own else x
            got = _summed(answers, name) if shared else one.value.get(name)
            place = "the sum over ranks" if shared else f"rank {one.rank}"
            found = _leaf(_kind(name, got), f"{place}: {name}", got, part, allowed, dtype, told)
            rank = None if shared else one.rank
            yield found.at(rank=rank, pieces=case.pieces, to=name, start=told.removeprefix(", "))


def _kind(name: str, got: Tensor | None) -> str:
    if name == "y":
        return "piece wrong"
    if not name.startswith("d "):
        return "state wrong"
    return "gradient missing" if got is None or bool(got.isnan().all()) else "gradient wrong"


def _summed(answers: list[Answer], name: str) -> Tensor | None:
    """The gradient of what every rank holds: the sum of their shares."""
    parts = [one.value[name] for one in answers if name in one.value]
    return torch.stack(parts).sum(0) if len(parts) == len(answers) else None


def _allowed(x: Tensor, known: Tensor | None, dtype: torch.dtype, largest: float) -> float:
    """What an element may differ by from what float64 says.

    In float64 half of the digits of the largest element; a gradient that is zero may have the
    rounding of the largest gradient. In a narrower dtype twice the largest error of one process
    in that dtype, and one unit of the largest element: what is exchanged is not rounded.
    """
    if not x.is_floating_point():
        return 0.0
    if dtype == torch.float64:
        return max(FINE**0.5 * _size(x), FACTOR * FINE * largest)
    error = 0.0 if known is None else _size(known.double() - x.double())
    unit = torch.finfo(dtype).eps
    return 2 * error + unit * max(_size(x), FINE * largest)


def _size(x: Tensor) -> float:
    return float(x.detach().double().abs().nan_to_num(0).max()) if x.numel() else 0.0


def _leaf(
    kind: str, path: str, got: Tensor | None, wanted: Tensor, allowed: float, dtype: torch.dtype,
    told: str,
) -> Finding:  # fmt: skip
    """One tensor of one rank; `wanted` is in float64 where the call was in a narrower dtype."""
    if got is None:
        return Finding(kind, True, torch.inf, 0.0, path, f"{path} is missing{told}")
    if got.shape != wanted.shape or (dtype == torch.float64 and got.dtype != wanted.dtype):
        text = f"{path} is {_described(got)}, not {_described(wanted)}{told}"
        return Finding(kind, True, torch.inf, 0.0, path, text)
    limit = torch.full((), allowed, dtype=torch.float64)
    worst = difference(path, got.to(wanted.dtype), wanted, limit, wanted.dtype)
    if worst is None:
        return Finding(kind)
    kind = kind if dtype == torch.float64 else "unsound"
    number, right = worst.values
    text = f"is {number:.6g}, not {right:.6g} as in one process{told}  off by {worst.error:.2g}"
    text += f", allowed {worst.allowed:.2g}" if worst.allowed else ""
    return Finding(kind, worst.broken, worst.error, worst.allowed, worst.place, text)


def _described(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}"


def _again(case: Case, first: list[Answer], second: list[Answer], told: str) -> Iterator[Finding]:
    for one, two in zip(first, second, strict=True):
        if two.outcome != "returns":
            yield _failed(two, second, case, f"{told}, in a second call")
            continue
        for name, x in one.value.items():
            place, other = f"rank {one.rank}: {name}", two.value[name]
            same = torch.equal(x, other) or torch.equal(x.isnan(), other.isnan() | (x != other))
            off = 0.0 if same else float((x.double() - other.double()).abs().max())
            text = f"{place} changes by {off:.2g} in a second call with the same arguments{told}"
            found = Finding("random", off > 0, off, 0.0, place, text)
            yield found.at(
                rank=one.rank, pieces=case.pieces, to=name, start=told.removeprefix(", ")
            )


def splits(world: int) -> list[tuple[int, ...]]:
    """Pieces of so many ranks, short ones first: single positions, empty ones, uneven ones.

    >>> splits(2)
    [(1, 1), (0, 2), (2, 0), (2, 1), (1, 3), (3, 3)]
    """
    if world == 1:
        return [(1,), (3,)]
    ones = [1] * (world - 1)
    found = [(1, *ones), (0, 2, *ones[1:]), (2, *[0] * (world - 1)), (2, *ones), (*ones, 3)]
    found += [(*[0] * (world - 1), 2)] * (world > 2) + [(3,) * world]
    return found


def _settings(effort: str, subject: Sharded) -> list[Setting]:
    """Each number of ranks with each of its splits; at effort "quick" the largest number alone."""
    worlds = subject.worlds[-1:] if effort == "quick" else subject.worlds
    found = [
        Setting(sum(pieces), 3, 3 if subject.owns else 1, torch.float64, pieces=pieces)
        for world in worlds
        for pieces in splits(world)
    ]
    last = found[-1]
    return [*found, replace(last, mode=AGAIN), replace(last, dtype=torch.bfloat16)]


LAW = Law("shards", shards, _settings, grows=False)
