"""A form of a mixer as a subject: exact to the bit, with a state that is part of its contract."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from ...card import Mixer
from ..comparing.finding import Allow, within
from ..copies.nested import clone, numbers
from ..precision.allowance import Allowance, allowances
from ..sizes import BLOCK, SMALL, Setting
from .packing import ids
from .subject import Sequences, Subject

QUADRATIC = ("loop", "matrix", "softmax")  # forms whose time or memory grows with T^2
STEPWISE = ("loop", "step")  # forms whose graph grows with T
LONG, LONGER = 1030, 5000
WIDEST, DEEP = 192, 40  # channels; the same where C^3 numbers are kept for each row


@dataclass(frozen=True, eq=False)
class MixerForm(Subject):
    """A form of a mixer.

    Attributes:
        truth: the definition that it must agree with; None: there is none, or this is it.
        longest: the largest T that it is run at.
        traced: the largest T that it is compiled at.
        widest: the largest C: enough elements that kernels split them over threads.
        with_documents: the lengths of documents -> `call` for packed rows; None: it takes none.
    """

    truth: "MixerForm | None" = None
    longest: int = LONGER
    traced: int = 65
    widest: int = WIDEST
    with_documents: Callable[[tuple[int, ...]], Any] | None = None

    @property
    def bit_for_bit(self) -> bool:
        """It is."""
        return True

    @property
    def state_is_contract(self) -> bool:
        """It is."""
        return True

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
        if self.with_documents is None:
            raise AssertionError(f"{self.name} takes no documents")
        return replace(self, call=self.with_documents(lengths))

    def one_document(self, _length: int) -> Self:
        """The form as it is called without documents."""
        return self

    def allowances(self, sequences: Sequences, state: Any = None) -> dict[str, Allowance]:
        """What rounding may do to each leaf of the result."""
        with torch.no_grad():
            return {e.path: e for e in allowances(self.call, (sequences, state), {})}


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
        if not contract.documents:
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
            with_documents=lambda lengths: _call(mixer, name, lengths),
        )

    unable = {"padding": "a mixer takes no mask"}
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
        given = {} if lengths is None else {"documents": ids(lengths, len(sequences[0]))}
        named = dict(zip(contract.sequences, sequences, strict=True))
        return form(**named, **mixer.parameters(*sequences), state=state, **given)

    call.__name__ = call.__qualname__ = f"{mixer.name}.{name}"
    return call
