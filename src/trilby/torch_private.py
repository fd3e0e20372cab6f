"""Every private name of torch that a call of a mixer depends on, each with a public fallback.

torch may rename these names in any release. Where one is missing, the answer below is slower or
more careful, and still right.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

_C: Any = torch._C
_FUNCTORCH: Any = getattr(_C, "_functorch", None)


def _forward_mode() -> bool:
    return forward_ad._current_level >= 0 and _C._is_fwd_grad_enabled()


def _transformed() -> bool:
    return _forward_mode() or _C._are_functorch_transforms_active()


def _perhaps_transformed() -> bool:
    return True


def _mapped(tensor: Tensor) -> bool:
    while _FUNCTORCH.is_functorch_wrapped_tensor(tensor):
        if _FUNCTORCH.is_batchedtensor(tensor):
            return True
        tensor = _FUNCTORCH.get_unwrapped(tensor)
    return False


def _mapped_by_trial(tensor: Tensor) -> bool:
    """`vmap` refuses to read a value of a mapped tensor, and of no other."""
    try:
        tensor.detach().reshape(-1)[:0].sum().item()
    except RuntimeError:
        return True
    return False


def _all(owner: object, *names: str) -> bool:
    return all(hasattr(owner, name) for name in names)


_tells_transforms = _all(forward_ad, "_current_level") and _all(
    _C, "_is_fwd_grad_enabled", "_are_functorch_transforms_active"
)
_tells_vmap = _all(_FUNCTORCH, "is_functorch_wrapped_tensor", "is_batchedtensor", "get_unwrapped")

transformed = _transformed if _tells_transforms else _perhaps_transformed
"""Whether `torch.func` or forward mode may be at work; True where torch does not tell."""

mapped = _mapped if _tells_vmap else _mapped_by_trial
"""Whether `vmap` maps a tensor, at any depth of transforms."""
