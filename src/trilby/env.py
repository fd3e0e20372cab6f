"""What this machine is: versions, processor, threads, and where compiled kernels are kept."""

import importlib.util
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("trilby", "torch", "numpy", "numba")


def machine() -> dict[str, Any]:
    """Everything that a figure measured here has to carry; imports torch, and no compiler.

    >>> sorted(machine())
    ['cache', 'cpu', 'cuda', 'numba', 'os', 'processors', 'python', 'threads', 'versions']
    """
    import torch

    return {
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "os": platform.platform(terse=True),
        "cpu": _cpu(),
        "processors": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "cuda": _cuda(),
        "numba": importlib.util.find_spec("numba") is not None,
        "cache": kernel_cache(),
    }


def kernel_cache() -> dict[str, Any]:
    """Where numba keeps the compiled kernels, whether it can write there, how many are there.

    The folder `NUMBA_CACHE_DIR` where it is set, else `__pycache__` beside the kernels; where that
    cannot be written, numba turns to a folder of the user's that it names itself.
    """
    beside = Path(__file__).parent / "kernels"  # in the folder __pycache__ of each of its own
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(chosen) if chosen else beside
    standing = next(place for place in (folder, *folder.parents) if place.exists())
    return {
        "folder": str(folder),
        "writable": os.access(standing, os.W_OK),
        "programs": sum("trilby" in str(p) or "kernels" in str(p) for p in folder.rglob("*.nbc")),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cuda() -> str | None:
    """The name of the first GPU that CUDA could use; CUDA is not started to ask for it."""
    import torch

    if torch.cuda.is_initialized():
        return torch.cuda.get_device_name()
    if torch.version.cuda is None or not os.environ.get("CUDA_VISIBLE_DEVICES", "0"):
        return None
    for told in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = told.read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
        if names:
            return names[0]
    return None


def _cpu() -> str:
    """The name of the processor as its maker gives it, else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
