"""What a layer of the first Mamba knows and does not tell its scan: the state, and packing.

transformers calls `selective_scan_fn` without the state of its cache, so a cached call of several
tokens forgets what came before. Around the layer's forward both are laid down here, for the scan.
"""

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor

_now: list[tuple[Tensor | None, dict[str, Any]]] = []

PACKED = ("seq_idx", "cu_seqlens", "cu_seq_lens_q")


def handed() -> tuple[Tensor | None, dict[str, Any]]:
    """The state and the keywords of packing of the layer that runs now; None and {} outside."""
    return _now[-1] if _now else (None, {})


def handing(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The forward of a layer, which lays its state down for the scan that it calls."""

    @functools.wraps(forward)
    def whole(self: Any, *args: Any, **kwargs: Any) -> Any:
        cache = kwargs.get("cache", kwargs.get("cache_params", args[1] if len(args) > 1 else None))
        state = None if cache is None else cache.get_recurrent_state(self.layer_idx)
        packed = {name: kwargs[name] for name in PACKED if kwargs.get(name) is not None}
        if state is None and not packed:
            return forward(self, *args, **kwargs)
        _now.append((state, packed))
        try:
            return forward(self, *args, **kwargs)
        finally:
            _now.pop()

    return whole
