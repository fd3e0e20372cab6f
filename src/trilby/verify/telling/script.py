"""A reproducer that needs torch alone: at most fifteen lines that show what a law found."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..comparing.finding import Finding
from ..sizes import Setting
from ..subjects.module import Anyone
from ..subjects.subject import Subject

MOST = 64  # numbers of a fixed argument that are written out


def script(thing: Anyone, subject: Subject, law: str, setting: Setting, found: Finding) -> str:
    """The lines. They run as they stand where the subject can be imported.

    What else there is, is `...` with a comment that says what belongs there.
    """
    written = _Script(thing, setting, found, _pick(thing, subject, setting))
    bodies = {
        "repeats": written.repeats,
        "causal": written.causal,
        "resumes": written.resumes,
        "isolated": written.isolated,
        "padding": written.padding,
        "documents": written.documents,
        "differentiates": written.differentiates,
        "sound": written.sound,
        "compiles": written.compiles,
    }
    return "\n".join([*written.subject(), *written.sequences(), *bodies[law]()])


@dataclass(frozen=True)
class _Script:
    """The pieces of a script; `picked` follows a call to pick its sequence."""

    thing: Anyone
    setting: Setting
    found: Finding
    picked: str

    @property
    def module(self) -> bool:
        """Whether f is a module, and no function."""
        return isinstance(self.thing.thing, nn.Module)

    def subject(self) -> list[str]:
        """Where the module comes from, in which mode and dtype it is."""
        top = ["import torch", *self.origin(), "torch.manual_seed(0)"]
        if not self.module:
            return top
        mode = "train" if self.setting.mode == "train" else "eval"
        wide = self.dtype.replace(", dtype=", ".to(") + ")" if self.dtype else ""
        top.append(f"f = f.{mode}(){wide}")
        if self.setting.mode == "redrawn":
            top.append("for p in f.parameters(): p.data += 0.5 * torch.randn_like(p)")
        return top

    def origin(self) -> list[str]:
        """How f is had: imported, made by its class, or named in a comment."""
        made: Any = type(self.thing.thing) if self.module else self.thing.thing
        home, name = getattr(made, "__module__", ""), getattr(made, "__qualname__", "")
        found: Any = sys.modules.get(home)
        for part in name.split("."):
            found = getattr(found, part, None)
        if home in ("", "__main__", "builtins") or found is not made:
            return [f"f = ...  # {self.thing.name.removesuffix('.forward')}, as it was given"]
        top = f"from {home} import {name.partition('.')[0]}"
        if not self.module:
            return [top, f"f = {name}"]
        given = "" if self.thing.made else "  # with the arguments and the weights that yours has"
        return [top, f"f = {name}(){given}"]

    @property
    def dtype(self) -> str:
        """What is said of the dtype where tensors are made."""
        dtype = self.setting.dtype
        return "" if dtype == torch.float32 else f", dtype={dtype}"

    def sequences(self) -> list[str]:
        """Lines that draw the sequences."""
        lines = []
        for i, name in enumerate(self.thing.port.names):
            x = self.thing.port.sequence(i)
            sizes = ", ".join(map(str, [self.setting.B, self.setting.T, *x.shape[2:]]))
            lines.append(
                f"{name} = torch.randn({sizes}{self.dtype})" if x.is_floating_point()
                else f"{name} = torch.randint({self.top(i)}, ({sizes},))"
            )  # fmt: skip
        return lines

    def top(self, i: int) -> int:
        """One more than the largest token."""
        return self.thing.port.vocabulary or int(self.thing.port.sequence(i).max()) + 1

    def fresh(self, where: str) -> list[str]:
        """Lines that rewrite a part of every sequence."""
        return [
            f"{name}{where} = torch.randn_like({name}{where})"
            if self.thing.port.sequence(i).is_floating_point()
            else f"{name}{where} = torch.randint_like({name}{where}, {self.top(i)})"
            for i, name in enumerate(self.thing.port.names)
        ]

    def bare(self, suffix: str = "", *more: str) -> str:
        """The arguments of a call: every sequence with a suffix, then further keywords."""
        port = self.thing.port
        names = dict(zip(port.slots, port.names, strict=True))
        placed = [names[i] + suffix if i in names else _written(a) for i, a in enumerate(port.args)]
        keyed = [
            f"{k}={names[k] + suffix if k in names else _written(v)}"
            for k, v in port.kwargs.items()
        ]
        asked = self.setting.mode == "masked" or self.thing.required(self.thing.padding)
        if asked and not any(word.startswith(f"{self.thing.padding}=") for word in more):
            ones = f"torch.ones({port.names[0]}{suffix}.shape[:2], dtype={self.thing.mask})"
            keyed.append(f"{self.thing.padding}={ones}")
        return ", ".join([*placed, *keyed, *more])

    def call(self, suffix: str = "", *more: str, f: str = "f") -> str:
        """A call, and what picks its sequence."""
        return f"{f}({self.bare(suffix, *more)}){self.picked}"

    def repeats(self) -> list[str]:
        """Twice the same."""
        print_ = "print((a - b).abs().max())  # 0 if it repeats"
        return [f"a, b = {self.call()}, {self.call()}", print_]

    def causal(self) -> list[str]:
        """With another future, or with none."""
        t = _cut(self.setting, self.found)
        if self.found.kind == "length":
            print_ = f"print((a[:, :{t}] - b).abs().max())  # rounding, if causal"
            return [f"a = {self.call()}", f"b = {self.call(f'[:, :{t}]')}", print_]
        if self.found.kind == "leak in the gradient":
            x = self.thing.port.names[0]
            lines = [f"{x}.requires_grad_()", f"{self.call()}[:, {t - 1}].sum().backward()"]
            return [*lines, f"print({x}.grad[:, {t}:].abs().max())  # 0 if causal"]
        print_ = f"print((a - b)[:, :{t}].abs().max())  # 0 if causal"
        return [f"a = {self.call()}", *self.fresh(f"[:, {t}:]"), f"b = {self.call()}", print_]

    def resumes(self) -> list[str]:
        """Whole, and piece after piece."""
        told = re.findall(r"in pieces (\d+)", self.found.text)
        n, carry = max(int(told[0]), 1) if told else 1, self.thing.port.carry
        assert carry is not None

        def piece(given: str | None, at: str = "", of: str = "", pick: bool = False) -> str:
            if of:
                return f"{of}{self.picked}"
            if given is None:
                return "".join(f"{name}{at}, " for name in self.thing.port.names)
            called = f"f({self.bare(f'[:, t:t + {n}]', given)})"
            return called + (self.picked if pick else "")

        lines = carry.lines(piece, self.setting.T, n, self.setting.B)
        print_ = "print((a - torch.cat(parts, 1)).abs().max())  # rounding, if it resumes"
        return [f"a = {self.call()}", *lines, print_]

    def isolated(self) -> list[str]:
        """Alone, or among other neighbours."""
        if self.found.kind == "batch":
            print_ = "print((a[:1] - b).abs().max())  # rounding, if rows are isolated"
            return [f"a, b = {self.call()}, {self.call('[:1]')}", print_]
        told = re.findall(r"row (\d+)", self.found.text)
        b = int(told[0]) if told else 0
        other = f"[{b + 1}:]" if b == 0 else f"[:{b}]"
        print_ = f"print((a - b)[{b}].abs().max())  # 0 if rows are isolated"
        return [f"a = {self.call()}", *self.fresh(other), f"b = {self.call()}", print_]

    def padding(self) -> list[str]:
        """With a pad, and without."""
        B, T, key = self.setting.B, self.setting.T, self.thing.padding
        n = max(T - 1, 1)
        if "all ones" in self.found.text:
            ones = f"torch.ones({B}, {T}, dtype={self.thing.mask})"
            print_ = "print((a - b).abs().max())  # rounding, if a mask of ones does nothing"
            return [f"a, b = {self.call()}, {self.call('', f'{key}={ones}')}", print_]
        left = "left" in self.found.text
        real, pad = (f"[:, {T - n}:]", f"[:, :{T - n}]") if left else (f"[:, :{n}]", f"[:, {n}:]")
        ones = f"torch.ones({B}, {n}, dtype={self.thing.mask})"
        return [
            f"mask = torch.ones({B}, {T}, dtype={self.thing.mask})",
            f"mask{pad} = 0",
            f"a = {self.call('', f'{key}=mask')}{real}",
            f"b = {self.call(real, f'{key}={ones}')}",
            "print((a - b).abs().max())  # rounding, if pads do nothing",
        ]

    def documents(self) -> list[str]:
        """The second of two documents, and that alone."""
        T, key = self.setting.T, self.thing.documents
        n = max(T // 2, 1)
        packed, alone = (_written(self.thing.form(sizes, self.setting.B))
                         for sizes in ((n, T - n), (T - n,)))  # fmt: skip
        return [
            f"a = {self.call('', f'{key}={packed}')}[:, {n}:]",
            f"b = {self.call(f'[:, {n}:]', f'{key}={alone}')}",
            "print((a - b).abs().max())  # rounding, if documents are apart",
        ]

    def differentiates(self) -> list[str]:
        """By torch's own differences."""
        names = self.thing.port.names
        inputs = ", ".join(f"{name}.requires_grad_()" for name in names)
        check = f"torch.autograd.gradcheck(way, ({inputs},), raise_exception=False)"
        return [
            f"way = lambda {', '.join(names)}: {self.call()}",
            f"print({check})  # True if the gradients to the inputs are right",
        ]

    def sound(self) -> list[str]:
        """Beside its float64 twin."""
        floating = self.thing.port.sequence(0).is_floating_point()
        x, scale = self.thing.port.names[0], self.setting.scale
        wide = "__import__('copy').deepcopy(f).double()" if self.module else "f"
        exact = self.call(".double()" if floating else "", f="g")
        return [
            *([f"{x} = {x} * {scale:g}"] if scale != 1 else []),
            f"g = {wide}",
            f"a, b = {self.call()}, {exact}",
            "print((a.double() - b).abs().max(), b.abs().max())  # the error, and the size",
        ]

    def compiles(self) -> list[str]:
        """Eager and compiled."""
        way = f"torch.compile(f, backend={self.setting.backend!r})"
        print_ = "print((a - b).abs().max())  # rounding, if it compiles"
        return [f"a = {self.call()}", f"b = {self.call(f=way)}", print_]


