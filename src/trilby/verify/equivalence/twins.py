"""The float64 twins of two ways, and whether they are one function there.

Rounding shrinks with precision and a difference in function does not. So a difference between
the twins is rounding if it is small against the answer, or no larger than what is left, at the
precision of float64, of what each way shows of its own rounding: how far it is from itself when
its inputs move by one unit of float64, and when it runs in float32.
"""

from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..comparing.difference import Difference, difference, worst
from ..copies.nested import alter, convert, held, precise, real
from ..precision.allowance import FACTOR, PROBES, Within, allowances, reduced, run
from ..precision.recast import Recast
from ..wording import described, first_line
from .comparison import Answers, Comparison

DIGITS = 2.0**-26  # half the digits of float64: a smaller difference is rounding
SHRINK = 2.0**-21  # rounding in float64 over rounding in float32 is 2^-29; 2^8 more are allowed


@dataclass(frozen=True)
class Twins:
    """What stands for each way in float64; None where float64 cannot run.

    Attributes:
        responses: path -> how far one unit of the inputs moves a twin.
        difference: the worst difference between the two, None where one is missing.
        allowed: path -> what may lie between the two, empty where one is missing.
        why: for a way that is missing, what kept it from running.
    """

    of: tuple[Answers | None, Answers | None]
    responses: dict[str, Tensor]
    difference: Difference | None
    allowed: dict[str, Tensor]
    why: tuple[str, str]


@dataclass
class _Try:
    """One attempt to run both in float64, as they are or recast."""

    comparison: Comparison
    modes: tuple[Recast, Recast] | None
    of: list[Answers | None] = field(default_factory=lambda: [None, None])
    why: list[str] = field(default_factory=lambda: ["", ""])
    limit: dict[str, Tensor] = field(default_factory=dict)

    def within(self, i: int) -> Within:
        return nullcontext if self.modes is None else self.modes[i].itself

    def both(self) -> tuple[Answers, Answers] | None:
        one, two = self.of
        return None if one is None or two is None else (one, two)


def _recast(comparison: Comparison, dtype: torch.dtype = torch.float64, **how: Any) -> Recast:
    return Recast(dtype, comparison.working, **how)


def twins(comparison: Comparison) -> Twins:
    """Both ways in float64, as they are, or recast where that runs or agrees and they do not.

    Recast first where a result is coarser than the inputs, for such a way names its dtype, and
    where random numbers are drawn, for they would be others in float64. A way that has only
    the digits of float32 in float64 has no twin.
    """
    attempts = []
    recast = (_recast(comparison), _recast(comparison))
    named = comparison.draws or any(comparison.coarser(path) > 1 for path in comparison.floating())
    for modes in (recast, None) if named else (None, recast):
        attempts.append(attempt := _Try(comparison, modes))
        for i in range(2):
            _answer(attempt, i)
        if (found := _logic(attempt)) is not None and not found.broken:
            return _twins(attempt, found)
    ran = [attempt for attempt in attempts if attempt.both() is not None]
    for attempt in ran:  # what rounding may be is measured only where it matters
        found = _logic(attempt, measured=True)
        if found is not None and not found.broken:
            return _twins(attempt, found)
    if not ran:
        return _twins(max(attempts, key=lambda attempt: 2 - attempt.of.count(None)), None)
    _drop_poor(ran[-1], found)
    return _twins(ran[-1], found if ran[-1].both() else None)


def _answer(attempt: _Try, i: int) -> None:
    """Run one way in float64, or write down why it has no answer there."""
    comparison = attempt.comparison
    try:
        found = allowances(*comparison.given(i), within=attempt.within(i), probes=0)
    except Exception as error:
        attempt.why[i] = first_line(error)
        return
    answers = {e.path: e.answer for e in found if e.path in comparison.found[i]}
    for path, leaf in comparison.found[i].items():
        answer = answers.get(path)
        if real(leaf) != real(answer) or _shape(leaf) != _shape(answer):
            attempt.why[i] = f"{path} is {described(answer)} there, {described(leaf)} here"
            return
    attempt.of[i] = answers


def _shape(leaf: Any) -> Any:
    return list(leaf.shape) if isinstance(leaf, Tensor) else []


