"""Memory for large results, in huge pages where the system gives them.

Fresh memory arrives page by page at the first write, and on Linux with pages of 4 KiB that costs
several times what a kernel bound by memory takes. numpy asks for huge pages for its own arrays;
torch does so only if `THP_MEM_ALLOC_ENABLE=1` was set before it started.
"""

import ctypes
import sys
from functools import cache

import torch
from torch import Tensor

LARGE = 1 << 22  # bytes; numpy asks from the same size on
_MADV_HUGEPAGE = 14


def empty_like(x: Tensor) -> Tensor:
    """`torch.empty_like(x)`, its pages huge where it is large and the system agrees.

    >>> empty_like(torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """
    y = torch.empty_like(x)
    size = y.untyped_storage().nbytes()
    advise = _advise()
    if advise is not None and size >= LARGE:
        page = 1 << 12
        start = -(-y.untyped_storage().data_ptr() // page) * page
        advise(start, size - page, _MADV_HUGEPAGE)  # advice: a refusal changes nothing but time
    return y


@cache
def _advise() -> "ctypes._NamedFuncPointer | None":
    if not sys.platform.startswith("linux"):
        return None
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return madvise
