"""`trilby bench mean`: check the forms of a mixer, then time them in turn."""

from typing import TYPE_CHECKING, Any

import click

from .names import DTYPES, MixerName, Shape, form_of
from .screen import Screen, print_json, talk

if TYPE_CHECKING:
    from ..card import Mixer


@click.command()
@click.argument("mixer", type=MixerName())
@click.option(
    "--shape",
    type=Shape(),
    help="B,T,C; with heads C is their number and size.  [default: 4,2048,512; heads: 1,1024,16]",
)
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True)
@click.option(
    "--forms", help="Time only these, however slow, e.g. fused,scan.  [default: the fast ones]"
)
@click.option("--backward", is_flag=True, help="Time forward and backward.")
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema trilby.bench/1.")
@click.pass_context
def bench(
    ctx: click.Context,
    mixer: "Mixer[..., Any]",
    forms: str | None,
    dtype: str,
    as_json: bool,
    **how: Any,
) -> None:
    """Time the forms of MIXER beside a plain copy and cumsum / n.

    Every form is checked on the same inputs first. A form that fails is not timed, and the exit
    code is 1.
    """
    import torch

    from ..bench import mixer as measure

    usual = dict(B=4, T=2048, C=512) if len(mixer.contract.own) == 1 else dict(B=1, T=1024, C=16)
    shape, element = how.pop("shape") or usual, getattr(torch, dtype)
    named = [form_of(mixer, name.strip()) for name in forms.split(",")] if forms else None
    talk(f"judging the forms of {mixer.name}, then timing them in turn")
    found = measure(mixer, **shape, dtype=element, forms=named, **how)
    if as_json:
        print_json("trilby.bench/1", found.as_dict())
    else:
        screen = Screen()
        for line in found.lines(screen.fit):
            screen.line(line)
    ctx.exit(0 if found else 1)
