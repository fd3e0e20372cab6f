"""The float64 twins of two ways, and whether they are one function there.

Rounding shrinks with precision and a difference in function does not. So a difference between
the twins is rounding if it is small against the answer, or no larger than what is left, at the
precision of float64, of what each way shows of its own rounding: how far it is from itself when
its inputs move by one unit of float64, and when it runs in float32.
"""

from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .case import Case, described, told
from .entitled import FACTOR, PROBES, Entitled, Within, entitled, reduced, run
from .gap import Gap, gap, worst
from .nest import alter, convert, held, precise, real
from .recast import Recast

DIGITS = 2.0**-26  # half the digits of float64: a smaller difference is rounding
SHRINK = 2.0**-21  # rounding in float64 over rounding in float32 is 2^-29; room for 2^8

Twin = dict[str, Entitled]


@dataclass(frozen=True)
class Twins:
    """What stands for each way in float64; None where float64 cannot run.

    Attributes:
        gap: the worst difference between the two, None where one is missing.
        why: for a way that is missing, what kept it from running.
    """

    of: tuple[Twin | None, Twin | None]
    gap: Gap | None = None
    why: tuple[str, str] = ("", "")


@dataclass
class _Try:
    """One attempt to run both in float64, and what it was run within."""

    case: Case
    modes: tuple[Recast, Recast] | None
    why: list[str] = field(default_factory=lambda: ["", ""])

    def within(self, i: int) -> Within:
        modes = self.modes
        return nullcontext if modes is None else partial(_itself, modes[i])


def _itself(mode: Recast) -> Recast:
    return mode


def twins(case: Case) -> Twins:
    """Both ways in float64, as they are or else recast; one that has only the digits of float32
    in float64 is none."""
    best = None
    for modes in (None, (Recast(torch.float64), Recast(torch.float64))):
        attempt = _Try(case, modes)
        found = _both(attempt)
        if found.gap is not None and not found.gap.broken:
            return found
        if best is None or None not in found.of or None in best.of:
            best, last = found, attempt
    assert best is not None
    return _genuine(last, best) if None not in best.of else best


def _both(attempt: _Try) -> Twins:
    one = _twin(attempt, 0, PROBES)
    own = held(attempt.case.ways[1])
    two = _twin(attempt, 1, PROBES if own or one is None else 0)
    if one is None or two is None:
        return Twins((one, two), None, (attempt.why[0], attempt.why[1]))
    return Twins((one, two), _logic(attempt, one, two))


def _twin(attempt: _Try, i: int, probes: int) -> Twin | None:
    case = attempt.case
    try:
        found = entitled(*case.given(i), within=attempt.within(i), probes=probes)
    except Exception as error:
        attempt.why[i] = told(error)
        return None
    twin = {e.path: e for e in found if e.path in case.found[i]}
    for path, leaf in case.found[i].items():
        answer = twin[path].answer if path in twin else None
        if real(leaf) != real(answer) or _shape(leaf) != _shape(answer):
            attempt.why[i] = f"{path} is {described(answer)} there, {described(leaf)} here"
            return None
    return twin


def _shape(leaf: Any) -> Any:
    return list(leaf.shape) if isinstance(leaf, Tensor) else []


def _logic(attempt: _Try, one: Twin, two: Twin) -> Gap | None:
    """The worst difference in float64; what rounding may be is measured only where it matters."""
    paths = attempt.case.floating()
    limit = {path: DIGITS * one[path].answer.abs() for path in paths}
    found = worst(_gaps(one, two, limit))
    if found is not None and found.broken:
        for i, twin in enumerate((one, two)):
            for path, more in _rounding(attempt, i, twin).items():
                limit[path] = limit[path].nan_to_num(0, 0, 0) + more
        found = worst(_gaps(one, two, limit))
    return found or Gap("", "", 0.0, 0.0, (0.0, 0.0), "float64", False)


