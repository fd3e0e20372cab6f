"""Memory by its address: for a kernel of many tensors, arrays that cost nothing to hand over.

Making a numpy array of a tensor, and taking it apart again in compiled code, costs microseconds for
each argument; an address and its strides are plain numbers.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

_FAR = 1 << 40  # elements; a slice is cut at the length of its array, and this one is never reached


@intrinsic
def line(context, address, like):
    """All memory from an address on as one array of elements like `like`; it owns nothing."""
    kind = types.Array(like, 1, "C")

    def generate(context, build, signature, args):
        array = make_array(kind)(context, build)
        word = context.get_value_type(types.intp)
        size = context.get_abi_sizeof(context.get_data_type(like))
        data = build.inttoptr(args[0], context.get_data_type(like).as_pointer())
        populate_array(
            array,
            data=data,
            shape=cgutils.pack_array(build, [ir.Constant(word, _FAR)]),
            strides=cgutils.pack_array(build, [ir.Constant(word, size)]),
            itemsize=ir.Constant(word, size),
            meminfo=None,
        )
        return array._getvalue()

    return kind(types.int64, like), generate
