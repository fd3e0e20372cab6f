"""Law 6: rounding stays within what the function is entitled to, in every dtype."""

from collections.abc import Iterator

import torch

from ..entitled import entitled
from ..nest import numbers
from ..subject import Subject, differences
from ..verdict import Verdict

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SIZES = (3, 300, 2100)  # 2100: beyond the counts that bfloat16 (2^8) and float16 (2^11) can hold


def sound(subject: Subject) -> Verdict:
    """Whether the error in float32, bfloat16 and float16 is within the entitlement.

    At ordinary sizes of the inputs, near the largest and near the smallest that the dtype holds.
    Against the float64 twin of the same way, so that only rounding is judged.
    """
    for dtype in DTYPES:
        for T, size in _cases(dtype):
            sequences = tuple(
                (size * a.double()).to(dtype) for a in subject.draw(B=1, T=T, seed=51, dtype=dtype)
            )
            state = subject.past(1) if T in SIZES[:1] else None
            twin = entitled(subject.call, sequences, {"state": state})
            found = subject.outputs(sequences, state)
            wanted = [
                (e.path, e.answer.to(f.dtype) if numbers(f) else e.answer)
                for e, (_, f) in zip(twin, found, strict=True)
            ]
            allowed = [
                e.allowance(f.dtype) if numbers(f) else torch.zeros(())
                for e, (_, f) in zip(twin, found, strict=True)
            ]
            for place, error, most in differences(found, wanted, allowed):
                name = str(dtype).removeprefix("torch.")
                what = "not what float64 gives"
                if error < torch.inf and most:
                    what = f"off by {error:.2g}, {error / most:.3g} times what it may be"
                sentence = (
                    f"rounding  {subject.name}  {place} in {name} is {what}, "
                    f"inputs of size {size:.1g}  T={T}"
                )
                return subject.verdict(
                    "sound", "broken", "rounding", error=error, allowance=most, place=place,
                    sentence=sentence,
                )  # fmt: skip
    return subject.holds("sound", f"float32, bfloat16, float16, T in {SIZES}")


def _cases(dtype: torch.dtype) -> Iterator[tuple[int, float]]:
    info = torch.finfo(dtype)
    for T in SIZES:
        yield T, 1.0
    yield 64, info.max / 8  # a normal number is rarely beyond 8
    yield 64, info.smallest_normal
