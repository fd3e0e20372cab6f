"""The page: one file of HTML with its program, its style and its numbers, and no request."""

import base64
import hashlib
import json
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from .curves import growth
from .exhibits import Fingerprint
from .packing import WHOLE, Numbers, packed, precision
from .patterns import GROUPS
from .positions import Positions
from .tokens import visible
from .triangle import Form, Held, Subject, Triangle

if TYPE_CHECKING:
    from .explored import Explored

HEIGHT = 720  # pixels of the frame in a notebook


def page(explored: "Explored", most: int = WHOLE) -> str:
    """The whole page as text.

    Args:
        most: how many weights it may hold; where there are more, cells are pooled and it says so.
    """
    style, program = (_read(f"page.{kind}") for kind in ("css", "js"))
    about, numbers, weights = _data(explored, most)
    title = escape(f"trilby: {', '.join(s.name for s in explored.subjects)}")
    policy = (
        f"default-src 'none'; script-src {_hash(program)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{style}</style></head><body>",
        f'<main id="app"><pre>{escape(explored.said(80))}</pre></main>',
        f'<script type="application/json" id="about">{_json(about)}</script>',
        f'<script type="text/plain" id="numbers">{numbers}</script>',
    ]
    for i, text in enumerate(weights):
        parts.append(f'<script type="text/plain" id="weights-{i}">{text}</script>')
    return "\n".join([*parts, f"<script>{program}</script></body></html>\n"])


def frame(html: str, picture: bytes, text: str) -> str:
    """The page in a notebook, and what is left of it where scripts and frames are dropped."""
    data = base64.b64encode(picture).decode("ascii")
    return (
        f'<iframe srcdoc="{escape(html)}" sandbox="allow-scripts allow-downloads" '
        f'title="trilby.explore" style="width: 100%; height: {HEIGHT}px; border: 0"></iframe>'
        "<details><summary>picture and summary as text</summary>"
        f'<img alt="the triangles that the text describes" src="data:image/png;base64,{data}">'
        f"<pre>{escape(text)}</pre></details>"
    )


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What the policy lets run: this text alone."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _json(about: dict[str, Any]) -> str:
    """JSON that cannot end the script that it is in."""
    return json.dumps(about, allow_nan=False).replace("<", "\\u003c")


def _data(explored: "Explored", most: int) -> tuple[dict[str, Any], str, list[str]]:
    """What is said, the rows of numbers, and the weights of each triangle."""
    numbers = Numbers()
    how = precision(explored.triangles, most)
    told = [packed(triangle, how) for triangle in explored.triangles]
    owner = [i for i, subject in enumerate(explored.subjects) for _ in subject.triangles]
    about = {
        "T": len(explored.where.tokens),
        "ratio": how.ratio, "bits": how.bits, "digits": how.digits, "precision": str(how),
        "more": most < WHOLE and how.ratio > 1,
        **_where(explored.where, numbers),
        "python": explored.python,
        "t": explored.t,
        "clauses": [clause._asdict() for clause in explored.answer],
        "triangles": [
            _triangle(one, i, part, numbers)
            for one, i, part in zip(explored.triangles, owner, told, strict=True)
        ],
        "subjects": [_subject(subject, numbers) for subject in explored.subjects],
        "groups": GROUPS,
        "gallery": [_fingerprint(one, numbers) for one in explored.gallery],
        "steps": _steps(explored),
    }  # fmt: skip
    return about, numbers.text(), [part["data"] for part in told]


def _triangle(one: Triangle, owner: int, part: dict[str, Any], numbers: Numbers) -> dict[str, Any]:
    return {
        "name": one.name, "subject": owner, "size": part["size"], "full": part["full"],
        "diagonal": part["diagonal"],
        "measured": one.measured, "fact": one.fact, "ahead": one.ahead,
        "head": None if one.head is None else one.head._asdict(),
        "sums": numbers.add(one.sums()),
        "lengths": numbers.add(one.lengths()),
        "output": numbers.add(one.output),
        "explained": numbers.add(one.explained),
        "own": None if one.where is None else _where(one.where, numbers),
    }  # fmt: skip


def _subject(subject: Subject, numbers: Numbers) -> dict[str, Any]:
    return {
        "name": subject.name, "tried": subject.tried, "linear": subject.linear,
        "early": subject.early,
        "forms": [_form(form, numbers) for form in subject.forms],
        "holds": [_held(part, numbers) for part in subject.holds],
        "leaks": [leak.__dict__ | {"group": leak.group} for leak in subject.leaks],
        "growth": None if subject.growth is None else growth(subject.growth, numbers),
    }  # fmt: skip


def _where(where: Positions, numbers: Numbers) -> dict[str, Any]:
    """What stands at each position; the numbers of the first channel, where they were given."""
    return {
        "tokens": [visible(token) for token in where.tokens],
        "named": not all(token == str(t) for t, token in enumerate(where.tokens)),
        "values": numbers.add(where.values[0, :, 0]) if where.given else None,
    }


def _fingerprint(one: Fingerprint, numbers: Numbers) -> dict[str, Any]:
    return one._asdict() | {"square": numbers.add(one.square)}


def _steps(explored: "Explored") -> list[dict[str, Any]]:
    """The steps, each with the place of its triangle."""
    place = {one.name: k for k, one in enumerate(explored.triangles)}
    return [step._asdict() | {"shows": place[step.shows]} for step in explored.steps]


def _form(form: Form, numbers: Numbers) -> dict[str, Any]:
    known = {"name": form.name, "errors": form.errors, "code": form.code, "cost": form.cost}
    return known | {
        "outputs": numbers.add(form.outputs), "apart": numbers.add(form.apart),
        "narrow": numbers.add(form.narrow),
        "channels": 0 if form.narrow is None else form.narrow.shape[1],
    }  # fmt: skip


def _held(part: Held, numbers: Numbers) -> dict[str, Any]:
    return {"name": part.name, "counts": part.counts, "numbers": numbers.add(part.numbers)}
