"""What the user gave to `check`: copied for every dtype and mode, and itself left as it was."""

import gc
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import CallError
from ...shapes import what
from ..copies.nested import convert, numbers
from ..copies.reached import modules_of
from ..copies.restore import Snapshot
from ..precision.allowance import Within
from ..precision.recast import Recast
from ..precision.widened import widened
from ..sizes import Setting
from ..wording import short
from .digits import Attempt
from .example import Example, signature
from .module_subject import ModuleSubject, invoked
from .packing import cumulative, ids, restarting
from .subject import FINE, Sequences, all_real

POSITIONS = "position_ids"
FORMS = {POSITIONS: restarting}  # of documents; any other keyword takes ids or cu_seqlens
LARGE = 5_000_000  # parameters, above which only few sizes and few copies are made
ITSELF = "not tried in other dtypes, in training mode or with other parameter values"
SPARED = (
    "training mode, other parameter values, half precision, more than three sizes for a law, and "
    "gradients of more than four parameters"
)


@dataclass(eq=False)
class UserModule:
    """The user's module or function, with its example.

    Attributes:
        name: what a verdict calls it.
        target: the user's own; it is never run if it can be copied.
        example: its arguments, and what is picked from its result.
        padding, documents: the keywords of a mask and of documents, or None.
        lookahead: how many later positions an output may read.
        lengths: the T that it takes, of those that were tried.
        refused_lengths: T -> the exception that it raised.
        left_out: T -> why it was not tried, though it might be taken.
        refused_dtypes: dtype -> the exception that it raised.
        uncopied: why it cannot be copied and is put back after each call; empty if it can.
        factory: the class or the function without arguments that made it; None: it was given.
        moved: why it is a copy on the CPU; empty if it is not.
        mask: the dtype in which it takes a mask.
    """

    name: str
    target: Any
    example: Example
    padding: str | None = None
    documents: str | None = None
    lookahead: int = 0
    lengths: tuple[int, ...] = ()
    refused_lengths: dict[int, str] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    refused_dtypes: dict[torch.dtype, str] = field(default_factory=dict)
    mask: torch.dtype = torch.bool
    uncopied: str = ""
    factory: Any = None
    moved: str = ""
    _bound: dict[Any, ModuleSubject] = field(default_factory=dict)
    _own: Snapshot | None = None
    _wide: Within | None = None

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return sum(p.numel() for m in modules_of(self.target) for p in m.parameters())

    @property
    def owned(self) -> bool:
        """Whether it is a module of which copies are made: in modes, in dtypes, re-drawn."""
        return not self.uncopied and isinstance(self.target, nn.Module)

    @property
    def large(self) -> bool:
        """Whether copies and calls are dear."""
        return self.size > LARGE

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the user runs it in."""
        held = [t for m in modules_of(self.target) for t in m.parameters() if numbers(t)]
        floats = [self.example.sequence(i) for i in range(len(self.example.slots))]
        found = [t.dtype for t in (*held, *floats) if t.is_floating_point()]
        return found[0] if found else torch.float32

    def with_mask(self, example: Example, mask: Callable[[Tensor], Tensor]) -> Example:
        """The example with a mask of real positions, and positions counted from the first of them.

        Only a call that takes `position_ids` is given them, as who pads at the left has to do.
        """
        given: dict[str, Any] = {}
        if self.padding is None:
            example = replace(example, real=mask)
        else:
            given[self.padding] = lambda x: mask(x).to(self.mask)
        if POSITIONS in signature(self.target):
            whole = example.carry is not None and example.carry.prefix
            counted = lambda x: (mask(x).long().cumsum(1) - 1).clamp(min=0)
            given[POSITIONS] = lambda x: counted(x)[:, 0 if whole else -x.shape[1] :]
        return example.with_keywords(**given)

    def with_documents(self, example: Example, lengths: tuple[int, ...]) -> Example:
        """The example with documents of these lengths, in the form that its keyword names.

        No lengths: one document as long as the sequence is.
        """
        made = lambda x: self.documents_tensor(lengths or (x.shape[1],), len(x)).to(x.device)
        return example.with_keywords(**{str(self.documents): made})

    def documents_tensor(self, lengths: tuple[int, ...], B: int) -> Tensor:
        """Documents of these lengths, in the form that the keyword names."""
        name = str(self.documents)
        form = FORMS.get(name, cumulative if name.startswith("cu_seqlens") else ids)
        return form(lengths, B)

    def at(self, setting: Setting) -> ModuleSubject:
        """The subject in one dtype and mode; made once, and the last few are kept."""
        key = setting.dtype, setting.mode
        if key not in self._bound:
            self._forget_oldest(2 if self.large else 8)
            self._bound[key] = self._made(setting.dtype, setting.mode)
        return self._bound[key]

    def _made(self, dtype: torch.dtype, mode: str) -> ModuleSubject:
        """The subject; in float64 one that computes with all its digits, if there is a way.

        It is widened where that changes the result, and recast where digits are lost all the same.
        """
        if mode == "masked":
            return self._masked(dtype)
        exact, problems = dtype == torch.float64, list[Exception]()
        copy = self._copy(dtype, mode)
        tried = lambda way: self._tried(self._subject(*copy, way), dtype, problems)
        plain, wide = tried(nullcontext), tried(widened) if exact else None
        known = [one for one in (wide, plain) if one is not None]
        if len(known) == 2 and known[0].like(known[1]):
            known = known[1:]
        known = [one.with_grain(dtype) for one in known]
        best = min(known, key=lambda one: one.subject.grain, default=None)
        recorded = best.subject if best else None
        if exact and (best is None or best.subject.grain != FINE):
            other = tried(Recast(torch.float64, torch.float32).itself)
            other = other and other.with_grain(dtype)
            if other is not None and (best is None or other.subject.grain < best.subject.grain):
                best = other
        if best is None:
            raise problems[0]
        found = self._with_start(best.subject, dtype)
        coarse = plain is not None and best.subject.within is not nullcontext
        return replace(found, plain=recorded, coarse=coarse)

    def _masked(self, dtype: torch.dtype) -> ModuleSubject:
        """The subject with a mask of ones; the copy is the one that there is."""
        B, T = self.example.size
        whole = self.at(Setting(T, B, dtype=dtype))
        plain = None if whole.plain is None else whole.plain.padded(all_real)
        return replace(whole.padded(all_real), plain=plain)

    def _tried(
        self, subject: ModuleSubject, dtype: torch.dtype, problems: list[Exception]
    ) -> Attempt | None:
        """The subject and what it gives; None, and what it raises."""
        try:
            B, T = self.example.size
            sequences = subject.draw(Setting(T, B, 1, dtype))
            return Attempt(
                subject, sequences, checked(self.name, subject.run(sequences)[0], sequences)
            )
        except Exception as error:
            problems.append(error)
            return None

    def _with_start(self, subject: ModuleSubject, dtype: torch.dtype) -> ModuleSubject:
        """The subject, its first state cast where it cannot continue from one as it is made."""
        if not subject.streams or dtype == self.dtype:
            return subject
        B, T = self.example.size
        for way in (subject, replace(subject, state_dtype=dtype)):
            with suppress(Exception):
                sequences = way.draw(Setting(T, B, dtype=dtype))
                way.joined(tuple(x[:, :2] for x in sequences), None, (1,) * min(T, 2))
                return way
        return subject

    def _copy(self, dtype: torch.dtype, mode: str) -> tuple[Any, Example, Snapshot]:
        """What is called, what it is called with, and what puts it back."""
        target = self.target
        if self.owned:
            target = convert(target, dtype)
            if mode == "redrawn":
                redraw(target)
            _fix_epsilon(target, self.dtype)
            target.train(mode == "train")
        example = convert(self.example, dtype)
        if self.required(self.padding):
            example = self.with_mask(example, all_real)
        if self.required(self.documents):
            example = self.with_documents(example, ())
        return target, example, self._snapshot(target, mode)

    def _snapshot(self, target: Any, mode: str) -> Snapshot:
        """What puts a copy back; where none is made, one snapshot that knows how it came."""
        own = _all(modules_of(self.target))
        carry = self.example.carry
        keeps = carry is not None and carry.inside and isinstance(target, nn.Module)
        inside = target if keeps else None
        if target is not self.target:
            kept = _all(modules_of(target))
            return Snapshot(kept, own if mode != "redrawn" else kept, inside)
        if self._own is None:
            self._own = Snapshot(own, own, inside)
        return self._own

    def _subject(
        self, target: Any, example: Example, snapshot: Snapshot, within: Within
    ) -> ModuleSubject:
        """The subject that calls `target`, in one context."""
        call = partial(invoked, target, example)
        return ModuleSubject(
            self.name, call, self.example.draw, self.example.names,
            user=self, target=target, example=example, snapshot=snapshot, within=within,
        )  # fmt: skip

    def twin(self) -> Within:
        """What a float64 twin runs in; the copy that tells is not kept if it is large."""
        if self._wide is None:
            B, T = self.example.size
            self._wide = self.at(Setting(T, B, dtype=torch.float64)).within
        if self.large:
            self._forget_oldest(2)
        return self._wide

    def _forget_oldest(self, most: int) -> None:
        """Forget the oldest copies, of all but the base, to which every law holds on.

        One that is large is not left for a collection to come.
        """
        while len(self._bound) >= most:
            del self._bound[next(k for k in self._bound if k != (self.dtype, ""))]
        if self.large:
            gc.collect()

    def subject(self) -> ModuleSubject:
        """The subject in the user's dtype, with the laws that cannot be run on it."""
        B, T = self.example.size
        unable = {"agrees": "a module has no definition to agree with"}
        if torch.float64 in self.refused_dtypes:
            why = self.refused_dtypes[torch.float64]
            unable["sound"] = f"it has no float64 twin to compare with, {self.name} raises {why}"
        if self.uncopied:
            unable["sound"] = f"its float64 twin would be a copy, and {self.uncopied}"
        if self.example.carry is None:
            unable["resumes"] = "pass carry=... to say how state is kept between calls"
        if self.lookahead:
            unable["resumes"] = (
                f"with lookahead={self.lookahead} a stream gives its outputs late, and how is not "
                "defined"
            )
        if self.padding is None and self.example.pad is None:
            unable["padding"] = "pass padding=... to name the keyword of the mask"
        if self.documents is None:
            unable["documents"] = "pass documents=... to name the keyword of packed documents"
        if self.example.numpy:
            unable["differentiates"] = "it takes numpy arrays, which have no gradients"
            unable["compiles"] = "it takes numpy arrays"
        return replace(self.at(Setting(T, B, dtype=self.dtype)), unable=unable)

    def depends_on(self, why: str) -> None:
        """A copy turned out to be none, so the module is run itself from now on."""
        self.uncopied = why
        self.forget()

    def forget(self) -> None:
        """Drop the copies: they were made with another example, or turned out to be none."""
        self._bound.clear()

    def put_back(self) -> None:
        """Put the user's own modules back, where it was they that were run."""
        if self._own is not None:
            self._own.restore(values=True)

    def limits(self) -> list[str]:
        """What it refused, and what was not tried, for the report."""
        lines = [self.moved] * bool(self.moved)
        lines += [f"{short(d)}: {why}" for d, why in self.refused_dtypes.items()]
        if self.example.followers:
            lines.append(f"with the rows go {', '.join(f.name for f in self.example.followers)}")
        if self.uncopied and isinstance(self.target, nn.Module):
            lines.append(
                f"it cannot be copied, {self.uncopied}; it is run itself and put back, {ITSELF}"
            )
        if self.padding is not None and POSITIONS in signature(self.target):
            lines.append(f"{POSITIONS} is given beside a mask, from 0 at the first real position")
        if self.large:
            lines.append(f"for its size, {self.size / 1e6:.3g} M parameters: {SPARED}")
        by: dict[str, list[str]] = {}
        for length, why in (self.refused_lengths | self.left_out).items():
            by.setdefault(why, []).append(str(length))
        return lines + [f"T {' '.join(lengths)}: {why}" for why, lengths in by.items()]

    def required(self, keyword: str | None) -> bool:
        """Whether the call cannot do without a keyword."""
        takes = signature(self.target).get(str(keyword))
        return takes is not None and takes.default is takes.empty


