"""Halves in memory: as the processor converts them itself, and as one without that does."""

import numba
import numpy as np
import pytest
import torch

from trilby.kernels.simd import elements
from trilby.kernels.simd.elements import decode, encode


@pytest.fixture(params=["as this processor can", "without F16C"])
def compiled(request, monkeypatch):
    """Functions that decode and encode a line of numbers, compiled anew."""
    if request.param == "without F16C":
        less = elements.features() - {"f16c"}
        monkeypatch.setattr(elements, "features", lambda: less)

    def decoded(line, out):
        for i in range(len(line)):
            out[i] = decode(line[i])

    def encoded(line, out):
        for i in range(len(line)):
            out[i] = encode(line[i], out[0])

    return numba.njit(decoded), numba.njit(encoded)


def test_all_halves_and_what_lies_between_them(compiled):
    decoded, encoded = compiled
    bits = torch.arange(1 << 16).to(torch.int16)
    wanted, found = bits.view(torch.float16).double(), np.empty(1 << 16)
    decoded(bits.numpy(), found)
    torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=0, atol=0, equal_nan=True)
    single = wanted.float()
    up, down = (single.nextafter(torch.tensor(limit)) for limit in (torch.inf, -torch.inf))
    middle = (single[1:] + single[:-1]) / 2
    numbers = torch.cat([single, up, down, middle, middle.nextafter(torch.tensor(0.0))])
    rounded = np.empty(len(numbers), np.int16)
    encoded(numbers.double().numpy(), rounded)
    halves = torch.from_numpy(rounded).view(torch.float16)
    torch.testing.assert_close(halves, numbers.half(), rtol=0, atol=0, equal_nan=True)
