"""Do two ways compute the same function? Logic in float64, numerics in the working dtype."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .entitled import Entitled, entitled, pinned
from .nest import clone, convert, leaves
from .verdict import Verdict

DIGITS = 2.0**-26  # half the digits of float64: a smaller difference there is rounding


def same(f: Callable[..., Any], g: Callable[..., Any], *args: Any, **kwargs: Any) -> Verdict:
    """Whether f and g are the same function at these arguments.

    Returns:
        A verdict of kind "same", "rounding" (one way rounds worse than it may) or "different".

    Raises:
        TypeError: no argument was given. What f or g raises in float64 is raised on.

    Cost: 1 call of each in the working dtype and 27 in float64.

    >>> x = torch.ones(1, 2, 1)
    >>> bool(same(lambda x: x + x, lambda x: 2 * x, x)), bool(same(torch.exp, torch.sin, x))
    (True, False)
    """
    if not args and not kwargs:
        raise TypeError("same: no arguments; give those to call both with, e.g. same(f, g, x)")
    found = []
    for way in (f, g):
        try:
            own, given, named = clone((way, args, kwargs))
            with pinned():
                found.append(leaves(clone(own(*given, **named))))
        except Exception as error:
            return _no(f"{_name(way)} raises {type(error).__name__}: {error}")
    if [p for p, _ in found[0]] != [p for p, _ in found[1]]:
        return _no(f"{_name(f)} returns {_paths(found[0])}, {_name(g)} {_paths(found[1])}")
    twins = entitled(f, args, kwargs), entitled(g, args, kwargs)
    exact = entitled(*convert((f, args, kwargs), torch.float64))  # moved by units of float64
    worst = Verdict("", "same", "holds", "same", 0.0, 0.0, "", "the same function, bit for bit")
    for (path, a), (_, b), one, two, base in zip(*found, *twins, exact, strict=True):
        verdict = _leaf(path, a, b, one, two, base)
        if not verdict:
            return verdict
        if (verdict.error or 0) > (worst.error or 0):
            worst = verdict
    return worst


def _leaf(path: str, a: Any, b: Any, one: Entitled, two: Entitled, base: Entitled) -> Verdict:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        equal = type(a) is type(b) and not isinstance(a, Tensor) and a == b
        return _yes() if equal else _no(f"{path} is {a!r:.40} and {b!r:.40}", path)
    if a.shape != b.shape:
        return _no(f"{path} is {list(a.shape)} and {list(b.shape)}", path)
    if a.dtype != b.dtype:
        return _no(f"{path} is {a.dtype} and {b.dtype}", path)
    if one.response is None or two.response is None:
        return _judge(path, a.to(torch.float64), b.to(torch.float64), torch.zeros(()), "different")
    logic = DIGITS * one.answer.abs()  # [..., C]
    logic = torch.maximum(logic, base.allowance(torch.float64))
    verdict = _judge(path, one.answer, two.answer, logic, "different", " (float64)")
    for way, twin in ((a, one), (b, two)):
        if verdict:
            allowed = twin.allowance(a.dtype)
            verdict = _judge(path, way.double(), twin.answer, allowed, "rounding")
    if not verdict:
        return verdict
    return _judge(path, a.double(), b.double(), 2 * one.allowance(a.dtype), "rounding")


def _judge(path: str, a: Tensor, b: Tensor, allowed: Tensor, kind: str, unit: str = "") -> Verdict:
    """Compare element by element; equal infinities and NaN at the same place are no error."""
    if not a.numel():
        return _yes()
    equal = (a == b) | (a.isnan() & b.isnan())
    error = torch.where(equal, 0.0, (a - b).abs()).nan_to_num(torch.inf, torch.inf)
    limit = allowed.nan_to_num(0, 0, 0).expand_as(error)
    excess = torch.where(equal, -1.0, error - limit)
    at = int((excess if bool((excess > 0).any()) else error).argmax())
    index = [int(i) for i in torch.unravel_index(torch.tensor(at), a.shape)]
    place = f"{path}{index}" if index else path
    size, most = float(error.flatten()[at]), float(limit.flatten()[at])
    numbers = f"{size:.1e} at {place}, allowed {most:.1e}{unit}"
    if float(excess.flatten()[at]) > 0:
        what = "different functions: they differ by" if kind == "different" else "rounds too much:"
        return Verdict("", "same", "broken", kind, size, most, place, f"{what} {numbers}")
    text = f"the same function; they differ by rounding only: {numbers}"
    return Verdict("", "same", "holds", "same", size, most, place, text)


def _yes() -> Verdict:
    return Verdict("", "same", "holds", "same", 0.0, 0.0, "", "the same function, bit for bit")


def _no(sentence: str, place: str = "") -> Verdict:
    return Verdict("", "same", "broken", "different", None, None, place, sentence)


def _name(way: Any) -> str:
    return getattr(way, "__name__", type(way).__name__)


def _paths(found: list[tuple[str, Any]]) -> str:
    return ", ".join(path for path, _ in found) or "nothing"
