"""Do two ways compute the same function? Logic in float64, numerics in the working dtype."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from .comparing.case import Case, described, told
from .comparing.gap import Gap, gap, short, worst
from .copies.nested import clone, precise, real
from .precision.allowance import FACTOR, entitled, run, unit
from .precision.twins import Twins, twins
from .process import undisturbed
from .telling.verdict import Verdict


def same(f: Callable[..., Any], g: Callable[..., Any], *args: Any, **kwargs: Any) -> Verdict:
    """Whether f and g are the same function at these arguments.

    Args:
        f, g: functions, modules, methods or mixers; each is called with copies of the arguments,
            from the same random state, and returns tensors, arrays or numbers in any nest. A pair
            is `(y, state)`; if only one of the two returns a state, y alone is compared.
        args, kwargs: what both are called with.

    Returns:
        A verdict of kind "same", "rounding" (one function, but one way rounds worse than its
        dtype is entitled to), "different", or "" where nothing could be judged. Its sentence
        names the dtype that each number was measured in, and what could not be judged there.

    Raises:
        TypeError: no argument was given.

    What f or g changes in place, also in modules that it reaches through a closure, is as before
    afterwards. What the verdict says holds at these arguments; it is no proof for others.
    One call runs at a time, `check` included. Random generators are seeded, and put back at the
    end: what other threads draw from them meanwhile repeats. Unwrap DDP and FSDP first.
    Cost: 10 calls of f and 2 of g, or 10 where g has parameters; about 60 where they differ.

    >>> x = torch.ones(1, 2, 1)
    >>> bool(same(lambda x: x + x, lambda x: 2 * x, x)), bool(same(torch.exp, torch.sin, x))
    (True, False)
    """
    if not args and not kwargs:
        raise TypeError("same: no arguments; give those to call both with, e.g. same(f, g, x)")
    case = Case((f, g), args, kwargs)
    with undisturbed(f, g, args, kwargs):
        for settles in (_called, _compared):
            if (verdict := settles(case)) is not None:  # a denial is false
                return verdict
        return _judged(case)


def _called(case: Case) -> Verdict | None:
    """Call both in the working dtype; a verdict if that alone settles it."""
    results, raised = [], []
    for i, name in enumerate(case.names):
        try:
            given = clone(case.given(i))
        except Exception as error:
            return case.verdict("", f"{name} or an argument cannot be copied ({told(error)})")
        try:
            watch = _Draws()
            results.append(dict(run(given, within=watch.itself)))
            case.draws |= watch.drew
        except Exception as error:
            raised.append(f"{name} raises {told(error)}")
    if raised:
        return case.verdict("" if len(raised) == 2 else "different", " and ".join(raised))
    case.found = results[0], results[1]
    return _structure(case)


class _Draws(AbstractContextManager[None]):
    """Sees whether random numbers of torch were drawn."""

    drew = False

    def itself(self) -> "_Draws":
        return self

    def __enter__(self) -> None:
        self.before = torch.default_generator.get_state()

    def __exit__(self, *_: object) -> None:
        self.drew = not torch.equal(self.before, torch.default_generator.get_state())


def _structure(case: Case) -> Verdict | None:
    """Compare what was returned path by path, or y alone where one way returns no state."""
    one, two = case.found
    names = case.names
    if one.keys() != two.keys():
        bare = [all(map(_of_y, found)) for found in case.found]
        one, two = ({p: v for p, v in found.items() if _of_y(p)} for found in case.found)
        if one.keys() != two.keys() or not one or not any(bare):
            told_one, told_two = (", ".join(found) or "nothing" for found in case.found)
            return case.verdict(
                "different", f"{names[0]} returns {told_one}, {names[1]} {told_two}"
            )
        case.found = one, two
        case.notes.append(f"y alone is compared, {names[bare.index(True)]} returns no state")
    case.found = one, {path: two[path] for path in one}
    if all(leaf is None for leaf in (*one.values(), *two.values())):
        return case.verdict("", "neither way returns anything that could be compared")
    return None


def _of_y(path: str) -> bool:
    return path == "y" or path.startswith("y.")


def _compared(case: Case) -> Verdict | None:
    """Deny what differs in kind: shape, dtype, or a leaf that is no number."""
    (one, two), names = case.found, case.names
    for path, a in one.items():
        b = two[path]
        kinds = f"{path} is {described(a)} from {names[0]} and {described(b)} from {names[1]}"
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            if a.shape != b.shape or a.dtype != b.dtype:
                return case.verdict("different", kinds)
        elif not (real(a) and real(b)) or isinstance(a, Tensor) or isinstance(b, Tensor):
            equal = _equal(a, b)
            if equal is None:
                return case.verdict("", f"{kinds}, and these cannot be compared")
            if not equal:
                return case.verdict("different", kinds)
    return None


def _equal(a: Any, b: Any) -> bool | None:
    """Whether two leaves that are no tensors are equal; None if they cannot say."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    compares: Any = type(a).__eq__
    if compares is object.__eq__:
        return None
    try:
        return bool(a == b)
    except Exception:
        return None


