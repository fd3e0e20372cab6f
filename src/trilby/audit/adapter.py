"""The interface of a library under audit: its model types, and how to build and call each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from ..errors import TrilbyError
from ..verify import Verdict

Probe = tuple[str, Callable[["Built"], Verdict]]


class NotBuilt(Exception):
    """A type that cannot be built from a configuration alone; the message is the reason."""


class NoLibrary(TrilbyError, ImportError):
    """The library, or an adapter for it, is not installed."""


def no_limit(_: Verdict) -> str:
    """No limitation is documented."""
    return ""


@dataclass(frozen=True)
class Built:
    """A small model with random weights, and how it is called.

    Attributes:
        kind: the name of its type.
        module: takes what `example` returns; gives logits [B, T, vocabulary], or what holds them.
        example: (B, T, seed) -> keyword arguments with `input_ids` [B, T].
        how: options of `trilby.check`: carry, padding, documents, vocabulary.
        facts: for the table: class, parameters, layers.
        limit: broken verdict -> the limitation that the library documents; "" if there is none.
        faults: law -> the error, for laws whose call already raised while building.
        ways: name -> builds the same module with the same weights and another implementation.
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
        name: the name to install the library by.
        preload: modules that are slow to import and that every process needs.
    """

    name: str
    preload: Sequence[str]

    def version(self) -> str:
        """The installed release; raises NoLibrary if there is none."""

    def kinds(self) -> list[str]:
        """Every type, by name."""

    def build(self, kind: str, dtype: torch.dtype) -> Built:
        """A small random model of one type, in eval mode; raises NotBuilt with the reason."""

    def probes(self) -> Iterator[Probe]:
        """Laws specific to the library: names, and functions that test one built model."""


def redraw(module: nn.Module, seed: int = 0) -> None:
    """Draw random weights so that every part has an effect: no gate closed, no layer negligible.

    Matrices are normal with variance one over the number of inputs, embeddings with variance one.
    Parameters with one axis (norms, biases, decays) change by 0.2 times a normal number.
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
    """A function that draws B rows of T tokens, from `first` up to `drawn - 1`.

    >>> tokens(9)(2, 3, 0)["input_ids"].shape
    torch.Size([2, 3])
    """

    def example(B: int, T: int, seed: int) -> dict[str, Any]:
        draws = torch.Generator().manual_seed(seed)
        return {"input_ids": torch.randint(first, drawn, (B, T), generator=draws)}

    return example
