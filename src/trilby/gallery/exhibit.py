"""An exhibit of the gallery: a small module and its label."""

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
"""The laws that a label may name, in the order in which they are run."""


def floats() -> Tensor:
    """The input of most exhibits: [2, 16, 8], of unit variance."""
    return torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))


def tokens() -> Tensor:
    """Tokens out of 16: [2, 16]."""
    return torch.randint(0, 16, (2, 16), generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Exhibit:
    """A module that has exactly one fault, or that is correct and looks wrong.

    Attributes:
        build: the class of the module; it takes no arguments.
        family: the kind of fault that it belongs to.
        source: URLs of the public reports that it is modelled on.
        law: the first law that it breaks; empty if it is correct.
        kind: the cause that a verdict names; empty if it is correct.
        then: laws that may break as a result.
        example: returns the arguments of a call.
        how: keywords for `trilby.check`; under "carry" the name of a function of
            `trilby.streaming` and its keywords.
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
        """The name of the class in snake case.

        >>> from trilby.gallery import GALLERY
        >>> next(iter(GALLERY.values())).name
        'dropout_never_off'
        """
        border = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
        return re.sub(border, "_", _title(self.build)).lower()

    @property
    def right(self) -> bool:
        """Whether it is correct: every law holds."""
        return not self.law

    @property
    def story(self) -> str:
        """One sentence: what is wrong with it, or why it looks wrong."""
        return " ".join(self.about.partition("\n\n")[0].split())

    @property
    def about(self) -> str:
        """The whole docstring of the class."""
        return inspect.getdoc(self.build) or ""

    @property
    def code(self) -> str:
        """The source of the class, without its base classes."""
        return inspect.getsource(self.build)

    def make(self) -> nn.Module:
        """A new module, the same at every call; torch's random state is not changed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.build()

    def asked(self) -> dict[str, Any]:
        """The keywords to call `trilby.check` with."""
        said = dict(self.how)
        if "carry" in said:
            from .. import streaming as carry

            name, keywords = said["carry"]
            said["carry"] = getattr(carry, name)(**keywords)
        return said


def _title(build: Callable[[], nn.Module]) -> str:
    return getattr(build, "__name__", type(build).__name__)
