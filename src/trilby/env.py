"""What this machine is: versions, processor, threads, and where compiled kernels are kept."""

import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("trilby", "torch", "numpy", "numba")


def machine() -> dict[str, Any]:
    """Everything that a figure measured here has to carry; imports torch, and no compiler.

    >>> " ".join(sorted(machine()))
    'cache cpu cuda kernels numba os processors python threads versions'
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
        "kernels": {"cpu": not no_compiler(), "why": no_compiler()},
        "cache": kernel_cache(),
    }


def no_compiler(environment: Mapping[str, str] = os.environ) -> str:
    """Why numba cannot compile the kernels here, and what to do; empty where it can.

    numba is looked for and not imported, which would take half a second.

    >>> no_compiler({"NUMBA_DISABLE_JIT": "1"})
    'NUMBA_DISABLE_JIT is set, so numba compiles nothing: unset it before Python starts'
    """
    if importlib.util.find_spec("numba") is None:
        return (
            "numba, which compiles the kernels, is not installed: pip install numba, "
            "if there is one for this Python and system"
        )
    if environment.get("NUMBA_DISABLE_JIT", "").strip() not in ("", "0"):
        return "NUMBA_DISABLE_JIT is set, so numba compiles nothing: unset it before Python starts"
    return ""


def kernel_cache() -> dict[str, Any]:
    """Where numba keeps the compiled kernels, whether it can write there, how many are there.

    The folder `NUMBA_CACHE_DIR` where it is set; else `__pycache__` beside the kernels; else, where
    that cannot be written, numba's folder for this user.
    """
    beside = Path(__file__).parent / "kernels"  # in the folder __pycache__ of each of its own
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(chosen) if chosen else beside if _writable(beside) else _of_user()
    return {
        "folder": str(folder),
        "writable": _writable(folder),
        "programs": sum("trilby" in str(p) or "kernels" in str(p) for p in folder.rglob("*.nbc")),
    }


def _writable(folder: Path) -> bool:
    """Whether a file can be made there; a folder that is not there yet is made by its user."""
    standing = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        tempfile.TemporaryFile(dir=standing).close()  # Windows grants more than it allows
    except OSError:
        return False
    return True


def _of_user() -> Path:
    """Where numba keeps programs whose own folder cannot be written."""
    home, given = Path.home(), os.environ.get
    if sys.platform == "win32":
        return Path(given("LOCALAPPDATA") or home / "AppData" / "Local") / "numba" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "numba"
    return Path(given("XDG_CACHE_HOME") or home / ".cache") / "numba"


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
