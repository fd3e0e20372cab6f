"""How much memory a call takes beside its arguments, at its peak."""

from typing import Any

import torch

from .clock import Way

_TORCH: Any = torch


def peak(way: Way) -> int | None:
    """Bytes that torch allocates on the CPU in one call, less those that it frees, at the peak.

    None where this torch does not record them. What a kernel keeps in registers or on its stack is
    not counted.

    >>> x = torch.ones(1000)
    >>> peak(lambda: x + x) in (None, 4000)
    True
    """
    autograd, off = _TORCH.autograd, False
    try:
        begin, end = autograd._enable_profiler_legacy, autograd._disable_profiler_legacy
        extra = _TORCH._C._profiler._ExperimentalConfig()
        config = autograd.ProfilerConfig(
            autograd.ProfilerState.CPU, off, True, off, off, off, extra
        )  # fmt: skip
    except (AttributeError, TypeError):
        return None
    begin(config)
    try:
        way()
    finally:
        threads = end()
    now = most = 0
    for thread in threads:
        for event in thread:
            if event.kind() == "memory_alloc":
                now += event.cpu_memory_usage()
                most = max(most, now)
    return most
