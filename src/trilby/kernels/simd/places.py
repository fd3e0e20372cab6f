"""Memory with names and true lengths: rows of tensors, places of scratch memory, records.

An array made here owns nothing and costs nothing: it is an address and a length. Making a numpy
array of a tensor, and taking it apart again in compiled code, costs microseconds for each argument.
"""

from collections.abc import Sequence

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

GAP = 16  # numbers between two places, so that a write beyond one of them can be seen


@intrinsic
def row(context, address, like, at, n):
    """The n numbers from element `at` on behind an address, as an array of the type of `like`."""
    kind = types.Array(like, 1, "C")

    def generate(context, build, signature, args):
        data = build.inttoptr(args[0], context.get_data_type(like).as_pointer())
        return _array(context, build, kind, build.gep(data, [args[2]]), args[3])

    return kind(types.int64, like, types.int64, types.int64), generate


@intrinsic
def laid(context, address, like, sizes):
    """Scratch memory from an address on, as one array for each name of the NamedTuple `sizes`."""
    kind = types.Array(like, 1, "C")
    places = types.NamedUniTuple(kind, sizes.count, sizes.instance_class)

    def generate(context, build, signature, args):
        data = build.inttoptr(args[0], context.get_data_type(like).as_pointer())
        found = []
        for i in range(sizes.count):
            size = build.extract_value(args[2], i)
            found.append(_array(context, build, kind, data, size))
            data = build.gep(data, [_after(build, size)])
        return context.make_tuple(build, places, found)

    return places(types.int64, like, sizes), generate


def _after(build, size):
    """How far behind the beginning of a place the next one begins: whole gaps, at least one."""
    gap = ir.Constant(size.type, GAP)
    return build.mul(build.add(build.udiv(build.add(size, ir.Constant(size.type, GAP - 1)), gap),
                               ir.Constant(size.type, 1)), gap)  # fmt: skip


def gaps(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Where the memory between the places begins and ends; the last end is the size of it all.

    >>> gaps([5, 16])
    [(5, 32), (48, 64)]
    """
    found, at = [], 0
    for size in sizes:
        end = at + (-(-size // GAP) + 1) * GAP
        found.append((at + size, end))
        at = end
    return found


@intrinsic
def write(context, line, index, record):
    """Write a NamedTuple of numbers as the record number `index` of a line."""

    def generate(context, build, signature, args):
        kind, _, fields = signature.args
        data = make_array(kind)(context, build, args[0]).data
        at = build.mul(args[1], ir.Constant(args[1].type, fields.count))
        for i in range(fields.count):
            value = build.extract_value(args[2], i)
            value = context.cast(build, value, fields[i], kind.dtype)
            build.store(value, build.gep(data, [build.add(at, ir.Constant(at.type, i))]))
        return context.get_dummy_value()

    return types.void(line, types.int64, record), generate


@intrinsic
def read(context, line, index, names):
    """The record number `index` of a line, with the names of the NamedTuple class `names`."""
    fields = names.instance_class._fields
    record = types.NamedUniTuple(line.dtype, len(fields), names.instance_class)

    def generate(context, build, signature, args):
        data = make_array(signature.args[0])(context, build, args[0]).data
        at = build.mul(args[1], ir.Constant(args[1].type, len(fields)))
        found = [
            build.load(build.gep(data, [build.add(at, ir.Constant(at.type, i))]))
            for i in range(len(fields))
        ]
        return context.make_tuple(build, record, found)

    return record(line, types.int64, names), generate


def _array(context, build, kind, data, length):
    """The array of so many elements that begins at an address."""
    array = make_array(kind)(context, build)
    size = ir.Constant(
        context.get_value_type(types.intp),
        context.get_abi_sizeof(context.get_data_type(kind.dtype)),
    )
    populate_array(
        array,
        data=data,
        shape=cgutils.pack_array(build, [length]),
        strides=cgutils.pack_array(build, [size]),
        itemsize=size,
        meminfo=None,
    )
    return array._getvalue()
