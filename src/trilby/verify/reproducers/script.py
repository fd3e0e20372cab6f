"""A reproducer that needs torch and the module alone: lines that show a broken law.

The lines that make the module and its arguments are the same for all laws and are written here;
the lines that show the fault are written by the law, in its own file.
"""

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...streaming import Carry, Loop
from ..comparing.finding import Finding
from ..comparing.witness import Witness
from ..copies.owning import Owning
from ..sizes import Setting
from ..subjects.module_subject import ModuleSubject
from ..subjects.user_module import UserModule
from .arguments import Unwritten
from .source import Source

MOST = 64  # numbers of a fixed argument that are written out
PLAIN = ("import ", "from ", "f = ", "torch.nn.utils.")  # lines that need no function around them
MANY = 8  # pieces of a stream that are written out


@dataclass(frozen=True)
class Script:
    """What a law writes its lines from. In them the module is `f`.

    Attributes:
        user: the user's module.
        setting: where the law is broken.
        found: how it is broken.
        picked: Python that follows a call to pick the sequence from its result.
    """

    user: UserModule
    setting: Setting
    found: Finding
    picked: str

    @property
    def kind(self) -> str:
        """The kind of the fault."""
        return self.found.kind

    @property
    def witness(self) -> Witness:
        """Where the fault shows."""
        return self.found.witness

    @property
    def names(self) -> tuple[str, ...]:
        """What the sequences are called."""
        return self.user.example.names

    @property
    def module(self) -> bool:
        """Whether f is a module, and no function."""
        return isinstance(self.user.target, nn.Module) and not isinstance(self.user.target, Owning)

    def floating(self, i: int) -> bool:
        """Whether sequence i holds real numbers, and no tokens."""
        return self.user.example.sequence(i).is_floating_point()

    def ones(self, *shape: int) -> str:
        """A mask of ones."""
        return f"torch.ones({', '.join(map(str, shape))}, dtype={self.user.mask})"

    def documents(self, lengths: tuple[int, ...]) -> str:
        """Documents of these lengths, in the form that the module takes."""
        return _written(self.user.documents_tensor(lengths, self.setting.B))

    def call(self, suffix: str = "", *more: str, f: str = "f") -> str:
        """A call, and what picks its sequence."""
        return f"{f}({self._arguments(suffix, *more)}){self.picked}"

    def rewrite(self, where: str) -> list[str]:
        """Lines that rewrite a part of every sequence."""
        return [
            f"{name}{where} = torch.randn_like({name}{where})"
            if self.floating(i)
            else f"{name}{where} = torch.randint_like({name}{where}, {self._vocabulary(i)})"
            for i, name in enumerate(self.names)
        ]

    @property
    def target(self) -> Any:
        """What f is."""
        return self.user.target

    @property
    def rows(self) -> int:
        """B."""
        return self.setting.B

    @property
    def carry(self) -> Carry:
        """How state is kept between calls."""
        assert self.user.example.carry is not None
        return self.user.example.carry

    def invocation(self, at: str, *given: str) -> str:
        """A call of a stream, without what picks its sequence."""
        return f"f({self._arguments(at, *filter(None, given))})"

    def listed(self, at: str) -> str:
        """The sequences, each cut by `at` and followed by a comma."""
        return "".join(f"{name}{at}, " for name in self.names)

    def stream(self, pieces: tuple[int, ...]) -> list[str]:
        """Lines that collect what f gives in pieces of these lengths in the list `parts`."""
        n = pieces[0]
        even = {*pieces[:-1]} == {n} and pieces[-1] <= n
        loop = Loop(self.setting.T, n, pieces=() if even or len(pieces) > MANY else pieces)
        return self.carry.lines(self, loop)

    def setup(self) -> list[str]:
        """Lines that make f and the sequences."""
        lines = ["import torch", "torch.manual_seed(0)", *self._origin()]
        dtype = f", dtype={self.setting.dtype}" if self.setting.dtype != torch.float32 else ""
        for i, name in enumerate(self.names):
            trailing = self.user.example.sequence(i).shape[2:]
            sizes = ", ".join(map(str, [self.setting.B, self.setting.T, *trailing]))
            tokens = f"torch.randint({self._vocabulary(i)}, ({sizes},))"
            lines.append(
                f"{name} = " + (f"torch.randn({sizes}{dtype})" if self.floating(i) else tokens)
            )
        return lines

    def _origin(self) -> list[str]:
        """How f is had, with the modules in it in the dtype and the mode of the setting.

        It is imported or made again, in a function if that takes names of its own. What cannot be
        written is `...`, and a comment says what belongs there.
        """
        target: Any = self.user.target
        way = target.way if isinstance(target, Owning) else getattr(target, "way", target)
        source = Source()
        try:
            made = self._made(source, target if self.module else way)
        except Unwritten as what:
            return [f"f = ...  # fill in {self._name}: {what} cannot be written", *self._ready("f")]
        fill = f"  # fill in {source.missing}" if source.missing else ""
        if all(row.startswith(PLAIN) for row in source.lines):
            lines = source.lines if made == "f" else [*source.lines, f"f = {made}"]
            at = next(i for i, row in enumerate(lines) if row.startswith("f = "))
            lines[at] += fill
            if made == "f" or not source.modules:
                return [*lines, *(self._ready("f") if made == "f" else self._unseen())]
        inside = textwrap.indent("\n".join(source.lines), "    ").splitlines()
        back = f"    return {made}, [{', '.join(source.modules)}]"
        return ["def make():", *inside, back, f"f, reached = make(){fill}", *self._ready("reached")]

    @property
    def _name(self) -> str:
        return self.user.name.removesuffix(".forward")

    def _made(self, source: Source, way: Any) -> str:
        """The expression of f: made by the class or function that the user gave, or made again."""
        if self.user.factory is None:
            return source.expression(way, "f" if self.module else "")
        call = f"{source.expression(self.user.factory)}()"
        source.lines.append(f"f = {call}")
        source.modules += ["f"] if self.module else []
        return "f"

    def _unseen(self) -> list[str]:
        """What to say of a function that is imported, and the modules that it reaches with it."""
        mode = self.setting.mode or "eval"
        told = f"# the modules that f reaches: in {self.setting.dtype}, mode {mode}"
        return [told] if isinstance(self.user.target, Owning) else []

    def _ready(self, name: str) -> list[str]:
        """The lines that put f, or the modules in it, into the dtype and the mode."""
        modules = isinstance(self.user.target, nn.Module)
        if not modules or not name:
            return []
        mode = "train" if self.setting.mode == "train" else "eval"
        cast = f".to({self.setting.dtype})" if self.setting.dtype != torch.float32 else ""
        each = f"[{name}]" if name == "f" else name
        lines = [f"for m in {each}: m.{mode}(){cast}"]
        if name == "f":
            lines = [f"f = f.{mode}(){cast}"]
        if self.setting.mode == "redrawn":
            all_of = f"for m in {each} for p in m.parameters()"
            lines.append(f"for p in [p {all_of}]: p.data += 0.5 * torch.randn_like(p)")
        return lines

    def _vocabulary(self, i: int) -> int:
        """One more than the largest token."""
        return self.user.example.vocabulary or int(self.user.example.sequence(i).max()) + 1

    def _arguments(self, suffix: str = "", *more: str) -> str:
        """The arguments of a call: every sequence with a suffix, then further keywords."""
        example, padding = self.user.example, self.user.padding
        names = dict(zip(example.slots, example.names, strict=True))
        of = lambda slot, value: names[slot] + suffix if slot in names else _written(value)
        placed = [of(i, value) for i, value in enumerate(example.args)]
        keyed = [f"{key}={of(key, value)}" for key, value in example.kwargs.items()]
        masked = self.setting.mode == "masked" or self.user.required(padding)
        if masked and not any(word.startswith(f"{padding}=") for word in more):
            shape = f"{example.names[0]}{suffix}.shape[:2]"
            keyed.append(f"{padding}=torch.ones({shape}, dtype={self.user.mask})")
        return ", ".join([*placed, *keyed, *more])