def _twins(attempt: _Try, found: Difference | None) -> Twins:
    """The attempt with its responses: the first way's, and those of one that has parameters."""
    comparison, responses = attempt.comparison, dict[str, Tensor]()
    moved = [i for i in range(2) if attempt.of[i] is not None]
    if found is not None and found.broken:
        moved = []  # settled
    if len(moved) == 2 and not held(comparison.ways[1]):
        moved = [0]
    for i in moved:
        for e in allowances(*comparison.given(i), within=attempt.within(i)):
            if e.response is not None:
                responses[e.path] = torch.maximum(responses.get(e.path, e.response), e.response)
    (one, two), (why, reason) = attempt.of, attempt.why
    return Twins((one, two), responses, found, attempt.limit if found else {}, (why, reason))


def _logic(attempt: _Try, measured: bool = False) -> Difference | None:
    """The worst difference in float64; None where one way has no twin."""
    both = attempt.both()
    if both is None:
        return None
    paths = attempt.comparison.floating()
    limit = {path: (DIGITS * both[0][path].abs()).nan_to_num(0, 0, 0) for path in paths}
    for i in range(2 if measured else 0):
        for path, more in _rounding(attempt, i, both[i]).items():
            limit[path] = limit[path] + more
    attempt.limit = limit
    differences = [
        difference(p, both[0][p], both[1][p], most, torch.float64) for p, most in limit.items()
    ]
    return worst(differences) or Difference("", "", 0.0, 0.0, (0.0, 0.0), "float64", False)


def _rounding(attempt: _Try, i: int, answers: Answers) -> dict[str, Tensor]:
    """How far rounding may carry a way in float64, path by path.

    Errors of random signs add up to the root of their squares, which is what moving the inputs
    shows; n errors of one sign add up to at most sqrt(n) times that.
    """
    comparison, within = attempt.comparison, attempt.within(i)
    f, args, kwargs = comparison.given(i)
    count = sum(t.numel() for t in held((f, args, kwargs)))
    growth = FACTOR * max(count, 1) ** 0.5
    most = {path: torch.zeros(()).double() for path in comparison.floating()}
    with suppress(Exception):
        wide = convert((f, args, kwargs), torch.float64)
        fine = allowances(wide[0], wide[1], wide[2], within=within)
        most = {e.path: growth * e.response for e in fine if e.response is not None}
    with suppress(Exception):
        given = convert((f, args, kwargs), torch.float32)
        coarse = dict(run(given, torch.float32, _recast(comparison, torch.float32).itself))
        for path in most:
            most[path] = torch.maximum(most[path], SHRINK * _apart(answers[path], coarse[path]))
    for path, more in _constants(attempt, i, answers).items():
        most[path] = most[path] + FACTOR * more
    return {path: most[path] for path in comparison.floating()}


def _apart(answer: Tensor, other: Any) -> Tensor:
    return reduced((precise(other) - answer).abs().nan_to_num(0, 0, 0))


def _constants(attempt: _Try, i: int, answers: Answers) -> dict[str, Tensor]:
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
        mode = _recast(attempt.comparison, signs=seed, fixed=shared)
        given = convert(attempt.comparison.given(i), torch.float64)
        probe = dict(run(given, torch.float64, mode.itself))
        for path in attempt.comparison.floating():
            change = _apart(answers[path], probe[path])
            moved[path] = torch.maximum(moved.get(path, change), change)
    return moved


def _drop_poor(attempt: _Try, found: Difference | None) -> None:
    """Take the answers away from a way that computes in float32 whatever it is given."""
    poor = [_poor(attempt, i, found.path) if found else False for i in range(2)]
    for i in range(2):
        if poor[i]:
            attempt.of[i], attempt.why[i] = None, "its float64 has the digits of float32"


def _poor(attempt: _Try, i: int, path: str) -> bool:
    """Whether inputs that need every digit of float64 are no other than the same in float32.

    Roundings and one-hots forget digits too, so the answer must also fit float32 and need more
    than 12 of its 24.
    """
    comparison, coins = attempt.comparison, torch.Generator().manual_seed(0)

    def blur(t: Tensor) -> Tensor:
        wide = convert(t, torch.float64)
        return wide * (1 + 2.0**-30 * torch.rand(t.shape, generator=coins).double().to(t.device))

    fine = alter(comparison.given(i), blur)
    short = convert(convert(fine, torch.float32), torch.float64)
    try:
        out, cut = (dict(run(given, torch.float64, attempt.within(i))) for given in (fine, short))
    except Exception:
        return False
    digits = torch.frexp(precise(out[path])).mantissa.abs()
    fits = lambda bits: bool((digits * 2.0**bits).frac().nan_to_num(0, 0, 0).eq(0).all())
    return fits(24) and not fits(12) and torch.equal(precise(out[path]), precise(cut[path]))
