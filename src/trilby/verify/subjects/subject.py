"""What a law is put to: anything that is called with sequences and a state."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...card import Mixer
from ..copies.nested import clone, copied, leaves, numbers, replaced
from ..precision.allowance import FACTOR, PROBES, Entitled, Within, entitled
from ..precision.choices import followed
from ..process import seed, states
from ..sizes import BLOCK, SMALL, Setting
from .packing import ids

Sequences = tuple[Tensor, ...]
Leaves = list[tuple[str, Any]]

QUADRATIC = ("loop", "matrix", "softmax")  # forms whose time or memory grows with T^2
STEPWISE = ("loop", "step")  # forms whose graph grows with T
FARTHER = 4  # probes of anyone's module that go as far as is allowed: a choice may flip there
LONG, LONGER = 1030, 5000
WIDEST, DEEP = 192, 40  # channels; the same where C^3 numbers are kept for each row
FINE, COARSE = 2.0**-52, 2.0**-23


@dataclass(frozen=True, eq=False)
class Subject:
    """A function `call(sequences, state) -> (y, state)`, batch on axis 0 and time on axis 1.

    Attributes:
        name: what a verdict calls it, e.g. "mean.scan".
        call: the function; `state=None` starts from nothing.
        draw: a setting -> valid sequences.
        names: what the sequences are called, e.g. ("q", "k", "v").
        truth: the definition it must agree with; None: there is none, or this is it.
        longest: the largest T that it is asked to run at.
        traced: the largest T that it is asked to be compiled at.
        widest: the largest C: enough elements that kernels split them over threads.
        unable: law -> why it cannot be run on this subject.
        strict: a form of ours: what it returns is equal bit for bit where it must be equal, and
            its state is part of its contract. Anyone else's module may round, and its state is
            its own affair.
        begin: B -> the state that a stream starts from.
        undo: puts back what the last call left behind in the subject.
        bound: a setting -> the same subject in its dtype and mode; None: it is the same in all.
        within: what a call runs in.
        working: the dtype that a user runs it in.
        grain: the rounding of what it computes in: in float64 2^-52, or 2^-23 where it has the
            digits of float32 all the same.
        module: the module that is called, where it is one.
        plain: the same as it stands or widened, for gradients; None: it runs in neither way.
        coarse: in float64 as it stands, its result has the digits of float32.
        twin: gives what its float64 twin runs in.
        probes: how many times inputs are moved to see what rounding entitles it to.
        large: whether a call is so dear that threads speed it up.
        streams: whether it can go on from a state.
        padded: a function sequence -> mask [B, T], True is real -> the subject that is given it.
        mask: the dtype in which a mask is taken.
        pieces: (call, lengths, sequences, state) -> what `call` gives piece after piece; unlike
            `joined` a function that can be converted with the module in it.
        masked_only: it cannot be called without a mask.
        packed: the lengths of documents -> the subject that is told of them.
    """

    name: str
    call: Callable[[Sequences, Any], tuple[Any, Any]]
    draw: Callable[[Setting], Sequences]
    names: tuple[str, ...]
    truth: "Subject | None" = None
    longest: int = LONGER
    traced: int = 65
    unable: Mapping[str, str] = field(default_factory=dict)
    strict: bool = True
    begin: Callable[[int], Any] = lambda _B: None
    undo: Callable[[], object] = lambda: None
    bound: "Callable[[Setting], Subject] | None" = None
    within: Within = nullcontext
    working: torch.dtype = torch.float64
    grain: float = FINE
    module: nn.Module | None = None
    plain: "Subject | None" = None
    coarse: bool = False
    twin: Callable[[], Within] = lambda: nullcontext
    probes: int = PROBES
    large: bool = False
    streams: bool = True
    padded: "Callable[[Callable[[Tensor], Tensor]], Subject]" = lambda _mask: _never()
    mask: torch.dtype | None = None
    masked_only: bool = False
    packed: "Callable[[tuple[int, ...]], Subject]" = lambda _lengths: _never()
    pieces: Callable[..., tuple[Any, Any]] = lambda *_: _never()
    widest: int = WIDEST

    def at(self, setting: Setting) -> "Subject":
        """This subject in the dtype and the mode of a setting."""
        return self if self.bound is None else self.bound(setting)

    def recorded(self, setting: Setting) -> tuple["Subject", Setting]:
        """In float64 as it stands or widened, for gradients, which the recast of a module has not.

        A module that runs in float64 only when it is recast, or not at all, is recorded in the
        user's dtype.
        """
        wide, narrow = (replace(setting, dtype=d) for d in (torch.float64, self.working))
        with suppress(Exception):
            exact = self.at(wide)
            if self.bound is None or exact.plain is not None:
                return exact.plain or exact, wide
        return self.at(narrow), narrow

    def exact(self, setting: Setting) -> tuple["Subject", Setting]:
        """Where logic is judged: in float64, or in the user's dtype if the setting says so."""
        wide = replace(setting, dtype=setting.dtype if setting.literal else torch.float64)
        return self.at(wide), wide

    def fresh(self) -> None:
        """What every call starts from: nothing left behind, random numbers from their beginning."""
        self.undo()
        seed()

    def run(self, sequences: Sequences, state: Any = None) -> tuple[Any, Any]:
        """One call on copies, from one random state, without gradients."""
        given = clone(sequences), copied(state)
        self.fresh()
        with torch.no_grad(), self.within():
            return self.call(*given)

    def leaves(self, sequences: Sequences, state: Any = None) -> Leaves:
        """What one call returns, leaf by leaf, as copies."""
        return leaves(clone(self.run(sequences, state)))

    def past(self, setting: Setting) -> Any:
        """A state that three positions left behind, another for each row."""
        before = self.draw(Setting(3, setting.B, setting.C, setting.dtype, setting.seed + 77))
        if self.strict:
            return clone((self.truth or self).run(before)[1])
        return self.joined(before, None, (3,))[1]

    def pasts(self, setting: Setting) -> list[Any]:
        """Nothing, and a past; nothing alone where a module cannot go on, which `resumes` tells."""
        if self.strict:
            return [None, self.past(setting)]
        if setting.mode == "masked" or self.masked_only:
            return [None]  # a mask is as long as the past and the sequence, which none here is
        try:
            past = self.past(setting)
        except Exception:
            return [None]
        return [None] if past is None else [None, past]

    def draws(self, setting: Setting) -> bool:
        """Whether a call uses random numbers of torch, numpy or Python."""
        given = clone(self.draw(setting))
        self.fresh()
        before = states()
        with torch.no_grad(), self.within():
            self.call(given, None)
        return states() != before

    def joined(self, sequences: Sequences, state: Any, lengths: tuple[int, ...]) -> tuple[Any, Any]:
        """Piece after piece, each from the state that the last one left."""
        sequences, state = clone(sequences), copied(state)
        state = self.begin(len(sequences[0])) if state is None else state
        parts = []
        with torch.no_grad(), self.within():
            for piece in zip(*(x.split(lengths, 1) for x in sequences), strict=True):
                self.fresh()
                y, state = self.call(tuple(x.clone() for x in piece), state)
                parts.append(y)
        return torch.cat(parts, 1), state

    def logic(self, _path: str, wanted: Tensor) -> Tensor:
        """The error allowed in float64: half of the digits, at the size of a row's largest element.

        Rounding stays far below that, and a difference of function is far above it. Integers are
        exact. It is an `Allow` of `compare`.
        """
        if not wanted.is_floating_point():
            return torch.zeros(())
        size = wanted.detach().double().abs().nan_to_num(0, 0, 0)
        trailing = tuple(range(1, size.ndim))
        size = size.amax(trailing, keepdim=True) if trailing and size.numel() else size
        return self.grain**0.5 * size

    def entitled(self, sequences: Sequences, state: Any = None) -> dict[str, Entitled]:
        """What rounding may do to each leaf of the result."""
        with torch.no_grad():
            how: dict[str, Any] = dict(within=self.twin(), probes=self.probes)
            found = entitled(self.call, (sequences, state), {}, **how)
            if not self.strict:
                how = {**how, "probes": FARTHER, "reach": FACTOR}
                far = entitled(self.call, (sequences, state), {}, **how)
                found = [near.or_farther(e) for near, e in zip(found, far, strict=True)]
        return {e.path: e for e in found}

    def choosing_alike(
        self, sequences: Sequences, lengths: tuple[int, ...]
    ) -> tuple[Leaves, dict[str, Entitled]] | None:
        """A result, in pieces or at once, and its entitlement where the twin chooses as it did.

        None where no choice may have fallen otherwise by rounding.
        """
        way = partial(self.pieces, self.call, lengths) if lengths else self.call
        dtype = next((x.dtype for x in sequences if x.is_floating_point()), self.working)
        with torch.no_grad():
            found = followed(way, (sequences, None), (self.within, self.twin()), dtype)
        return None if found is None else (found[0], {e.path: e for e in found[1]})


