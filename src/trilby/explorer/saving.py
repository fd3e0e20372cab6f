"""What was explored as a file, written whole or not at all."""

import csv
import io
import json
import os
from typing import TYPE_CHECKING

from ..errors import CallError, NumberError
from ..files import Staged
from .page import page
from .pictures import png, svg

if TYPE_CHECKING:
    from .explored import Explored

KINDS = (".html", ".png", ".svg", ".json", ".csv")
TEXTS = 4_000_000  # weights that are written as text


def save(explored: "Explored", path: str | os.PathLike[str]) -> None:
    """Write the kind of file that the end of its name says."""
    name = os.fspath(path)
    kind = os.path.splitext(name)[1].lower()
    if kind not in KINDS:
        raise CallError(f"explore: save({name!r}), expected a name that ends in {' '.join(KINDS)}")
    with Staged(name) as file:
        file.write(_bytes(explored, kind))
        file.seal()
        file.appear()


def _bytes(explored: "Explored", kind: str) -> bytes:
    if kind == ".html":
        return page(explored).encode()
    if kind == ".png":
        return png(explored.triangles)
    if kind == ".svg":
        return svg(explored.triangles).encode()
    count = sum(each.weights.numel() for each in explored.triangles)
    if count > TEXTS:
        raise NumberError(
            f"explore: save as {kind} would write {count:,} weights as text, at most {TEXTS:,}; "
            "save as .html, or use .row(t)"
        )
    return (_json(explored) if kind == ".json" else _csv(explored)).encode()


def _json(explored: "Explored") -> str:
    told = {
        "schema": "trilby.explore/1",
        "python": explored.python,
        "tokens": list(explored.where.tokens),
        "answer": [clause._asdict() for clause in explored.answer],
        "triangles": [
            {"name": each.name, "measured": each.measured, "fact": each.fact,
             "weights": each.weights.tolist()}
            for each in explored.triangles
        ],
    }  # fmt: skip
    return json.dumps(told, allow_nan=False) + "\n"


def _csv(explored: "Explored") -> str:
    """A line for each weight that is not zero: triangle, position that reads, one read, weight."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["triangle", "reads", "read", "weight"])
    for each in explored.triangles:
        for t, s in each.weights.nonzero().tolist():
            writer.writerow([each.name, t, s, repr(float(each.weights[t, s]))])
    return text.getvalue()
