"""`trilby tour`: three programs for one function, then real data, then speed."""

import sys
import time
from collections.abc import Callable
from functools import partial

import click

from ...shown.lines import line
from ..screen import Screen

NEXT = {
    "trilby list": "the mixers and their forms",
    "trilby show mean": "definition, forms, costs, weight matrix",
    "trilby show mean.loop": "the code of a form",
    "trilby same mean.loop mean.softmax": "do the two forms agree?",
    "trilby check mean": "test every form against every law",
    "trilby check file.py:Model": "test your own module",
    "trilby bench mean": "time the forms beside a plain copy",
    "trilby mix mean IN.csv -o OUT.csv": "the running mean of a file of any length",
    "trilby env": "versions, machine, kernels",
    "trilby tour --step": "this tour, part by part, waiting for a key",
    "trilby tour --all": "this tour, continued to attention and the delta rule",
}
"""Command -> what it does; what a reader of the tour may try next."""


@click.command()
@click.option("--step", is_flag=True, help="Wait for a key between the parts; q ends the tour.")
@click.option("--all", "everything", is_flag=True, help="Continue to attention and the delta rule.")
def tour(step: bool, everything: bool) -> None:
    """Show trilby: three programs for one function, real data, speed."""
    if step and not sys.stdin.isatty():
        raise click.UsageError("--step waits for a key, and standard input is not a terminal")
    began = time.perf_counter()
    screen = Screen()
    parts = _parts(step, everything)
    for number, (title, part) in enumerate(parts, 1):
        screen.line()
        screen.said(line(f"{number}. {title}"), "   ")
        screen.line("─" * min(screen.width, 76))
        part(screen)
        if step and number < len(parts) and not _on(len(parts) - number):
            return
    screen.line()
    screen.line(f"The tour took {time.perf_counter() - began:.1f} s.")


def _parts(step: bool, everything: bool) -> list[tuple[str, Callable[[Screen], None]]]:
    from . import notebook, real, speed, walk

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
        parts += [(step.title, partial(walk.show, i)) for i, step in enumerate(walk.STEPS)]
    done = {"trilby tour --step": step, "trilby tour --all": everything}
    return [*parts, ("What to try next", lambda screen: _next(screen, done))]


def _on(left: int) -> bool:
    """Whether a key continues the tour: q does not, nor the end of the input; Ctrl-C raises.

    Where the output is no terminal it waits for nothing, as `click.pause` does.
    """
    if not sys.stdout.isatty():
        return True
    click.echo(f"any key continues, q ends the tour ({left} left) ", nl=False, err=True)
    try:
        key = click.getchar()
    except EOFError:
        key = "q"
    finally:
        click.echo("\r" + " " * 50 + "\r", nl=False, err=True)
    return key.lower() not in ("q", "\x1b", "\x04")


def _next(screen: Screen, done: dict[str, bool]) -> None:
    """What to try; not what was just done."""
    left = {command: told for command, told in NEXT.items() if not done.get(command)}
    width = max(map(len, left))
    for command, told in left.items():
        screen.said(line(f"  {command:{width}} {told}"), " " * 6)
    screen.line()
    screen.said(line('  python -c "import torch, trilby; print(trilby.mean(torch.ones(1, 4, 1)))"'))
