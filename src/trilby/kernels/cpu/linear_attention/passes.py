"""The program of linear attention: one pass over the positions, there or back.

A pass writes x_t w_t^T into a memory and reads it as y_t = s_t^T z_t. There are four of them:
the outputs, and the gradients of q, of v and of k, the last two from the end to the beginning. The
first two keep the sum of the keys beside the memory and divide by what the query reads of it.
"""

from functools import partial
from typing import NamedTuple

from numba.extending import register_jitable

from ...machine.compiler import INNER, Kernel, inner
from ...simd.places import laid, skip
from ...simd.vector import load, store, sum_lanes, zeros
from ..recurrence.record import (
    RESULT,
    along,
    blocks,
    down,
    record,
    scratch,
    single,
    state,
)
from ..recurrence.sequences import (
    Piece,
    Size,
    blank,
    chunk_of,
    fetch_rows,
    fetch_state,
    pack_rows,
    pack_state,
    shape_of,
)
from .walks import (
    CHUNK,
    EIGHT,
    HELD,
    Columns,
    Rows,
    alone,
    bring,
    reads,
    shares,
    take,
    triangles,
    writes,
)

OUTPUT, OF_Q, OF_V, OF_K = range(4)
"""Which pass."""
PLAIN = 4  # is added where nothing is divided


class Pass(NamedTuple):
    """What the program works with."""

    x: down()
    w: along()
    z: down()
    q: along()  # the queries, where w are the keys
    begins: single()  # not 0 where a document begins
    ratio: single()  # 1 / normaliser: the gradient of q leaves it to the other two
    turn: single()  # the gradient of the normaliser, likewise
    start: state()
    end: state()
    sums: state()  # the keys so far, in the first column; back: their gradient
    sums_end: state()
    y: along(RESULT)
    state: blocks()
    row: scratch(lambda span, size, shape: max(shape.height, shape.width))  # of the sums
    scores: scratch(lambda span, size, shape: span * EIGHT)


