"""What a wall of the gallery holds: a small module, and the label beside it."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

LAWS = (
    "repeats", "causal", "resumes", "isolated", "padding", "documents", "differentiates", "sound",
    "compiles",
)  # fmt: skip
"""The laws that a label may name, in the order in which they are judged."""


def floats() -> Tensor:
    """What most exhibits are called with: [2, 16, 8], of unit variance."""
    return torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))


def tokens() -> Tensor:
    """Tokens out of 16: [2, 16]."""
    return torch.randint(0, 16, (2, 16), generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Exhibit:
    """A module that is wrong by exactly one fault, or right in a way that is easily taken for one.

    Attributes:
        build: the class of the module; it takes no arguments.
        family: the faults that it is shown among.
        source: addresses of the public reports that it is modelled on.
        law: the first law that it breaks; empty where it is right.
        kind: what a verdict calls the fault; empty where it is right.
        then: laws that may break in consequence.
        example: makes what the module is called with.
        how: what its user would say about it, as keywords of `trilby.check`; under "carry" the
            name of a function of `trilby.streaming` and its keywords.
    """

    build: Callable[[], nn.Module]
    family: str
    source: tuple[str, ...]
    law: str = ""
    kind: str = ""
    then: tuple[str, ...] = ()
    example: Callable[[], Any] = floats
    how: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The class's name as one writes a module's.

        >>> from trilby.gallery import GALLERY
        >>> next(iter(GALLERY.values())).name
        'dropout_never_off'
        """
        border = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
        return re.sub(border, "_", _title(self.build)).lower()

    @property
    def right(self) -> bool:
        """Whether every law holds for it."""
        return not self.law

    @property
    def story(self) -> str:
        """What is wrong with it, or what makes it look wrong: one sentence."""
        return " ".join(self.about.partition("\n\n")[0].split())

    @property
    def about(self) -> str:
        """The whole docstring of the class."""
        return inspect.getdoc(self.build) or ""

    @property
    def code(self) -> str:
        """The source of the class, without what it inherits."""
        return inspect.getsource(self.build)

    def make(self) -> nn.Module:
        """A fresh module, the same at every call; the generator of torch is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.build()

    def asked(self) -> dict[str, Any]:
        """The keywords with which `trilby.check` is asked about it."""
        said = dict(self.how)
        if "carry" in said:
            from .. import streaming as carry

            name, keywords = said["carry"]
            said["carry"] = getattr(carry, name)(**keywords)
        return said


def _title(build: Callable[[], nn.Module]) -> str:
    return getattr(build, "__name__", type(build).__name__)