def _written(value: Any) -> str:
    """A fixed argument as Python; one that is too large or unknown is `...`."""
    if isinstance(value, Tensor) and value.numel() <= MOST:
        return f"torch.tensor({value.tolist()}, dtype={value.dtype})"
    known = value is None or isinstance(value, bool | int | float | str)
    return repr(value) if known else "..."


def _pick(thing: Anyone, subject: Subject, setting: Setting) -> str:
    """What follows a call to pick the sequence: `.logits`, `[0]`, nothing."""
    bound = subject.at(setting)
    result, y = thing.port.watched(bound, bound.draw(setting))
    if result is y:
        return ""
    if isinstance(result, Mapping):
        return next((f"[{k!r}]" for k in result if result[k] is y), "")
    if isinstance(result, tuple | list):
        return next((f"[{i}]" for i, v in enumerate(result) if v is y), "")
    return next((f".{k}" for k, v in vars(result).items() if v is y), "")


def _cut(setting: Setting, found: Finding) -> int:
    """The first position of the future: one after the place that reads it."""
    numbers = re.findall(r"\d+", found.place.partition("[")[2])
    at = int(numbers[-1]) if len(numbers) == 1 else int(numbers[1]) if numbers else 0
    return max(1, min(at + 1, setting.T - 1))