def all_real(x: Tensor) -> Tensor:
    """The mask of a sequence without pads."""
    return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)


def _never() -> Any:
    raise AssertionError("a law was run on a subject that said that it cannot")


def forms_of(mixer: Mixer[..., Any], names: list[str]) -> list[Subject]:
    """The forms of a mixer as subjects, each held against its loop."""
    contract = mixer.contract
    mixer.drawn(B=1, T=1, C=1)  # raises where draw ignores its seed: nothing would be rewritten
    widest = WIDEST if len(contract.own) == 1 else DEEP
    unable = {"padding": "a room takes no masks"}

    def draw(setting: Setting) -> Sequences:
        drawn = mixer.drawn(
            B=setting.B, T=setting.T, C=setting.C, seed=setting.seed, dtype=setting.dtype
        )
        named = contract.named(drawn)
        sequences = [named[name] for name in contract.sequences]
        moved = (x * setting.scale if numbers(x) else x for x in sequences)
        return tuple(_turned(x) if setting.turned else x for x in moved)

    def subject(name: str, truth: Subject | None, unable: dict[str, str]) -> Subject:
        if not contract.documents:
            unable = {**unable, "documents": "it takes no documents"}
        longest = LONG if name in QUADRATIC else LONGER
        traced = SMALL if name in STEPWISE else BLOCK + 1
        way = f"{mixer.name}.{name}"
        call = _call(mixer, name)
        found = Subject(
            way, call, draw, contract.sequences, truth, longest, traced, unable, widest=widest
        )

        def packed(lengths: tuple[int, ...]) -> Subject:
            return replace(found, call=_call(mixer, name, lengths))

        return replace(found, packed=packed)

    loop = subject("loop", None, {**unable, "agrees": "it is the definition"})
    return [loop if name == "loop" else subject(name, loop, unable) for name in names]


