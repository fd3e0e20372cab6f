"""`trilby tour`: the notebook's computation live and proven, then real data, then speed."""

import sys
import time
from collections.abc import Callable

import click

from ..screen import Screen


@click.command()
@click.option("--step", is_flag=True, help="Wait for a key between the parts.")
@click.option("--all", "everything", is_flag=True, help="The second mixer too: decay.")
def tour(step: bool, everything: bool) -> None:
    """Walk through trilby: the notebook's three programs, real data, speed."""
    if step and not sys.stdin.isatty():
        raise click.UsageError("--step waits for a key, and standard input is not a terminal")
    from . import fading, notebook, real, speed

    began = time.perf_counter()
    screen = Screen()
    parts: list[tuple[str, Callable[[Screen], None]]] = [
        ("The loop: each position averages itself and its past", notebook.loop),
        ("The matrix: the same averages as one product", notebook.matrix),
        ("The softmax: the same triangle, from masked scores", notebook.softmax),
        ("One function? What allclose says, and what same says", notebook.proof),
        ("Real letters: what a bag of words sees in a sonnet", real.letters),
        ("Real years: sunspots and their running mean", real.sunspots),
        ("Speed: the fused form against a copy and against cumsum", speed.race),
    ]
    if everything:
        parts += [
            ("Fading: the same picture, but the past counts less and less", fading.triangles),
            ("One function? Every form of decay on that sentence", fading.proof),
            ("Speed: the fused form of decay against those in torch", fading.race),
        ]
    parts.append(("What to try next", _next))
    for number, (title, part) in enumerate(parts, 1):
        screen.line()
        screen.line(f"{number}. {title}")
        screen.line("─" * min(screen.width, 76))
        part(screen)
        if step and number < len(parts):
            click.pause("any key goes on ...", err=True)
    screen.line()
    screen.line(f"The tour took {time.perf_counter() - began:.1f} s.")


def _next(screen: Screen) -> None:
    screen.line("  trilby list                        the mixers and their forms")
    screen.line("  trilby show mean                   definition, contract, costs, triangle")
    screen.line("  trilby same mean.loop mean.softmax two forms, one function?")
    screen.line("  trilby check mean                  every form before every law")
    screen.line("  trilby bench mean                  the forms timed in turn, beside a copy")
    screen.line("  trilby mix mean IN.csv -o OUT.csv  the mean of your own series, however long")
    screen.line("  trilby env                         versions, machine, kernels")
    screen.line("  trilby tour --all                  the second mixer too: decay, which fades")
    screen.line()
    screen.line('  python -c "import torch, trilby; print(trilby.mean(torch.ones(1, 4, 1)))"')
