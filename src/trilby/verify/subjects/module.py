"""Anyone's module or function as a subject: copied, in every dtype and mode, and left alone."""

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
from ...streaming import FIRST
from ..copies.nested import convert, numbers
from ..copies.reached import reached
from ..copies.restore import Keeper
from ..precision.allowance import PROBES, Within
from ..precision.digits import Tried
from ..precision.recast import Recast
from ..precision.widened import widened
from ..sizes import Setting
from .example import Port, signature
from .packing import cumulative, ids, restarting
from .subject import FINE, Sequences, Subject, all_real

POSITIONS = "position_ids"
FORMS = {POSITIONS: restarting}  # of documents; any other keyword takes ids or cu_seqlens
LARGE = 5_000_000  # parameters, above which only few sizes and few copies are made
ITSELF = "not tried in other dtypes, in training mode or with other parameter values"
SPARED = (
    "training mode, other parameter values, half precision, more than three sizes for a law, and "
    "gradients of more than four parameters"
)


@dataclass(eq=False)
class Anyone:
    """A module or function with its example.

    Attributes:
        name: what a verdict calls it.
        thing: the user's own; never run where a copy of it can be.
        port: its arguments and its result.
        padding, documents: the keywords of a mask and of documents, or None.
        lengths: the T that it takes, of those that were tried.
        refused: T -> what it said.
        without: dtype -> what it said.
        single: why it cannot be copied and is put back after each call; empty if it can.
        made: whether it was made by a class or a factory that takes nothing.
        mask: the dtype in which it takes a mask.
    """

    name: str
    thing: Any
    port: Port
    padding: str | None = None
    documents: str | None = None
    lengths: tuple[int, ...] = ()
    refused: dict[int, str] = field(default_factory=dict)
    without: dict[torch.dtype, str] = field(default_factory=dict)
    mask: torch.dtype = torch.bool
    single: str = ""
    made: bool = False
    _bound: dict[Any, Subject] = field(default_factory=dict)
    _own: Keeper | None = None
    _wide: Within | None = None

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return sum(p.numel() for m in modules_of(self.thing) for p in m.parameters())

    @property
    def owned(self) -> bool:
        """Whether it is a module of which copies are made: in modes, in dtypes, re-drawn."""
        return not self.single and isinstance(self.thing, nn.Module)

    @property
    def large(self) -> bool:
        """Whether copies and calls are dear."""
        return self.size > LARGE

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the user runs it in."""
        held = [t for m in modules_of(self.thing) for t in m.parameters() if numbers(t)]
        floats = [self.port.sequence(i) for i in range(len(self.port.slots))]
        found = [t.dtype for t in (*held, *floats) if t.is_floating_point()]
        return found[0] if found else torch.float32

    def masked(self, port: Port, mask: Callable[[Tensor], Tensor]) -> Port:
        """The port with a mask of real positions, and positions counted from the first of them.

        Only a call that takes `position_ids` is given them, as who pads at the left has to do.
        """
        given: dict[str, Any] = {str(self.padding): lambda x: mask(x).to(self.mask)}
        if POSITIONS in signature(self.thing):
            given[POSITIONS] = lambda x: (mask(x).long().cumsum(1) - 1).clamp(min=0)
        return port.given(**given)

    def told_of(self, port: Port, lengths: tuple[int, ...]) -> Port:
        """The port with documents of these lengths, in the form that its keyword names.

        No lengths: one document as long as the sequence is.
        """
        made = lambda x: self.form(lengths or (x.shape[1],), len(x)).to(x.device)
        return port.given(**{str(self.documents): made})

    def form(self, lengths: tuple[int, ...], B: int) -> Tensor:
        """Documents of these lengths, in the form that the keyword names."""
        name = str(self.documents)
        form = FORMS.get(name, cumulative if name.startswith("cu_seqlens") else ids)
        return form(lengths, B)

    def at(self, setting: Setting) -> Subject:
        """The subject in one dtype and mode; made once, and the last few are kept."""
        key = setting.dtype, setting.mode
        if key not in self._bound:
            self._leave_room(2 if self.large else 8)
            self._bound[key] = self._made(setting.dtype, setting.mode)
        return self._bound[key]

    def _made(self, dtype: torch.dtype, mode: str) -> Subject:
        """The subject; in float64 one that computes with all its digits, if there is a way.

        It is widened where that changes the result, and recast where digits are lost all the same.
        """
        if mode == "masked":
            return self._masked(dtype)
        exact, problems = dtype == torch.float64, list[Exception]()
        copy = self._copy(dtype, mode)
        tried = lambda way: self._tried(self._bare(*copy, way), dtype, problems)
        plain, wide = tried(nullcontext), tried(widened) if exact else None
        known = [one for one in (wide, plain) if one is not None]
        if len(known) == 2 and known[0].like(known[1]):
            known = known[1:]
        known = [one.graded(dtype) for one in known]
        best = min(known, key=lambda one: one.subject.grain, default=None)
        recorded = best.subject if best else None
        if exact and (best is None or best.subject.grain != FINE):
            other = tried(Recast(torch.float64, torch.float32).itself)
            other = other and other.graded(dtype)
            if other is not None and (best is None or other.subject.grain < best.subject.grain):
                best = other
        if best is None:
            raise problems[0]
        found = self._going_on(best.subject, dtype)
        coarse = plain is not None and best.subject.within is not nullcontext
        return replace(found, plain=recorded, coarse=coarse)

    def _masked(self, dtype: torch.dtype) -> Subject:
        """The subject with a mask of ones; the copy is the one that there is."""
        B, T = self.port.size
        whole = self.at(Setting(T, B, dtype=dtype))
        told = lambda one: replace(one.padded(all_real), grain=one.grain, coarse=one.coarse)
        return replace(told(whole), plain=None if whole.plain is None else told(whole.plain))

    def _tried(
        self, subject: Subject, dtype: torch.dtype, problems: list[Exception]
    ) -> Tried | None:
        """The subject and what it gives; None, and what it raises."""
        try:
            B, T = self.port.size
            sequences = subject.draw(Setting(T, B, 1, dtype))
            return Tried(
                subject, sequences, checked(self.name, subject.run(sequences)[0], sequences)
            )
        except Exception as error:
            problems.append(error)
            return None

    def _going_on(self, subject: Subject, dtype: torch.dtype) -> Subject:
        """The subject, its first state cast where it does not go on from one as it is made."""
        if not subject.streams or dtype == self.dtype:
            return subject
        begin = subject.begin
        other = replace(subject, begin=lambda B: convert(begin(B), dtype))
        for way in (subject, other):
            with suppress(Exception):
                B, T = self.port.size
                sequences = way.draw(Setting(T, B, dtype=dtype))
                way.joined(tuple(x[:, :2] for x in sequences), None, (1,) * min(T, 2))
                return way
        return subject

    def _copy(self, dtype: torch.dtype, mode: str) -> tuple[Any, Port, Keeper]:
        """What is called, what it is called with, and what puts it back."""
        thing = self.thing
        if self.owned:
            thing = convert(thing, dtype)
            if mode == "redrawn":
                redraw(thing)
            _fix_epsilon(thing, self.dtype)
            thing.train(mode == "train")
        port = convert(self.port, dtype)
        if self.required(self.padding):
            port = self.masked(port, all_real)
        if self.required(self.documents):
            port = self.told_of(port, ())
        return thing, port, self._keeper(thing, mode)

    def _keeper(self, thing: Any, mode: str) -> Keeper:
        """What puts a copy back; where none is made, one keeper that knows how it came."""
        own = _all(modules_of(self.thing))
        if thing is not self.thing:
            kept = _all(modules_of(thing))
            return Keeper(kept, own if mode != "redrawn" else kept)
        if self._own is None:
            self._own = Keeper(own, own)
        return self._own

    def _bare(self, thing: Any, port: Port, keeper: Keeper, within: Within) -> Subject:
        carry = self.port.carry
        begin: Callable[[int], Any] = lambda B: carry.first(thing, B) if carry else None
        again = lambda other: self._bare(thing, other, keeper, within)
        return Subject(
            name=self.name,
            call=partial(invoked, thing, port),
            draw=self.port.draw,
            names=self.port.names,
            strict=False,
            begin=begin,
            undo=keeper.restore,
            bound=self.at,
            within=within,
            working=self.dtype,
            module=thing if isinstance(thing, nn.Module) else None,
            twin=self._twin,
            probes=2 if self.large else PROBES,
            large=self.large,
            streams=carry is not None,
            pieces=in_pieces,
            padded=lambda mask: again(self.masked(port, mask)),
            masked_only=self.required(self.padding),
            mask=None if self.padding is None else self.mask,
            packed=lambda lengths: again(self.told_of(replace(port, carry=None), lengths)),
        )

    def _twin(self) -> Within:
        """What a float64 twin runs in; the copy that tells is not kept if it is large."""
        if self._wide is None:
            B, T = self.port.size
            self._wide = self.at(Setting(T, B, dtype=torch.float64)).within
        if self.large:
            self._leave_room(2)
        return self._wide

    def _leave_room(self, most: int) -> None:
        """Forget the oldest copies, of all but the base, to which every law holds on.

        One that is large is not left for a collection to come.
        """
        while len(self._bound) >= most:
            del self._bound[next(k for k in self._bound if k != (self.dtype, ""))]
        if self.large:
            gc.collect()

    def subject(self) -> Subject:
        """It as it is, in the user's dtype, with what cannot be asked of it."""
        B, T = self.port.size
        unable = {"agrees": "there is no definition that it must agree with"}
        if torch.float64 in self.without:
            told = self.without[torch.float64]
            unable["sound"] = f"there is no float64 to hold it against, {self.name} raises {told}"
        if self.single:
            unable["sound"] = f"its float64 twin would be a copy, and {self.single}"
        if self.port.carry is None:
            unable["resumes"] = "nobody said how it goes on; name it with carry="
        if self.padding is None:
            unable["padding"] = "nobody named a mask; name its keyword with padding="
        if self.documents is None:
            unable["documents"] = "nobody named documents; name their keyword with documents="
        return replace(self.at(Setting(T, B, dtype=self.dtype)), unable=unable)

    def leave(self) -> None:
        """Put the user's own modules back, where it was they that were run."""
        if self._own is not None:
            self._own.restore(values=True)

    def limits(self) -> list[str]:
        """What it did not take, for the report."""
        told = [f"{str(d).removeprefix('torch.')}: {why}" for d, why in self.without.items()]
        if self.single and isinstance(self.thing, nn.Module):
            told.append(
                f"it cannot be copied, {self.single}; it is run itself and put back, {ITSELF}"
            )
        if self.padding is not None and POSITIONS in signature(self.thing):
            told.append(f"{POSITIONS} is given beside a mask, from 0 at the first real position")
        if self.large:
            told.append(f"for its size, {self.size / 1e6:.3g} M parameters: {SPARED}")
        by: dict[str, list[str]] = {}
        for length, why in self.refused.items():
            by.setdefault(why, []).append(str(length))
        return told + [f"T {' '.join(lengths)}: {why}" for why, lengths in by.items()]

    def required(self, keyword: str | None) -> bool:
        """Whether the call cannot do without a keyword."""
        takes = signature(self.thing).get(str(keyword))
        return takes is not None and takes.default is takes.empty


