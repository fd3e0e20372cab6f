"""What a law is applied to: anything that is called with sequences and a state.

`Subject` is what laws ask. There are two kinds: `MixerForm`, a form of a mixer of this library,
whose results are equal bit for bit where they must be equal and whose state is part of its
contract; and `ModuleSubject`, a user's module or function, which may round, and whose state is
its own affair.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..comparing.change import Change
from ..comparing.finding import Allow
from ..copies.nested import Leaves, clone, copied, leaves, replaced
from ..precision.allowance import Allowance, Within
from ..process import seed, states
from ..sizes import Setting, cuts
from .layout import Layout

Sequences = tuple[Tensor, ...]
FINE, COARSE = 2.0**-52, 2.0**-23


@dataclass(frozen=True, eq=False)
class Subject:
    """A function `call(sequences, state) -> (y, state)`, batch on axis 0 and time on axis 1.

    Attributes:
        name: what a verdict calls it, e.g. "mean.scan".
        call: the function; `state=None` starts from nothing.
        draw: a setting -> valid sequences.
        names: what the sequences are called, e.g. ("q", "k", "v").
        unable: law -> why it cannot be run on this subject.
    """

    name: str
    call: Callable[[Sequences, Any], tuple[Any, Any]]
    draw: Callable[[Setting], Sequences]
    names: tuple[str, ...]
    unable: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    # What it is. A module says otherwise where it differs.

    @property
    def module(self) -> nn.Module | None:
        """The module that is called, where it is one."""
        return None

    @property
    def owned(self) -> Iterable[tuple[str, Tensor]]:
        """Its parameters by name."""
        return () if self.module is None else self.module.named_parameters()

    @property
    def within(self) -> Within:
        """The context that a call runs in."""
        return nullcontext

    @property
    def grain(self) -> float:
        """The rounding of what it computes in: in float64 2^-52, or 2^-23 if it uses float32."""
        return FINE

    @property
    def large(self) -> bool:
        """Whether a call is so expensive that threads speed it up."""
        return False

    @property
    def lookahead(self) -> int:
        """How many later positions an output may read: 0 of what is causal."""
        return 0

    @property
    def streams(self) -> bool:
        """Whether it can continue from a state."""
        return True

    @property
    def mask(self) -> torch.dtype | None:
        """The dtype in which it takes a padding mask; None: it takes none."""
        return None

    @property
    def masked_only(self) -> bool:
        """Whether it cannot be called without a mask."""
        return False

    @property
    def bit_for_bit(self) -> bool:
        """Whether what must be equal must be equal in every bit; otherwise rounding is a note."""
        raise NotImplementedError

    @property
    def state_is_contract(self) -> bool:
        """Whether laws may look into its state, and compare it."""
        raise NotImplementedError

    @property
    def must_accept_every_call(self) -> bool:
        """Whether refusing a size or a gradient breaks a law; otherwise it is a note."""
        return self.bit_for_bit

    @property
    def is_put_back(self) -> bool:
        """Whether what a call leaves behind in it is undone before the next call."""
        return not self.state_is_contract

    # What laws ask of it.

    def at(self, _setting: Setting) -> Self:
        """This subject in the dtype and the mode of a setting."""
        return self

    def recorded(self, setting: Setting) -> tuple[Self, Setting]:
        """The subject and the setting in which gradients are judged: in float64 if it can."""
        return self, replace(setting, dtype=torch.float64)

    def exact(self, setting: Setting) -> tuple[Self, Setting]:
        """Where logic is judged: in float64, or in the user's dtype if the setting says so."""
        wide = replace(setting, dtype=setting.dtype if setting.literal else torch.float64)
        return self.at(wide), wide

    def compared(self, found: Leaves) -> Leaves:
        """Of the leaves of a result, those that laws compare: `y`, and a state of a contract."""
        return found if self.state_is_contract else found[:1]

    def extended(self, found: Leaves, _other: Leaves) -> Leaves:
        """The leaves of a result; a state that grows with T is made as long as another one."""
        return found

    def contract_states(self, setting: Setting) -> list[Any]:
        """The states whose effect laws compare: nothing, and one that is part of a contract."""
        return [None, self.past(setting)] if self.state_is_contract else [None]

    def starts(self, setting: Setting) -> list[Any]:
        """The states that a call can continue from: nothing, and a past if there is one."""
        raise NotImplementedError

    def past(self, setting: Setting) -> Any:
        """A state that three positions left behind, another for each row."""
        raise NotImplementedError

    def rewritten_rows(self, B: int) -> list[tuple[int, ...]]:
        """The rows that are rewritten at once, where a law rewrites a part of the input."""
        raise NotImplementedError

    def emptied(self, _setting: Setting) -> Any:
        """The first state of a second stream, if that is not the one of the first; else None."""
        return None

    def ended(self) -> None:
        """Called between two sequences: empties a state that the user said is kept inside."""

    @property
    def multiple(self) -> int:
        """What the lengths of pieces are a multiple of."""
        return 1

    @property
    def grid(self) -> int:
        """What all lengths that it takes are a multiple of."""
        return 1

    @property
    def other_ways(self) -> list[tuple[str, Self]]:
        """The options that may be missing where a stream raises, and the subject with each."""
        return []

    def streamed(
        self, _sequences: Sequences, _lengths: tuple[int, ...], _mask: Callable[[int, int], Tensor]
    ) -> Tensor:
        """What a stream gives where a call of positions start to stop has `_mask(start, stop)`."""
        raise AssertionError(f"{self.name} takes no mask")

    def takes_length(self, _T: int) -> bool:
        """Whether it is known to take a length in one call."""
        return True

    def is_limit(self, _setting: Setting) -> bool:
        """Whether an exception in a stream of this size is a limit of the subject, and no fault."""
        return False

    def cuts_alone(self, T: int) -> list[int]:
        """Where a sequence is cut by itself, beside cuts in rows of a larger batch."""
        return cuts(T)

    def redrawn_at(self, _setting: Setting) -> Setting | None:
        """The setting with other parameter values; None where it has no parameters to move."""
        return None

    def records_at(self, _setting: Setting) -> bool:
        """Whether gradients are judged at a setting, and not at one of another dtype alike."""
        return True

    def another_size(self, setting: Setting) -> Setting:
        """The setting of a call between two equal ones; of another size if it takes any."""
        raise NotImplementedError

    def is_rounding(self, change: Change) -> bool:
        """Whether a change may be rounding, for a subject that may round."""
        return not self.bit_for_bit and change.small

    def is_only_nan(self, change: Change) -> bool:
        """Whether only NaN and infinity reached another place, which in a module is a note."""
        return not self.bit_for_bit and change.tainted

    def gradient_noise(self) -> float:
        """The share of the largest gradient below which another one may be rounding."""
        raise NotImplementedError

    def compiled_allowance(self, setting: Setting, eager: Callable[..., Any], given: Any) -> Allow:
        """How far a compiled call may be from `eager(*given)`."""
        raise NotImplementedError

    def choosing_alike(
        self, _sequences: Sequences, _lengths: tuple[int, ...]
    ) -> tuple[Leaves, dict[str, Allowance]] | None:
        """A result and its allowances where the float64 twin makes the same discrete choices.

        In pieces of `_lengths`, or in one call. None where no choice differs by rounding.
        """
        return None

    def state_allowances(self, _sequences: Sequences, _state: Any) -> dict[str, Allowance] | None:
        """What rounding of its state at every position may do; None: it keeps no such state."""
        return None

    def tokens(self, inputs: list[Tensor]) -> list[tuple[Any, Layout]]:
        """The sequences as the call is given them, and how each lies there."""
        return [(x, Layout()) for x in inputs]

    def padded(self, _mask: Callable[[Tensor], Tensor]) -> Self:
        """The subject, given `_mask(first sequence)` [B, T], true where a position is real."""
        raise AssertionError(f"{self.name} takes no mask")

    def packed(self, _lengths: tuple[int, ...]) -> Self:
        """The subject, told that documents of these lengths are packed into each row."""
        raise AssertionError(f"{self.name} takes no documents")

    def one_document(self, length: int) -> Self:
        """The subject as it is called with one document of this length alone."""
        raise NotImplementedError

    def seen_again_at(self, _setting: Setting) -> Setting | None:
        """The setting at which an exception or NaN must show again to count; None: it counts."""
        return None

    def nothing_compared(self, _longest: int) -> str:
        """Why a law that made no comparison up to this length was not run."""
        return "there was nothing to compare"

    def size(self, setting: Setting) -> str:
        """The size of a setting, for a sentence."""
        return setting.describe(channels=self.state_is_contract)

    # Calls.

    def begin(self, _B: int) -> Any:
        """The state that a stream of B rows starts from."""
        return None

    def undo(self) -> None:
        """Put back what the last call left behind in the subject."""

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
        return half_of_the_digits(self.grain, wanted)

    def allowances(self, sequences: Sequences, state: Any = None) -> dict[str, Allowance]:
        """What rounding may do to each leaf of the result."""
        raise NotImplementedError


