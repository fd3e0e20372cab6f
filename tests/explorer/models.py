"""Small models of transformers with random weights, what they read, and when they can be seen."""

import pytest
import torch
import transformers

from trilby.audit.transformers import make
from trilby.transformers.seam import FIRST

RELEASE = tuple(int(part) for part in transformers.__version__.split(".")[:2])
SEEN = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(RELEASE < FIRST, reason="this release has no functions that can be seen"),
]


def ids(T=21):
    return torch.randint(5, 60, (1, T), generator=torch.Generator().manual_seed(1))


def built(kind, dtype=torch.float32, attention=None):
    if kind not in transformers.CONFIG_MAPPING:
        pytest.skip(f"this release of transformers has no {kind}")
    return make(kind, dtype, attention).eval()
