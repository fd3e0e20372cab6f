"""A form of a mixer as a subject: exact to the bit, with a state that is part of its contract."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor

from ...card import Mixer
from ...state import Parts
from ..comparing.finding import Allow, within
from ..copies.nested import Leaves, clone, in_bytes, numbers
from ..precision.allowance import Allowance, allowances
from ..precision.rounded_state import rounded_state
from ..sizes import BLOCK, SMALL, Setting
from .packing import ids
from .subject import Sequences, Subject

QUADRATIC = ("loop", "matrix", "softmax")  # forms whose time or memory grows with T^2
STEPWISE = ("loop", "step")  # forms whose graph grows with T
LONG, LONGER = 1030, 5000
WIDEST, DEEP = 192, 40  # channels; the same where C^3 numbers are kept for each row

Way = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class MixerForm(Subject):
    """A form of a mixer.

    Attributes:
        truth: the definition that it must agree with; None: there is none, or this is it.
        longest: the largest T that it is run at.
        traced: the largest T that it is compiled at.
        widest: the largest C: enough elements that kernels split them over threads.
        takes_documents: whether `call` takes `lengths=`, those of the documents in each row.
        draw_parameters: a setting -> the parameters by name, which `call` then takes as
            `parameters=`; None: it has none.
        parameters: those of the setting that the form is at. They are never cut in time, never
            rewritten as a part of the input, and shared by all rows.
        parts: of the state; None: nothing is known of them.
        allowed: what rounding may do to this form, by the bytes that it was given. All forms of
            a mixer ask their one definition about the same inputs.
    """

    truth: "MixerForm | None" = None
    longest: int = LONGER
    traced: int = 65
    widest: int = WIDEST
    takes_documents: bool = False
    draw_parameters: Callable[[Setting], dict[str, Any]] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    parts: Parts | None = None
    allowed: dict[Any, dict[str, Allowance]] = field(default_factory=dict, repr=False)

    @property
    def bit_for_bit(self) -> bool:
        """It is."""
        return True

    @property
    def state_is_contract(self) -> bool:
        """It is."""
        return True

    @property
    def owned(self) -> Iterable[tuple[str, Tensor]]:
        """The parameters that are tensors."""
        return [(name, p) for name, p in self.parameters.items() if isinstance(p, Tensor)]

    def at(self, setting: Setting) -> Self:
        """The form, and its definition, with the parameters of a setting."""
        if self.draw_parameters is None:
            return self
        return self.given(self.draw_parameters(setting))

    def given(self, parameters: Mapping[str, Any]) -> Self:
        """The form, and its definition, with these parameters."""
        truth = None if self.truth is None else self.truth.given(parameters)
        call: Callable[..., Any] = self.call
        call = partial(call, parameters=parameters)
        return replace(self, call=call, parameters=parameters, truth=truth)

    def recorded(self, setting: Setting) -> tuple[Self, Setting]:
        """In float64, with parameters that take gradients."""
        exact, wide = self.exact(replace(setting, literal=False))
        for _, p in exact.owned:
            p.requires_grad_(p.is_floating_point())
        return exact, wide

    def extended(self, found: Leaves, other: Leaves) -> Leaves:
        """By zeros at its end, as its contract says."""
        if self.parts is None or not self.parts.grows:
            return found
        state, longer = ({p.removeprefix("state."): t for p, t in leaves[1:]}
                         for leaves in (found, other))  # fmt: skip
        state = self.parts.extended(state, longer)
        return [found[0], *((path, state[path.removeprefix("state.")]) for path, _ in found[1:])]

    def past(self, setting: Setting) -> Any:
        """What the definition leaves behind after three positions."""
        before = self.draw(Setting(3, setting.B, setting.C, setting.dtype, setting.seed + 77))
        return clone((self.truth or self).run(before)[1])

    def starts(self, setting: Setting) -> list[Any]:
        """Nothing, and a past."""
        return [None, self.past(setting)]

    def rewritten_rows(self, B: int) -> list[tuple[int, ...]]:
        """One row at a time."""
        return [(b,) for b in range(B)]

    def another_size(self, setting: Setting) -> Setting:
        """Two positions and one row more: what is kept for one size must not enter another."""
        return Setting(setting.T + 2, setting.B + 1, setting.C, setting.dtype, 5)

    def gradient_noise(self) -> float:
        """A gradient that must be zero is zero."""
        return 0.0

    def compiled_allowance(self, _setting: Setting, eager: Callable[..., Any], given: Any) -> Allow:
        """What rounding of the inputs explains."""
        return within({e.path.removeprefix("y."): e for e in allowances(eager, given, {})})

    def packed(self, lengths: tuple[int, ...]) -> Self:
        """The form, called with documents of these lengths."""
        if not self.takes_documents:
            raise AssertionError(f"{self.name} takes no documents")
        call: Callable[..., Any] = self.call
        return replace(self, call=partial(call, lengths=lengths))

    def one_document(self, _length: int) -> Self:
        """The form as it is called without documents."""
        return self

    def allowances(
        self,
        sequences: Sequences,
        other: Any = None,
        of: Callable[["MixerForm"], Way] | None = None,
    ) -> dict[str, Allowance]:
        """What rounding may do to each leaf of what the definition gives.

        `of`: a form -> a function of the sequences and of `other`; None: the form itself, and
        `other` is a state. Beyond LONG positions, where a loop takes too long, the form is judged
        by its own twin. float64 in means float64 throughout, so torch's default dtype stays.
        """
        short = sequences[0].shape[1] <= LONG
        judge = self.truth if self.truth is not None and short else self
        given = of, in_bytes((sequences, other, judge.parameters))
        if given not in judge.allowed:
            way: Way = judge.call if of is None else of(judge)
            with torch.no_grad():
                found = allowances(way, (sequences, other), {}, default=False)
            judge.allowed[given] = {e.path: e for e in found}
        return judge.allowed[given]

    def state_allowances(self, sequences: Sequences, state: Any) -> dict[str, Allowance] | None:
        """What rounding of the state at every position does to the definition."""
        with torch.no_grad():
            return rounded_state((self.truth or self).call, sequences, state)


def mixer_forms(mixer: Mixer[..., Any], names: list[str]) -> list[MixerForm]:
    """The forms of a mixer as subjects, each compared with its loop."""
    contract = mixer.contract
    mixer.drawn(B=1, T=1, C=1)  # raises where draw ignores its seed: nothing would be rewritten

    def draw(setting: Setting) -> Sequences:
        drawn = mixer.drawn(
            B=setting.B, T=setting.T, C=setting.C, seed=setting.seed, dtype=setting.dtype
        )
        named = contract.named(drawn)
        sequences = [named[name] for name in contract.sequences]
        sized = (x * setting.scale if numbers(x) else x for x in sequences)
        return tuple(_turned(x) if setting.turned else x for x in sized)

    def subject(name: str, truth: MixerForm | None, unable: dict[str, str]) -> MixerForm:
        packs = "documents" in inspect.signature(mixer.forms[name]).parameters
        if not packs:
            unable = {**unable, "documents": "this form takes no documents"}
        return MixerForm(
            f"{mixer.name}.{name}",
            _call(mixer, name),
            draw,
            contract.sequences,
            unable=unable,
            truth=truth,
            longest=LONG if name in QUADRATIC else LONGER,
            traced=SMALL if name in STEPWISE else BLOCK + 1,
            widest=WIDEST if len(contract.own) == 1 else DEEP,
            takes_documents=packs,
            draw_parameters=partial(_parameters, mixer) if contract.parameters else None,
            parts=contract.state,
        )

    unable = {"padding": "a mixer takes no mask"}
    loop = subject("loop", None, {**unable, "agrees": "it is the definition"})
    return [loop if name == "loop" else subject(name, loop, unable) for name in names]


def _turned(x: Tensor) -> Tensor:
    """The same values, time varying fastest in memory."""
    return x.transpose(1, -1).contiguous().transpose(1, -1)


def _parameters(mixer: Mixer[..., Any], setting: Setting) -> dict[str, Any]:
    """The parameters of a setting, in its dtype; a flag is true where T is even.

    Where they are re-drawn they come from another seed, and zeros are not left zero if the
    definition takes other numbers: a gate of zeros hides what stands behind it.
    """
    contract, again = mixer.contract, setting.mode == "redrawn"
    size = dict.fromkeys(contract.own, setting.C)
    given = mixer.draw(B=1, T=1, **size, seed=setting.seed + again, dtype=setting.dtype)
    named = contract.named(clone(given))
    sequences = {name: named.pop(name) for name in contract.sequences}
    flags = [a.name for a in contract.arguments.values() if a.flag and a.name not in named]
    found = {**named, **dict.fromkeys(flags, setting.T % 2 == 0)}
    for name, value in named.items() if again else ():
        if numbers(value) and not value.any():
            rng = torch.Generator().manual_seed(1)
            fresh = torch.rand(value.shape, generator=rng, dtype=torch.float64)
            other = {**found, name: fresh.to(value.dtype)}
            with suppress(ValueError):  # its contract wants zeros, or negative numbers
                mixer.loop(**sequences, **other)
                found = other
    return found


def _call(mixer: Mixer[..., Any], name: str) -> Callable[..., tuple[Any, Any]]:
    """A form as a function of sequences and state; parameters, and documents of these lengths."""
    form, contract = mixer.forms[name], mixer.contract

    def call(
        sequences: Sequences,
        state: Any,
        *,
        parameters: Mapping[str, Any] | None = None,
        lengths: tuple[int, ...] | None = None,
    ) -> tuple[Any, Any]:
        given = {} if lengths is None else {"documents": ids(lengths, len(sequences[0]))}
        named = dict(zip(contract.sequences, sequences, strict=True))
        return form(**named, **(parameters or {}), state=state, **given)

    call.__name__ = call.__qualname__ = f"{mixer.name}.{name}"
    return call
