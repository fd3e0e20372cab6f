"""`trilby list`: the mixers and their forms."""

import click

from ..forms import FORMS, cost
from ..shown.lines import line
from .names import summary
from .screen import Screen, print_json


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema trilby.list/1.")
def command(as_json: bool) -> None:
    """List the mixers and the forms that each one has."""
    from ..mixers import MIXERS, module_of

    if as_json:
        found = [
            {
                "name": mixer.name,
                "forms": {name: cost(form) for name, form in mixer.forms.items()},
                "absent": dict(mixer.absent),
            }
            for mixer in MIXERS.values()
        ]
        print_json("trilby.list/1", {"mixers": found})
        return
    screen = Screen()
    width = max(map(len, MIXERS))
    for mixer in MIXERS.values():
        forms = " ".join(name if name in mixer.forms else "-" for name in FORMS)
        indent = " " * (width + 2)
        screen.said(line(f"{mixer.name:{width}}  {forms}"), indent)
        screen.said(line(f"{indent}{summary(module_of(mixer.name))}"), indent)
