"""A call of a model that leaves no trace in it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def quietly(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, without gradients, and with random numbers as they were."""
    training = [module for module in model.modules() if module.training]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model.eval()
            yield
    finally:
        for module in training:
            module.training = True
