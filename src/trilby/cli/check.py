"""`trilby check TARGET`: test a mixer's forms, or any module, against every law."""

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click

from .carrying import WAYS, carried, carry_options
from .names import EFFORTS, form_of, mixer_of
from .screen import Screen, print_json
from .target import drawn, loaded, usual
from .words import unknown

FORMATS = ("table", "github")
OF_MODULES = ("output", "padding", "documents", "lookahead")


@click.command()
@click.argument("target")
@click.option("--form", "forms", multiple=True, help="Only this form of a mixer; may be repeated.")
@click.option("--law", "laws", multiple=True, help="Only this law; may be repeated.")
@click.option(
    "--effort", type=click.Choice(EFFORTS), default="default", show_default=True,
    help="How many sizes are tried.",
)  # fmt: skip
@click.option("--example", default="B=2,T=16,C=8", show_default=True, help="Sizes of x.")
@click.option(
    "--tokens", type=click.IntRange(1), help="x is integer tokens [B, T] below this number."
)
@click.option(
    "--time-axis", type=click.IntRange(-2, 2), default=1, show_default=True,
    help="Axis of time in x and the result: 2 for [B, C, T], 0 for [T, B, C].",
)  # fmt: skip
@click.option("--output", help="Name of the output that is the sequence.")
@click.option("--padding", help="Keyword of the padding mask [B, T], or the token that is a pad.")
@click.option("--documents", help="Keyword of the packed documents.")
@click.option(
    "--lookahead", type=click.IntRange(0), help="How many later positions an output may read."
)
@click.option(
    "--world", type=click.IntRange(1, 8),
    help="Start so many processes, each with a piece of time; the law is `shards`.",
)  # fmt: skip
@click.option(
    "--reference", metavar="TARGET", help="With --world: what one process calls on the whole."
)
@carry_options
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    help="Time limit; tests that have started finish.",
)
@click.option("--format", "shape", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--junit", type=click.Path(path_type=Path), help="Write JUnit XML to this file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, schema trilby.check/1.")
@click.pass_context
def check(ctx: click.Context, target: str, **said: Any) -> None:
    """Verify TARGET: test it against every law. Exit 1 if a law is broken or sizes are left out.

    TARGET is a mixer (mean), gallery:NAME, package.module:name, path/to/file.py:name (a class, a
    factory or a function), or hf:DIRECTORY, a checkpoint on disk. Loading a module or a file runs
    its code: check only what you trust. Weights are loaded without pickle. For a checkpoint, the
    vocabulary, the cache and the padding mask are found from its configuration and its arguments.
    """
    said["printed"] = Printed()
    with redirect_stdout(said["printed"]):
        report = _judged(target, said)
    if said["printed"].lines:
        click.echo(f"note: {target} prints, {said['printed']}", err=True)
    if said["junit"] is not None:
        _write(said["junit"], report)
    if said["as_json"]:
        print_json("trilby.check/1", report.as_dict())
    else:
        screen = Screen()
        if said["shape"] == "table":
            for line in report.lines(screen.fit):
                screen.said(line)
        else:
            for row in _annotated(report).splitlines():
                screen.raw(row)
    ctx.exit(0 if report else 1)


class Printed(io.TextIOBase):
    """What a module prints while it is tested: the number of lines, and the first one."""

    lines, first = 0, ""

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Count the lines and drop them."""
        self.first = self.first or text.strip()[:60]
        self.lines += text.count("\n")
        return len(text)

    def __str__(self) -> str:
        return f"{self.lines} lines were left out, the first of them {self.first!r}"


def _judged(target: str, said: dict[str, Any]) -> Any:
    from ..card import Mixer
    from ..verify import check as judge

    common = {
        "laws": list(said["laws"]) or None,
        "effort": said["effort"],
        "seconds": said["seconds"],
    }
    if said["world"] is not None or said["reference"] is not None:
        return _judged_in_pieces(target, said)
    if ":" not in target:
        return _judged_mixer(mixer_of(target), said, common)
    subject = None if target.startswith("gallery:") else loaded(target)
    if isinstance(subject, Mixer):
        return _judged_mixer(subject, said, common)
    if said["forms"]:
        raise click.UsageError("--form is for mixers; leave it out")
    if target.startswith("gallery:"):
        exhibit = _exhibit(target.removeprefix("gallery:"))
        return judge(exhibit.make(), exhibit.example(), **common, **exhibit.asked())
    how = {k: said[k] for k in OF_MODULES if said[k] is not None}
    if said["tokens"] is not None:
        how["vocabulary"] = said["tokens"]
    if how.get("padding", "").isdecimal():
        how["padding"] = int(how["padding"])
    how["time_axis"] = said["time_axis"]
    how |= carried(said)
    if target.startswith("hf:"):
        how = {**usual(subject), **how}
    example = drawn(said["example"], how.get("vocabulary"), said["time_axis"])
    return judge(subject, example, **common, **how)


def _judged_in_pieces(target: str, said: dict[str, Any]) -> Any:
    """The form `shard` of a mixer, or a function, on several processes."""
    from ..card import Mixer
    from ..verify import check as judge

    for name, taken in (("forms", "shard"), ("laws", "shards")):
        if any(given != taken for given in said[name]):
            raise click.UsageError(f"--{name[:-1]} with --world is {taken}; leave it out")
    others = [
        n for n in ("padding", "documents", "lookahead", *WAYS) if said[n] not in (None, False)
    ]
    others += ["time_axis"] * (said["time_axis"] != 1)
    if others:
        raise click.UsageError(
            f"--{others[0].replace('_', '-')} is given with --world; leave it out"
        )
    subject = mixer_of(target) if ":" not in target else loaded(target)
    how = {name: said[name] for name in ("world", "effort", "seconds")}
    if isinstance(subject, Mixer):
        return judge(subject, **how)
    reference = None if said["reference"] is None else loaded(said["reference"])
    if said["output"] is not None:
        how["output"] = said["output"]
    example = drawn(said["example"], said["tokens"])
    return judge(subject, example, reference=reference, vocabulary=said["tokens"], **how)


def _judged_mixer(mixer: Any, said: dict[str, Any], common: dict[str, Any]) -> Any:
    from ..verify import check as judge

    given = [name for name in (*OF_MODULES, "tokens", *WAYS) if said[name] not in (None, False)]
    if given:
        raise click.UsageError(f"--{given[0]} is for modules; leave it out")
    chosen = [form_of(mixer, name) for name in said["forms"]] or list(mixer.forms)
    return judge(mixer, forms=chosen, **common)


def _exhibit(name: str) -> Any:
    from ..gallery import GALLERY

    if name not in GALLERY:
        raise click.UsageError(unknown("exhibit", name, list(GALLERY)))
    return GALLERY[name]


def _annotated(report: Any) -> str:
    """GitHub workflow commands: an error for each law that is broken or was not tried throughout.

    Then a notice with the result.
    """
    lines = [f"::error title={v.law}::{v.sentence}" for v in report.failed()]
    lines += [f"::error title={v.law}::not tried throughout, {v.cut}" for v in report.unfinished()]
    state = "holds" if report else "is broken or was not tested"
    state = "was not tested at all sizes" if report.unfinished() and not report.failed() else state
    return "\n".join([*lines, f"::notice title=trilby check::{report.mixer} {state}"])


def _write(path: Path, report: Any) -> None:
    """JUnit XML with a test case for each law."""
    from xml.etree import ElementTree

    suite = ElementTree.Element("testsuite", name=report.mixer, tests=str(len(report)))
    for verdict in report:
        case = ElementTree.SubElement(
            suite, "testcase", classname=verdict.subject, name=verdict.law
        )
        if verdict.outcome == "broken":
            failed = ElementTree.SubElement(case, "failure", message=verdict.sentence)
            failed.text = verdict.reproducer
        if verdict.cut and verdict.outcome != "broken":  # the law is not known to be broken
            ElementTree.SubElement(case, "error", message=verdict.cut)
        elif verdict.outcome == "not run":
            ElementTree.SubElement(case, "skipped", message=verdict.sentence)
    path.write_bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))
