"""What the machine itself does: its copy, its matrix product, and the vectors of its kernels."""

import os
import sys
from typing import Any

import torch

from trilby.bench import interleaved

SHORTER = {  # what keeps AVX-512 from the kernels, from torch's loops and from its products
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma,+f16c,+bmi,+bmi2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
COPIED, SIDE = 1 << 24, 1024  # numbers that are copied; rows and columns of the product


def shorten() -> None:
    """Start this program again without AVX-512, unless it was."""
    if any(os.environ.get(name) != value for name, value in SHORTER.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | SHORTER)


def rates() -> dict[str, Any]:
    """Gigabytes a second, read and written, of a copy; billions of operations of a product."""
    from trilby.kernels.simd.vector import REGISTER

    x, y = torch.zeros(COPIED), torch.empty(COPIED)
    a = b = torch.randn(SIDE, SIDE)
    ways = {"copy": lambda: y.copy_(x), "product": lambda: a @ b}
    timings = interleaved(ways, rounds=9, warmup=2)
    return {
        "copy GB/s": 2 * x.nbytes / timings.median("copy") / 1e9,
        "product GFLOP/s": 2 * SIDE**3 / timings.median("product") / 1e9,
        "bits of a vector": 8 * REGISTER,
    }


def sentence(found: dict[str, Any]) -> str:
    """One sentence of the rates."""
    return (
        f"the machine then: a copy of {found['copy GB/s']:.0f} GB/s read and written, a product of "
        f"{SIDE} rows and columns at {found['product GFLOP/s']:.0f} GFLOP/s, kernels with vectors "
        f"of {found['bits of a vector']} bits"
    )
