"""One call of a mixer on a rank's piece of a sequence."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..algebra import firsts
from ..algebra.segments import kept
from ..contract import Contract
from ..errors import NumberError, TrilbyError
from ..sharding import slots as kept_slots
from .agreement import agree, description
from .borders import borders, without_documents
from .chain import Cut, chained, cut
from .exchange import Route, exchange, leave
from .faults import agreed
from .ranks import Ranks, Shape

Segment = tuple[Tensor, ...]
"""What the positions of a segment do to a state: how much of it they keep, and what they add."""


class Piece:
    """One call of a mixer on this rank's piece of a sequence.

    Args:
        where: the call as the user knows it, e.g. "decay.shard".
        contract: of the mixer.
        given: its arguments in order; those with an axis T are pieces.
        state: of an earlier call, the same on every rank; None is none.
        documents: [B, T] ids of this piece, or None.
        group: the ranks; see `Ranks`.
        slots: how many positions the state holds at most that comes back, where it grows with T;
            None is what `trilby.sharded` says.

    Attributes:
        first: whether nothing lies before this piece, so that the state enters here.
        held: the tensors of the state that the sequence starts from.
        new: [B, T] bool, where documents begin, the first position included; None without ids.
        before: what lies before this piece.
        lengths: T of every rank.
        ties: inputs of every exchange, of which the first wants a gradient if any rank does.

    Raises:
        As a call of the mixer; and on every rank, if one of them cannot make the call or makes
        another one.
    """

    def __init__(
        self, where: str, contract: Contract, given: tuple[Any, ...], state: Any,
        documents: Tensor | None, group: Any, slots: int | None = None,
    ) -> None:  # fmt: skip
        self.ranks, self.contract = Ranks(where, group), contract
        self.slots = kept_slots() if slots is None else slots
        try:
            self._check(where)
            held, new, size = contract.start(where, given, state, documents)
        except TrilbyError as error:
            self._excuse(where, given, error)
            raise
        leaves = contract.state.leaves(held)
        assert leaves is not None
        self.held, self.new = tuple(leaves), new
        self.given, self.documents, self._size = given, documents, size
        self._device = leaves[0].device
        self.ties: list[Tensor] = []
        self._nodes: list[Tensor] = []
        self.lengths = [size["T"]]
        self.before = without_documents(size["B"], 0, self._device)
        if self.ranks.size > 1:
            self._meet(where, given, state, documents)
            agreed(self.ranks.failing)
        self.first = not any(self.lengths[: self.ranks.rank])

    @property
    def firsts(self) -> Tensor | None:
        """[B, T], where the document of each position began, or 0; None without ids."""
        return None if self.new is None else firsts(self.new)

    @property
    def kept(self) -> Tensor:
        """[B] bool: whether the document that this piece begins with lasts to its end."""
        return kept(self.new, self.before.fresh)

    @property
    def nothing(self) -> list[Tensor]:
        """The tensors of an empty state."""
        return [torch.zeros_like(x) for x in self.held]

    def _check(self, where: str) -> None:
        if self.slots is not None and (self.slots < 0 or self.slots != int(self.slots)):
            raise NumberError(
                f"{where}: slots is {self.slots!r}, expected a whole number of positions, 0 or more"
            )

    def _excuse(self, where: str, given: tuple[Any, ...], error: TrilbyError) -> None:
        """Tell the others that this rank cannot make the call."""
        device = next((x.device for x in given if isinstance(x, Tensor)), torch.device("cpu"))
        if self.ranks.size > 1:
            own = {"T": 0, "trains": False, "fault": str(error)[:500]}
            agree(where, self.ranks, {}, own, device)

    def _meet(
        self, where: str, given: tuple[Any, ...], state: Any, documents: Tensor | None
    ) -> None:
        """Agree with the other ranks, and find out what lies before this piece."""
        packed, B = documents is not None, len(self.before.fresh)
        tensors = [x for x in (*given, *self.held) if isinstance(x, Tensor) and x.requires_grad]
        said = description(self.contract, given, state, packed)
        said["slots"] = repr(self.slots)
        own = {"T": self.lengths[0], "fault": ""}
        own["trains"] = bool(tensors) and torch.is_grad_enabled()
        self.lengths, trains = agree(where, self.ranks, said, own, self._device)
        self.ties = [torch.zeros(0, device=self._device, requires_grad=trains), *tensors]
        if documents is None or self.new is None:
            self.before = without_documents(B, sum(self.lengths[: self.ranks.rank]), self._device)
            return
        self.before = borders(where, self.ranks, documents, self.new, self.lengths)
        first = self.before.fresh[:, None][:, : self.new.shape[1]]
        self.new = torch.cat([first, self.new[:, 1:]], 1)

    def entering(
        self,
        join: Callable[[Segment, Segment], Segment],
        held: Sequence[Tensor],
        segment: Callable[[], Segment],
    ) -> tuple[Tensor, ...]:
        """The tensors of the state at the beginning of this piece.

        The ranks join what their pieces do to a state: log2 steps and one more, however many there
        are. The last piece is not asked, as no piece is behind it.

        Args:
            join: `join(earlier, later)`, associative: what two neighbouring segments do. The first
                tensor of a segment is what it keeps, the others are what a state would be if
                nothing had been before.
            held: the state at the beginning of the sequence, as these others.
            segment: makes that of this piece; a document that begins in it keeps nothing.

        Returns:
            As held; zeros in rows where the piece begins with a new document.
        """
        rank, others = self.ranks.rank, self.ranks.size - 1  # the last one takes no part
        held = tuple(held)
        done: Segment = ()
        if not others:
            return held
        if rank < others:
            done = segment()
            done = done if rank else join((torch.zeros_like(done[0]), *held), done)
        far = 1
        while far < others and rank < others:
            came, done = self._exchanged(far, others, done, _shapes(done))
            done = join(came, done) if rank >= far else done
            far *= 2
        came, _ = self._exchanged(1, others + 1, done[1:], _shapes(held))
        return tuple(self._blanked(x, self.before.fresh) for x in (came if rank else held))

    def resumed(
        self, local: Callable[..., tuple[Tensor, Any]], before: Callable[[], Any]
    ) -> tuple[Tensor, Any]:
        """y of this piece and the state after the last one, of a mixer that reads a state.

        Args:
            local: `local(given, state, documents)`, the plain call.
            before: `before()`, the state at the beginning of this piece, by a prefix over the
                ranks. Where that takes less time, states go from rank to rank; see `chain.py`.
        """
        parts, contract = self.contract.state, self.contract
        blocks = self._blocks() if self.ranks.size > 1 else None
        if blocks is None or len(blocks.bounds) == 1:
            return self.leaving(*local(self.given, before(), self.documents))

        arguments = zip(self.given, contract.arguments.values(), strict=True)
        given = [blocks.parts(x, argument.axes or ()) for x, argument in arguments]
        documents = blocks.parts(self.documents, ("B", "T"))
        fresh = blocks.parts(self.before.fresh, ("B",))

        def call(block: int, came: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
            state = [self._blanked(x, fresh[block]) for x in came] if self.ranks.rank else came
            paths = (part.path for part in parts)
            filled = parts.filled(dict(zip(paths, state, strict=True)))
            y, after = local(tuple(x[block] for x in given), filled, documents[block])
            return y, parts.leaves(after) or []

        y, after = chained(blocks, contract, self.held, self._passed, call)
        paths = (part.path for part in parts)
        return self.leaving(y, parts.filled(dict(zip(paths, after, strict=True))))

    def _blocks(self) -> Cut:
        """The blocks in which states go from rank to rank."""
        letter = "H" if "H" in self._size else "C"
        found = [self._size[letter]]
        for x, argument in zip(self.given, self.contract.arguments.values(), strict=True):
            if isinstance(x, Tensor) and letter in (argument.axes or ()):
                found.append(x.shape[(argument.axes or ()).index(letter)])
        return cut(self.contract.name, self._size, self.lengths, min(found))

    def halo(
        self, tensors: Sequence[Tensor], n: int | None = None, past: Sequence[Tensor] = ()
    ) -> list[Tensor]:
        """The last positions before this piece, of as many ranks as that takes.

        Args:
            tensors: [B, T, ...] each, sequences of this piece.
            n: how many positions; None is all that there are.
            past: [B, P, ...] each, what lies before the first piece.

        Returns:
            [B, m, ...] each; m is n, or fewer where there are no more.
        """
        rank, lengths = self.ranks.rank, list(self.lengths)
        if past and not rank:
            tensors = [torch.cat(pair, 1) for pair in zip(past, tensors, strict=True)]
        lengths[0] += past[0].shape[1] if past else 0
        most = sum(lengths) if n is None else n
        found = [[] if rank else [x[:, max(0, x.shape[1] - most) :] for x in past]]
        for far in range(1, self.ranks.size):
            shares = [taken(lengths, r, far, most) for r in range(self.ranks.size)]
            if not any(shares):
                continue
            given = shares[rank + far] if rank + far < self.ranks.size else 0
            sent = [x[:, x.shape[1] - given :] for x in tensors]
            shapes = [((len(x), shares[rank], *x.shape[2:]), x.dtype) for x in tensors]
            came, _ = self._exchanged(far, self.ranks.size, sent, shapes)
            found.insert(0, list(came))
        found = [one for one in found if one] or [[x[:, :0] for x in tensors]]
        return [torch.cat(parts, 1) for parts in zip(*found, strict=True)]

    def leaving(self, y: Tensor, state: Any, slots: int | None = None) -> tuple[Tensor, Any]:
        """y of this piece, and the state after the last piece on every rank.

        Args:
            y: of this piece.
            state: after this piece.
            slots: how many positions a state that grows holds at most after the last piece.
        """
        parts = self.contract.state
        leaves = parts.leaves(state)
        assert leaves is not None
        if self.ranks.size == 1:
            return y, state
        shapes = _shapes(leaves)
        for i, (_, axes, _) in enumerate(parts):
            if parts.grows in axes:
                at, (sizes, dtype) = axes.index(parts.grows), shapes[i]
                every = self.held[i].shape[at] + sum(self.lengths)
                every = every if slots is None else min(every, slots)
                shapes[i] = ((*sizes[:at], every, *sizes[at + 1 :]), dtype)
        ties = [self.ties[0], *self._nodes]
        y, after = leave(self.ranks, y, leaves, shapes, self.held, ties)
        return y, parts.filled(dict(zip((p.path for p in parts), after, strict=True)))

    def _exchanged(
        self, far: int, ranks: int, sent: Sequence[Tensor], shapes: Sequence[Shape]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Among the first `ranks` ranks each sends to the one that is `far` behind it."""
        rank = self.ranks.rank
        to = rank + far if rank + far < ranks else None
        source = rank - far if rank >= far else None
        found = exchange(Route(self.ranks, to, source), sent, shapes, self.ties)
        self._nodes += [x for part in found for x in part if x.is_floating_point()]
        return found

    def _passed(
        self, sent: Sequence[Tensor], like: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Send a state to the next rank, and receive one from the rank before; [] is none.

        The first rank receives its own.
        """
        rank, last = self.ranks.rank, self.ranks.size - 1
        to, source = rank + 1 if sent and rank < last else None, rank - 1 if rank else None
        came, own = exchange(
            Route(self.ranks, to, source if like else None), sent, _shapes(like), self.ties
        )
        self._nodes += [x for x in (*came, *own) if x.is_floating_point()]
        return came if rank else tuple(like), own

    def _blanked(self, leaf: Tensor, fresh: Tensor) -> Tensor:
        if self.new is None or not self.new.shape[1]:
            return leaf
        return leaf.masked_fill(fresh.view(-1, *[1] * (leaf.ndim - 1)), 0)


def taken(lengths: Sequence[int], rank: int, far: int, n: int) -> int:
    """How many of the n positions before a rank's piece are those of the rank that is `far` before.

    >>> [taken([4, 1, 2], 2, far, 3) for far in (1, 2)]
    [1, 2]
    """
    if rank < far:
        return 0
    between = sum(lengths[rank - far + 1 : rank])
    return max(0, min(lengths[rank - far], n - between))


def _shapes(tensors: Sequence[Tensor]) -> list[Shape]:
    return [(tuple(x.shape), x.dtype) for x in tensors]
