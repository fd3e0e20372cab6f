"""Rules about sizes of files and functions, names of files, and near-copies."""

import ast
from collections.abc import Iterator, Mapping

FILE, FUNCTION, PARAMETERS, COPY = 400, 40, 10, 6
PRESCRIBED = ("trilby/functional/", "trilby/transformers/functions.py")
"""Where signatures are those of other packages, whose parameters are not ours to number."""
DRAWERS = {"utils", "util", "helpers", "common", "misc", "config"}


def too_large(source: str, module: str) -> list[str]:
    """Files, functions (docstring apart) and argument lists at the limit, kernels too.

    The options of a mixer, which are keywords with a default, are as many as its users need.
    """
    found = [f"{module}: {n} lines"] if (n := len(source.splitlines())) >= FILE else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            options = node.args.kwonlyargs if module.startswith("trilby/mixers/") else []
            lines, count = _lines(node), len(list(_parameters(node.args))) - len(options)
            if lines >= FUNCTION:
                found.append(f"{module}: {node.name} has {lines} lines")
            own = node.name.startswith("_") or not module.startswith(PRESCRIBED)
            if count >= PARAMETERS and own:
                found.append(f"{module}: {node.name} has {count} parameters")
    return found


def drawers(modules: Mapping[str, str]) -> list[str]:
    """Files with a name that says nothing, like utils.py."""
    return [m for m in modules if m.rpartition("/")[2].removesuffix(".py") in DRAWERS]


def copies(sources: Mapping[str, str]) -> list[str]:
    """Pairs of places where six statements in a row, nested ones included, have the same shape.

    Names that the code binds itself and constants do not count; attributes and calls do.
    """
    seen: dict[str, tuple[str, int, int]] = {}
    found = []
    for module, source in sources.items():
        for shape, first, last in _windows(ast.parse(source)):
            other, start, end = seen.setdefault(shape, (module, first, last))
            if other != module or first > end:
                found.append(f"{module}:{first} is {other}:{start}")
    return found


def _windows(tree: ast.AST) -> Iterator[tuple[str, int, int]]:
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list):
                yield from _runs([s for s in body if not _still(s)])


def _runs(body: list[ast.stmt]) -> Iterator[tuple[str, int, int]]:
    """For each start, the shortest run of neighbouring statements that is long enough."""
    for i in range(len(body)):
        weight = 0
        for j in range(i, len(body)):
            weight += sum(isinstance(n, ast.stmt) and not _still(n) for n in ast.walk(body[j]))
            if weight >= COPY:
                yield _shape(body[i : j + 1]), body[i].lineno, body[j].end_lineno or 0
                break


def _shape(body: list[ast.stmt]) -> str:
    """The code with local names numbered and constants removed."""
    tree = ast.parse(ast.unparse(ast.Module(body=body, type_ignores=[])))
    bound = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not _loads(n)}
    bound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    number: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in bound:
            node.id = number.setdefault(node.id, f"_{len(number)}")
        elif isinstance(node, ast.arg):
            node.arg = number.setdefault(node.arg, f"_{len(number)}")
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.name = "_"
        elif isinstance(node, ast.Constant):
            node.value = None
    return ast.dump(tree)


def _loads(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Load)


def _still(statement: ast.AST) -> bool:
    """Statements that do nothing: imports, docstrings, fields without a value."""
    return (
        isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        or (isinstance(statement, ast.AnnAssign) and statement.value is None)
    )


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    whole = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is None:
        return whole
    return whole - ((first.end_lineno or first.lineno) - first.lineno + 1)


def _parameters(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    yield from (a for a in (arguments.vararg, arguments.kwarg) if a is not None)
