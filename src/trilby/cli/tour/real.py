"""The running mean on real input: the letters of a sonnet, and sunspots by year."""

import torch

from ... import data
from ...mixers import mean
from ..screen import Screen

BARS = "▁▂▃▄▅▆▇█"
BARS_ASCII = "_.-=+*#@"


def letters(screen: Screen) -> None:
    """One-hot characters: the running mean is the frequency of each letter so far."""
    text = data.sonnets()
    text = text[text.index("From fairest") :][:4096]
    known = sorted(set(text))
    codes = torch.tensor([known.index(c) for c in text])
    x = torch.nn.functional.one_hot(codes, len(known)).float()[None]  # [1, T, C]
    y, _ = mean.fused(x)
    screen.line(f"x [1, {x.shape[1]}, {x.shape[2]}]: one column for each character, one-hot")
    screen.line()
    most = 5 if screen.width >= 76 else 3
    screen.line("  position  text up to there       most frequent so far, in percent")
    for t in (0, 8, 64, 512, 4095):
        share = y[0, t]
        best = share.topk(min(most, int((share > 0).sum()))).indices.tolist()
        bag = "  ".join(f"{_visible(known[i])} {100 * float(share[i]):.1f}" for i in best)
        read = "".join(map(_visible, text[max(0, t - 17) : t + 1]))
        screen.line(f"  {t:8d}  {read:>18}     {bag}")
    screen.line()
    screen.line("The mean forgets the order of the letters and keeps their frequencies.")


def sunspots(screen: Screen) -> None:
    """A series with a period of eleven years; its running mean settles."""
    series = data.sunspots()
    x = series.values  # [1, T, 1]
    y, _ = mean.fused(x)
    years = series.time.tolist()
    width = min(64, screen.width - 12)
    every = -(-x.shape[1] // width)
    bars = BARS_ASCII if screen.ascii else BARS
    screen.line(f"x [1, {x.shape[1]}, 1]: yearly sunspot activity, {years[0]:.0f}-{years[-1]:.0f}")
    screen.line()
    top = float(x.max())
    for name, way in (("activity", x), ("mean", y)):
        values = way[0, ::every, 0].tolist()
        line = "".join(bars[min(7, int(8 * v / top))] for v in values)
        screen.line(f"  {name:8}  {line}")
    screen.line()
    for t in (0, 10, 100, x.shape[1] - 1):
        now, so_far = float(x[0, t, 0]), float(y[0, t, 0])
        screen.line(f"  {years[t]:.0f}   activity {now:6.1f}   mean so far {so_far:6.2f}")


def _visible(letter: str) -> str:
    return {" ": "␣", "\n": "⏎"}.get(letter, letter)
