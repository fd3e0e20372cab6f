"""The measured triangle of a module, and the submodule in which a leak first enters."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..comparing.change import limit
from ..sizes import Setting
from ..subjects.subject import Subject
from .rewriting import Rewrite, gradients

SHOWN = 8  # positions that are drawn
LEVELS = ((0.0, "."), (0.01, "-"), (0.3, "+"), (2.0, "#"))  # shares of the largest influence


@dataclass(frozen=True)
class Influence:
    """What y[t] (row) reads of x[s] (column): by value, and by gradient where there is one.

    Attributes:
        value: [N, N], the largest change of y[t] when x[s] is rewritten.
        gradient: [N, N], the largest |dy_t / dx_s|; None where nothing can be differentiated.
        enters: the submodule in which the future first reaches the past; "" if none shows it.
        start: the first of the N positions that are drawn.
        ahead: how many later positions may be read.
    """

    value: Tensor
    gradient: Tensor | None
    enters: str
    start: int = 0
    ahead: int = 0

    def lines(self) -> list[str]:
        """The triangles side by side in ASCII, a leaking cell being an exclamation mark."""
        places = range(self.start, self.start + self.value.shape[0])
        head = "     " + " ".join(f"{s % 10}" for s in places)
        grids = [self.value] + ([] if self.gradient is None else [self.gradient])
        titles = ["by value", "by gradient"][: len(grids)]
        spared = f", {self.ahead} ahead is allowed" if self.ahead else ""
        lines = [f"y[t] (row) reads x[s] (column); ! is a leak{spared}"]
        lines.append("   ".join(f"{title:<{len(head)}}" for title in titles).rstrip())
        lines.append("   ".join([head] * len(grids)))
        for i, t in enumerate(places):
            cells = [
                " ".join(_cell(grid, i, s, self.ahead) for s in range(len(grid))) for grid in grids
            ]
            lines.append("   ".join(f"{t:4d} {row}" for row in cells))
        return lines + ([f"it enters in {self.enters}"] if self.enters else [])


def _cell(grid: Tensor, t: int, s: int, ahead: int) -> str:
    value, top = float(grid[t, s]), float(grid.max()) or 1.0
    if s > t + ahead:
        return "!" if value else "."
    return next(sign for level, sign in LEVELS if value <= level * top) if value else "."


def influence(subject: Subject, setting: Setting, start: int = 0, most: int = SHOWN) -> Influence:
    """Measure it at `most` positions from `start` on, in all rows.

    Cost: for each position one call, and one backward pass where there are gradients.
    """
    subject = subject.at(setting)
    places = range(start, min(setting.T, start + most))
    N, here = len(places), slice(places.start, places.stop)
    y = subject.run(subject.draw(setting))[0]
    value = torch.zeros(N, N, dtype=torch.float64)
    for i, s in enumerate(places):
        rewrite = Rewrite(subject, setting, None, tuple(range(setting.B)), 1, 1.0)
        moved = (rewrite.after(range(s, s + 1)).double() - y.double()).abs().nan_to_num(0, 0, 0)
        value[:, i] = moved.transpose(0, 1).reshape(setting.T, -1).amax(1)[here].cpu()
    value[value <= _noise(y)] = 0.0
    found: Tensor | None = None
    for t, _, _, grad in gradients(subject, setting, False, [t + 1 for t in places]):
        found = torch.zeros(N, N, dtype=torch.float64) if found is None else found
        size = grad.abs().double().nan_to_num(0, 0, 0).transpose(0, 1).reshape(setting.T, -1)
        row = t - 1 - start
        found[row] = torch.maximum(found[row], size.amax(1)[here].cpu())
    entry = enters(subject, setting, value, start)
    return Influence(value, found, entry, start, subject.lookahead)


def _noise(y: Tensor) -> float:
    """What may be rounding: some units of the largest number, as for every other change."""
    if not y.is_floating_point():
        return 0.0
    return limit(y.dtype) * torch.finfo(y.dtype).eps * float(y.abs().nan_to_num(0, 0, 0).max())


def enters(subject: Subject, setting: Setting, value: Tensor, start: int = 0) -> str:
    """The first submodule whose past changes with a future that its own inputs do not show.

    Where some later positions may be read, it is one that reads more of them by itself.
    """
    if subject.module is None:
        return ""
    ahead = subject.lookahead
    cells = (value.triu(1 + ahead) > 0).nonzero().tolist()
    if not cells:
        return ""
    cell = max(cells, key=lambda at: at[1] - at[0]) if ahead else cells[0]  # the layers share it
    t, s = (start + i for i in cell)
    rewrite = Rewrite(subject, setting, None, tuple(range(setting.B)), 1, 1.0)
    before, after = (_watched(subject, rewrite, spots) for spots in (range(0), range(s, setting.T)))
    for (name, given, made), (_, given_after, made_after) in zip(before, after, strict=False):
        if _alike(given, given_after, t + ahead) and not _alike(made, made_after, t):
            return name
    return ""


def _alike(one: list[Tensor], other: list[Tensor], t: int) -> bool:
    """Whether sequences are equal up to position t."""
    pairs = zip(one, other, strict=False)
    return all(torch.equal(a[:, : t + 1], b[:, : t + 1]) for a, b in pairs)


def _watched(subject: Subject, rewrite: Rewrite, spots: range) -> list[tuple[str, Any, Any]]:
    """(name, sequences that went in, sequences that came out), as the submodules finish."""
    seen: list[tuple[str, Any, Any]] = []
    assert subject.module is not None
    lead = (rewrite.setting.B, rewrite.setting.T)

    def hook(name: str) -> Any:
        def watch(_m: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
            seen.append((name, _sequences((args, kwargs), lead), _sequences(result, lead)))

        return watch

    handles = [
        m.register_forward_hook(hook(f"{name} ({type(m).__name__})"), with_kwargs=True)
        for name, m in subject.module.named_modules() if name
    ]  # fmt: skip
    try:
        rewrite.after(spots)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _sequences(nested: Any, lead: tuple[int, int]) -> list[Tensor]:
    if isinstance(nested, Tensor):
        return [nested.detach().clone()] if tuple(nested.shape[:2]) == lead else []
    if isinstance(nested, dict):
        nested = list(nested.values())
    if isinstance(nested, tuple | list):
        return [t for item in nested for t in _sequences(item, lead)]
    return []
