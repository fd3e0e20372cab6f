"""`trilby audit transformers`: test every causal language model type of a library."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from ..shown.progress import Progress, progress
from .names import EFFORTS
from .screen import Screen, print_json, talk
from .words import unknown


@click.command()
@click.argument("library")
@click.option("--only", help="Only these types, e.g. llama,mamba.")
@click.option("--laws", help="Only these laws, e.g. pieces,pads.")
@click.option("--accelerated", is_flag=True,
              help="Of transformers: models whose layers call trilby's functions.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True,
              help="Number of processes, one thread each.")  # fmt: skip
@click.option("--effort", type=click.Choice(EFFORTS), default="quick", show_default=True,
              help="How many sizes are tried on each type.")  # fmt: skip
@click.option("--seconds", type=click.IntRange(1), default=300, show_default=True,
              help="Time limit for one type.")  # fmt: skip
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path),
              help="File for the results; named after LIBRARY unless given.")  # fmt: skip
@click.option("--fresh", is_flag=True, help="Start again; delete the results file first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema trilby.audit/1.")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown.")
@click.pass_context
def audit(
    ctx: click.Context, library: str, only: str | None, results: Path | None, fresh: bool,
    as_json: bool, markdown: bool, accelerated: bool, **how: Any,
) -> None:  # fmt: skip
    """Verify every model type of LIBRARY: transformers, x-transformers, or MODULE:ADAPTER.

    A small model of each type is built with random weights, offline, in its own process. Results
    are kept in a file, so an interrupted audit continues where it stopped; a type that ran out of
    time is tried again. Exit 1 if a law is broken that the library does not document as a
    limitation.
    """
    from ..audit import Audit, Ledger, adapter_of, audited
    from ..audit.judge import laws_of

    if accelerated:
        if library != "transformers":
            raise click.UsageError(f"--accelerated is for transformers, not for {library}")
        library = f"{library}, accelerated"
    adapter = adapter_of(library)
    kinds = _chosen(adapter.kinds(), only, "type")
    header = _header(library, adapter.version(), how)
    if (laws := how.pop("laws")) is not None:
        header["laws"] = how["laws"] = _chosen(laws_of(adapter), laws, "law")
    path = results or Path(f"audit-{_file(library)}-{header['version']}.json")
    if fresh:
        path.unlink(missing_ok=True)
    ledger = Ledger(path, header)
    left = [kind for kind in kinds if not ledger.settled(kind)]
    kept = f"{len(kinds) - len(left)} already in {path}"
    talk(f"{library} {header['version']}: {len(kinds)} types, {kept}")
    with progress() as shown:
        tell = lambda now, more: shown.say(f"audit: {', '.join(now)}, and {more} left")
        for row in _told(audited(library, left, shown=tell, **how), len(left), shown):
            ledger.add(row)
    found = Audit(header, [ledger.rows[kind] for kind in kinds])
    if as_json:
        print_json("trilby.audit/1", found.as_dict())
    elif markdown:
        click.echo(found.markdown(), nl=False)
    else:
        screen = Screen()
        for spans in found.lines(screen.fit):
            screen.said(spans)
    ctx.exit(0 if found else 1)


def _chosen(there: list[str], only: str | None, what: str) -> list[str]:
    """The types of `--only` or the laws of `--laws`, or all of them."""
    if only is None:
        return there
    named = [name.strip() for name in only.split(",") if name.strip()]
    for name in named:
        if name not in there:
            near = get_close_matches(name, there, n=5) or there[:8]  # there are about 200 types
            raise click.UsageError(unknown(what, name, near))
    if not named:
        told = {"type": "--only llama,mamba", "law": "--laws pieces,pads"}[what]
        raise click.UsageError(f"{told.split()[0]} names no {what}; give e.g. {told}")
    return list(dict.fromkeys(named))


def _file(library: str) -> str:
    return library.replace(":", "-").replace(", ", "-")


def _header(library: str, version: str, how: dict[str, Any]) -> dict[str, Any]:
    from ..env import machine

    here = machine()
    return {
        "adapter": library,
        "version": version,
        "torch": here["versions"]["torch"],
        "effort": how["effort"],
    }


def _told(rows: Iterator[dict[str, Any]], total: int, shown: Progress) -> Iterator[dict[str, Any]]:
    """The same rows; each is reported on standard error as soon as it is done."""
    for n, row in enumerate(rows, 1):
        broken = [v["law"] for v in row["verdicts"] if v["outcome"] == "broken" and not v["limit"]]
        said = row["reason"] or (f"broken: {', '.join(broken)}" if broken else "holds")
        shown.clear()
        talk(f"{n} of {total}  {row['kind']}  {row['status']}, {row['seconds']:.1f} s, {said}")
        yield row
