"""Mutants whose packed documents see each other."""

import torch
from torch import Tensor

from ...mixers.mean import State
from .wrong import Mutant, Result, healthy, nothing


def apart(x: Tensor, state: State | None = None, documents: Tensor | None = None) -> Result:
    """The running mean of each document alone: the state enters the first and leaves the last."""
    if documents is None or not x.shape[1]:
        return healthy(x, state)
    given, rows, ends = state or nothing(x), [], []
    for b in range(len(x)):
        held: State | None = State(given.total[b : b + 1], given.count[b : b + 1])
        lengths = documents[b].unique_consecutive(return_counts=True)[1].tolist()
        for part in x[b : b + 1].split(lengths, 1):
            y, left = healthy(part, held)
            rows.append(y)
            held = None
        ends.append(left)
    y = torch.cat(rows, 1).view_as(x)
    return y, State(*(torch.cat(parts) for parts in zip(*ends, strict=True)))


def ignores_documents(
    x: Tensor, state: State | None = None, documents: Tensor | None = None
) -> Result:
    """The ids are accepted and ignored."""
    del documents
    return healthy(x, state)


def gives_the_state_to_each_document(
    x: Tensor, state: State | None = None, documents: Tensor | None = None
) -> Result:
    """Every document starts from the state, not only the first one."""
    y, left = apart(x, state, documents)
    if documents is None or state is None or not x.shape[1]:
        return y, left
    n, held = _lengths(documents), state.count[:, None]
    later = (documents != documents[:, :1])[..., None]  # [B, T, 1]
    own = y.double() * n[..., None] + state.total[:, None]
    return y.where(~later, (own / (n + held)[..., None]).to(y.dtype)), left


def leaves_the_sums_of_all_documents(
    x: Tensor, state: State | None = None, documents: Tensor | None = None
) -> Result:
    """Every output is right, but the returned state covers the whole row."""
    return apart(x, state, documents)[0], healthy(x, state)[1]


def counts_through_documents(
    x: Tensor, state: State | None = None, documents: Tensor | None = None
) -> Result:
    """Sums restart with a document, but the counts continue."""
    y, left = apart(x, state, documents)
    if documents is None:
        return y, left
    place = torch.arange(1, x.shape[1] + 1, device=x.device)
    other = documents != documents[:, :1]  # [B, T]
    share = torch.where(other, _lengths(documents) / place, 1.0)
    return (y.double() * share[..., None]).to(y.dtype), left


def begins_a_document_one_late(
    x: Tensor, state: State | None = None, documents: Tensor | None = None
) -> Result:
    """An off-by-one: the first position of a document belongs to the one before it."""
    if documents is not None and x.shape[1]:
        documents = torch.cat([documents[:, :1], documents[:, :-1]], 1)
    return apart(x, state, documents)


def _lengths(documents: Tensor) -> Tensor:
    """How many positions of its own document each one has seen, itself included: [B, T]."""
    same = documents[:, :, None] == documents[:, None, :]
    return same.tril().sum(-1)


MUTANTS = (
    Mutant(ignores_documents, "documents", "document"),
    Mutant(gives_the_state_to_each_document, "documents", "document"),
    Mutant(leaves_the_sums_of_all_documents, "documents", "document"),
    Mutant(counts_through_documents, "documents", "document"),
    Mutant(begins_a_document_one_late, "documents", "document"),
)
