"""What every test and doctest stands on: names for doctests, poisoned memory, few threads.

At the root, so that it reaches the doctests in `src` as well as `tests`.
"""

import gc
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import trilby

# A compiled graph that is kept on disk does not know that an operator has changed since, so what
# earlier runs kept is not used. Switching the caches off warns, and a warning is an error here.
_graphs = tempfile.TemporaryDirectory(prefix="trilby-graphs-")
os.environ["TORCHINDUCTOR_CACHE_DIR"] = _graphs.name

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the workers share the cores


@pytest.fixture(autouse=True)
def _names(doctest_namespace: dict[str, Any]) -> None:
    doctest_namespace.update(np=np, torch=torch, trilby=trilby)


@pytest.fixture(autouse=True)
def _poisoned_memory() -> Iterator[None]:
    """Fill what `torch.empty` returns with NaN, so that a value never written is never lucky."""
    was = torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(was)
    torch.utils.deterministic.fill_uninitialized_memory = fill


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` are skipped, and counted, where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_collection_finish() -> None:
    """What is there by now stays: thousands of tests, torch, transformers.

    Every full collection of garbage would walk through all of it again, half a second each.
    """
    gc.collect()
    gc.freeze()
