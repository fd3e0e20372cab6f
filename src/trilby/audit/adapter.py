"""What a library tells the audit: which types there are, and how each is made and called."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from ..errors import TrilbyError
from ..verify import Verdict

Probe = tuple[str, Callable[["Built"], Verdict]]


class NotBuilt(Exception):
    """A type that cannot be made from a configuration alone; the message is the reason."""


class NoLibrary(TrilbyError, ImportError):
    """The library that is to be audited, or the adapter for it, is not there."""


def no_limit(_: Verdict) -> str:
    """Nothing is excused."""
    return ""


@dataclass(frozen=True)
class Built:
    """A small model with random weights, and how it is called.

    Attributes:
        kind: the name of its type.
        module: takes what `example` draws, returns logits [B, T, vocabulary] or what holds them.
        example: (B, T, seed) -> keyword arguments with `input_ids` [B, T].
        how: what `trilby.check` is told: carry, padding, documents, vocabulary.
        facts: what a reader of the table wants to know: class, parameters, layers.
        limit: broken verdict -> why that is a limitation that the library states; "" if it is not.
        faults: law -> what is known to be wrong since the model could not even be called so.
        ways: name -> makes the same module with the same weights, computed in another way.
    """

    kind: str
    module: Any
    example: Callable[[int, int, int], dict[str, Any]]
    how: Mapping[str, Any]
    facts: Mapping[str, Any]
    limit: Callable[[Verdict], str] = no_limit
    faults: Mapping[str, str] = field(default_factory=dict)
    ways: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)


class Adapter(Protocol):
    """A library under audit. Twenty lines are enough; see `x_transformers.py`.

    Attributes:
        name: of the library, as people install it.
        preload: modules that every process needs and that are slow to import.
    """

    name: str
    preload: Sequence[str]

    def version(self) -> str:
        """The installed release; NoLibrary where there is none."""

    def kinds(self) -> list[str]:
        """Every type, by name."""

    def build(self, kind: str, dtype: torch.dtype) -> Built:
        """One type, small, with random weights, in eval mode; NotBuilt with the reason."""

    def probes(self) -> Iterator[Probe]:
        """Laws of the library's own: names, and functions that judge one built model."""


def redraw(module: nn.Module, seed: int = 0) -> None:
    """Random weights under which everything matters: no gate is shut, no layer a whisper.

    Matrices are normal with the variance of one over their inputs, embeddings with variance one,
    and what has one axis (norms, biases, decays) moves by a fifth from where it was made.
    """
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if not weight.is_floating_point():
                continue
            drawn = torch.randn(weight.shape, generator=draws, dtype=torch.float64)
            if weight.dim() < 2:
                weight.add_(0.2 * drawn.to(weight.dtype))
            else:
                fan = 1 if "embed" in name else weight.shape[-1]
                weight.copy_((drawn / fan**0.5).to(weight.dtype))


def tokens(drawn: int, first: int = 0) -> Callable[[int, int, int], dict[str, Any]]:
    """An example of B rows of T tokens, from `first` to below `drawn`.

    >>> tokens(9)(2, 3, 0)["input_ids"].shape
    torch.Size([2, 3])
    """

    def example(B: int, T: int, seed: int) -> dict[str, Any]:
        draws = torch.Generator().manual_seed(seed)
        return {"input_ids": torch.randint(first, drawn, (B, T), generator=draws)}

    return example