@register_jitable(**INNER)
def span_of(T):
    """How many positions a chunk has at most."""
    return min(CHUNK, (T + EIGHT - 1) // EIGHT * EIGHT)


pass_places, pass_parts, pass_signature = record(Pass, span_of)


@partial(Kernel, signature=pass_signature)
def PASS(told, part, address):
    tensors, sizes, starts, way, kinds = told[0]
    size, piece = Size(*sizes), Piece(*part[0])
    place, shape = laid(address, kinds[2], starts, Pass), shape_of(size, piece)
    together = size.heads // size.groups  # heads that add up in one result
    for item in range(piece.first, piece.end):
        b, first = item // size.groups, item % size.groups * together
        for h in range(first, first + together):
            head(pass_parts(kinds, tensors, size, shape, b, h), place, shape, size.T, way)


@inner()
def head(at, place, shape, T, way):
    """All positions of one head."""
    n = summed_of(shape, way % PLAIN)
    blank(place.row, 0, max(shape.height, shape.width))
    for j in range(n):
        place.row[j] = at.sums.line[j * at.sums.row]
    straight = vectors(at.start, shape) and vectors(at.end, shape)
    if T == 1 and way % PLAIN == OUTPUT and straight and at.begins.line[0] == 0:
        chunk = chunk_of(0, 1, T, EIGHT, False)
        fetch(at, place, shape, chunk, way)
        ratios(place, shape, chunk, way)
        for c in range(shape.blocks):
            alone(at.start, at.end, place, shape, c)
        pack_rows(at.y, place.y, chunk)
    else:
        several(at, place, shape, T, way, n)
    if shape.left == 0:
        for j in range(n):
            at.sums_end.line[j * at.sums_end.row] = place.row[j]


@inner()
def several(at, place, shape, T, way, n):
    """The positions of one head, chunk by chunk."""
    back, begin, span = way % PLAIN >= OF_V, 0, span_of(T)
    if vectors(at.start, shape):
        bring(place.state, at.start, shape)
    else:
        fetch_state(place.state, at.start, shape)
    while begin < T:
        if renewed(at.begins, begin, T, back):
            empty(place, shape, n)
        many = stretch(at.begins, begin, span, T, back)
        chunk = chunk_of(begin, many, T, EIGHT, back)
        fetch(at, place, shape, chunk, way)
        triangles(place, shape, chunk.whole)
        ratios(place, shape, chunk, way)
        for c in range(shape.blocks):
            for side in range(0, shape.lanes, shape.lanes // 2 * HELD):
                walk(place, shape, chunk.whole, c, side)
        finish(at, place, shape, chunk, way)
        pack_rows(at.y, place.y, chunk)
        begin += many
    if back and T > 0 and at.begins.line[0] != 0:
        empty(place, shape, n)
    if way % PLAIN in (OF_Q, OF_K):
        return  # the state at the end of these passes is used nowhere
    if vectors(at.end, shape):
        take(at.end, place.state, shape)
    else:
        pack_state(at.end, place.state, shape, 1.0)


@inner()
def vectors(state, shape):
    """Whether the rows of a state are whole vectors, side by side in memory."""
    return shape.columns == shape.width and state.step == 1


@inner()
def summed_of(shape, way):
    """How many numbers the sum of the keys has, or its gradient; the gradient of v has none."""
    if way == OF_V:
        return 0
    return shape.rows if way == OUTPUT else shape.columns


@inner()
def empty(place, shape, n):
    """Nothing passes from one document to the next."""
    blank(place.state, 0, shape.rows * shape.width)
    blank(place.row, 0, n)


@inner()
def renewed(begins, i, T, back):
    """Whether a document begins between position number i, as visited, and the one before."""
    if back:
        return i > 0 and begins.line[(T - i) * begins.time] != 0
    return begins.line[i * begins.time] != 0


@inner()
def stretch(begins, begin, span, T, back):
    """How many positions from number `begin` on are of one document, at most `span`."""
    n = 1
    while n < span and begin + n < T and not renewed(begins, begin + n, T, back):
        n += 1
    return n


@inner()
def walk(place, shape, whole, c, side):
    """A chunk of positions in one block of columns, or in the part of it from `side` on."""
    state = skip(place.state, c * shape.block + side)
    for i in range(0, whole, EIGHT):
        at, down = i * shape.width + c * shape.lanes + side, i * shape.height
        z = Rows(skip(place.z, down), shape.rows, shape.height)
        x = Rows(skip(place.x, down), shape.rows, shape.height)
        w, y = Columns(place.w, at, shape.width), Columns(place.y, at, shape.width)
        reads(state, shape.lanes, z, y)
        shares(skip(place.scores, i * EIGHT), skip(place.ratio, i), w, y)
        writes(state, shape.lanes, x, w)


@inner()
def fetch(at, place, shape, chunk, way):
    """The sequences of a chunk; on the way back x is divided already."""
    fetch_rows(place.x, at.x, chunk)
    fetch_rows(place.z, at.z, chunk)
    fetch_rows(place.w, at.w, chunk)
    if way == OF_Q:
        fetch_rows(place.q, at.q, chunk)
    if way in (OF_V, OF_K):
        for i in range(chunk.many):
            t = chunk.first + i * chunk.step
            ratio = at.ratio.line[t * at.ratio.time]
            place.turn[i] = at.turn.line[t * at.turn.time]
            for j in range(i * shape.height, (i + 1) * shape.height):
                place.x[j] *= ratio


@inner()
def ratios(place, shape, chunk, way):
    """What the outputs are multiplied by: 1 over the normaliser, or 1."""
    for i in range(chunk.whole):
        place.ratio[i] = 1.0
        if way % PLAIN == OUTPUT and i < chunk.many:
            x, z = skip(place.x, i * shape.height), skip(place.z, i * shape.height)
            s = summed(place.row, x, z, 1.0, shape.height, shape.lanes)
            if way == OUTPUT:
                place.ratio[i] = 1 / s if s != 0 else 0.0


@inner()
def finish(at, place, shape, chunk, way):
    """What the sums of keys have to do with gradients."""
    L = shape.lanes
    for i in range(chunk.many):
        t, side = chunk.first + i * chunk.step, i * shape.width
        if way == OF_Q:
            w, q, y = skip(place.w, side), skip(place.q, side), skip(place.y, side)
            s = summed(place.row, w, q, 1.0, shape.width, L)
            ratio = 1 / s if s != 0 else 0.0
            turn = turned(place.row, q, y, ratio, shape.width, L)
            at.ratio.line[t * at.ratio.time] = ratio
            at.turn.line[t * at.turn.time] = turn
        elif way % PLAIN == OF_K:
            turn, q, y = place.turn[i], skip(place.w, side), skip(place.y, side)
            if way == OF_K:
                summed(place.row, q, q, turn, shape.width, L)
            for j in range(0, shape.width, L):
                store(y, j, load(y, j, 2) + load(place.row, j, 2))


@inner()
def summed(row, k, q, by, n, lanes):
    """row += by k, and its product with q."""
    sums = zeros(row, 2)
    for j in range(0, n, lanes):
        now = load(row, j, 2) + by * load(k, j, 2)
        sums += now * load(q, j, 2)
        store(row, j, now)
    return sum_lanes(sums)


@inner()
def turned(row, q, y, ratio, n, lanes):
    """y, what the gradient reads of the memory, into the gradient of q; that of the normaliser."""
    read = zeros(row, 2)
    for j in range(0, n, lanes):
        now = ratio * load(y, j, 2)
        read += now * load(q, j, 2)
        store(y, j, now)
    turn = -sum_lanes(read) * ratio
    for j in range(0, n, lanes):
        store(y, j, load(y, j, 2) + turn * load(row, j, 2))
    return turn
