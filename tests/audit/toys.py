"""A toy library with an adapter: types that hold, break, print, hang, crash, or cannot be built."""

import os
import sys
import time

import torch
from torch import nn

from trilby.audit import Built, NotBuilt
from trilby.audit.adapter import tokens


class Sum(nn.Module):
    """The running sum of embeddings; the leaky one adds the mean over all time."""

    def __init__(self, leaks: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.leaks = nn.Embedding(8, 4), leaks

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(input_ids)
        return x.cumsum(1) + (x.mean(1, keepdim=True) if self.leaks else 0)


class Toys:
    name = "toys"
    preload = ("torch",)

    def version(self):
        return "1.0"

    def kinds(self):
        return ["crash", "exit", "hang", "leak", "none", "raise", "sum"]

    def build(self, kind, dtype):
        if kind == "none":
            raise NotBuilt("it is nowhere")
        if kind == "raise":
            raise ZeroDivisionError("of its own")
        if kind == "crash":
            os.abort()
        if kind == "exit":
            print("goodbye", file=sys.stderr, flush=True)
            os._exit(7)
        if kind == "hang":
            time.sleep(600)
        module = Sum(kind == "leak").to(dtype)
        return Built(kind, module, tokens(8), {"vocabulary": 8}, {"class": "Sum"})

    def probes(self):
        return iter(())


ADAPTER = Toys()
