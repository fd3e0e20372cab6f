"""Every form is the same function as the definition; judged by `same`."""

from dataclasses import replace

import torch

from ..same import same
from ..subject import Subject
from ..verdict import Verdict

SIZES = (0, 1, 2, 3, 7, 63, 64, 65, 130)


def agrees(subject: Subject) -> Verdict:
    """Whether this way is the same function as the reference, with a state and without one."""
    for T in SIZES:
        for dtype in (torch.float64, torch.float32):
            sequences = subject.draw(B=2, T=T, seed=41, dtype=dtype)
            for state in (None, subject.past(2)):
                verdict = same(subject.reference, subject.call, *sequences, state=state)
                if not verdict:
                    given = "with a state" if state is not None else "no state"
                    told = f"{verdict.sentence}  {given}  T={T}"
                    kind = verdict.kind or "different"
                    sentence = f"{kind}  {subject.name}  {told}"
                    return replace(verdict, subject=subject.name, law="agrees", sentence=sentence)
    return subject.holds("agrees", f"the same function as the definition, T in {SIZES}")
