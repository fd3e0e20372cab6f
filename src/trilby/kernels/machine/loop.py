"""The loop that runs a kernel: one compiled function, called by every thread that takes part.

A launch is a table of numbers of 64 bits: a head, what the program is told of the whole launch, and
a row for each part of the work. Each thread takes the next row that is left by an atomic addition,
calls the program on it, and returns when no row is left. So a part needs neither the interpreter
nor its lock, and it cannot raise.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .compiler import Kernel

NEXT, SEATS, PARTS, WANTED, PROGRAM, TOLD, ROW, SCRATCH, EACH = range(9)
"""The head: the next row, how many seats are taken, and what does not change.

That is how many rows and how many seats there are, the address of the program, how many bytes it is
told and how many a row has, where scratch memory begins and how many bytes of it are for each seat.
"""
HEAD, WORD = 9, 8  # how many numbers that is, and the bytes of a number


def arguments(told: Sequence[Any], row: int) -> tuple[Any, ...]:
    """The types of the arguments of a program that `threads.spread` runs.

    Args:
        told: the types of what it is told, each of whole numbers of 64 bits.
        row: how many numbers describe a part.

    Returns:
        the types of `told`, `part` and `scratch`: `told[0]` are the values that the program is
        told, `part[0]` is the row, and `scratch` is the address of its scratch memory.
    """
    given, part = types.Tuple(tuple(told)), types.UniTuple(types.int64, row)
    return types.CPointer(given), types.CPointer(part), types.int64


@intrinsic
def _take(context, table, index):
    """table[index] as it was before 1 was added to it, in one step that no thread divides."""

    def generate(context, build, signature, args):
        place = build.gep(args[0], [args[1]])
        return build.atomic_rmw("add", place, ir.Constant(args[1].type, 1), "monotonic")

    return types.int64(table, types.int64), generate


@intrinsic
def _at(context, table):
    """The address of a table."""
    return types.int64(table), lambda _c, build, _s, args: build.ptrtoint(args[0], ir.IntType(64))


@intrinsic
def _call(context, program, told, row, scratch):
    """Call the program at an address."""

    def generate(context, build, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [arg.type for arg in args[1:]])
        build.call(build.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


def _run(table):
    """Take a seat, then rows until none is left."""
    seat = _take(table, SEATS)
    if seat < table[WANTED]:  # or torch has more threads than are wanted
        told = _at(table) + HEAD * WORD
        rows = told + table[TOLD]
        scratch = table[SCRATCH] + seat * table[EACH]
        row = _take(table, NEXT)
        while row < table[PARTS]:
            _call(table[PROGRAM], told, rows + row * table[ROW], scratch)
            row = _take(table, NEXT)


_LOOP = Kernel(_run, lambda number: (types.CPointer(number),))


def program():
    """The loop, compiled once for the library: it does not depend on what it runs."""
    return _LOOP.of(types.int64)
