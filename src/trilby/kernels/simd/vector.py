"""Vectors in registers: a numba type that LLVM keeps as one vector, and what can be done with it.

numba's own vectoriser gives up once a loop touches more than about three arrays, and an array never
lives in a register. A value of this type does. LLVM cuts a vector that is wider than a register of
the machine into several, and into scalars where there are none, so the same source runs anywhere.

`*`, `+`, `-`, `/` and their `+=` forms work lane by lane. A number beside a vector is broadcast.
The instructions carry the flag "contract", so the compiler makes one fused instruction of
`a * b + c`.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core.datamodel import PrimitiveModel
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, register_model

from .elements import F32, F64, I32, beginning, features

_KINDS = {types.float32: F32, types.float64: F64}


def _register_bytes() -> int:
    """How wide a register is on the machine that numba compiles for."""
    return 64 if "avx512f" in features() else 32 if "avx" in features() else 16


REGISTER = _register_bytes()


def lanes(element: types.Float, registers: int) -> int:
    """How many numbers stand side by side in so many registers."""
    return registers * REGISTER // (element.bitwidth // 8)


class Vector(types.Type):
    """So many numbers of one kind, side by side."""

    def __init__(self, element: types.Float, n: int):
        self.element, self.n = element, n
        super().__init__(f"vector({element} x {n})")


@register_model(Vector)
class _Model(PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.VectorType(_KINDS[kind.element], kind.n))


def address(context, build, line, value, index, n):
    """Where line[index] stands in memory, as a place for n elements of the line."""
    data = beginning(context, build, line, value)
    many = ir.VectorType(context.get_data_type(line.dtype), n)
    return build.bitcast(build.gep(data, [index]), many.as_pointer())


def shuffled(build, one, other, order):
    """The lanes of two vectors, one behind the other, that `order` names."""
    mask = [I32(i) for i in order]
    return build.shuffle_vector(one, other, ir.Constant(ir.VectorType(I32, len(mask)), mask))


def everywhere(build, number, n):
    """A number in each of n lanes."""
    kind = ir.VectorType(number.type, n)
    first = build.insert_element(ir.Constant(kind, ir.Undefined), number, I32(0))
    return shuffled(build, first, first, [0] * n)


@intrinsic(prefer_literal=True)
def load(context, line, index, registers):
    """The vector that begins at line[index], so many registers wide."""
    kind = Vector(line.dtype, lanes(line.dtype, registers.literal_value))

    def generate(context, build, signature, args):
        place = address(context, build, signature.args[0], args[0], args[1], kind.n)
        return build.load(place, align=kind.element.bitwidth // 8)

    return kind(line, types.int64, registers), generate


@intrinsic
def store(context, line, index, vector):
    """Write a vector to line[index] and after it."""

    def generate(context, build, signature, args):
        place = address(context, build, signature.args[0], args[0], args[1], vector.n)
        build.store(args[2], place, align=vector.element.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(line, types.int64, vector), generate


@intrinsic(prefer_literal=True)
def zeros(context, line, registers):
    """A vector of zeros, of the numbers that the line has."""
    kind = Vector(line.dtype, lanes(line.dtype, registers.literal_value))
    return kind(line, registers), lambda c, _b, _s, _a: c.get_constant_null(kind)


def _operator(op, instruction):
    """Let numba compile `vector op vector`, `vector op number` and `number op vector`."""

    @infer_global(op)
    class _Typed(AbstractTemplate):
        def generic(self, args, _kws):
            kinds = [kind for kind in args if isinstance(kind, Vector)]
            if len(args) != 2 or not kinds or (len(kinds) == 2 and kinds[0] != kinds[1]):
                return None
            if not all(isinstance(kind, Vector | types.Float) for kind in args):
                return None
            wanted = [k if isinstance(k, Vector) else kinds[0].element for k in args]
            return signature(kinds[0], *wanted)

    def lower(_context, build, sig, args):
        n = sig.return_type.n
        both = [
            value if isinstance(kind, Vector) else everywhere(build, value, n)
            for value, kind in zip(args, sig.args, strict=True)
        ]
        return getattr(build, instruction)(*both, flags=("contract",))

    for pair in ((Vector, Vector), (Vector, types.Float), (types.Float, Vector)):
        lower_builtin(op, *pair)(lower)


for _word, _instruction in (
    ("mul", "fmul"), ("add", "fadd"), ("sub", "fsub"), ("truediv", "fdiv"),
):  # fmt: skip
    _operator(getattr(operator, _word), _instruction)
    _operator(getattr(operator, f"i{_word}"), _instruction)


def _fma(context, build, vector, args):
    kind = context.get_value_type(vector)
    short = "f32" if vector.element == types.float32 else "f64"
    name = f"llvm.fmuladd.v{vector.n}{short}"
    function = build.module.globals.get(name) or ir.Function(
        build.module, ir.FunctionType(kind, [kind] * 3), name
    )
    return build.call(function, args)


@intrinsic
def fma(context, one, other, more):
    """one * other + more, rounded once where the machine can do that."""

    def generate(context, build, signature, args):
        return _fma(context, build, one, args)

    return one(one, other, more), generate


@intrinsic
def missed(context, one, other, got):
    """one * other - got, rounded once where the machine can do that: what `got` lacks of it."""

    def generate(context, build, signature, args):
        return _fma(context, build, one, (args[0], args[1], build.fneg(args[2])))

    return one(one, other, got), generate


def _choice(name, relation, words):
    """A function of four vectors or numbers: the third where the first two are so related."""

    def choose(context, one, other, yes, no):
        kinds = one, other, yes, no
        found = next((kind for kind in kinds if isinstance(kind, Vector)), None)
        if found is None:
            return None

        def generate(_context, build, signature, args):
            a, b, yes, no = (
                value if isinstance(kind, Vector) else everywhere(build, value, found.n)
                for value, kind in zip(args, signature.args, strict=True)
            )
            return build.select(build.fcmp_ordered(relation, a, b), yes, no)

        return found(*(k if isinstance(k, Vector) else found.element for k in kinds)), generate

    choose.__name__, choose.__doc__ = name, words
    return intrinsic(choose)


where_above = _choice("where_above", ">", "yes where one > other, else no; of NaN it is no.")
where_equal = _choice("where_equal", "==", "yes where one == other, else no; of NaN it is no.")


@intrinsic
def sum_lanes(context, vector):
    """The sum of the lanes, added up in halves."""

    def generate(context, build, signature, args):
        value, n = args[0], vector.n
        while n > 1:
            n //= 2
            low, high = (shuffled(build, value, value, range(i, i + n)) for i in (0, n))
            value = build.fadd(low, high)
        return build.extract_element(value, I32(0))

    return vector.element(vector), generate


@intrinsic
def as_type(context, number, like):
    """A number in the type of another."""

    def generate(context, build, signature, args):
        return context.cast(build, args[0], number, like)

    return like(number, like), generate