def half_of_the_digits(grain: float, wanted: Tensor) -> Tensor:
    """The root of a unit of rounding, times the largest element of each row; integers exactly."""
    if not wanted.is_floating_point():
        return torch.zeros(())
    size = wanted.detach().double().abs().nan_to_num(0, 0, 0)
    trailing = tuple(range(1, size.ndim))
    size = size.amax(trailing, keepdim=True) if trailing and size.numel() else size
    return grain**0.5 * size


def all_real(x: Tensor) -> Tensor:
    """The mask of a sequence without pads."""
    return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)


def scaled(sequences: Sequences, size: float) -> Sequences:
    """The same tokens, and numbers of another magnitude."""
    return tuple(x * size if x.is_floating_point() else x for x in sequences)


def row(nested: Any, b: int) -> Any:
    """One row of every tensor in a nested value, as a batch of one."""
    return replaced(nested, lambda t: t[b : b + 1].clone())


def spliced(nested: Any, other: Any, b: int) -> Any:
    """A nested value whose row b is that of `nested` and whose other rows are those of `other`."""
    theirs = iter([t for _, t in leaves(other) if isinstance(t, Tensor)])

    def splice(t: Tensor) -> Tensor:
        mixed = next(theirs).clone()
        mixed[b] = t[b]
        return mixed

    return replaced(nested, splice)
