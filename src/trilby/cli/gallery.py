"""`trilby gallery`: modules with one known fault, and correct ones that look wrong."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from ..shown.lines import Span, line
from .manual import pages
from .screen import Screen, print_json

if TYPE_CHECKING:
    from ..gallery import Exhibit


class ExhibitName(click.ParamType):
    """`norm_over_time`."""

    name = "exhibit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from ..gallery import GALLERY

        if value in GALLERY:
            return GALLERY[value]
        near = get_close_matches(str(value), GALLERY, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        message = f"there is no exhibit {value!r}{hint} (`trilby gallery` lists them)"
        raise click.UsageError(message, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
        from ..gallery import GALLERY

        return [CompletionItem(name) for name in GALLERY if name.startswith(incomplete)]


@click.command("gallery")
@click.argument("exhibit", type=ExhibitName(), required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema trilby.gallery/1.")
def command(exhibit: Exhibit | None, as_json: bool) -> None:
    """List the gallery, or show one EXHIBIT: its code, and the reports that it is based on."""
    from ..gallery import GALLERY, SOUND, WRONG

    if as_json:
        shown = GALLERY.values() if exhibit is None else [exhibit]
        print_json("trilby.gallery/1", {"exhibits": [_told(one) for one in shown]})
        return
    screen = Screen()
    if exhibit is not None:
        _show(screen, exhibit)
        return
    for name, one in (WRONG | SOUND).items():
        screen.said(line(f"{name}  ", _label(one)))
        screen.said(line(f"    {one.story}"))
    screen.line()
    screen.line(f"{len(WRONG)} faulty, {len(SOUND)} correct; `trilby gallery NAME` shows one")


def _show(screen: Screen, exhibit: Exhibit) -> None:
    screen.said(line(f"{exhibit.name}: ", _label(exhibit)))
    screen.line()
    for row in pages(exhibit.about, screen.fit):
        screen.said(row)
    screen.line()
    said = [("family", exhibit.family)]
    said += [("may also break", " ".join(exhibit.then))] if exhibit.then else []
    said += [(key, value) for key, value in _how(exhibit).items()]
    said += [("source", address) for address in exhibit.source]
    for title, text in [*said, ("in", _place(exhibit))]:
        screen.said(line(f"{title:14}  {text}"), " " * 16)
    screen.line()
    for code in exhibit.code.rstrip().splitlines():
        screen.raw(code)


def _label(exhibit: Exhibit) -> Span:
    if exhibit.right:
        return Span("correct", "ok")
    mark = "leak" if "leak" in exhibit.kind else "broken"
    return Span(f"wrong: {exhibit.law}, {exhibit.kind}", mark)


def _told(exhibit: Exhibit) -> dict[str, Any]:
    return {
        "name": exhibit.name,
        "right": exhibit.right,
        "law": exhibit.law,
        "kind": exhibit.kind,
        "then": list(exhibit.then),
        "family": exhibit.family,
        "story": exhibit.story,
        "source": list(exhibit.source),
        "how": _how(exhibit),
        "place": _place(exhibit),
        "code": exhibit.code,
    }


def _how(exhibit: Exhibit) -> dict[str, str]:
    """The options of its label, as text."""
    said = dict(exhibit.how)
    if "carry" in said:
        name, keywords = said["carry"]
        said["carry"] = f"{name}({', '.join(f'{k}={v!r}' for k, v in keywords.items())})"
    if "waive" in said:
        said["waive"] = "; ".join(f"{law}: {why}" for law, why in said["waive"].items())
    return {key: str(value) for key, value in said.items()}


def _place(exhibit: Exhibit) -> str:
    """File and line inside the package: `trilby/gallery/masks.py:15`."""
    package = Path(__file__).parents[2]
    path = Path(inspect.getsourcefile(exhibit.build) or "").relative_to(package)
    return f"{path.as_posix()}:{inspect.getsourcelines(exhibit.build)[1]}"
