"""`trilby show mean`: a mixer and its triangle. `trilby show mean.loop`: the code of a form."""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..forms import cost
from ..shown.lines import Span, line
from ..shown.triangle import LABELS, NUMBERS, draw
from .manual import pages
from .names import MixerOrForm
from .screen import Screen, print_json

if TYPE_CHECKING:
    from torch import Tensor

    from ..card import Mixer


@click.command()
@click.argument("mixer", metavar="MIXER[.FORM]", type=MixerOrForm())
@click.option("-T", "T", type=click.IntRange(1, 64), default=8, help="Positions in the triangle.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema trilby.show/1.")
def show(mixer: "tuple[Mixer[..., Any], str | None]", T: int, as_json: bool) -> None:
    """Show MIXER: definition, contract, forms and their costs, its triangle.

    With a form, such as mean.loop, show the code of that form.
    """
    shown, form = mixer
    if form is not None and as_json:
        raise click.UsageError(f"--json is for a mixer; write trilby show {shown.name} --json")
    if form is not None:
        _code(Screen(), shown, form)
        return
    triangles = shown.weights(*shown.draw(B=1, T=T)).wei[0]  # [T, T] or [H, T, T]
    several, wei = triangles.ndim == 3, triangles.reshape(-1, T, T)[0]
    costs = {name: cost(way) for name, way in shown.forms.items()}
    if as_json:
        told = {"name": shown.name, "doc": shown.__doc__, "forms": costs, "wei": wei.tolist()}
        print_json("trilby.show/1", told | {"absent": dict(shown.absent)})
        return
    screen = Screen()
    for row in pages(shown.__doc__ or "", screen.fit):
        screen.said(row)
    _forms(screen, shown, costs)
    axis = (shown.contract.arguments[shown.contract.values].axes or "BTC")[2]
    which = f"The first of its triangles, one for each {axis}" if several else "Its triangle"
    screen.said(line(f"{which}, T = {T}: row = the position that reads, column = the one read"), "")
    _triangle(screen, wei)


def _triangle(screen: Screen, wei: "Tensor") -> None:
    """The triangle; where it is wider than the terminal, one cell stands for several positions."""
    from ..pooling import coarse
    from ..shown.halves import halves

    cells = len(wei) if screen.fit is None else max(screen.fit - LABELS, 8)
    rows, first, leaks = coarse(wei, cells)
    if first is not None:
        text = f"Each cell stands for {first[1]} positions and shows the largest weight of these."
        screen.said(line(text), "")
    screen.line()
    if screen.color and not screen.ascii and len(rows) > NUMBERS:
        for row in halves(rows, first or range(len(rows)), leaks):
            screen.picture(row)
        return
    for row in draw(rows, first, leaks, ascii=screen.ascii, width=screen.fit):
        screen.picture(row)


def _forms(screen: Screen, mixer: "Mixer[..., Any]", costs: dict[str, str]) -> None:
    screen.line()
    screen.line("Forms:")
    screen.line()
    for name, price in costs.items():
        screen.said(line(f"    {name:8} ", price), " " * 13)
    for name, why in mixer.absent.items():
        screen.said(line(f"    {name:8} ", Span("does not exist", "dim"), f": {why}"), " " * 13)
    screen.line()
    screen.said(line(f"`trilby show {mixer.name}.{next(iter(costs))}` shows the code of a form."))
    screen.line()


def _code(screen: Screen, mixer: "Mixer[..., Any]", form: str) -> None:
    """The code of a form, below the place where it stands."""
    way = inspect.unwrap(mixer.forms[form])
    lines, first = inspect.getsourcelines(way)
    path = Path(inspect.getsourcefile(way) or "")
    package = Path(__file__).parents[2]
    place = path.relative_to(package) if path.is_relative_to(package) else path
    screen.said(line(f"{mixer.name}.{form}, in {place.as_posix()}:{first}"))
    screen.line()
    for row in "".join(lines).rstrip().splitlines():
        screen.raw(row)
