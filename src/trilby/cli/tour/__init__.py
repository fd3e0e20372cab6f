"""`trilby tour`: three programs for one function, then real data, then speed."""

import sys
import time
from collections.abc import Callable

import click

from ..screen import Screen


@click.command()
@click.option("--step", is_flag=True, help="Wait for a key between the parts.")
@click.option("--all", "everything", is_flag=True, help="Continue with the second mixer, decay.")
def tour(step: bool, everything: bool) -> None:
    """Show trilby: three programs for one function, real data, speed."""
    if step and not sys.stdin.isatty():
        raise click.UsageError("--step waits for a key, and standard input is not a terminal")
    from . import fading, notebook, real, speed

    began = time.perf_counter()
    screen = Screen()
    parts: list[tuple[str, Callable[[Screen], None]]] = [
        ("The loop: each position gets the mean of itself and its past", notebook.loop),
        ("The matrix: the same means as one matrix product", notebook.matrix),
        ("The softmax: the same matrix, from masked scores", notebook.softmax),
        ("The same function? torch.allclose and trilby.same", notebook.proof),
        ("Real text: letter frequencies in a sonnet", real.letters),
        ("Real data: sunspots and their running mean", real.sunspots),
        ("Speed: the fused form, a plain copy, and cumsum", speed.race),
    ]
    if everything:
        parts += [
            ("Decay: like the mean, but older positions count less", fading.triangles),
            ("The same function? Every form of decay on that sentence", fading.proof),
            ("Speed: the fused form of decay, and its torch forms", fading.race),
        ]
    parts.append(("What to try next", _next))
    for number, (title, part) in enumerate(parts, 1):
        screen.line()
        screen.line(f"{number}. {title}")
        screen.line("─" * min(screen.width, 76))
        part(screen)
        if step and number < len(parts):
            click.pause("press any key to continue ...", err=True)
    screen.line()
    screen.line(f"The tour took {time.perf_counter() - began:.1f} s.")


def _next(screen: Screen) -> None:
    screen.line("  trilby list                        the mixers and their forms")
    screen.line("  trilby show mean                   definition, forms, costs, weight matrix")
    screen.line("  trilby same mean.loop mean.softmax do the two forms agree?")
    screen.line("  trilby check mean                  test every form against every law")
    screen.line("  trilby check file.py:Model         test your own module")
    screen.line("  trilby bench mean                  time the forms beside a plain copy")
    screen.line("  trilby mix mean IN.csv -o OUT.csv  the running mean of a file of any length")
    screen.line("  trilby env                         versions, machine, kernels")
    screen.line("  trilby tour --all                  this tour, continued with decay")
    screen.line()
    screen.line('  python -c "import torch, trilby; print(trilby.mean(torch.ones(1, 4, 1)))"')
