"""Draws the triangles on the pages of the tutorial, the mixers and the laws, in light and dark.

    python docs/pictures/triangles.py [NAME ...]

Each is an SVG that trilby writes itself; no browser is needed.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import trilby
from trilby.explorer.pictures import svg
from trilby.explorer.triangle import Triangle

HERE = Path(__file__).parent
T, SIDE, ALONE = 40, 200, 320  # positions; pixels of a triangle, and of one by itself
MIXERS = {  # page -> what is drawn on it
    "mean": ["mean"],
    "decay": ["decay"],
    "ema": ["ema:0.5", "ema:0.9", "ema:0.98"],
    "weighted": ["mean", "weighted"],
    "attention": ["attention", "attention:window=8"],
    "linear": ["attention", "linear"],
    "delta": ["linear", "delta"],
    "kda": ["delta", "kda"],
    "conv": ["conv"],
    "selective": ["selective"],
}

Drawn = list[Triangle]


def explored(names: list[Any], x: Any = "sonnets") -> Drawn:
    """The first triangle of each mixer or module."""
    return [trilby.explore(name, x, T=T).triangles[0] for name in names]


def named(name: str, weights: Tensor) -> Triangle:
    """A matrix [T, T] with a name."""
    return Triangle(name, weights.detach().double(), measured=False, fact="")


def measured(**modules: Callable[[Tensor], Tensor]) -> Drawn:
    """What modules read of numbers."""
    x = torch.randn(1, T, 1, generator=torch.Generator().manual_seed(0))
    found = []
    for name, module in modules.items():
        one = trilby.explore(module, x).triangles[0]
        found.append(Triangle(name.replace("_", " "), one.weights, True, one.fact))
    return found


def trained() -> Drawn:
    """The head of the tutorial before and after its training: the page itself is run."""
    text = (HERE.parent / "tutorial" / "heads.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    names: dict[str, Any] = {"__name__": "heads"}
    kept = {}
    for code in blocks:
        exec(code, names)
        if "head = Head()" in code or "class Head" in code:
            torch.manual_seed(0)
            head = names.get("head") or names["Head"]()
            x, _ = names["batch"](1, torch.Generator().manual_seed(7))
            kept["after" if "head" in names else "before"] = head, x
    return [
        named(when, trilby.attention.weights(*head.qkv(x)).wei[0, 0])
        for when, (head, x) in kept.items()
    ]


def hasty() -> Drawn:
    """Linear attention, and the sum over all positions that is read afterwards."""
    q, k, v = torch.rand(3, 1, T, 1, 4, generator=torch.Generator().manual_seed(0))
    right = trilby.linear.weights(q, k, v, normalize=False).wei[0, 0]
    whole = torch.einsum("bthk,bshk->ts", q, k)
    return [named("read at t", right), named("all added first", whole)]


def documents() -> Drawn:
    """The mean over a row of three documents, told apart and not."""
    x = torch.zeros(1, T, 1)
    ids = torch.tensor([0] * 12 + [1] * 18 + [2] * 10)[None]
    apart = trilby.mean.weights(x, documents=ids).wei[0]
    return [named("three documents", apart), named("read as one", trilby.mean.weights(x).wei[0])]


def continued() -> Drawn:
    """One call, and two calls of which the second is not given the state."""
    whole = trilby.mean.weights(torch.zeros(1, T, 1)).wei[0]
    cut = whole.clone()
    cut[T // 2 :] = 0
    cut[T // 2 :, T // 2 :] = whole[: T - T // 2, : T - T // 2]
    return [named("one call", whole), named("the state is lost", cut)]


def causal() -> Drawn:
    """What leaks look like."""

    def ahead(x: Tensor) -> Tensor:
        return x + torch.cat([x[:, 1:], x[:, -1:]], 1)

    def blocks(x: Tensor) -> Tensor:
        parts = [part.mean(1, keepdim=True).expand_as(part) for part in x.split(8, 1)]
        return torch.cat(parts, 1)

    def wrapped(x: Tensor) -> Tensor:
        return x + x.roll(1, 1) + x.roll(2, 1)

    def statistic(x: Tensor) -> Tensor:
        return x - x.mean(1, keepdim=True)

    return measured(
        one_ahead=ahead, inside_a_block=blocks, wrapped_around=wrapped, a_norm_over_time=statistic
    )


DRAWN: dict[str, Callable[[], Drawn]] = {
    "tutorial-mean": lambda: explored(["mean"]),
    "tutorial-weights": lambda: explored(["mean", "ema:0.9", "weighted"]),
    "tutorial-attention": lambda: explored(["weighted", "attention"]),
    "tutorial-trained": trained,
    "tutorial-linear": hasty,
    "tutorial-delta": lambda: explored(["linear", "delta"]),
    "law-causal": causal,
    "law-documents": documents,
    "law-resumes": continued,
    **{f"mixer-{page}": lambda names=names: explored(names) for page, names in MIXERS.items()},
}


if __name__ == "__main__":
    for name, make in DRAWN.items():
        if name in sys.argv[1:] or not sys.argv[1:]:
            shown = make()
            side = SIDE if len(shown) > 1 else ALONE
            for dark in (False, True):
                file = HERE / f"{name}-{'dark' if dark else 'light'}.svg"
                file.write_text(svg(shown, dark=dark, side=side), encoding="utf-8")