def _fix_epsilon(module: nn.Module, dtype: torch.dtype) -> None:
    """An RMS norm without an epsilon takes that of its dtype; here it keeps that of the user's."""
    for m in module.modules():
        if isinstance(m, nn.RMSNorm) and m.eps is None:
            m.eps = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps


def invoked(thing: Any, port: Port, sequences: Sequences, state: Any) -> tuple[Any, Any]:
    """One call: the arguments filled in, the state handed over, the sequence picked.

    Without a state it is called as nobody calls it who wants to go on: that may be another path.
    """
    args, kwargs = port.filled(sequences)
    if port.carry is None or state is None:
        return port.pick(thing(*args, **kwargs)), None
    past = None if state is FIRST else state
    result, state = port.carry.call(thing, args, kwargs, port.slots, past)
    return port.pick(result), state


def in_pieces(
    call: partial[tuple[Any, Any]], lengths: tuple[int, ...], sequences: Sequences, state: Any
) -> tuple[Any, Any]:
    """What calls of `invoked` give piece after piece, from nothing."""
    thing, port = call.args
    if state is None and port.carry is not None:
        state = port.carry.first(thing, len(sequences[0]))
    parts = []
    for piece in zip(*(x.split(lengths, 1) for x in sequences), strict=True):
        y, state = call(tuple(x.clone() for x in piece), state)
        parts.append(y)
    return torch.cat(parts, 1), state


def modules_of(thing: Any) -> list[nn.Module]:
    """A module itself, that of a bound method, or those that a function reaches."""
    if isinstance(thing, nn.Module):
        return [thing]
    owner = getattr(thing, "__self__", None)
    return [owner] if isinstance(owner, nn.Module) else reached(thing)


def _all(tops: list[nn.Module]) -> list[nn.Module]:
    return [m for top in tops for m in top.modules()]


def redraw(module: nn.Module, seed: int = 0) -> None:
    """Move every parameter away from where it was initialised: a gate of zero opens.

    Each gets noise of half its own spread; one whose values are all alike gets noise of half
    their size, and if that is zero of one over the root of what its rows add up.
    """
    coins = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            if not numbers(p) or not p.numel():
                continue
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
            "pick another output with output=, or wrap the module so that time is axis 1"
        )
    return y
