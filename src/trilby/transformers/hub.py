"""The package `kernels`: where it is installed, each function is a module that it can fill.

transformers hands a decorated function to `kernels`, which makes an object of it, one for all
layers of a model's module. `kernelize` then looks for a repository under the function's name and
sets the object's `forward`. Ours are repositories in process, for the CPU; a mapping of the same
names for the CPU is replaced.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Repository:
    """What `kernels` loads a function from.

    Attributes:
        call: what the function does.
        kind: the class of the object that it is put into, whose signature is checked.
    """

    call: Callable[..., Any]
    kind: type[nn.Module]

    def load(self) -> type[nn.Module]:
        """A module without state, whose forward has the signature of the original."""
        call = self.call

        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return call(*args, **kwargs)

        forward.__signature__ = self.kind.forward.__signature__  # type: ignore[attr-defined]
        parts = {"forward": forward, "can_torch_compile": True, "has_backward": True}
        return type("Function", (nn.Module,), parts)


_registered: Counter[str] = Counter()  # for each name, the objects that have ours
_before: dict[nn.Module, Callable[..., Any] | None] = {}  # the `forward` that an object had


def behind(value: object) -> object:
    """The function in an object of `kernels`, or the value itself."""
    if getattr(type(value), "kernel_layer_name", None) is None:
        return value
    forward = type(value).__dict__.get("forward")
    cells = getattr(forward, "__closure__", None) or ()
    return next((cell.cell_contents for cell in cells if callable(cell.cell_contents)), value)


def takes(value: object) -> bool:
    """Whether a function has to be put into it with `kernels`."""
    return behind(value) is not value


def put(function: Any, call: Callable[..., Any]) -> None:
    """Have `kernels` put `call` into the object of a function."""
    from kernels import Mode, kernelize, register_kernel_mapping

    kind = type(function)
    name = str(kind.kernel_layer_name)
    if function not in _before:
        _before[function] = vars(function).get("forward")
        _registered[name] += 1
    register_kernel_mapping({name: {"cpu": {Mode.FALLBACK: Repository(call, kind)}}})
    mode = Mode.TRAINING | Mode.TORCH_COMPILE
    kernelize(nn.ModuleList([function]), mode=mode, device="cpu")


def put_back(function: Any) -> None:
    """The `forward` from before; with the last of its name, no repository is left."""
    from kernels import register_kernel_mapping

    forward = _before.pop(function)
    vars(function).pop("forward", None)
    if forward is not None:
        function.forward = forward
    name = str(type(function).kernel_layer_name)
    _registered[name] -= 1
    if not _registered[name]:
        register_kernel_mapping({name: {"cpu": {}}})
