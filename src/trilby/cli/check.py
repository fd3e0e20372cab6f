"""`trilby check mean`: every form of a mixer before every law."""

import click

from ..card import Mixer
from .names import EFFORTS, MixerName, form_of
from .screen import Screen, print_json


@click.command()
@click.argument("mixer", type=MixerName())
@click.option("--form", "forms", multiple=True, help="Only this form; may be repeated.")
@click.option("--law", "laws", multiple=True, help="Only this law; may be repeated.")
@click.option(
    "--effort", type=click.Choice(EFFORTS), default="default", show_default=True,
    help="How many sizes are tried.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema trilby.check/1.")
@click.pass_context
def check(
    ctx: click.Context, mixer: Mixer, forms: tuple[str, ...], laws: tuple[str, ...], effort: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Judge every form of MIXER by every law. Exit 1 if one is broken."""
    from ..court import check as judge

    chosen = [form_of(mixer, name) for name in forms] or list(mixer.forms)
    report = judge(mixer, forms=chosen, laws=list(laws) or None, effort=effort)
    if as_json:
        print_json("trilby.check/1", report.as_dict())
    else:
        screen = Screen()
        for line in str(report).splitlines():
            screen.line(line)
    ctx.exit(0 if report else 1)
