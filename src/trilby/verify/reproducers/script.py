"""A reproducer that needs torch and the module alone: lines that show a broken law.

The lines that make the module and its arguments are the same for all laws and are written here;
the lines that show the fault are written by the law, in its own file.
"""

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
from ..subjects.following import Follower
from ..subjects.layout import Layout
from ..subjects.module_subject import ModuleSubject
from ..subjects.paths import Path, at
from ..subjects.user_module import UserModule
from .origin import origin

MOST = 64  # numbers of a fixed argument that are written out
FEW = 16  # numbers that are written out of what goes along with the rows
MANY = 8  # pieces of a stream that are written out


@dataclass(frozen=True)
class Script:
    """What a law writes its lines from. In them the module is `f`.

    Attributes:
        user: the user's module.
        setting: where the law is broken.
        found: how it is broken.
        pick: Python that follows a call to pick the sequence from its result, as it lies there.
        result: how that sequence lies.
        rank: how many axes it has, those of the call.
    """

    user: UserModule
    setting: Setting
    found: Finding
    pick: str
    result: Layout
    rank: int

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
        return self.read(f"{f}({self._arguments(suffix, *more)})")

    def read(self, result: str) -> str:
        """The sequence [B, T, ...] that is picked from a result."""
        return self.result.judged_in_python(f"{result}{self.pick}", self.rank)

    @property
    def picked(self) -> str:
        """Python that follows a call to pick the sequence [B, T, ...] from its result."""
        return self.read("")

    def rewrite(self, where: str) -> list[str]:
        """Lines that rewrite a part of every sequence, and what goes along with whole rows."""
        lines = [
            f"{name}{where} = torch.randn_like({name}{where})"
            if self.floating(i)
            else f"{name}{where} = torch.randint_like({name}{where}, {self._vocabulary(i)})"
            for i, name in enumerate(self.names)
        ]
        for follower in () if where.startswith("[:,") else self.user.example.followers:
            part = follower.name + _rows(follower, where)
            value = torch.as_tensor(self.user.example.value(follower.path))
            whole = not (value.is_floating_point() or value.is_complex())
            fresh = (
                f"randint_like({part}, {int(value.max()) + 1})" if whole else f"randn_like({part})"
            )
            lines.append(f"{part} = torch.{fresh}")
        return lines

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
        lines = ["import torch", "torch.manual_seed(0)", *origin(self.user, self.setting)]
        dtype = f", dtype={self.setting.dtype}" if self.setting.dtype != torch.float32 else ""
        for i, name in enumerate(self.names):
            trailing = self.user.example.sequence(i).shape[2:]
            sizes = ", ".join(map(str, [self.setting.B, self.setting.T, *trailing]))
            tokens = f"torch.randint({self._vocabulary(i)}, ({sizes},))"
            lines.append(
                f"{name} = " + (f"torch.randn({sizes}{dtype})" if self.floating(i) else tokens)
            )
        if (pad := self.user.example.pad) is not None:
            name = self.names[pad.sequence]
            lines.append(f"{name}[{name} == {pad.token}] = {pad.other}  # no pad is meant here")
        return lines + [f"{f.name} = {self._made(f)}" for f in self.user.example.followers]

    def _made(self, follower: Follower) -> str:
        """What goes along with the rows: small ones are written out."""
        example = self.user.example
        args, kwargs = example.filled(example.draw(self.setting))
        value = torch.as_tensor(
            at((args, kwargs)[isinstance(follower.path[0], str)], follower.path)
        )
        if value.is_floating_point():
            value = value.to(self.setting.dtype)
        if value.numel() <= FEW:
            return _written(value)
        shape = ", ".join(map(str, value.shape))
        if value.is_floating_point() or value.is_complex():
            return f"torch.randn({shape}, dtype={value.dtype})"
        return f"torch.randint({int(value.max()) + 1}, ({shape},)).to({value.dtype})"

    def _vocabulary(self, i: int) -> int:
        """One more than the largest token."""
        return self.user.example.vocabulary or int(self.user.example.sequence(i).max()) + 1

    def _arguments(self, suffix: str = "", *more: str) -> str:
        """The arguments of a call: every sequence with a suffix, then further keywords."""
        example, padding = self.user.example, self.user.padding
        words = self._words(suffix)
        placed = [_spelled(value, (i,), words) for i, value in enumerate(example.args)]
        keyed = [f"{key}={_spelled(value, (key,), words)}" for key, value in example.kwargs.items()]
        masked = self.setting.mode == "masked" or self.user.required(padding)
        if masked and not any(word.startswith(f"{padding}=") for word in more):
            shape = f"{example.names[0]}{suffix}.shape[:2]"
            keyed.append(f"{padding}=torch.ones({shape}, dtype={self.user.mask})")
        return ", ".join([*placed, *keyed, *more])

    def _words(self, suffix: str) -> dict[Path, str]:
        """Path -> Python of the sequences with a suffix, and of what goes along with the rows."""
        example = self.user.example
        found = {}
        for i, (path, layout) in enumerate(zip(example.paths, example.layouts, strict=True)):
            rank = example.sequence(i).ndim
            found[path] = layout.given_in_python(example.names[i] + suffix, rank)
        for follower in example.followers:
            rows = _rows(follower, suffix)
            found[follower.path] = f"{follower.name}{rows}{'.numpy()' if follower.numpy else ''}"
        return found


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
    result, y = subject.at(setting).picked(setting)
    layout = Layout.of(y, user.example.time)
    written = Script(user, setting, found, _pick(result, y), layout, y.ndim)
    return "\n".join([*written.setup(), *reproduce(written)])


def _written(value: Any) -> str:
    """A fixed argument as Python; one that is too large or unknown is `...`."""
    if isinstance(value, Tensor) and value.numel() <= MOST:
        return f"torch.tensor({value.tolist()}, dtype={value.dtype})"
    known = value is None or isinstance(value, bool | int | float | str)
    return repr(value) if known else "..."


def _rows(follower: Follower, suffix: str) -> str:
    """What follows the name of a follower where the sequences have a suffix: the same rows."""
    if suffix.startswith("[:,") or not suffix.startswith("["):
        return ""
    return "[" + ":, " * follower.axis + suffix[1:]


def _spelled(value: Any, path: Path, words: Mapping[Path, str]) -> str:
    """An argument as Python, sequences in it by name."""
    if path in words:
        return words[path]
    if not any(path == other[: len(path)] for other in words):
        return _written(value)
    if isinstance(value, Mapping):
        inside = [f"{k!r}: {_spelled(v, (*path, k), words)}" for k, v in value.items()]
        return f"{{{', '.join(inside)}}}"
    inside = [_spelled(v, (*path, i), words) for i, v in enumerate(value)]
    return f"[{', '.join(inside)}]" if isinstance(value, list) else f"({', '.join(inside)},)"


def _pick(result: Any, y: Any) -> str:
    """What follows a call to pick the sequence: `.logits`, `[0]`, nothing."""
    if result is y:
        return ""
    if isinstance(result, Mapping):
        return next((f"[{k!r}]" for k in result if result[k] is y), "")
    if isinstance(result, tuple | list):
        return next((f"[{i}]" for i, v in enumerate(result) if v is y), "")
    return next((f".{k}" for k, v in vars(result).items() if v is y), "")