def _fix_epsilon(module: nn.Module, dtype: torch.dtype) -> None:
    """An RMS norm without an epsilon takes that of its dtype; here it keeps that of the user's."""
    for m in module.modules():
        if isinstance(m, nn.RMSNorm) and m.eps is None:
            m.eps = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps


def _all(tops: list[nn.Module]) -> list[nn.Module]:
    return [m for top in tops for m in top.modules()]


def redraw(module: nn.Module, seed: int = 0) -> None:
    """Move the parameters away from where they were initialised: a gate of zero opens.

    Frozen ones stay as they are, unless all are frozen: who freezes a part relies on its values.
    Each gets noise of half its own spread; one whose values are all alike gets noise of half
    their size, and if that is zero of one over the root of what its rows add up.
    """
    coins = torch.Generator().manual_seed(seed)
    every = [p for p in module.parameters() if numbers(p) and p.numel()]
    free = [p for p in every if p.requires_grad]
    with torch.no_grad():
        for p in free or every:
            spread = float(p.double().std(correction=0)) or float(p.double().abs().max())
            fan = p.shape[-1] if p.ndim > 1 else 4
            noise = torch.randn(p.shape, generator=coins, dtype=torch.float64).to(p.device)
            p.add_((0.5 * spread if spread else fan**-0.5) * noise)


def checked(name: str, y: Any, sequences: Sequences) -> Tensor:
    """The sequence that came out; a CallError unless it is a tensor [B, T, ...]."""
    B, T = sequences[0].shape[:2]
    if not isinstance(y, Tensor):
        raise CallError(
            f"check: {name} returns {what(y)} where a tensor [B, T, ...] is expected; "
            "pick it with output=, a name, an index or a function of the result"
        )
    if y.shape[:2] != (B, T):
        raise CallError(
            f"check: {name} returns {list(y.shape)} for B={B} and T={T}, expected [B, T, ...]; "
            "pick another output with output=, or say with time_axis= where time is"
        )
    return y
