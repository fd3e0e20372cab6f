"""Memory with names: rows of tensors, places of scratch memory, records.

A place is a pointer: `place[i]` is a number, and `load(place, i, 2)` is a vector of two registers.
One declaration gives the size of each place; `gaps` says where the memory between them must stay
untouched, and tests look at it. An array of numba would be seven numbers instead of one: handing
tuples of arrays from function to function doubles the time of compiling.
"""

from collections.abc import Sequence

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .elements import beginning

GAP = 16  # numbers between two places, so that a write beyond one of them can be seen


@intrinsic
def row(context, address, like, at):
    """A pointer to element `at` behind an address, where elements of the type of `like` stand."""
    kind = types.CPointer(like)

    def generate(context, build, signature, args):
        data = build.inttoptr(args[0], context.get_value_type(kind))
        return build.gep(data, [args[2]])

    return kind(types.int64, like, types.int64), generate


@intrinsic
def skip(context, line, n):
    """A pointer to element n of a line: skip(line, n)[i] is line[n + i]."""
    return line(line, types.int64), lambda _c, build, _s, args: build.gep(args[0], [args[1]])


@intrinsic
def numbers(context, line, like):
    """A pointer to the same memory whose numbers are of the type that `like` has."""

    def generate(context, build, signature, args):
        return build.bitcast(args[0], context.get_value_type(like))

    return like(line, like), generate


@intrinsic
def laid(context, address, like, starts, names):
    """Scratch memory from an address on: a pointer for each name of the NamedTuple `names`."""
    kind = types.CPointer(like)
    places = types.NamedUniTuple(kind, starts.count, names.instance_class)

    def generate(context, build, signature, args):
        data = build.inttoptr(args[0], context.get_value_type(kind))
        found = [build.gep(data, [build.extract_value(args[2], i)]) for i in range(starts.count)]
        return context.make_tuple(build, places, found)

    return places(types.int64, like, starts, names), generate


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
        data = beginning(context, build, kind, args[0])
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
        data = beginning(context, build, line, args[0])
        at = build.mul(args[1], ir.Constant(args[1].type, len(fields)))
        found = [
            build.load(build.gep(data, [build.add(at, ir.Constant(at.type, i))]))
            for i in range(len(fields))
        ]
        return context.make_tuple(build, record, found)

    return record(line, types.int64, names), generate