def _turned(x: Tensor) -> Tensor:
    """The same values, time varying fastest in memory."""
    return x.transpose(1, -1).contiguous().transpose(1, -1)


def _call(
    mixer: Mixer[..., Any], name: str, lengths: tuple[int, ...] | None = None
) -> Callable[[Sequences, Any], tuple[Any, Any]]:
    """A form as a function of sequences and state; parameters, and documents of these lengths."""
    form, contract = mixer.forms[name], mixer.contract

    def call(sequences: Sequences, state: Any) -> tuple[Any, Any]:
        told = {} if lengths is None else {"documents": ids(lengths, len(sequences[0]))}
        named = dict(zip(contract.sequences, sequences, strict=True))
        return form(**named, **mixer.parameters(*sequences), state=state, **told)

    call.__name__ = call.__qualname__ = f"{mixer.name}.{name}"
    return call


def scaled(sequences: Sequences, size: float) -> Sequences:
    """The same tokens, and numbers of another magnitude."""
    return tuple(x * size if x.is_floating_point() else x for x in sequences)


def row(nest: Any, b: int) -> Any:
    """One row of every tensor in a nest, as a batch of one."""
    return replaced(nest, lambda t: t[b : b + 1].clone())


def spliced(nest: Any, other: Any, b: int) -> Any:
    """A nest whose row b is that of `nest` and whose other rows are those of `other`."""
    theirs = iter([t for _, t in leaves(other) if isinstance(t, Tensor)])

    def splice(t: Tensor) -> Tensor:
        mixed = next(theirs).clone()
        mixed[b] = t[b]
        return mixed

    return replaced(nest, splice)
