"""The sizes that a law is tried at: small ones first, then around every border of a block."""

from dataclasses import dataclass, replace

import torch

EFFORTS = ("quick", "default", "thorough")
LENGTHS = {
    "quick": (1, 2, 3, 5, 8, 66),
    "default": (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129),
}
LENGTHS["thorough"] = (*LENGTHS["default"], 191, 193, 255, 256, 257, 511, 512, 513)
BLOCK = 64
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
WIDE = (65, 3)  # T, B beside the largest C of a subject
SMALL = 9  # lengths up to which every cut, every row and every position is tried
SPLIT = 2**15  # elements; below it one thread is faster, and far faster on a machine that is busy
LOOKED_AT = 66  # lengths up to which no position is left out: each is cut in a row of its own


@dataclass(frozen=True)
class Setting:
    """One size at which a law is tried, and all else that a reproducer needs.

    >>> print(Setting(T=6), Setting(B=2, T=6, dtype=torch.float16, scale=4096.0), sep=" | ")
    B=1 T=6 C=1 float32 | B=2 T=6 C=1 float16 scale=4096
    """

    T: int
    B: int = 1
    C: int = 1
    dtype: torch.dtype = torch.float32
    seed: int = 0
    scale: float = 1.0  # what the drawn sequences are multiplied by
    turned: bool = False  # time varies fastest in memory
    backend: str = ""  # of torch.compile
    literal: bool = False  # logic too is judged in this dtype, not in float64
    mode: str = ""  # parameters "redrawn"; compiled "dynamic"; a module in "train" or "masked"
    pieces: tuple[int, ...] = ()  # of ranks that share the sequence

    def __str__(self) -> str:
        text = f"B={self.B} T={self.T} C={self.C} {str(self.dtype).removeprefix('torch.')}"
        text += f" scale={self.scale:.4g}" if self.scale != 1 else ""
        text += " time-contiguous" if self.turned else ""
        text += f" {self.mode}" if self.mode else ""
        return text + (f" backend={self.backend}" if self.backend else "")

    def describe(self, channels: bool = True) -> str:
        """The size; a user's module has its own number of channels, and C says nothing of it."""
        text = str(self)
        return text if channels else text.replace(f" C={self.C}", "", 1)

    @property
    def elements(self) -> int:
        """How many there are in `[B, T, C]`."""
        return self.B * self.T * self.C

    def again(self, number: int) -> "Setting":
        """The same size with other random numbers."""
        return replace(self, seed=self.seed + 1000 + number)


def sizes(effort: str, *, dtypes: tuple[torch.dtype, ...], rows: int = 1) -> list[Setting]:
    """Every length of an effort with few rows and channels, at least `rows` rows.

    The dtypes come in turn, and every third setting lies in memory with time varying fastest.

    >>> [str(s) for s in sizes("quick", dtypes=(torch.float64,))[:3]]
    ['B=1 T=1 C=1 float64', 'B=2 T=1 C=2 float64', 'B=3 T=1 C=4 float64 time-contiguous']
    """
    found: list[Setting] = []
    for T in LENGTHS[effort]:
        turns = ((1, 1), (2, 2), (3, 4)) if T <= 3 else (((2, 3), (3, 1), (1, 4), (2, 2))[T % 4],)
        for B, C in turns:
            i = len(found)
            dtype = dtypes[0] if C == 1 else dtypes[i % len(dtypes)]  # the smallest is the plainest
            found.append(Setting(T, max(B, rows), C, dtype, turned=C > 1 and i % 3 == 2))
    return found


def every_cut(T: int) -> list[int]:
    """All of them."""
    return list(range(1, T))


def cuts(T: int) -> list[int]:
    """Where a sequence is cut in two: everywhere if it is short, else around its block borders.

    >>> cuts(4), cuts(65), cuts(130)
    ([1, 2, 3], [1, 32, 63, 64], [1, 63, 64, 65, 127, 128, 129])
    """
    if T <= SMALL:
        return every_cut(T)
    borders = {b + d for b in range(BLOCK, T, BLOCK) for d in (-1, 0, 1)}
    return sorted(t for t in {1, T // 2, T - 1} | borders if 0 < t < T)


def pieces(T: int) -> list[tuple[int, ...]]:
    """Ways to cut T positions into consecutive pieces: equal ones, uneven ones, empty ones.

    >>> pieces(3)
    [(1, 1, 1), (2, 1), (1, 2), (0, 3), (3, 0), (1, 0, 2)]
    """
    equal = [n for n in (1, 2, 3, 7, BLOCK - 1, BLOCK, BLOCK + 1) if n < T]
    found = [(*[n] * (T // n), *[T % n] * (T % n > 0)) for n in equal]
    uneven = [(1, T - 1), (T - 1, 1), (0, T), (T, 0), (T // 2, 0, T - T // 2)]
    return list(dict.fromkeys([*found, *uneven] if T > 1 else uneven[2:4]))


def smaller(setting: Setting, end: int | None = None) -> list[Setting]:
    """Settings to try in place of one that fails, smallest first.

    `end`: a length at which the fault is likely to show, if one is known.

    >>> [s.T for s in smaller(Setting(66), 41)]
    [1, 2, 3, 5, 9, 33, 41, 64, 65]
    """
    T = setting.T
    if setting.pieces:  # those that are tried are in order of their size
        return [s for s in [replace(setting, B=1, C=1)] if s != setting]
    few = {1, 2, 3, 5, SMALL, T // 2, T - 2, T - 1, T} | ({end} if end and end < T else set())
    lengths = range(1, T + 1) if T <= SMALL else sorted(few)
    rows = sorted({1, 2, 3, setting.B} & {*range(1, setting.B + 1)})
    tried = [replace(setting, T=t, B=b, C=c)
             for t in lengths for b in rows for c in sorted({1, setting.C})]  # fmt: skip
    return [s for s in tried if s != setting]