def _gaps(one: Twin, two: Twin, limit: dict[str, Tensor]) -> list[Gap | None]:
    wide = torch.float64
    return [gap(p, one[p].answer, two[p].answer, most, wide) for p, most in limit.items()]


def _rounding(attempt: _Try, i: int, twin: Twin) -> dict[str, Tensor]:
    """How far rounding may carry a way in float64, path by path.

    Errors of random signs add up to the root of their squares, which is what moving the inputs
    shows; n errors of one sign add up to at most sqrt(n) times that.
    """
    case, within = attempt.case, attempt.within(i)
    f, args, kwargs = case.given(i)
    count = sum(t.numel() for t in held((f, args, kwargs)))
    growth = FACTOR * max(count, 1) ** 0.5
    most = {path: torch.zeros(()).double() for path in case.floating()}
    with suppress(Exception):
        wide = convert((f, args, kwargs), torch.float64)
        fine = entitled(wide[0], wide[1], wide[2], within=within)
        most = {e.path: growth * e.response for e in fine if e.response is not None}
    with suppress(Exception):
        given = convert((f, args, kwargs), torch.float32)
        coarse = dict(run(given, torch.float32, lambda: Recast(torch.float32)))
        for path in most:
            most[path] = torch.maximum(most[path], SHRINK * _apart(twin[path].answer, coarse[path]))
    for path, more in _constants(attempt, i, twin).items():
        most[path] = most[path] + FACTOR * more
    return {path: most[path] for path in case.floating()}


def _apart(answer: Tensor, other: Any) -> Tensor:
    return reduced((precise(other) - answer).abs().nan_to_num(0, 0, 0))


def _constants(attempt: _Try, i: int, twin: Twin) -> dict[str, Tensor]:
    """The response to one unit of each captured tensor of a coarser dtype that is not shared.

    What both ways hold on to cannot make them differ; a matrix in float32 that one of them holds
    has been rounded before it came here.
    """
    if attempt.modes is None:
        return {}
    mine, other = attempt.modes[i].outside, attempt.modes[1 - i].outside
    shared = frozenset(mine.keys() & other.keys())
    moved: dict[str, Tensor] = {}
    for seed in range(PROBES if mine.keys() - shared else 0):
        mode = Recast(torch.float64, signs=seed, fixed=shared)
        given = convert(attempt.case.given(i), torch.float64)
        probe = dict(run(given, torch.float64, partial(_itself, mode)))
        for path in attempt.case.floating():
            change = _apart(twin[path].answer, probe[path])
            moved[path] = torch.maximum(moved.get(path, change), change)
    return moved


def _genuine(attempt: _Try, found: Twins) -> Twins:
    """The twins, without one that computes in float32 whatever it is given."""
    path = found.gap.path if found.gap else ""
    said = "its float64 has the digits of float32"
    poor = [_poor(attempt, i, path) for i in range(2)]
    if not any(poor):
        return found
    one, two = (None if bad else twin for bad, twin in zip(poor, found.of, strict=True))
    return Twins((one, two), None, (said if poor[0] else "", said if poor[1] else ""))


def _poor(attempt: _Try, i: int, path: str) -> bool:
    """Whether inputs that need every digit of float64 come out with no more than float32 has.

    Whole numbers and one-hots have few digits in any dtype, so some must need more than 12.
    """
    case, coins = attempt.case, torch.Generator().manual_seed(0)

    def blur(t: Tensor) -> Tensor:
        wide = convert(t, torch.float64)
        return wide * (1 + 2.0**-30 * torch.rand(t.shape, generator=coins).double().to(t.device))

    try:
        out = dict(run(alter(case.given(i), blur), torch.float64, attempt.within(i)))[path]
    except Exception:
        return False
    digits = torch.frexp(precise(out)).mantissa.abs()
    fits = lambda bits: bool((digits * 2.0**bits).frac().nan_to_num(0, 0, 0).eq(0).all())
    return fits(24) and not fits(12)
