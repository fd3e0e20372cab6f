"""The layer of each module, and everything that it imports, also inside functions."""

import ast
from collections.abc import Iterator

FLOORS = (  # bottom first; a module imports strictly lower floors, and its own package
    {"errors", "env", "shown", "torch_private", "after_torch", "first_calls"},
    {"shapes", "forms", "pooling"},
    {"streaming", "sharding"},
    {"state"},
    {"contract"},
    {"card"},
    {"algebra"},
    {"kernels", "comm", "data", "files"},
    {"mixers"},
    {"functional"},
    {"transformers"},
    {"verify"},
    {"bench", "gallery", "audit", "testing"},
    {"explorer"},
    {"cli"},
    {"__main__"},
    {"__init__"},
)
VERIFIER = (  # the same inside `verify/`: its folders, and the files that stand beside them
    {"copies", "sizes", "wording"},
    {"process"},
    {"precision"},
    {"comparing"},
    {"subjects", "reports"},
    {"ranks"},
    {"reproducers", "mutants"},
    {"equivalence"},
    {"same"},
    {"laws"},
    {"judge"},
    {"across"},
    {"check"},
    {"__init__"},
)
COMPUTED = ("trilby/__init__.py", "trilby/after_torch.py", "trilby/kernels/ops/operator.py")
"""The files that import by a name they were given: the roof from its table, `after_torch` the
module that it waits for, which is torch, an operator from the `kernels=` of whoever makes it, which
is read as an import there.
"""
LEVEL = {name: level for level, floor in enumerate(FLOORS) for name in floor}


def imports(source: str, module: str, package: str = "trilby") -> Iterator[str]:
    """Absolute dotted names of all that one file imports.

    Args:
        source: the text of the file.
        module: its place, e.g. `trilby/kernels/ops/__init__.py`.
        package: the name of the top package.
    """
    parents = module.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (_join(parents, node.level, node.module, a.name) for a in node.names)
        elif isinstance(node, ast.Call) and _called(node.func) in ("import_module", "__import__"):
            name = node.args[0] if node.args else None
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield _join(parents, *_dots(name.value), "")
            elif module not in COMPUTED:
                yield f"{package}.__init__.<computed>"
        elif isinstance(node, ast.keyword) and node.arg == "kernels":
            yield from (_join(parents, *_dots(name), "") for name in _strings(node.value))


def broken(source: str, module: str, package: str = "trilby") -> list[str]:
    """Imports of one file that do not go to a lower layer."""
    here = module.removesuffix(".py").split("/")[1]
    if here not in LEVEL:
        return [f"{module}: stands on no floor"]
    complaints = []
    for name in imports(source, module, package):
        top, _, rest = name.partition(".")
        if top != package:
            continue
        there = rest.split(".")[0] if rest else "__init__"
        if there == here and not (here == "mixers" and _sibling(module, rest)):
            continue
        if LEVEL.get(there, 99) >= LEVEL[here]:
            complaints.append(f"{module}: imports {name}")
    return complaints


def broken_inside(source: str, module: str) -> list[str]:
    """Imports of one file of the verifier that go to a folder which is not below its own."""
    level = {name: level for level, floor in enumerate(VERIFIER) for name in floor}
    here = module.removesuffix(".py").split("/")[2]
    if here not in level:
        return [f"{module}: stands on no floor of the verifier"]
    found = [name.split(".") for name in imports(source, module)]
    inside = [(*name, "__init__") for name in found if name[:2] == ["trilby", "verify"]]
    return [
        f"{module}: imports {'.'.join(name[:-1])}"
        for name in inside
        if name[2] != here and level.get(name[2], 99) >= level[here]
    ]


def outsiders(source: str, module: str, allowed: set[str]) -> list[str]:
    """Top-level packages that a file imports but must not."""
    return sorted({name.partition(".")[0] for name in imports(source, module)} - allowed)


def _sibling(module: str, rest: str) -> bool:
    """Whether one mixer imports another; only `mixers/__init__.py` may."""
    return not module.endswith("__init__.py") and rest.count(".") > 0


def _called(function: ast.expr) -> str:
    return getattr(function, "id", getattr(function, "attr", ""))


def _dots(name: str) -> tuple[int, str]:
    """How many dots a relative name begins with, and the rest."""
    return len(name) - len(name.lstrip(".")), name.lstrip(".")


def _strings(node: ast.expr) -> list[str]:
    """The values of a dictionary that is written out."""
    values = node.values if isinstance(node, ast.Dict) else []
    return [v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, str)]


def _join(parents: list[str], level: int, module: str | None, name: str) -> str:
    base = parents[: len(parents) - level + 1] if level else []
    return ".".join(part for part in (*base, module or "", name) if part)
