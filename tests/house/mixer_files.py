"""The order and the parts of a mixer: rules that read its file, and rules that read its forms."""

import ast
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from trilby.card import FORMS

FURNITURE = ("State", "CONTRACT", *FORMS, "weights", "_start", "draw", "MIXER")
"""Top to bottom. Other helpers may stand anywhere; these stand in this order."""

OURS = "."  # a relative import, the only kind that the package uses


def order(source: str) -> list[str]:
    """Pieces of furniture that stand before one that belongs above them."""
    places = [FURNITURE.index(name) for name, _ in _pieces(source) if name in FURNITURE]
    later = (max(places[: i + 1]) for i in range(len(places)))
    return [FURNITURE[p] for p, top in zip(places, later, strict=True) if p < top]


def missing(source: str) -> list[str]:
    """Names that every mixer defines, and this one does not."""
    names = {name for name, _ in _pieces(source)}
    needed = {"State", "CONTRACT", "loop", "weights", "draw", "MIXER"}
    described = {"docstring"} if not ast.get_docstring(ast.parse(source)) else set()
    return sorted(needed - names | described)


def calls_between_forms(source: str) -> list[str]:
    """`form -> form` for every form that reaches another one, helpers of the file included.

    `shard` is no way to compute: it shares a sequence among processes, and each of them makes the
    plain call of its own piece. So it alone may use `MIXER`, and of it `MIXER.local` alone.
    """
    pieces = dict(_pieces(source))
    found = []
    for form in (f for f in FORMS if f in pieces):
        reached = _reach(form, pieces)
        found += [f"{form} -> {other}" for other in FORMS if other in reached - {form}]
        ways = {"MIXER", "MIXERS"} & reached
        if form == "shard" and _only_local(pieces[form]):
            ways -= {"MIXER"}
        found += [f"{form} -> {way}" for way in sorted(ways)]
    return found


def loop_uses(source: str) -> list[str]:
    """What of ours the definition uses; it may use `_start`, `State` and `CONTRACT` alone."""
    tree = ast.parse(source)
    ours = {name for name, _ in _pieces(source)}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            ours |= {alias.asname or alias.name for alias in node.names}
    loop = dict(_pieces(source))["loop"]
    inside = {n.module or OURS for n in ast.walk(loop) if isinstance(n, ast.ImportFrom) and n.level}
    return sorted((_names(loop) & ours - {"_start", "State", "CONTRACT", "loop"}) | inside)


def neither_present_nor_excused(forms: Iterable[str], absent: Mapping[str, str]) -> list[str]:
    """Forms with no function and no sentence, or with both, or that do not exist."""
    forms = list(forms)
    wrong = [f for f in FORMS if (f in forms) == (f in absent)]
    wrong += [f for f in (*forms, *absent) if f not in FORMS]
    return wrong + [f for f, why in absent.items() if len(why.split()) < 3]


def out_of_order(forms: Iterable[str]) -> list[str]:
    """The forms as listed, if that is not the canonical order."""
    forms = list(forms)
    return [] if forms == [f for f in FORMS if f in forms] else forms


def other_contracts(forms: Mapping[str, Callable[..., Any]]) -> list[str]:
    """Forms whose names, order, defaults or annotations differ from those of the loop."""

    def contract(function: Callable[..., Any]) -> list[tuple[Any, ...]]:
        signature = inspect.signature(function)
        shared = [p for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]
        return [
            *((p.name, p.kind, p.default, p.annotation) for p in shared),
            ("->", signature.return_annotation),
        ]

    want = contract(forms["loop"])
    different = [name for name, form in forms.items() if contract(form) != want]
    return different + [name for name, form in forms.items() if _required_extra(form)]


def without_cost(forms: Mapping[str, Callable[..., Any]]) -> list[str]:
    """Forms whose docstring does not say what they cost."""
    return [name for name, form in forms.items() if "O(" not in (form.__doc__ or "")]


def _required_extra(form: Callable[..., Any]) -> bool:
    parameters = inspect.signature(form).parameters.values()
    return any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters)


def _pieces(source: str) -> list[tuple[str, ast.AST]]:
    """Every name that a file defines at its top level, with its node, top to bottom."""
    pieces: list[tuple[str, ast.AST]] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            pieces.append((node.name, node))
        elif isinstance(node, ast.Assign):
            pieces += [(t.id, node) for t in node.targets if isinstance(t, ast.Name)]
    return pieces


def _reach(start: str, pieces: Mapping[str, ast.AST]) -> set[str]:
    """Names that a function uses, itself or through other functions of the file."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += _names(pieces[name]) if name in pieces and name != "MIXER" else ()
    return seen


def _only_local(form: ast.AST) -> bool:
    """Whether a form uses `MIXER` itself, each time as `MIXER.local`."""
    used = sum(isinstance(n, ast.Name) and n.id == "MIXER" for n in ast.walk(form))
    return 0 < used == ast.unparse(form).count("MIXER.local(")


def _names(node: ast.AST) -> set[str]:
    """Names used in a piece of code that it does not bind itself: `loop` in a call, not `x`."""
    loaded, bound = set(), set()
    for n in ast.walk(node):
        if isinstance(n, ast.Name):
            (loaded if isinstance(n.ctx, ast.Load) else bound).add(n.id)
        elif isinstance(n, ast.arg):
            bound.add(n.arg)
    return loaded - bound
