"""The results of an audit as text, as Markdown and for JSON."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..shown import html
from ..shown.lines import Line, Span, brief, columns, line, plain
from .ledger import Row

_SIGN = {"holds": "ok", "broken": "BROKEN", "not run": "-"}


@dataclass(frozen=True, repr=False)
class Audit:
    """The rows of one audit; true if types were judged and only documented laws are broken.

    Attributes:
        header: adapter, release, versions, effort.
        rows: one for each type, by name.

    >>> bool(Audit({"adapter": "demo", "version": "1"}, []))
    False
    """

    header: Mapping[str, Any]
    rows: Sequence[Row]

    @property
    def ok(self) -> bool:
        """Whether types were judged and every broken law is a documented limitation."""
        return bool(self.judged) and not self.defects()

    def __bool__(self) -> bool:
        return self.ok

    @property
    def judged(self) -> list[Row]:
        """The rows with at least one law that was run."""
        return [row for row in self.rows if any(v["outcome"] != "not run" for v in row["verdicts"])]

    def defects(self) -> list[tuple[str, dict[str, Any]]]:
        """(type, verdict) for every law that is broken and not a documented limitation."""
        return [(row["kind"], v) for row in self.rows for v in row["verdicts"] if _bad(v)]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"ok": self.ok, **self.header, "counts": self.counts(), "rows": list(self.rows)}

    def counts(self) -> dict[str, int]:
        """How many types were judged, are broken, were not built, and so on."""
        how = Counter(row["status"] for row in self.rows)
        return {
            "types": len(self.rows),
            "judged": len(self.judged),
            "broken": len({kind for kind, _ in self.defects()}),
            "not built": how["not built"],
            "out of time": how["out of time"],
            "crashed": how["crashed"],
        }

    def laws(self) -> list[str]:
        """The laws in the order in which they were judged."""
        return list(dict.fromkeys(v["law"] for row in self.rows for v in row["verdicts"]))

    def title(self) -> str:
        """One line: the library and the counts."""
        told = ", ".join(f"{n} {name}" for name, n in self.counts().items() if n)
        only = f", {' and '.join(self.header['laws'])} only" if "laws" in self.header else ""
        return f"{self.header['adapter']} {self.header['version']}{only}: {told}"

    def __str__(self) -> str:
        return "\n".join(map(plain, self.lines()))

    def __repr__(self) -> str:
        return brief(self.title())

    def _repr_html_(self) -> str:
        rows = [[row["kind"], *map(_marked, self._cells(row))] for row in self.judged]
        mark = "ok" if self.ok else "broken" if self.defects() else "skip"
        told = [f"{kind}  {v['law']}: {v['sentence']}" for kind, v in self.defects()]
        gone = [f"{what}  {', '.join(k)}: {why}" for (what, why), k in self._unjudged().items()]
        return html.box(
            html.sentence(self.title(), mark), html.table(["", *self.laws()], rows),
            html.text(map(line, told)), html.folded("not judged", html.text(map(line, gone))),
        )  # fmt: skip

    def lines(self, width: int | None = None) -> Iterator[Line]:
        """A table of types and laws, then the broken laws, then the types that were not judged.

        Parts of a line carry marks; columns that do not fit in `width` stand below the others.
        """
        yield line(self.title())
        rows = [[Span(row["kind"]), *(_hued(c) for c in self._cells(row))] for row in self.judged]
        yield from columns([[Span(""), *map(Span, self.laws())], *rows] if rows else [], width)
        for kind, verdict in self.defects():
            yield line(f"{kind}  ", Span(verdict["law"], "broken"), f": {verdict['sentence']}")
        for (what, why), kinds in self._unjudged().items():
            yield line(Span(what, "dim"), f"  {', '.join(kinds)}: {why}")

    def markdown(self) -> str:
        """The same as a Markdown page."""
        laws = self.laws()
        lines = [f"| type | class | {' | '.join(laws)} |", "|---" * (len(laws) + 2) + "|"]
        for row in self.judged:
            cells = [row["kind"], row["facts"].get("class", ""), *self._cells(row)]
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["", "Broken:", ""] if self.defects() else []
        lines += [f"- `{k}` {v['law']}: {_flat(v['sentence'])}" for k, v in self.defects()]
        limited = self._limited()
        lines += ["", "Documented limitations:", ""] if limited else []
        lines += [f"- {law}, {why}: {_codes(kinds)}" for (law, why), kinds in limited.items()]
        gone = self._unjudged()
        lines += ["", "Not judged:", ""] if gone else []
        lines += [f"- {what}, {_flat(why)}: {_codes(k)}" for (what, why), k in gone.items()]
        return "\n".join([f"# {self.title()}", "", *lines]) + "\n"

    def _cells(self, row: Row) -> list[str]:
        by = {v["law"]: v for v in row["verdicts"]}
        return [_cell(by.get(law)) for law in self.laws()]

    def _limited(self) -> dict[tuple[str, str], list[str]]:
        told: dict[tuple[str, str], list[str]] = {}
        for row in self.rows:
            for v in row["verdicts"]:
                if v["limit"]:
                    told.setdefault((v["law"], v["limit"]), []).append(row["kind"])
        return told

    def _unjudged(self) -> dict[tuple[str, str], list[str]]:
        told: dict[tuple[str, str], list[str]] = {}
        for row in self.rows:
            if row["status"] != "judged":
                told.setdefault((row["status"], row["reason"]), []).append(row["kind"])
        return told


def _bad(verdict: Mapping[str, Any]) -> bool:
    return verdict["outcome"] == "broken" and not verdict["limit"]


def _cell(verdict: Mapping[str, Any] | None) -> str:
    if verdict is None:
        return ""
    return "limit" if verdict["limit"] else _SIGN[verdict["outcome"]]


def _marked(cell: str) -> Span:
    """A cell of a page: its glyph stands before the word."""
    return Span({"BROKEN": "broken", "-": "skipped"}.get(cell, cell), _hued(cell).mark)


def _hued(cell: str) -> Span:
    return Span(cell, {"BROKEN": "broken", "ok": "ok", "-": "skip"}.get(cell, ""))


def _codes(kinds: Sequence[str]) -> str:
    return " ".join(f"`{kind}`" for kind in kinds)


def _flat(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")
