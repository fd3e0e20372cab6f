"""A module or function as Python that makes it again: imported, written out, or from its parts.

What cannot be written raises `Unwritten`; a reproducer then has `...` and says what belongs there.
"""

import ast
import inspect
import linecache
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from .arguments import Unwritten, arguments, value

TO_FILL = "the arguments that yours has"


class Source:
    """Lines that define what an expression needs, in the order in which they are run.

    Attributes:
        lines: Python, to stand in the body of a function.
        modules: the names of the modules among it.
        missing: what a reader has to fill in; empty if nothing.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.modules: list[str] = []
        self.missing = ""
        self._names: dict[str, Any] = {}  # name -> what it stands for

    def expression(self, thing: Any, name: str = "") -> str:
        """Python that gives the thing; `name` is what it is to be called where it needs a name."""
        if isinstance(thing, nn.Module):
            return self._bound(name or f"module{len(self.modules)}", thing)
        if isinstance(thing, partial):
            given = [self.expression(v) for v in thing.args]
            given += [f"{k}={self.expression(v)}" for k, v in thing.keywords.items()]
            self.lines += [] if "import functools" in self.lines else ["import functools"]
            return f"functools.partial({', '.join([self.expression(thing.func), *given])})"
        if isinstance(thing, MethodType):
            return f"{self.expression(thing.__self__, 'owner')}.{thing.__name__}"
        if isinstance(thing, FunctionType) and thing.__name__ == "<lambda>":
            self._captured(thing)
            text = _lambda(thing)
            for name in _defaults(text) & thing.__globals__.keys():
                self._bound(name, thing.__globals__[name])
            return text
        if isinstance(thing, type | FunctionType) or hasattr(thing, "__qualname__"):
            return self._definition(thing)
        return value(thing)

    def _bound(self, name: str, thing: Any) -> str:
        """A name that stands for the thing, after the lines that make it."""
        if name in self._names:
            if self._names[name] is thing:
                return name
            raise Unwritten(f"two things are called {name}")
        self._names[name] = thing
        if isinstance(thing, ModuleType):
            self.lines.append(f"import {thing.__name__} as {name}")
        elif isinstance(thing, nn.Module):
            self.lines += [f"{name} = {self.module(thing)}", *_wrapped(name, thing)]
            self.modules.append(name)
        elif (made := self.expression(thing, name)) != name:
            self.lines.append(f"{name} = {made}")
        return name

    def module(self, thing: nn.Module) -> str:
        """The call that makes a module of the same kind; its weights are new."""
        kind = parametrize.type_before_parametrizations(thing)
        if isinstance(thing, nn.Sequential) and kind is nn.Sequential:
            return f"torch.nn.Sequential({', '.join(map(self._part, thing))})"
        if kind.__module__.startswith("torch.nn.modules"):
            return _of_torch(kind, thing)
        made = self._definition(kind)
        try:
            return f"{made}({arguments(kind, thing)})"
        except Unwritten:
            self.missing = self.missing or f"{TO_FILL} ({kind.__name__})"
            return f"{made}(...)"

    def _part(self, thing: nn.Module) -> str:
        """A layer of a row; one whose weights are normalised needs a name."""
        return self.expression(thing) if [*_wrapped("", thing)] else self.module(thing)

    def _definition(self, thing: Any) -> str:
        """The name of a class or function, imported where that can be done, else written out."""
        home, name = str(thing.__module__), str(thing.__qualname__)
        if found(home, name) is thing and home not in ("__main__", "builtins"):
            return self._imported(home, name)
        if home == "builtins":
            return name
        if self._names.setdefault(thing.__name__, thing) is not thing:
            raise Unwritten(f"two things are called {thing.__name__}")
        try:
            text = textwrap.dedent(inspect.getsource(thing))
        except (OSError, TypeError) as error:
            raise Unwritten(f"the source of {name}") from error
        self._needed(thing, text)
        self.lines += text.rstrip().splitlines()
        return str(thing.__name__)

    def _imported(self, home: str, name: str) -> str:
        first = name.partition(".")[0]
        self._names[first] = found(home, first)
        self.lines += [line for line in imported(home, first) if line not in self.lines]
        return name

    def _needed(self, thing: Any, text: str) -> None:
        """What the source of a class or function looks up, each under its name."""
        parts = [v for v in vars(thing).values() if isinstance(v, FunctionType)]
        for part in parts if isinstance(thing, type) else [thing]:
            self._captured(part)
        known = vars(sys.modules[thing.__module__])
        names = {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)}
        code = getattr(thing, "__code__", None)
        own = {*code.co_varnames, *code.co_cellvars, *code.co_freevars} if code else set()
        for name in sorted((names & known.keys()) - own):
            if known[name] is not thing:
                self._bound(name, known[name])
        for base in thing.__bases__ if isinstance(thing, type) else ():
            if "<locals>" in base.__qualname__:
                self._bound(base.__name__, base)

    def _captured(self, way: FunctionType) -> None:
        """What a function finds in its closure, and among the names of its file."""
        for name, cell in zip(way.__code__.co_freevars, way.__closure__ or (), strict=True):
            if name != "__class__":
                self._bound(name, cell.cell_contents)
        for name in sorted({*way.__code__.co_names} & way.__globals__.keys()):
            thing = way.__globals__[name]
            if thing is not way and name not in ("torch",):
                self._bound(name, thing)


def found(home: str, name: str) -> Any:
    """What a module has under a name, None where there is none."""
    thing: Any = sys.modules.get(home)
    for part in name.split("."):
        thing = getattr(thing, part, None)
    return thing


def imported(home: str, name: str) -> Iterator[str]:
    """The lines that import a name, and before them where the file lies if it is not installed."""
    top = sys.modules[home.partition(".")[0]]
    file = getattr(top, "__file__", None)
    if file is not None and not _installed(Path(file)):
        folder = Path(file).parent.parent if hasattr(top, "__path__") else Path(file).parent
        yield f"import sys; sys.path.insert(0, {str(folder.resolve())!r})"
    yield f"from {home} import {name}"


def _installed(file: Path) -> bool:
    paths = sysconfig.get_paths()
    places = {Path(paths[key]).resolve() for key in ("stdlib", "purelib", "platlib")}
    return any(place in file.resolve().parents for place in places)


def _of_torch(kind: type, thing: nn.Module) -> str:
    """A layer of torch by its own `repr`, where that makes the same layer again."""
    text = f"torch.nn.{kind.__name__}({thing.extra_repr()})"
    try:
        other = eval(text, {"torch": torch})
    except Exception as error:
        raise Unwritten(f"the arguments of {kind.__name__}") from error
    inside = [name for name, _ in thing.named_children() if name != "parametrizations"]
    if not inside and other.extra_repr() == thing.extra_repr():
        return text
    raise Unwritten(f"the arguments of {kind.__name__}")


def _wrapped(name: str, thing: nn.Module) -> Iterator[str]:
    """The lines that normalise weights again, by torch's own ways."""
    utils = "torch.nn.utils"
    hooks: list[Any] = [*thing._forward_pre_hooks.values()]
    for hook in hooks:
        if type(hook).__name__ in ("WeightNorm", "SpectralNorm"):
            way = {"WeightNorm": "weight_norm", "SpectralNorm": "spectral_norm"}[
                type(hook).__name__
            ]
            yield f"{utils}.{way}({name}, {hook.name!r}, dim={hook.dim!r})"
    for key, parts in getattr(thing, "parametrizations", {}).items():
        for part in parts:
            kind = type(part).__name__
            if kind == "_WeightNorm":
                yield f"{utils}.parametrizations.weight_norm({name}, {key!r}, dim={part.dim!r})"
            elif kind in ("_SpectralNorm", "_Orthogonal"):
                way = {"_SpectralNorm": "spectral_norm", "_Orthogonal": "orthogonal"}[kind]
                yield f"{utils}.parametrizations.{way}({name}, {key!r})"
            else:
                raise Unwritten(f"the parametrization {kind} of {key}")


def _defaults(text: str) -> set[str]:
    """The names in the defaults of a lambda, which are looked up where it is made."""
    [node] = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Lambda)][:1]
    given = [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]
    return {n.id for d in given for n in ast.walk(d) if isinstance(n, ast.Name)}


def _lambda(way: FunctionType) -> str:
    """The text of a lambda, found in its file by where its body stands."""
    text = "".join(linecache.getlines(way.__code__.co_filename))
    places = {(line, column) for line, _, column, _ in way.__code__.co_positions()}
    try:
        nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Lambda)]
    except SyntaxError as error:
        raise Unwritten("a lambda") from error
    for node in nodes:
        if (node.body.lineno, node.body.col_offset) in places and (
            node.lineno == way.__code__.co_firstlineno
        ):
            return f"({ast.unparse(node)})"
    raise Unwritten("a lambda")
