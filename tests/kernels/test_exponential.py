"""exp of vectors: every float32, and float64 over its whole range."""

import numpy as np
import pytest
from numba import types

from trilby.kernels.machine.compiler import Kernel
from trilby.kernels.simd.exponential import exp
from trilby.kernels.simd.vector import lanes, load, store


@pytest.fixture(scope="module")
def call():
    """exp of an array, whose length is a multiple of 64, in place."""

    def source(line, n, step):
        for i in range(0, n, step):
            store(line, i, exp(load(line, i, 2)))

    kernel = Kernel(source, lambda t: (types.CPointer(t), types.int64, types.int64))

    def run(x):
        y, kind = x.copy(), types.float32 if x.dtype == np.float32 else types.float64
        kernel.of(kind).ctypes(
            y.ctypes.data_as(kernel.of(kind).ctypes.argtypes[0]), len(y), lanes(kind, 2)
        )
        return y

    return run


def units(got, exact, dtype):
    """The largest error in units of the last place of the exact value, down to the subnormals."""
    size = np.maximum(np.abs(exact), np.finfo(dtype).tiny).astype(dtype)
    return float(
        np.max(np.abs(got.astype(exact.dtype) - exact) / np.spacing(size).astype(exact.dtype))
    )


def test_float32_is_right_to_a_unit_over_its_whole_range(call):
    worst = 0.0
    bits = np.arange(0, 0x7F800000, 509, dtype=np.uint32)  # every 509th number, of either sign
    for sign in (0, 0x80000000):
        x = (bits | np.uint32(sign)).view(np.float32)
        x = x[np.abs(x) < 104][: len(x) // 64 * 64]
        x = x[: len(x) // 64 * 64]
        exact = np.exp(x.astype(np.float64))
        kept = exact <= np.finfo(np.float32).max
        worst = max(worst, units(call(x)[kept], exact[kept], np.float32))
        assert np.isinf(call(x)[~kept]).all()
    assert worst <= 1


def test_float64_is_right_to_a_unit_over_its_whole_range(call):
    x = np.concatenate([np.linspace(-745, 709.7, 1 << 16), np.linspace(-1e-3, 1e-3, 1 << 12)])
    exact = np.exp(x.astype(np.longdouble))
    assert units(call(x), exact, np.float64) <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_finite(call, dtype):
    big = np.finfo(dtype).max
    x = np.array([-np.inf, np.inf, np.nan, 0.0, -0.0, big, -big, np.finfo(dtype).tiny], dtype)
    got = call(np.tile(x, 8))[:8]
    np.testing.assert_array_equal(got, np.array([0, np.inf, np.nan, 1, 1, np.inf, 0, 1], dtype))