def _judged(case: Case) -> Verdict:
    """Compare the numbers: whole ones exactly, real ones in float64 and in the working dtype."""
    found = twins(case)
    if found.gap is not None and found.gap.broken:
        return _different(case, found.gap)
    whole = _whole(case, found)
    return _numerics(case, found) if whole is None else whole


def _different(case: Case, far: Gap) -> Verdict:
    lead = "" if far.error == float("inf") else "they differ by "
    return case.verdict("different", f"different functions: {lead}{far}", far)


def _whole(case: Case, found: Twins) -> Verdict | None:
    """Deny whole numbers and truth values that differ."""
    for path, a in case.found[0].items():
        b = case.found[1][path]
        if real(a) or not isinstance(a, Tensor):
            continue
        zero = torch.zeros(())
        here = gap(path, a, b, zero, a.dtype)
        there = None
        if found.of[0] and found.of[1]:
            there = gap(path, found.of[0][path], found.of[1][path], zero, a.dtype)
        if here and here.broken and there and not there.broken:
            return case.verdict("rounding", f"the same in float64, but they differ by {here}", here)
        for bad in (here, there):
            if bad and bad.broken:
                return _different(case, bad)
    return None


def _numerics(case: Case, found: Twins) -> Verdict:
    """Hold each way against the twins in the dtype it was called in."""
    answers, responses = _references(case, found)
    gaps: list[list[Gap | None]] = [[], [], []]  # first, second, between them
    for path in case.floating():
        dtype = case.dtype(path)
        one, two = (precise(leaves[path]) for leaves in case.found)
        exact, other = (answer[path] for answer in answers)
        allowed = FACTOR * (case.coarser(path) * responses[path] + unit(exact, dtype))
        if found.of == (None, None):
            allowed = 2 * allowed  # the first is the reference, and it errs as well
        gaps[0].append(gap(path, one, exact, allowed, dtype))
        gaps[1].append(gap(path, two, other, allowed, dtype))
        gaps[2].append(gap(path, one, two, 2 * allowed + found.allowed.get(path, 0), dtype))
    denied = worst(map(worst, gaps[:2]))
    if denied is not None and denied.broken:
        return _denied(case, found, gaps[0].count(denied) == 0, denied)
    _confess(case, found)
    between = worst(gaps[2])
    if between is None or between.error == 0:
        dtypes = sorted({short(case.dtype(path)) for path in case.floating()})
        where = f" ({', '.join(dtypes)})" if dtypes else ""
        return case.verdict("same", f"the same function, bit for bit{where}", between)
    return case.verdict(
        "same", f"the same function; they differ by rounding only: {between}", between
    )


def _references(case: Case, found: Twins) -> tuple[tuple[Any, Any], dict[str, Tensor]]:
    """For each way the exact answers, path by path, and the response that both may claim."""
    one, two = found.of
    if one is not None or two is not None:
        return (one or two, two or one), found.responses
    own = entitled(*case.given(0), dtype=None)  # no float64: the first way, in its own dtype
    answers = {e.path: e.answer for e in own}
    return (answers, answers), {e.path: e.response for e in own if e.response is not None}


def _denied(case: Case, found: Twins, i: int, worst: Gap) -> Verdict:
    """Rounding where float64 has shown that it is no more than that, else a difference."""
    _confess(case, found)
    if None in found.of:
        return _different(case, worst)
    times = f", {worst.error / worst.allowed:.1f} times" if worst.allowed else ""
    entitled_to = f"rounds worse than {worst.dtype} is entitled to: {worst}{times}"
    return case.verdict("rounding", f"the same function, but {case.names[i]} {entitled_to}", worst)


def _confess(case: Case, found: Twins) -> None:
    """Say in the sentence what float64 could not judge."""
    names, why = case.names, found.why
    missing = [i for i in range(2) if found.of[i] is None]
    here = short(case.working)
    if len(missing) == 1:
        i = missing[0]
        case.notes.append(
            f"judged in {here} against the float64 of {names[1 - i]}, for {names[i]} has none"
            f" ({why[i]}): a smaller difference of function would pass for rounding"
        )
    if len(missing) == 2:
        reasons = " and ".join(dict.fromkeys(why))
        case.notes.append(
            f"judged in {here} alone against {names[0]}, for neither runs in float64"
            f" ({reasons}): a smaller difference of function would pass for rounding"
        )
