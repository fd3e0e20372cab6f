"""A user's module or function as a subject: it may round, and its state is its own affair."""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from math import gcd, lcm
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from ...streaming import FIRST
from ...streaming.inside import Kept
from ..comparing.change import UNITS
from ..comparing.finding import Allow
from ..copies.nested import Leaves, convert
from ..copies.restore import Snapshot
from ..precision.allowance import FACTOR, PROBES, Allowance, Within, allowances
from ..precision.choices import followed
from ..sizes import LOOKED_AT, Setting, cuts
from .example import Example
from .laid import laid
from .layout import Layout
from .subject import COARSE, FINE, Sequences, Subject, half_of_the_digits

if TYPE_CHECKING:
    from .user_module import UserModule

FARTHER = 4  # probes that go as far as is allowed: a discrete choice may change there


@dataclass(frozen=True, eq=False)
class ModuleSubject(Subject):
    """A module in one dtype and one mode: a copy of the user's, or the user's own if need be.

    Attributes:
        user: the user's module, from which this one was made.
        target: what is called.
        example: what it is called with, apart from the sequences.
        snapshot: puts back what a call left behind.
        within: the context that a call runs in.
        grain: the rounding of what it computes in.
        plain: the same without a recast, for gradients; None: it runs in float64 only when recast.
        coarse: in float64, without help, its result has the digits of float32.
        state_dtype: the dtype to which the first state of a stream is cast; None: it is not.
    """

    user: "UserModule"
    target: Any
    example: Example
    snapshot: Snapshot
    within: Within = nullcontext
    grain: float = FINE
    plain: "ModuleSubject | None" = None
    coarse: bool = False
    state_dtype: torch.dtype | None = None

    @property
    def module(self) -> nn.Module | None:
        """The module, unless a function is called."""
        return self.target if isinstance(self.target, nn.Module) else None

    @property
    def large(self) -> bool:
        """Whether it has many parameters."""
        return self.user.large

    @property
    def lookahead(self) -> int:
        """As many as the user allows."""
        return self.user.lookahead

    @property
    def streams(self) -> bool:
        """Whether the user said how its state is kept between calls, and outputs are not late."""
        return self.user.example.carry is not None and not self.lookahead

    @property
    def mask(self) -> torch.dtype | None:
        """The dtype of its mask; None: the user named none."""
        return None if self.user.padding is None else self.user.mask

    @property
    def masked_only(self) -> bool:
        """Whether its mask has no default."""
        return self.user.required(self.user.padding)

    @property
    def bit_for_bit(self) -> bool:
        """It may round, as FFTs do."""
        return False

    @property
    def state_is_contract(self) -> bool:
        """What its cache holds is its own affair."""
        return False

    def at(self, setting: Setting) -> "ModuleSubject":
        """The copy in that dtype and mode."""
        return self.user.at(setting)

    def recorded(self, setting: Setting) -> tuple["ModuleSubject", Setting]:
        """In float64 as it is or widened, since a recast passes no gradient.

        A module that runs in float64 only when it is recast, or not at all, is judged in the
        user's dtype.
        """
        wide, narrow = (replace(setting, dtype=d) for d in (torch.float64, self.user.dtype))
        with suppress(Exception):
            exact = self.at(wide)
            if exact.plain is not None:
                return exact.plain, wide
        return self.at(narrow), narrow

    def past(self, setting: Setting) -> Any:
        """What three positions left behind, in a stream."""
        n = 3 + -3 % lcm(self.multiple, self.grid)
        before = self.draw(Setting(n, setting.B, setting.C, setting.dtype, setting.seed + 77))
        return self.joined(before, None, (n,))[1]

    def starts(self, setting: Setting) -> list[Any]:
        """Nothing, and a past; nothing alone where it cannot continue, which `resumes` reports."""
        if self.lookahead:
            return [None]  # what a past is where outputs come late is not defined
        if setting.mode == "masked" or self.masked_only:
            return [None]  # a mask is as long as the past and the sequence, which none here is
        if setting.T % self.multiple:
            return [None]
        try:
            past = self.past(setting)
        except Exception:
            return [None]
        return [None] if past is None else [None, past]

    def rewritten_rows(self, B: int) -> list[tuple[int, ...]]:
        """All rows at once."""
        return [tuple(range(B))]

    def takes_length(self, T: int) -> bool:
        """Whether it took this length."""
        return T in self.user.lengths

    def is_limit(self, setting: Setting) -> bool:
        """Beyond the length of the example: a cache may be as long as the user needs it."""
        return self.user.example.size[1] < setting.T

    def cuts_alone(self, T: int) -> list[int]:
        """At the ends and in the middle; around borders of blocks where rows do not look at all."""
        whole = T <= LOOKED_AT and not self.large
        return sorted({t for t in (1, T // 2, T - 1) if 0 < t < T}) if whole else cuts(T)

    def redrawn_at(self, setting: Setting) -> Setting | None:
        """In eval mode, of a copy."""
        free = self.user.owned and not self.large and setting.mode in ("", "train")
        return replace(setting, mode="redrawn") if free else None

    def records_at(self, setting: Setting) -> bool:
        """In the user's dtype: they are recorded in float64 whatever the dtype is."""
        return setting.dtype == self.user.dtype

    def another_size(self, setting: Setting) -> Setting:
        """The same size with other values: it need not take another size."""
        return setting.again(5)

    def gradient_noise(self) -> float:
        """As many units as for every other change."""
        return UNITS * self.grain

    def compiled_allowance(
        self, setting: Setting, _eager: Callable[..., Any], _given: Any
    ) -> Allow:
        """Half of the digits that it has as it is: no mode is compiled."""
        grain = COARSE if self.coarse else torch.finfo(setting.dtype).eps
        whole = lambda wanted: half_of_the_digits(grain, wanted[None])[0]
        part = lambda wanted: half_of_the_digits(grain, wanted)
        return lambda path, wanted: (whole if path.startswith("gradient") else part)(wanted)

    def choosing_alike(
        self, sequences: Sequences, lengths: tuple[int, ...]
    ) -> tuple[Leaves, dict[str, Allowance]] | None:
        """A result and its allowances where the float64 twin makes the same discrete choices."""
        self.undo()
        call, sequences = self._settled(sequences)
        way = partial(in_pieces, call, lengths) if lengths else call
        dtype = next((x.dtype for x in sequences if x.is_floating_point()), self.user.dtype)
        with torch.no_grad():
            found = followed(way, (sequences, None), (self.within, self.user.twin()), dtype)
        return None if found is None else (found[0], {e.path: e for e in found[1]})

    def padded(self, mask: Callable[[Tensor], Tensor]) -> Self:
        """The module with a mask of real positions."""
        return self._called_with(self.user.with_mask(self.example, mask))

    def tokens(self, inputs: list[Tensor]) -> list[tuple[Any, Layout]]:
        """The sequences as the call is given them."""
        return self.example.tokens(tuple(inputs))

    def _settled(self, sequences: Sequences) -> tuple[Callable[..., Any], Sequences]:
        """The call with what goes along with these rows in it, so that rounding moves it too."""
        example, sequences = self.example.settled(sequences)
        return partial(invoked, self.target, example), sequences

    def packed(self, lengths: tuple[int, ...]) -> Self:
        """The module with documents of these lengths, from no past."""
        whole = replace(self.example, carry=None)
        return self._called_with(self.user.with_documents(whole, lengths))

    def one_document(self, length: int) -> Self:
        """The module, told of one document."""
        return self.packed((length,))

    def _called_with(self, example: Example) -> Self:
        call = partial(invoked, self.target, example)
        return replace(self, call=call, example=example, plain=None)

    def picked(self, setting: Setting) -> tuple[Any, Any]:
        """The whole result of one call, and the sequence that is picked from it."""
        seen: list[Any] = []

        def pick(result: Any) -> Any:
            seen[:] = [result, self.example.pick(result)]
            return seen[1]

        watching = replace(self.example, pick=pick)
        with torch.no_grad(), self.within():
            self.fresh()
            invoked(self.target, watching, self.draw(setting), None)
        return seen[0], seen[1]

    def seen_again_at(self, setting: Setting) -> Setting | None:
        """In the dtype that the user runs it in.

        The least number of float64 that masks an attention score overflows where a part of a
        module computes in float32. At ordinary magnitudes every other dtype speaks for itself.
        """
        narrow = setting.dtype != torch.float64 and setting.scale == 1
        if self.user.dtype == torch.float64 or narrow:
            return None
        return replace(setting, dtype=self.user.dtype, literal=True)

    def nothing_compared(self, longest: int) -> str:
        """With the length, which the user can change."""
        return f"there was nothing to compare at T={longest}; give a longer example"

    def begin(self, B: int) -> Any:
        """The first state of a stream, in the dtype that it continues from."""
        carry = self.user.example.carry
        if carry is None:
            return None
        self.undo()
        return self._cast(carry.first(self.target, B))

    def _cast(self, first: Any) -> Any:
        """A first state in the dtype that a stream continues from."""
        if self.state_dtype is None:
            return first
        kept = isinstance(first, Kept)
        return first.cast(self.state_dtype) if kept else convert(first, self.state_dtype)

    def emptied(self, setting: Setting) -> Any:
        """The first state of a second stream, after another one."""
        carry = self.user.example.carry
        if carry is None or carry.again is None:
            return None
        return self._cast(carry.again(self.target, self.past(setting), setting.B))

    def ended(self) -> None:
        """A state inside the module is not kept; that it can be emptied is for `resumes` to say."""
        carry = self.user.example.carry
        if carry is not None and carry.inside:
            self.undo()

    @property
    def multiple(self) -> int:
        """What the pieces of a stream are a multiple of, as the user said."""
        carry = self.user.example.carry
        return 1 if carry is None else carry.multiple

    @property
    def grid(self) -> int:
        """What all lengths that it takes are a multiple of, unless positions can go one by one."""
        carry = self.user.example.carry
        free = len(self.user.lengths) < 2 or (carry is not None and carry.any_length)
        return 1 if free else gcd(*self.user.lengths)

    @property
    def other_ways(self) -> list[tuple[str, Self]]:
        """The options that may be missing where a stream raises, and the subject with each."""
        carry = self.user.example.carry
        found = []
        for words, other in () if carry is None else carry.others:
            user = replace(self.user, example=replace(self.user.example, carry=other))
            example = replace(self.example, carry=other)
            call = partial(invoked, self.target, example)
            found.append((words, replace(self, user=user, example=example, call=call)))
        return found

    def streamed(
        self, _sequences: Sequences, _lengths: tuple[int, ...], _mask: Callable[[int, int], Tensor]
    ) -> Tensor:
        """What a stream gives where a call of positions start to stop has `_mask(start, stop)`."""
        sequences, lengths, mask = _sequences, _lengths, _mask
        state, stop, parts = self.begin(len(sequences[0])), 0, []
        with torch.no_grad(), self.within():
            for piece in zip(*(x.split(lengths, 1) for x in sequences), strict=True):
                start, stop = stop, stop + piece[0].shape[1]
                masked = self.padded(partial(_moved, mask(start, stop)))
                self.fresh()
                y, state = masked.call(tuple(x.clone() for x in piece), state)
                parts.append(y)
        return torch.cat(parts, 1)

    def undo(self) -> None:
        """Put the module back as it was before the call."""
        self.snapshot.restore()

    def allowances(self, sequences: Sequences, state: Any = None) -> dict[str, Allowance]:
        """What rounding may do to each leaf, also where it changes a discrete choice."""
        self.undo()
        call, sequences = self._settled(sequences)
        given = call, (sequences, state), dict[str, Any]()
        with torch.no_grad():
            twin = self.user.twin()
            near = allowances(*given, within=twin, probes=2 if self.large else PROBES)
            far = allowances(*given, within=twin, probes=FARTHER, reach=FACTOR)
        return {a.path: a.or_farther(b) for a, b in zip(near, far, strict=True)}


def _moved(mask: Tensor, like: Tensor) -> Tensor:
    """The mask on the device of a sequence."""
    return mask.to(like.device)


def invoked(target: Any, example: Example, sequences: Sequences, state: Any) -> tuple[Any, Any]:
    """One call: the arguments filled in, the state handed over, the sequence picked.

    Without a state it is called as by someone who does not stream: that may be another path.
    """
    if example.carry is None or state is None:
        args, kwargs = example.filled(sequences)
        return example.read(target(*args, **kwargs)), None
    past = None if state is FIRST else state
    y, state = example.carry.call(laid(target, example, sequences), past)
    return y, state


def in_pieces(
    call: Any, lengths: tuple[int, ...], sequences: Sequences, state: Any
) -> tuple[Any, Any]:
    """What calls of `invoked` give piece after piece, from nothing.

    Unlike `Subject.joined` it is a function that can be converted with the module in it.
    """
    target, example = call.args
    if state is None and example.carry is not None:
        state = example.carry.first(target, len(sequences[0]))
    parts = []
    for piece in zip(*(x.split(lengths, 1) for x in sequences), strict=True):
        y, state = call(tuple(x.clone() for x in piece), state)
        parts.append(y)
    return torch.cat(parts, 1), state
