"""The three cells of the notebook, computed live, beside the numbers that it printed."""

import torch
from torch import Tensor

from ...mixers import mean
from ...shown.triangle import draw
from ...verify import Verdict, same
from ..screen import Screen

X0 = [
    [0.1808, -0.0700],
    [-0.3596, -0.9152],
    [0.6258, 0.0255],
    [0.9545, 0.0643],
    [0.3612, 1.1679],
    [-1.3499, -0.5102],
    [0.2360, -0.2398],
    [-0.9211, 1.5433],
]
"""`x[0]` as the notebook printed it, after `torch.manual_seed(1337)`."""

XBOW0 = [
    [0.1808, -0.0700],
    [-0.0894, -0.4926],
    [0.1490, -0.3199],
    [0.3504, -0.2238],
    [0.3525, 0.0545],
    [0.0688, -0.0396],
    [0.0927, -0.0682],
    [-0.0341, 0.1332],
]
"""`xbow[0]` as the notebook printed it."""

A = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.3333, 0.3333, 0.3333]]
B = [[2.0, 7.0], [6.0, 4.0], [6.0, 5.0]]
C = [[2.0, 7.0], [4.0, 5.5], [4.6667, 5.3333]]
"""`a`, `b` and `c = a @ b` as the notebook printed them, after `torch.manual_seed(42)`."""


def loop(screen: Screen) -> None:
    """The first cell: B = 4, T = 8, C = 2."""
    x = sequence()
    xbow = by_loop(x)
    screen.line("x = torch.randn(4, 8, 2), seed 1337; y[b, t] = mean of x[b, :t+1]")
    screen.line()
    screen.line("  t   x[0] here         xbow[0] here      in the notebook")
    for t in range(x.shape[1]):
        screen.line(f" {t:2d}  {_row(x[0, t])}  {_row(xbow[0, t])}  {_row(XBOW0[t])}")
    screen.line()
    _compare(screen, "x[0]", x[0], X0)
    _compare(screen, "xbow[0]", xbow[0], XBOW0)
    _compare(screen, "trilby.mean.loop(x)[0]", mean.loop(x)[0][0], XBOW0)


def matrix(screen: Screen) -> None:
    """The second cell, and its small example of one product."""
    torch.manual_seed(42)
    a = torch.tril(torch.ones(3, 3))
    a = a / torch.sum(a, 1, keepdim=True)
    b = torch.randint(10, (3, 2), dtype=torch.float32)
    c = a @ b
    screen.line("a = tril(ones(3, 3)), each row divided by its sum; b random, seed 42; c = a @ b")
    screen.line()
    for i in range(3):
        weights = " ".join(f"{w:.4f}" for w in a[i].tolist())
        screen.line(f"  [{weights}]  @  [{b[i, 0]:.0f} {b[i, 1]:.0f}]  =  [{_row(c[i]).strip()}]")
    screen.line()
    for name, here, printed in (("a", a, A), ("b", b, B), ("c", c, C)):
        _compare(screen, name, here, printed)
    screen.line()
    screen.line("The matrix of the running mean, T = 8; row = the position that reads:")
    screen.line()
    for row in draw(mean.weights(sequence()).wei[0].tolist(), ascii=screen.ascii, width=screen.fit):
        screen.picture(row)


def softmax(screen: Screen) -> None:
    """The third cell: all scores are zero, and the future is -inf."""
    T = 8
    wei = torch.zeros(T, T).masked_fill(torch.tril(torch.ones(T, T)) == 0, float("-inf"))
    wei = torch.softmax(wei, dim=-1)
    gap = float((wei - mean.weights(sequence()).wei[0]).abs().max())
    screen.line("wei = softmax(zeros with -inf above the diagonal): attention with equal scores")
    screen.line()
    for row in draw(wei.tolist(), ascii=screen.ascii, width=screen.fit):
        screen.picture(row)
    screen.line()
    screen.line(f"Largest difference from the matrix above: {gap:.1e}")


def proof(screen: Screen) -> None:
    """The notebook's last line, why it can say False, and what `same` says instead."""
    x = sequence()
    ways = {"loop": by_loop(x), "matrix": by_matrix(x), "softmax": by_softmax(x)}
    exact = mean.loop(x.double())[0]
    gap = (ways["loop"] - ways["softmax"]).abs()
    place = [int(i) for i in torch.unravel_index(gap.div(exact.abs()).argmax(), x.shape)]
    size, value = float(gap[tuple(place)]), float(exact[tuple(place)])
    said = torch.allclose(ways["loop"], ways["softmax"])
    screen.line(f"torch.allclose(xbow, xbow3) -> {said} on torch {torch.__version__}")
    screen.line(
        f"  worst element {place}: {value:.4f}, difference {size:.1e}, relative {size / value:.1e}"
    )
    screen.line("  allclose allows 1e-8 + 1e-5 of the value, less than rounding near zero.")
    screen.line("  Difference of each program from the exact result (float64):")
    for name, y in ways.items():
        screen.line(f"    {name:8} {float((y - exact).abs().max()):.1e}")
    screen.line()
    for name, way in (("matrix", by_matrix), ("softmax", by_softmax)):
        _verdict(screen, f"trilby.same(loop, {name}, x)", same(by_loop, way, x))
    wrong = same(by_loop, lambda x: by_matrix(x) + 1e-3 * x.mean(1, keepdim=True), x)
    screen.line()
    screen.line("And a matrix with a small leak, a thousandth of the mean over all time:")
    _verdict(screen, "trilby.same(loop, leaky, x)", wrong)


def sequence() -> Tensor:
    """The notebook's x: [4, 8, 2]."""
    torch.manual_seed(1337)
    return torch.randn(4, 8, 2)


def by_loop(x: Tensor) -> Tensor:
    """The notebook's first way."""
    xbow = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            xbow[b, t] = torch.mean(x[b, : t + 1], 0)
    return xbow


def by_matrix(x: Tensor) -> Tensor:
    """The notebook's second way."""
    wei = torch.tril(torch.ones(x.shape[1], x.shape[1], dtype=x.dtype))
    return (wei / torch.sum(wei, 1, keepdim=True)) @ x


def by_softmax(x: Tensor) -> Tensor:
    """The notebook's third way."""
    tril = torch.tril(torch.ones(x.shape[1], x.shape[1]))
    wei = torch.zeros(x.shape[1], x.shape[1], dtype=x.dtype)
    return torch.softmax(wei.masked_fill(tril == 0, float("-inf")), dim=-1) @ x


def _verdict(screen: Screen, call: str, verdict: Verdict) -> None:
    screen.line(f"{call} -> {bool(verdict)}")
    screen.wrapped(verdict.sentence, "  ")


def _row(pair: Tensor | list[float]) -> str:
    return " ".join(f"{float(value):8.4f}" for value in pair)


def _compare(screen: Screen, name: str, here: Tensor, printed: list[list[float]]) -> None:
    """Whether they agree to the four decimals that the notebook printed."""
    equal = [[round(v, 4) for v in row] for row in here.tolist()] == printed
    screen.line(
        f"  {'✓' if equal else '✗'} {name}: {'equals' if equal else 'differs from'} the notebook"
    )
