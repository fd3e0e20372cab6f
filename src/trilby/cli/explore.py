"""`trilby explore mean ema:0.95`: draw what each position reads, in the terminal or as a page."""

import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from .names import names
from .screen import Screen, talk
from .target import loaded, quiet

DATA = ("sonnets", "sunspots", "nile", "co2")


@click.command()
@click.argument("subjects", metavar="[SUBJECT...]", nargs=-1)
@click.option("--data", type=click.Choice(DATA), help="What is read; by default the sonnets.")
@click.option("--text", help="What a model reads, in place of --data.")
@click.option("-T", "T", type=click.IntRange(1), help="Positions, the first ones.")
@click.option("--channels", type=click.IntRange(1), help="Random x [1, T, CHANNELS], for a module.")
@click.option("--layer", "layers", type=click.IntRange(0), multiple=True,
              help="Of a model, a layer that is shown; several times for several.")  # fmt: skip
@click.option("--head", "heads", type=click.IntRange(0), multiple=True,
              help="Of a model, a head, or a channel of Mamba; likewise.")  # fmt: skip
@click.option("--row", type=int, help="The position whose weights are written out.")
@click.option("-o", "output", metavar="FILE", help="Write .html, .png, .svg, .json or .csv.")
@click.option("--open", "opens", is_flag=True, help="Open the page that -o writes in a browser.")
@click.option("--bench", is_flag=True, help="Time the forms of each mixer too: half a minute each.")
@click.option("--gallery", is_flag=True, help="Add the verifier's gallery to the page.")
@click.option("--story", is_flag=True, help="The walk from the mean to the delta rule; no SUBJECT.")
@click.pass_context
def explore(
    ctx: click.Context, subjects: tuple[str, ...], row: int | None, output: str | None,
    opens: bool, layers: tuple[int, ...], heads: tuple[int, ...], **reads: Any,
) -> None:  # fmt: skip
    """Draw what each position of a sequence reads. Exit 1 if one reads the future.

    SUBJECT is a mixer with its numbers, such as ema:0.95 or attention:window=8; your own module,
    file.py:name or package.module:name; or the folder of a model of transformers, whose layers are
    unfolded head by head. Weights are loaded without pickle.
    """
    more = {name: reads.pop(name) for name in ("bench", "gallery", "story")}
    given = [f"--{name}" for name in ("data", "text", "channels") if reads[name] is not None]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} are both given; choose one")
    for flag in ("--open" if opens else "", "--gallery" if more["gallery"] else ""):
        if flag and not (output or "").endswith(".html"):
            raise click.UsageError(f"{flag} needs a page; add -o page.html")
    if bool(subjects) == more["story"]:
        raise click.UsageError("give a SUBJECT, or --story and none")
    from ..explorer import explore as explored

    if any(Path(text).is_dir() or text.startswith("hf:") for text in subjects):
        with suppress(ImportError):  # which the call says in a line
            quiet()
    found = explored(
        [_subject(text) for text in subjects] or None, _values(**reads), reads["T"],
        layer=layers or None, head=heads or None, **more,
    )  # fmt: skip
    found = found if row is None else found.at(row)
    if output is None:
        screen = Screen()
        for spans in found.lines(screen.width, ascii=screen.ascii, colour=screen.color):
            screen.picture(spans)
    else:
        found.save(output)
        for clause in found.answer:
            talk(clause.text)
        if opens:
            webbrowser.open(Path(output).resolve().as_uri())
    ctx.exit(0 if found.ok else 1)


def _subject(text: str) -> Any:
    """The name of a mixer and a folder as they are; what another target names."""
    if ":" not in text or text.partition(":")[0] in names() or Path(text).is_dir():
        return text
    return loaded(text)


def _values(data: str | None, text: str | None, channels: int | None, T: int | None) -> Any:
    if channels is None:
        return data if text is None else text
    import torch

    rng = torch.Generator().manual_seed(0)
    return torch.randn(1, T or 64, channels, generator=rng)
