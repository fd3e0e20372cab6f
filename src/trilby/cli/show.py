"""`trilby show mean`: the definition of a mixer, the costs of its forms, and its triangle."""

from typing import TYPE_CHECKING, Any

import click

from ..forms import cost
from .names import MixerName
from .screen import Screen, print_json
from .triangle import draw

if TYPE_CHECKING:
    from ..card import Mixer


@click.command()
@click.argument("mixer", type=MixerName())
@click.option("-T", "T", type=click.IntRange(1, 64), default=8, help="Positions in the triangle.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema trilby.show/1.")
def show(mixer: "Mixer[..., Any]", T: int, as_json: bool) -> None:
    """Show MIXER: definition, contract, forms and their costs, its triangle."""
    triangles = mixer.weights(*mixer.draw(B=1, T=T)).wei[0]  # [T, T] or [H, T, T]
    several, wei = triangles.ndim == 3, triangles.reshape(-1, T, T)[0].tolist()
    costs = {name: cost(form) for name, form in mixer.forms.items()}
    if as_json:
        told = {"name": mixer.name, "doc": mixer.__doc__, "forms": costs, "wei": wei}
        print_json("trilby.show/1", told | {"absent": dict(mixer.absent)})
        return
    screen = Screen()
    for line in (mixer.__doc__ or "").strip().splitlines():
        screen.line(line)
    screen.line()
    screen.line("Forms::")
    screen.line()
    for name, price in costs.items():
        screen.line(f"    {name:8} {price}")
    for name, why in mixer.absent.items():
        screen.wrapped(f"{name:8} does not exist: {why}", "    ", " " * 9)
    screen.line()
    axis = (mixer.contract.arguments[mixer.contract.values].axes or "BTC")[2]
    which = f"The first of its triangles, one for each {axis}" if several else "Its triangle"
    screen.line(f"{which}, T = {T}: row = the position that reads, column = the one read")
    screen.line()
    for row in draw(wei, ascii=screen.ascii):
        screen.line(row)
