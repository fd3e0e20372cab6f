"""What a check shares with the rest of the process: one lock, and the random generators.

A module draws from the generators of the whole process, so a check starts these from a seed and
puts them back. A generator of a device is touched only where a tensor that was given is on that
device, and its backend runs already: no check starts CUDA.
"""

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .copies.nested import replaced
from .copies.reached import modules_of

_lock = threading.RLock()
_before: dict[torch.device, Tensor] = {}  # device -> its generator's state before the check
_depth = 0  # how many of `undisturbed` are entered; the lock is held where it is more than 0


@contextmanager
def undisturbed(*given: Any) -> Iterator[None]:
    """Hold the lock; afterwards random numbers, default dtype and threads are as before.

    Also after an exception. Generators of devices are saved once, by the outermost of these, and
    by `include` for what is given later.
    """
    global _depth  # noqa: PLW0603
    with _lock:
        of_torch = torch.default_generator.get_state()
        of_python, of_numpy = random.getstate(), np.random.get_state()
        dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
        _depth += 1
        try:
            include(*given)
            yield
        finally:
            _depth -= 1
            torch.default_generator.set_state(of_torch)
            random.setstate(of_python)
            np.random.set_state(of_numpy)
            if torch.get_default_dtype() != dtype:
                torch.set_default_dtype(dtype)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            while not _depth and _before:
                _put(*_before.popitem())


def include(*given: Any) -> None:
    """Remember the generators of the devices that these tensors, modules and functions are on."""
    if not _depth:
        return
    for device in {t.device for t in _tensors(given)}:
        if device not in _before and _running(device):
            _before[device] = _backend(device).get_rng_state(*_place(device))


def seed(number: int = 0) -> None:
    """Start the random numbers of torch, numpy and Python from their beginning, or another."""
    torch.default_generator.manual_seed(number)  # torch.manual_seed costs more than most calls
    for device in _before:
        _put(device, _first(device, number))
    random.seed(number)
    np.random.seed(number)


def states() -> tuple[Any, ...]:
    """Where the generators stand: after a call they are equal to before if it drew nothing."""
    of_devices = [_backend(device).get_rng_state(*_place(device)).tolist() for device in _before]
    of_numpy = np.random.get_state(legacy=True)
    return (
        torch.default_generator.get_state().numpy().tobytes(),
        random.getstate(),
        *(part.tobytes() if isinstance(part, np.ndarray) else part for part in of_numpy),
        of_devices,
    )


def _tensors(given: tuple[Any, ...]) -> list[Tensor]:
    """The tensors in nests, and in modules that are given, reached or bound."""
    found: list[Tensor] = []
    for thing in given:
        for module in modules_of(thing):
            found += [*module.parameters(), *module.buffers()]
        with suppress(Exception):  # it cannot be walked; copying it will raise the error
            replaced(thing, partial(_seen, found))
    return found


def _seen(found: list[Tensor], t: Tensor) -> Tensor:
    found.append(t)
    return t


def _running(device: torch.device) -> bool:
    """Whether a device has a generator of its own, of a backend that runs already."""
    if device.type in ("cpu", "meta"):
        return False
    backend = _backend(device)
    initialized = getattr(backend, "is_initialized", lambda: True)
    return hasattr(backend, "get_rng_state") and bool(initialized())


def _backend(device: torch.device) -> Any:
    return getattr(torch, device.type, None)


def _place(device: torch.device) -> tuple[torch.device, ...]:
    """What a backend is told of the device: `torch.mps` has only one."""
    return () if device.type == "mps" else (device,)


def _put(device: torch.device, state: Tensor) -> None:
    _backend(device).set_rng_state(state, *_place(device))


@lru_cache(64)
def _first(device: torch.device, number: int) -> Tensor:
    """The state of a device's generator that starts from a seed."""
    return torch.Generator(device).manual_seed(number).get_state()


def _forget() -> None:
    """Make a new lock in a forked child: the thread that held the old one is not there."""
    global _lock, _depth
    _lock, _depth = threading.RLock(), 0
    _before.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