def script(
    user: UserModule,
    subject: ModuleSubject,
    setting: Setting,
    found: Finding,
    reproduce: Callable[[Script], list[str]],
) -> str:
    """The lines. They run as they stand where the module can be imported.

    What else there is, is `...` with a comment that says what belongs there.
    """
    written = Script(user, setting, found, _pick(subject, setting))
    return "\n".join([*written.setup(), *reproduce(written)])


def _written(value: Any) -> str:
    """A fixed argument as Python; one that is too large or unknown is `...`."""
    if isinstance(value, Tensor) and value.numel() <= MOST:
        return f"torch.tensor({value.tolist()}, dtype={value.dtype})"
    known = value is None or isinstance(value, bool | int | float | str)
    return repr(value) if known else "..."


def _pick(subject: ModuleSubject, setting: Setting) -> str:
    """What follows a call to pick the sequence: `.logits`, `[0]`, nothing."""
    result, y = subject.at(setting).picked(setting)
    if result is y:
        return ""
    if isinstance(result, Mapping):
        return next((f"[{k!r}]" for k in result if result[k] is y), "")
    if isinstance(result, tuple | list):
        return next((f"[{i}]" for i, v in enumerate(result) if v is y), "")
    return next((f".{k}" for k, v in vars(result).items() if v is y), "")
