"""Do two ways compute the same function? Logic in float64, numerics in the working dtype."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..errors import CallError
from ..kernels.machine import team
from ..shown.progress import progress
from .comparing.difference import Difference, difference, worst
from .copies.devices import without_float64
from .copies.nested import clone, precise, real
from .copies.owning import owning
from .copies.reached import tensors_of
from .equivalence.backward import backward, recorded
from .equivalence.comparison import Answer, Comparison
from .equivalence.twins import Twins, twins
from .precision.allowance import FACTOR, allowances, run, unit
from .process import undisturbed
from .reports.verdict import Verdict
from .sizes import SPLIT
from .wording import described, first_line, label, short


def same(
    f: Callable[..., Any], g: Callable[..., Any], *args: Any, gradients: bool = True, **kwargs: Any
) -> Verdict:
    """Whether f and g are the same function at these arguments, and pass the same gradients back.

    Args:
        f, g: functions, modules, methods or mixers; each is called with copies of the arguments,
            from the same random state, and returns tensors, arrays or numbers, alone or nested.
            A pair is `(y, state)`; if only one of the two returns a state, y alone is compared.
        args, kwargs: what both are called with.
        gradients: whether the backward passes are compared too: the gradients to every floating
            tensor in the arguments and, where both are modules whose parameters have the same
            names, to these. If one of the two cannot be differentiated, a note says so.

    Returns:
        A verdict of kind "same", "rounding" (one function, but one way rounds worse than its
        dtype allows), "different", or "" where nothing could be judged. Its sentence
        names the dtype that each number was measured in, and what could not be judged there.

    Raises:
        TypeError: f or g is no function, or no argument was given.
        CallError: an argument or a module is on a device without float64 (MPS).

    What f or g changes in place, also in modules that it reaches through a closure, is as before
    afterwards, and no `.grad` is left behind. What the verdict says holds at these arguments; it is
    no proof for others. One call runs at a time, `check` included. Random generators are seeded,
    and put back at the end: what other threads draw from them meanwhile repeats. Unwrap DDP and
    FSDP first.
    Cost: 11 calls of f and 2 of g, or 11 where g has parameters; about 60 where they differ. The
    gradients cost as many again, each with its backward pass: all of it takes 2.5 to 6 times as
    long as the values alone (mean, decay and a transformer layer on 2 cores).

    >>> x = torch.ones(1, 2, 1)
    >>> bool(same(lambda x: x + x, lambda x: 2 * x, x)), bool(same(torch.exp, torch.sin, x))
    (True, False)
    >>> print(same(lambda x: 2 * x, lambda x: x + x.detach(), x))  # doctest: +ELLIPSIS
    equal values, different gradients: they differ by 2.0e+00 at the gradient of x[0, 0, 0], ...
    """
    for letter, way in zip("fg", (f, g), strict=True):
        if not callable(way):
            raise TypeError(_no_function(letter, way))
    if not args and not kwargs:
        raise TypeError("same: no arguments; give those to call both with, e.g. same(f, g, x)")
    if device := without_float64(f, g, args, kwargs):
        raise CallError(
            f"same: something is on {device}, which has no float64 to compare in; move the "
            "modules and the arguments to the CPU, e.g. module.cpu()"
        )
    comparison = Comparison((owning(f, label(f)), owning(g, label(g))), args, kwargs)
    few = sum(x.numel() for x in tensors_of((f, g, args, kwargs))) < SPLIT
    with (
        progress() as shown,
        undisturbed(f, g, args, kwargs),
        team.single() if few else nullcontext(),
    ):
        shown.say(f"same: {' = '.join(comparison.names)}")
        found = answer(comparison)
        if gradients and found.kind == "same":
            shown.say(f"same: gradients, {' = '.join(comparison.names)}")
            found = _with_gradients(comparison, found)
        return found.verdict(comparison)


def _no_function(letter: str, way: Any) -> str:
    what = type(way).__name__
    instead = "give two functions and what to call them with, e.g. trilby.same(f, g, x)"
    tensors = "; for two tensors there is torch.testing.assert_close(a, b)"
    return f"same: {letter} is a {what}, not a function; {instead}" + (
        tensors if isinstance(way, Tensor) else ""
    )


def answer(comparison: Comparison) -> Answer:
    """The same question about the values alone, answered as data.

    Cost: that of `same` without gradients.
    """
    return _called(comparison) or _compared(comparison) or _judged(comparison)


def _with_gradients(comparison: Comparison, found: Answer) -> Answer:
    """The answer about values, or what the backward passes have against it."""
    with recorded():
        asked = backward(comparison)
        if not isinstance(asked, Comparison):
            return found if asked is None else replace(found, notes=(*found.notes, asked))
        judged = _judged(asked)
    far = judged.difference and judged.difference.of_gradient()
    if judged.kind != "same" and far:
        text = judged.text.replace(str(judged.difference), str(far))
        lead = judged.lead.replace("different functions", "equal values, different gradients")
        return replace(judged, text=text, difference=far, lead=lead)
    known = any(note.startswith("judged in") for note in found.notes)
    notes = [] if known else [f"gradients {note}" for note in judged.notes]
    return replace(found, notes=(*found.notes, *notes))


def _called(comparison: Comparison) -> Answer | None:
    """Call both in the working dtype; an answer if that alone settles it."""
    results, raised = [], []
    for i, name in enumerate(comparison.names):
        try:
            given = clone(comparison.given(i))
        except Exception as error:
            return comparison.answer(
                "", f"{name} or an argument cannot be copied ({first_line(error)})"
            )
        try:
            watch = _Draws()
            results.append(dict(run(given, within=watch.itself)))
            comparison.draws |= watch.drew
        except Exception as error:
            raised.append(f"{name} raises {first_line(error)}")
    if raised:
        return comparison.answer("" if len(raised) == 2 else "different", " and ".join(raised))
    comparison.found = results[0], results[1]
    return _structure(comparison)


class _Draws(AbstractContextManager[None]):
    """Sees whether random numbers of torch were drawn."""

    drew = False

    def itself(self) -> "_Draws":
        return self

    def __enter__(self) -> None:
        self.before = torch.default_generator.get_state()

    def __exit__(self, *_: object) -> None:
        self.drew = not torch.equal(self.before, torch.default_generator.get_state())


def _structure(comparison: Comparison) -> Answer | None:
    """Compare what was returned path by path, or y alone where one way returns no state."""
    one, two = comparison.found
    names = comparison.names
    if one.keys() != two.keys():
        bare = [all(map(_of_y, found)) for found in comparison.found]
        one, two = ({p: v for p, v in found.items() if _of_y(p)} for found in comparison.found)
        if one.keys() != two.keys() or not one or not any(bare):
            paths, other_paths = (", ".join(found) or "nothing" for found in comparison.found)
            return comparison.answer(
                "different", f"{names[0]} returns {paths}, {names[1]} {other_paths}"
            )
        comparison.found = one, two
        comparison.notes.append(f"y alone is compared, {names[bare.index(True)]} returns no state")
    comparison.found = one, {path: two[path] for path in one}
    if all(leaf is None for leaf in (*one.values(), *two.values())):
        return comparison.answer("", "neither way returns anything that could be compared")
    return None


def _of_y(path: str) -> bool:
    return path == "y" or path.startswith("y.")


def _compared(comparison: Comparison) -> Answer | None:
    """Deny what differs in kind: shape, dtype, or a leaf that is no number."""
    (one, two), names = comparison.found, comparison.names
    for path, a in one.items():
        b = two[path]
        kinds = f"{path} is {described(a)} from {names[0]} and {described(b)} from {names[1]}"
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            if a.shape != b.shape or a.dtype != b.dtype:
                return comparison.answer("different", kinds)
        elif not (real(a) and real(b)) or isinstance(a, Tensor) or isinstance(b, Tensor):
            equal = _equal(a, b)
            if equal is None:
                return comparison.answer("", f"{kinds}, and these cannot be compared")
            if not equal:
                return comparison.answer("different", kinds)
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


def _judged(comparison: Comparison) -> Answer:
    """Compare the numbers: whole ones exactly, real ones in float64 and in the working dtype."""
    found = twins(comparison)
    if found.difference is not None and found.difference.broken:
        return _different(comparison, found.difference)
    whole = _whole(comparison, found)
    return _numerics(comparison, found) if whole is None else whole


def _different(comparison: Comparison, far: Difference) -> Answer:
    lead = "different functions: " + ("" if far.error == float("inf") else "they differ by ")
    return comparison.answer("different", str(far), far, lead)


def _whole(comparison: Comparison, found: Twins) -> Answer | None:
    """Deny whole numbers and truth values that differ."""
    for path, a in comparison.found[0].items():
        b = comparison.found[1][path]
        if real(a) or not isinstance(a, Tensor):
            continue
        zero = torch.zeros(())
        here = difference(path, a, b, zero, a.dtype)
        there = None
        if found.of[0] and found.of[1]:
            there = difference(path, found.of[0][path], found.of[1][path], zero, a.dtype)
        if here and here.broken and there and not there.broken:
            return comparison.answer(
                "rounding", f"the same in float64, but they differ by {here}", here
            )
        for bad in (here, there):
            if bad and bad.broken:
                return _different(comparison, bad)
    return None


def _numerics(comparison: Comparison, found: Twins) -> Answer:
    """Hold each way against the twins in the dtype it was called in."""
    answers, responses = _references(comparison, found)
    differences: list[list[Difference | None]] = [[], [], []]  # first, second, between them
    for path in comparison.floating():
        dtype = comparison.dtype(path)
        one, two = (precise(leaves[path]) for leaves in comparison.found)
        exact, other = (answer[path] for answer in answers)
        allowed = FACTOR * (comparison.coarser(path) * responses[path] + unit(exact, dtype))
        if found.of == (None, None):
            allowed = 2 * allowed  # the first is the reference, and it errs as well
        differences[0].append(difference(path, one, exact, allowed, dtype))
        differences[1].append(difference(path, two, other, allowed, dtype))
        differences[2].append(
            difference(path, one, two, 2 * allowed + found.allowed.get(path, 0), dtype)
        )
    denied = worst(map(worst, differences[:2]))
    if denied is not None and denied.broken:
        return _denied(comparison, found, differences[0].count(denied) == 0, denied)
    _note_what_is_missing(comparison, found)
    between = worst(differences[2])
    if between is None or between.error == 0:
        dtypes = sorted({short(comparison.dtype(path)) for path in comparison.floating()})
        where = f" ({', '.join(dtypes)})" if dtypes else ""
        return comparison.answer("same", f"the same function, bit for bit{where}", between)
    return comparison.answer(
        "same", f"the same function; they differ by rounding only: {between}", between
    )


def _references(comparison: Comparison, found: Twins) -> tuple[tuple[Any, Any], dict[str, Tensor]]:
    """For each way the exact answers, path by path, and the response that both may claim."""
    one, two = found.of
    if one is not None or two is not None:
        return (one or two, two or one), found.responses
    own = allowances(
        *comparison.given(0), dtype=None
    )  # no float64: the first way, in its own dtype
    answers = {e.path: e.answer for e in own}
    return (answers, answers), {e.path: e.response for e in own if e.response is not None}


def _denied(comparison: Comparison, found: Twins, i: int, worst: Difference) -> Answer:
    """Rounding where float64 has shown that it is no more than that, else a difference."""
    _note_what_is_missing(comparison, found)
    if None in found.of:
        return _different(comparison, worst)
    times = f", {worst.error / worst.allowed:.1f} times" if worst.allowed else ""
    text = f"{comparison.names[i]} rounds worse than {worst.dtype} allows: {worst}{times}"
    return comparison.answer("rounding", f"the same function, but {text}", worst)


def _note_what_is_missing(comparison: Comparison, found: Twins) -> None:
    """Note what float64 could not judge."""
    names, why = comparison.names, found.why
    missing = [i for i in range(2) if found.of[i] is None]
    here = short(comparison.working)
    if len(missing) == 1:
        i = missing[0]
        comparison.notes.append(
            f"judged in {here} against the float64 of {names[1 - i]}, for {names[i]} has none"
            f" ({why[i]}): a smaller difference of function would pass for rounding"
        )
    if len(missing) == 2:
        reasons = " and ".join(dict.fromkeys(why))
        comparison.notes.append(
            f"judged in {here} alone against {names[0]}, for neither runs in float64"
            f" ({reasons}): a smaller difference of function would pass for rounding"
        )
