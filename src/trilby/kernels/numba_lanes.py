"""How elements travel between memory and float64: one source for four dtypes.

numba knows neither bfloat16 nor float16 on a CPU, so both travel as their bits: bfloat16 as
uint16, float16 as int16, and the type picks the conversion when a kernel is compiled.
"""

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array
from torch import Tensor

u16, u32, f32, f64 = types.uint16, types.uint32, types.float32, types.float64

ELEMENT = {
    torch.float64: f64,
    torch.float32: f32,
    torch.bfloat16: u16,
    torch.float16: types.int16,
}
"""torch dtype -> the numba type of its elements in a flat array."""

_BITS = {torch.bfloat16: torch.uint16, torch.float16: torch.int16}


def flat(tensor: Tensor) -> np.ndarray:
    """All memory between the first and the last element as one array, to be read by strides.

    >>> flat(torch.tensor([[1.0, 2.0], [3.0, 4.0]])[:, 1]).tolist()
    [2.0, 3.0, 4.0]
    """
    span = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    line = tensor.detach().as_strided((span,), (1,))
    return line.view(_BITS.get(tensor.dtype, tensor.dtype)).numpy()


def decode(element):
    """The float64 value of one element, exact."""
    raise NotImplementedError("for compiled code only")


def encode(value, like):
    """The element nearest to a float64 value, in the type of `like`; ties to even, NaN kept."""
    raise NotImplementedError("for compiled code only")


def divide(value, n, reciprocal, like):
    """value / n; where the dtype of `like` is coarser than float64, value * reciprocal."""
    raise NotImplementedError("for compiled code only")


@intrinsic
def _float_of_bits(context, bits):
    return f32(u32), lambda _c, build, _s, args: build.bitcast(args[0], ir.FloatType())


@intrinsic
def _bits_of_float(context, value):
    return u32(f32), lambda _c, build, _s, args: build.bitcast(args[0], ir.IntType(32))


@intrinsic
def fetch(context, line, index):
    """Ask for the memory around line[index] before it is needed; never faults, gives nothing."""

    def generate(context, build, signature, args):
        data = make_array(signature.args[0])(context, build, args[0]).data
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        prefetch = cgutils.get_or_insert_function(build.module, kind, "llvm.prefetch.p0")
        place = build.bitcast(build.gep(data, [args[1]]), byte)
        build.call(prefetch, [place, word(0), word(3), word(1)])  # to read, keep, data
        return context.get_dummy_value()

    return types.void(line, types.int64), generate


@overload(decode, inline="always")
def _decode(element):
    if element == u16:
        return lambda element: f64(_float_of_bits(u32(u32(element) << u32(16))))
    if element == types.int16:
        return _decode_half
    return lambda element: f64(element)


@overload(encode, inline="always")
def _encode(value, like):
    if like == u16:
        return _encode_brain
    if like == types.int16:
        return _encode_half
    if like == f32:
        return lambda value, like: f32(value)
    return lambda value, like: value


@overload(divide, inline="always")
def _divide(value, n, reciprocal, like):
    if like == f64:
        return lambda value, n, reciprocal, like: value / n
    return lambda value, n, reciprocal, like: value * reciprocal


def _decode_half(element):
    """Bits moved into place, then the exponent mended by 2^112, which mends subnormals too."""
    b = u32(u16(element))
    bits = u32(u32(u32(b & u32(0x7FFF)) << u32(13)) | u32(u32(b & u32(0x8000)) << u32(16)))
    special = u32(b & u32(0x7C00)) == u32(0x7C00)  # infinity or NaN
    finite = f64(_float_of_bits(bits)) * 5.192296858534828e33  # 2^112
    return f64(_float_of_bits(u32(bits | u32(0x7F800000)))) if special else finite


def _encode_brain(value, like):
    """Round to nearest even by adding just under half of the last place, plus its parity."""
    single = f32(value)
    bits = _bits_of_float(single)
    parity = u32(u32(bits >> u32(16)) & u32(1))
    rounded = u16(u32(u32(bits + u32(u32(0x7FFF) + parity)) >> u32(16)))
    return rounded if single == single else u16(0x7FC0)


def _encode_half(value, like):
    """As F. Giesen's float_to_half_fast3_rtne (2012): add 1/2 to align subnormals, else rebias."""
    bits = _bits_of_float(f32(value))
    sign = u32(u32(bits & u32(0x80000000)) >> u32(16))
    size = u32(bits & u32(0x7FFFFFFF))
    small = u32(_bits_of_float(f32(_float_of_bits(size) + f32(0.5))) - u32(0x3F000000))
    parity = u32(u32(size >> u32(13)) & u32(1))
    normal = u32(u32(size + u32(u32(0xC8000FFF) + parity)) >> u32(13))
    half = small if size < u32(0x38800000) else normal  # below 2^-14 it is subnormal
    half = u32(0x7C00) if size >= u32(0x47800000) else half  # 65536 and more is infinite
    half = u32(0x7E00) if size > u32(0x7F800000) else half
    return types.int16(u16(half | sign))
