"""Law 4: a row does not depend on its neighbours in the batch."""

from typing import Any

import torch
from torch import Tensor

from ..nest import alter, leaves
from ..subject import Subject, differences
from ..verdict import Verdict

SIZES = (1, 3, 65)
ROWS = 3


def isolated(subject: Subject) -> Verdict:
    """Whether each row alone equals that row of the batch, also with its neighbours rewritten.

    A room has neither a padding mask nor packed documents, so neither is judged.
    """
    for T in SIZES:
        sequences = subject.draw(B=ROWS, T=T, seed=21, dtype=torch.float64)
        other = subject.draw(B=ROWS, T=T, seed=22, dtype=torch.float64)
        for state in (None, subject.past(ROWS)):
            together = subject.run(sequences, state)
            for b in range(ROWS):
                row = tuple(a[b : b + 1] for a in sequences)
                mine = _row(state, b)
                wanted = leaves(subject.run(row, mine))
                allowed = [e.allowance(torch.float64) for e in subject.entitled(row, mine)]
                mixed = tuple(_only(a, 1e3 * o, b) for a, o in zip(sequences, other, strict=True))
                for result, how in (
                    (together, "alone or in a batch"),
                    (subject.run(mixed, state), "as its neighbours change"),
                ):
                    found = leaves(_row(result, b))
                    for place, error, most in differences(found, wanted, allowed):
                        return _broken(subject, f"row {b}, {place}", how, error, most, T)
    return subject.holds("isolated", f"batch of {ROWS}, T in {SIZES}; no padding, no documents")


def _row(nest: Any, b: int) -> Any:
    """One row of everything in a nest, kept as a batch of one."""

    def pick(t: Tensor) -> Tensor:
        return t[b : b + 1].clone()

    if nest is None:
        return None
    if isinstance(nest, Tensor):
        return pick(nest)
    if isinstance(nest, tuple):
        rows = [_row(part, b) for part in nest]
        return type(nest)(*rows) if hasattr(nest, "_fields") else tuple(rows)
    return alter(nest, pick)


def _only(a: Tensor, other: Tensor, b: int) -> Tensor:
    mixed = other.clone()
    mixed[b] = a[b]
    return mixed


def _broken(subject: Subject, place: str, how: str, error: float, most: float, T: int) -> Verdict:
    sentence = f"neighbour  {subject.name}  {place} differs by {error:.2g} {how}  T={T}"
    return subject.verdict(
        "isolated", "broken", "neighbour", error=error, allowance=most, place=place,
        sentence=sentence,
    )  # fmt: skip
