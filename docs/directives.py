"""What the pages can ask for beside Markdown: pictures, live pages, tables of JSON.

{picture} NAME     pictures/NAME-light.svg and -dark.svg; `:alt:` says what is seen
{live} EXPRESSION  the page that `EXPRESSION.save(...)` writes, in a sandboxed frame
<!-- benchmarks -->  on docs/benchmarks.md: the tables of benchmarks/results/*.json
<!-- audit -->       on docs/audit/NAME.md: the table of docs/audit/NAME.json
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

DOCS = Path(__file__).parent
HEIGHT = 720  # pixels of a frame; a page scrolls inside of it
MARK = "<!-- benchmarks -->"
AUDIT = "<!-- audit -->"


class Picture(SphinxDirective):
    """Two images, of which the theme shows one."""

    required_arguments = 1
    option_spec: ClassVar = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        found: list[nodes.Node] = []
        for scheme in ("light", "dark"):
            file = f"pictures/{name}-{scheme}.svg"
            if not (DOCS / file).is_file():
                raise self.error(f"there is no {file}; docs/pictures/triangles.py draws it")
            self.env.note_dependency(str(DOCS / file))
            alt = self.options["alt"]
            found.append(nodes.image(uri=f"/{file}", alt=alt, classes=[f"only-{scheme}"]))
        return found


class live(nodes.General, nodes.Element):
    """A page of `trilby.explore` and the expression that makes it."""


class Live(SphinxDirective):
    """The expression as code, and below it what it shows."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        code = self.arguments[0]
        return [nodes.literal_block(code, code, language="python"), live(code=code)]


def shown(self: Any, node: live) -> None:
    """Write the page beside the others and put a frame around it, which may run scripts only."""
    import torch

    import trilby

    count = self.builder.env.temp_data.setdefault("live pages", {})
    number = count[self.docnames[0]] = count.get(self.docnames[0], 0) + 1
    name = f"{self.docnames[0].replace('/', '-')}-{number}.html"
    folder = Path(self.builder.outdir) / "live"
    folder.mkdir(exist_ok=True)
    eval(node["code"], {"torch": torch, "trilby": trilby}).save(folder / name)
    path = "../" * self.docnames[0].count("/") + f"live/{name}"
    self.body.append(
        f'<iframe class="live" src="{path}" sandbox="allow-scripts" loading="lazy" '
        f'title="{self.attval(node["code"])}" height="{HEIGHT}"></iframe>'
        f'<p class="live"><a href="{path}">The same on a page of its own</a></p>'
    )
    raise nodes.SkipNode


def left_out(self: Any, node: live) -> None:  # noqa: ARG001
    """Other builders show the code alone."""
    raise nodes.SkipNode


def figures(app: Sphinx, docname: str, source: list[str]) -> None:  # noqa: ARG001
    """Put the tables of the newest results in the place of the mark."""
    if MARK not in source[0]:
        return
    run = _module(DOCS.parent / "benchmarks", "run")
    pages = [
        run.page(title, run.latest(run.RESULTS, mixer)) for mixer, (title, _) in run.MIXERS.items()
    ]
    lines = "\n".join(pages).splitlines()
    source[0] = source[0].replace(MARK, "\n".join(_lower(line) for line in lines))


def audited(app: Sphinx, docname: str, source: list[str]) -> None:  # noqa: ARG001
    """Put the table of the audit of that name in the place of the mark."""
    if AUDIT not in source[0]:
        return
    audit = _module(DOCS / "audit", "recorded").audit(docname.rpartition("/")[2])
    source[0] = source[0].replace(AUDIT, audit.markdown())


def _module(folder: Path, name: str) -> Any:
    """A module of a folder that is no package."""
    sys.path.insert(0, str(folder))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(folder))


def _lower(line: str) -> str:
    """A heading one level lower."""
    return f"#{line}" if line.startswith("#") else line


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("picture", Picture)
    app.add_directive("live", Live)
    app.add_node(live, html=(shown, None), text=(left_out, None))
    app.connect("source-read", figures)
    app.connect("source-read", audited)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
