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

_ATEN: Any = torch.ops.aten
_FLASH = "_scaled_dot_product_flash_attention_for_cpu"


def _flash(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, causal: bool = True
) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = getattr(_ATEN, _FLASH)(
        q, k, v, 0.0, causal and mask is None, attn_mask=mask, scale=scale
    )
    return found


def _flash_backward(
    dy: Tensor, qkv: tuple[Tensor, Tensor, Tensor], y: Tensor, log: Tensor, scale: float,
    causal: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    back = getattr(_ATEN, f"{_FLASH}_backward")
    found: tuple[Tensor, Tensor, Tensor] = back(dy, *qkv, y, log, 0.0, causal, scale=scale)
    return found


_has_flash = _all(_ATEN, _FLASH, f"{_FLASH}_backward")
flash: Any = _flash if _has_flash else None
"""Softmax attention [B, H, T, K] on a CPU, and the logarithms of the sums of its rows; causal where
there is no mask, unless `causal` is False. None where torch has it no more: attention is then
computed in torch operations.
"""
flash_backward: Any = _flash_backward if _has_flash else None
"""Its gradients to q, k and v; y and log may be those of more keys."""

transformed = _transformed if _tells_transforms else _perhaps_transformed
"""Whether `torch.func` or forward mode may be at work; True where torch does not tell."""

mapped = _mapped if _tells_vmap else _mapped_by_trial
"""Whether `vmap` maps a tensor, at any depth of transforms."""
