"""`trilby same mean.loop mean.softmax`: test whether two forms compute the same function."""

from typing import Any

import click

from ..shown.lines import Span, line
from .names import DTYPES, FormName, Shape
from .screen import Screen, print_json


@click.command()
@click.argument("one", type=FormName())
@click.argument("other", type=FormName())
@click.option("--shape", type=Shape(), default="2,13,3", show_default=True, help="B,T,C")
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--gradients/--no-gradients",
    default=True,
    show_default=True,
    help="Compare the backward passes too.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema trilby.same/1.")
@click.pass_context
def same(
    ctx: click.Context,
    one: Any,
    other: Any,
    shape: Any,
    dtype: str,
    seed: int,
    gradients: bool,
    as_json: bool,
) -> None:
    """Test whether ONE and OTHER (mixer.form) compute the same function. Exit 1 if not.

    Their gradients are compared too.
    """
    import torch

    from ..verify import same as judge

    (mixer, first), (rival, second) = one, other
    arguments = mixer.drawn(**shape, seed=seed, dtype=getattr(torch, dtype))
    verdict = judge(mixer.forms[first], rival.forms[second], *arguments, gradients=gradients)
    names = f"{mixer.name}.{first}", f"{rival.name}.{second}"
    if as_json:
        drawn = {"shape": list(arguments[0].shape), "dtype": dtype, "seed": seed}
        print_json("trilby.same/1", {"ways": list(names), **drawn, **verdict.as_dict()})
    else:
        ways = " = ".join(names) if verdict else " / ".join(names)
        Screen().said(line(Span(ways, verdict.mark), f": {verdict}"))
    ctx.exit(0 if verdict else 1)
