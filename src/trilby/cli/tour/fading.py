"""The same picture with fading: the second mixer on one sentence, its verdict and its speed."""

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
    """The mean's triangle and decay's, side by side where the terminal is wide enough."""
    assert SENTENCE in data.sonnets()
    words, (q, k, v, g) = sentence()
    T, K = len(words), q.shape[3]
    wei = {
        "mean": mean.weights(v[:, :, 0]).wei[0],
        "decay": decay.weights(q, k, v, g).wei[0, 0],
    }
    screen.wrapped(
        f"One sentence, {T} words; q = k = v: how often a word has each of {K} letters, of "
        "length 1. The mean takes all words alike; decay takes a word by its likeness to the one "
        "that reads, times 0.8 for every word since:"
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
        f"wei @ v and trilby.decay(q, k, v, g) differ by {gap:.1e} at most; the state that a next "
        f"word would go on with is {K} x {K}, however long the sentence was."
    )


def proof(screen: Screen) -> None:
    """Every form of decay against the loop on the sentence, and one that forgets a step late."""
    _, given = sentence()
    for name in FORMS:
        verdict = same(decay.loop, decay.MIXER.forms[name], *given)
        screen.wrapped(f"decay.{name}: {verdict}", "  ", "  ")

    def late(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        return decay.matrix(q, k, v, g.roll(1, 1))

    q, k, v, g = given
    given = q, k, v, g * torch.linspace(1, 2, g.shape[1])[:, None]  # gates that differ in time
    screen.line()
    screen.line("and gates that come one word late:")
    screen.wrapped(f"late: {same(decay.loop, late, *given)}", "  ", "  ")


def race(screen: Screen) -> None:
    """The fused form in turn with the torch forms, after its verdict."""
    given = decay.draw(B=1, T=1024, H=8, K=64, V=64)
    first = tuple(x[:, :256] for x in given)
    screen.wrapped(
        f"q, k, v {list(given[0].shape)} float32, one gate a head; one thread each, since on a "
        "busy machine two would wait for each other. Fused against chunk on "
        f"{first[0].shape[1]} positions:"
    )
    verdict = same(decay.chunk, decay.fused, *first)
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
    """A row in cells of four columns; the future is a dot."""
    now = [f"{w:.2f}".removeprefix("0") if w < 0.995 else "1.0" for w in wei[t, : t + 1].tolist()]
    return "".join(f"{cell:>4}" for cell in (*now, *["·"] * (len(wei) - t - 1)))
