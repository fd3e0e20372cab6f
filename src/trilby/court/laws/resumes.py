"""Law 3: the whole equals piece after piece, joined by the state."""

from typing import Any

import torch

from ..nest import leaves
from ..subject import Arguments, Subject, differences
from ..verdict import Verdict

SIZES = (1, 2, 7, 65, 130)
PIECES = (1, 2, 3, 7, 63, 64, 65)
UNEVEN = (2, 0, 1, 5, 0, 64, 7)


def resumes(subject: Subject) -> Verdict:
    """Whether two calls joined by the state equal one call, in float64; counts to the last digit.

    Pieces of one length each, uneven and empty ones, from no state and from one that was given.
    """
    for T in SIZES:
        sequences = subject.draw(B=2, T=T, seed=11, dtype=torch.float64)
        for state in (None, subject.past(2)):
            whole = subject.outputs(sequences, state)
            allowed = [e.allowance(torch.float64) for e in subject.entitled(sequences, state)]
            for lengths in _cuts(T):
                pieces = _in_pieces(subject, sequences, state, lengths)
                for place, error, most in differences(pieces, whole, allowed):
                    return _broken(subject, place, error, most, lengths, state, T)
    return subject.holds("resumes", f"pieces of {PIECES} and uneven ones, T in {SIZES}")


def _cuts(T: int) -> list[tuple[int, ...]]:
    even = [(n,) * (T // n) + ((T % n,) if T % n else ()) for n in PIECES if n <= T]
    uneven, left = [], T
    for n in UNEVEN:
        uneven.append(min(n, left))
        left -= uneven[-1]
    return [*even, (*uneven, left)]


def _in_pieces(
    subject: Subject, sequences: Arguments, state: Any, lengths: tuple[int, ...]
) -> list[tuple[str, Any]]:
    y = []
    for piece in zip(*(a.split(lengths, 1) for a in sequences), strict=True):
        out, state = subject.run(piece, state)
        y.append(out)
    return leaves((torch.cat(y, 1), state))


def _broken(
    subject: Subject, place: str, error: float, most: float, lengths: tuple[int, ...],
    state: Any, T: int,
) -> Verdict:  # fmt: skip
    shown = f"{lengths[0]} at a time" if len(set(lengths[:-1])) <= 1 else f"pieces {lengths}"
    given = "a state given" if state is not None else "no state"
    sentence = (
        f"state  {subject.name}  {place} differs by {error:.2g} from one call, {shown}, {given}"
        f"  T={T}"
    )
    return subject.verdict(
        "resumes", "broken", "state", error=error, allowance=most, place=place, sentence=sentence
    )
