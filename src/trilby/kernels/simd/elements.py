"""How elements travel between memory and float64: one source for four dtypes, one or many at once.

numba knows neither bfloat16 nor float16 on a CPU, so both travel as their bits: bfloat16 as
uint16, float16 as int16, and the type picks the conversion when a kernel is compiled. The
conversions have no branches: the same instructions do one number, or a vector of them. Of float16
the processor converts itself where it can (F16C, and so do all with AVX2).
"""

from functools import cache

import llvmlite.binding as llvm
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numba.np.arrayobj import make_array
from torch import Tensor

F64, F32, F16 = ir.DoubleType(), ir.FloatType(), ir.HalfType()
I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))

ELEMENT = {
    torch.float64: types.float64,
    torch.float32: types.float32,
    torch.bfloat16: types.uint16,
    torch.float16: types.int16,
}
"""torch dtype -> the numba type of its elements in a flat array."""

_BITS = {torch.bfloat16: torch.uint16, torch.float16: torch.int16}


@cache
def features() -> frozenset[str]:
    """What the processor can that numba compiles for, in the words of LLVM."""
    said = config.CPU_FEATURES
    if said is not None:
        return frozenset(word[1:] for word in said.split(",") if word.startswith("+"))
    return frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)


def flat(tensor: Tensor) -> np.ndarray:
    """All memory between the first and the last element as one array, to be read by strides.

    >>> flat(torch.tensor([[1.0, 2.0], [3.0, 4.0]])[:, 1]).tolist()
    [2.0, 3.0, 4.0]
    """
    span = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    line = tensor.detach().as_strided((span,), (1,))
    return line.view(_BITS.get(tensor.dtype, tensor.dtype)).numpy()


@intrinsic
def decode(context, element):
    """The float64 value of one element, exact."""
    return types.float64(element), lambda _c, build, _s, args: decoded(build, element, args[0])


@intrinsic
def encode(context, value, like):
    """The element nearest to a float64 value, in the type of `like`; ties to even, NaN kept."""
    return like(types.float64, like), lambda _c, build, _s, args: encoded(build, like, args[0])


@intrinsic
def divide(context, value, n, reciprocal, like):
    """value / n; where the dtype of `like` is coarser than float64, value * reciprocal."""

    def generate(_context, build, _signature, args):
        value, n, reciprocal, _ = args
        exact = like == types.float64
        return build.fdiv(value, n) if exact else build.fmul(value, reciprocal)

    return types.float64(types.float64, types.float64, types.float64, like), generate


def beginning(context, build, line, value):
    """Where line[0] stands in memory; a line is an array or a pointer."""
    if isinstance(line, types.CPointer):
        return value
    return make_array(line)(context, build, value).data


@intrinsic
def prefetch(context, line, index):
    """Ask for the memory around line[index] before it is needed; never faults, gives nothing."""

    def generate(context, build, signature, args):
        data = beginning(context, build, line, args[0])
        byte = I8.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        prefetch = cgutils.get_or_insert_function(build.module, kind, "llvm.prefetch.p0")
        place = build.bitcast(build.gep(data, [args[1]]), byte)
        build.call(prefetch, [place, I32(0), I32(3), I32(1)])  # to read, keep, data
        return context.get_dummy_value()

    return types.void(line, types.int64), generate


def decoded(build, element, raw):
    """Instructions from elements to their float64 values; raw is one element, or a vector."""
    if element == types.float64:
        return raw
    if element == types.float32:
        return build.fpext(raw, alike(raw, F64))
    bits = build.zext(raw, alike(raw, I32))
    if element == types.uint16:  # bfloat16 is the upper half of float32
        bits = build.shl(bits, filled(raw, I32, 16))
        return build.fpext(build.bitcast(bits, alike(raw, F32)), alike(raw, F64))
    if "f16c" in features():
        half = build.bitcast(raw, alike(raw, F16))
        return build.fpext(build.fpext(half, alike(raw, F32)), alike(raw, F64))
    return _of_half(build, raw, bits)


def encoded(build, element, value):
    """Instructions from float64 values to the nearest elements."""
    if element == types.float64:
        return value
    single = build.fptrunc(value, alike(value, F32))
    if element == types.float32:
        return single
    if element == types.int16 and "f16c" in features():
        return build.bitcast(build.fptrunc(single, alike(value, F16)), alike(value, I16))
    bits = build.bitcast(single, alike(value, I32))
    if element == types.int16:
        return build.trunc(_to_half(build, bits), alike(value, I16))
    # To nearest even by adding just under half of the last place, plus its parity.
    parity = build.and_(build.lshr(bits, filled(bits, I32, 16)), filled(bits, I32, 1))
    rounded = build.add(bits, build.add(parity, filled(bits, I32, 0x7FFF)))
    rounded = build.trunc(build.lshr(rounded, filled(bits, I32, 16)), alike(bits, I16))
    number = build.fcmp_ordered("ord", single, single)
    return build.select(number, rounded, filled(bits, I16, 0x7FC0))


def alike(value, element):
    """The type of as many elements as the value has."""
    kind = value.type
    return ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element


def filled(value, element, constant):
    """A constant, as often as the value has elements."""
    kind = alike(value, element)
    one = element(constant)
    return one if kind == element else ir.Constant(kind, [one] * kind.count)


def _of_half(build, raw, bits):
    """Bits moved into place, then the exponent mended by 2^112, which mends subnormals too."""
    size = build.shl(build.and_(bits, filled(raw, I32, 0x7FFF)), filled(raw, I32, 13))
    sign = build.shl(build.and_(bits, filled(raw, I32, 0x8000)), filled(raw, I32, 16))
    moved, full = build.or_(size, sign), filled(raw, I32, 0x7C00)
    special = build.icmp_unsigned("==", build.and_(bits, full), full)  # infinity or NaN
    kept = build.bitcast(build.or_(moved, filled(raw, I32, 0x7F800000)), alike(raw, F32))
    finite = build.fpext(build.bitcast(moved, alike(raw, F32)), alike(raw, F64))
    finite = build.fmul(finite, filled(raw, F64, 2.0**112))
    return build.select(special, build.fpext(kept, alike(raw, F64)), finite)


def _to_half(build, bits):
    """As F. Giesen's float_to_half_fast3_rtne (2012): add 1/2 to align subnormals, else rebias."""
    sign = build.lshr(build.and_(bits, filled(bits, I32, 0x80000000)), filled(bits, I32, 16))
    size = build.and_(bits, filled(bits, I32, 0x7FFFFFFF))
    small = build.fadd(build.bitcast(size, alike(bits, F32)), filled(bits, F32, 0.5))
    small = build.sub(build.bitcast(small, alike(bits, I32)), filled(bits, I32, 0x3F000000))
    parity = build.and_(build.lshr(size, filled(bits, I32, 13)), filled(bits, I32, 1))
    normal = build.add(size, build.add(parity, filled(bits, I32, 0xC8000FFF)))
    normal = build.lshr(normal, filled(bits, I32, 13))

    def from_on(least, there, here):
        return build.select(build.icmp_unsigned(">=", size, filled(bits, I32, least)), there, here)

    half = from_on(0x38800000, normal, small)  # below 2^-14 it is subnormal
    half = from_on(0x47800000, filled(bits, I32, 0x7C00), half)  # 65536 and more is infinite
    half = from_on(0x7F800001, filled(bits, I32, 0x7E00), half)
    return build.or_(half, sign)
