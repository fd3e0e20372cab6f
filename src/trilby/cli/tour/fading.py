"""The second mixer, decay, on one sentence: its matrix, its verdict and its speed."""

from collections.abc import Callable

import torch
from torch import Tensor

from ... import data
from ...mixers import decay, mean
from ...verify import same
from ..screen import Screen
from .speed import timed

SENTENCE = "Shall I compare thee to a summer's day?"
FORMS = ("matrix", "scan", "chunk", "step", "fused")
ROUNDS = 7


def triangles(screen: Screen) -> None:
    """The matrices of mean and decay, side by side if the terminal is wide enough."""
    assert SENTENCE in data.sonnets()
    words, (q, k, v, g) = sentence()
    T, K = len(words), q.shape[3]
    wei = {
        "mean": mean.weights(v[:, :, 0]).wei[0],
        "decay": decay.weights(q, k, v, g).wei[0, 0],
    }
    screen.wrapped(
        f"One sentence of {T} words. q = k = v: the counts of {K} letters in each word, scaled to "
        "length 1. The mean weighs all words equally. Decay weighs a word by its similarity to "
        "the word that reads, times 0.8 for every step back:"
    )
    screen.line("  wei[t, s] = (q_t . k_s) 0.8^(t - s)")
    screen.line()
    rows = {name: [_row(triangle, t) for t in range(T)] for name, triangle in wei.items()}
    label, wide = max(map(len, words)), 4 * T
    both = screen.width >= label + 2 * wide + 5
    for names in (["mean", "decay"],) if both else (["mean"], ["decay"]):
        screen.line(" " * label + "".join(f"  {name:>{wide}}" for name in names).rstrip())
        for t, word in enumerate(words):
            screen.line(f"{word:>{label}}" + "".join(f"  {rows[name][t]}" for name in names))
        screen.line()
    y = decay.fused(q, k, v, g)[0][0, :, 0]
    gap = float((wei["decay"] @ v[0, :, 0] - y).abs().max())
    screen.wrapped(
        f"wei @ v and trilby.decay(q, k, v, g) differ by at most {gap:.1e}. The state for the next "
        f"word is {K} x {K}, for a sentence of any length."
    )


def proof(screen: Screen) -> None:
    """Every form of decay compared with the loop, and a wrong one whose gates come a step late."""
    _, given = sentence()
    for name in FORMS:
        verdict = same(decay.loop, decay.MIXER.forms[name], *given, gradients=False)
        screen.wrapped(f"decay.{name}: {verdict}", "  ", "  ")

    def late(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        return decay.matrix(q, k, v, g.roll(1, 1))

    q, k, v, g = given
    given = q, k, v, g * torch.linspace(1, 2, g.shape[1])[:, None]  # gates that differ in time
    screen.line()
    screen.line("And a wrong form, whose gates come one word late:")
    screen.wrapped(f"late: {same(decay.loop, late, *given)}", "  ", "  ")


def race(screen: Screen) -> None:
    """Timings of the fused form and the torch forms, in turn, after the fused form is verified."""
    given = decay.draw(B=1, T=1024, H=8, K=64, V=64)
    first = tuple(x[:, :256] for x in given)
    screen.wrapped(
        f"q, k, v {list(given[0].shape)} float32, one gate per head, one thread. First: is fused "
        f"equal to chunk on {first[0].shape[1]} positions?"
    )
    verdict = same(decay.chunk, decay.fused, *first, gradients=False)  # what is timed
    screen.wrapped(str(verdict), "  ")
    if not verdict:
        screen.line("  no times are given for a form that is not right")
        return
    ways: dict[str, Callable[[], object]] = {
        "trilby.decay(q, k, v, g)": lambda: decay.MIXER(*given),
        'form="chunk"': lambda: decay.chunk(*given),
        'form="matrix"': lambda: decay.matrix(*given),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        timed(screen, ways, "times the first", rounds=ROUNDS)
    finally:
        torch.set_num_threads(threads)


def sentence() -> tuple[list[str], tuple[Tensor, ...]]:
    """The words of the sentence, and q, k, v [1, T, 1, letters] and g [1, T, 1] made of them."""
    words = SENTENCE.split()
    letters = sorted({letter for letter in SENTENCE.lower() if letter.isalpha()})
    counts = torch.tensor([[float(word.lower().count(c)) for c in letters] for word in words])
    x = (counts / counts.norm(dim=1, keepdim=True))[None, :, None]  # [1, T, 1, letters]
    return words, (x, x, x, torch.full(x.shape[:3], 0.8).log())


def _row(wei: Tensor, t: int) -> str:
    """A row in cells of four columns; the future is shown as dots."""
    now = [f"{w:.2f}".removeprefix("0") if w < 0.995 else "1.0" for w in wei[t, : t + 1].tolist()]
    return "".join(f"{cell:>4}" for cell in (*now, *["·"] * (len(wei) - t - 1)))
