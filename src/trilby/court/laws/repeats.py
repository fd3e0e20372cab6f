"""Law 1: the same call twice gives the same result, also after another call in between."""

import torch

from ..subject import Subject, differences
from ..verdict import Verdict

SIZES = (1, 5, 65)


def repeats(subject: Subject) -> Verdict:
    """Whether equal calls have equal results, bit for bit; random numbers are pinned per call."""
    for T in SIZES:
        sequences = subject.draw(B=2, T=T, seed=1, dtype=torch.float32)
        first = subject.outputs(sequences)
        again = subject.outputs(sequences)
        subject.outputs(subject.draw(B=1, T=T + 2, seed=2, dtype=torch.float32))
        later = subject.outputs(sequences)
        exact = [torch.zeros(())] * len(first)
        for found, when in ((again, "at once"), (later, "after another call")):
            for place, error, _ in differences(found, first, exact):
                sentence = f"random  {subject.name}  {place} changes {when} by {error:.1e}  T={T}"
                return subject.verdict(
                    "repeats", "broken", "random", error=error, allowance=0.0, place=place,
                    sentence=sentence,
                )  # fmt: skip
    return subject.holds("repeats", f"bit for bit, T in {SIZES}")
