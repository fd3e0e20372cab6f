"""Convolution: a short causal filter for each channel, with a bias and silu if asked.

Definition, for one channel, with W numbers in its kernel. x_s before the first position is the
state, or 0::

    z_t = kernel_0 x_{t-W+1} + ... + kernel_{W-1} x_t + bias
    y_t = z_t                                or  z_t sigmoid(z_t) with silu=True

As a triangle `y = wei @ x + carried`: a band of W diagonals. For T = 4, W = 3, kernel k::

    k2
    k1   k2
    k0   k1   k2
         k0   k1   k2

With `silu=True` each row is multiplied by sigmoid(z_t), which depends on x. So the sentence stays
true, and the rows divided by these are the band again. The bias is carried, with silu times
sigmoid(z_t) as well.

Contract (all forms take and return exactly this)::

    x          [B, T, C]    float64, float32, bfloat16 or float16; any strides, any size, 0 too
    kernel     [C, W]       W >= 1; its last column belongs to the position itself
    bias       [C] or None
    state      [B, W-1, C]  the last W - 1 inputs, in the dtype of x; default zero
    documents  [B, T]       int64 or int32 ids that never decrease; nothing passes between them
    silu       False or True
    ->         y [B, T, C] in the dtype of x, state

The kernel and the bias may stay float32 beside halves. A piece may be shorter than the kernel, and
as short as one position: its state still has W - 1 inputs, older ones from the state before it.
With W = 1 the state is empty. The state belongs to the first document of a row when a call begins,
and to the last one when it ends: inputs of earlier documents are zeros in it. Two calls joined by
the state equal one call, to the bit in `loop`, `step` and `fused`.

Everything is computed in float32, and in float64 for float64, and y is rounded once. Autocast has
no effect. NaN and infinity in x reach their own position and the W - 1 after it, in their row,
channel and document; in `matrix` they reach all positions and documents of their row and channel.

Reading order: loop, matrix, chunk, step, shard, fused, weights. Source: Dauphin et al., "Language
modeling with gated convolutional networks" (2017), arXiv:1612.08083; in front of a scan, Gu and
Dao, "Mamba" (2023), arXiv:2312.00752. Also known as causal-conv1d, short convolution; with heads of
its own the shift of H3 and Hyena.
"""

import torch
from torch import Tensor
from torch.nn.functional import silu as activated

from ..algebra import firsts
from ..card import Mixer, Weights
from ..comm import Piece, shared
from ..contract import SAME, Contract
from ..errors import FormError, ShapeError
from ..kernels import ops
from ..shapes import chunk_size, unmixed
from ..sharding import Group
from ..state import wide

State = Tensor
"""The last W - 1 inputs, the latest one last: [B, W-1, C] in the dtype of x."""

CONTRACT = Contract(
    "conv", x="B T C", kernel="C W", bias=("C", None), silu=bool,
    state=dict(state=("B W-1 C", SAME)),
)  # fmt: skip


def loop(
    x: Tensor, kernel: Tensor, bias: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None, *, silu: bool = False,
) -> tuple[Tensor, State]:  # fmt: skip
    """The definition, one position after the other.

    Args:
        x: [B, T, C] the sequence, floating point.
        kernel: [C, W], for each channel the weights of the last W inputs, the latest one last.
        bias: [C], added to every position; None is zero.
        state: [B, W-1, C] of an earlier call, its last inputs; None is zero.
        documents: [B, T] ids that never decrease; a new id is a new past of zeros. None is one
            document for each row.
        silu: whether z sigmoid(z) is returned in place of z.

    Returns:
        y: [B, T, C], in the dtype of x.
        state: [B, W-1, C], the last inputs of the last document; pass it to the next call.

    Raises:
        ShapeError, DtypeError, DocumentError: one line that names the argument and what to do.

    Cost: time O(B T C W), memory O(B W C) beyond the output, T steps in sequence.
    Numerics: float32, or float64 for float64; y is rounded once to the dtype of x.

    >>> x = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> y, state = loop(x, torch.tensor([[10.0, 1.0]]))
    >>> y.flatten().tolist()  # 1, 10 + 2, 20 + 3
    [1.0, 12.0, 23.0]
    >>> loop(x, torch.tensor([[10.0, 1.0]]), state=state)[0].flatten().tolist()  # 30 + 1, ...
    [31.0, 12.0, 23.0]
    >>> loop(x, torch.tensor([[10.0, 1.0]]), documents=torch.tensor([[0, 0, 1]]))[0].tolist()
    [[[1.0], [12.0], [3.0]]]
    """
    window, taps, lift, new = _start("conv.loop", x, kernel, bias, state, documents)
    y = []
    for t in range(x.shape[1]):
        if new is not None:
            window = window.masked_fill(new[:, t, None, None], 0)
        taken = torch.cat([window, x[:, t : t + 1]], 1)  # [B, W, C]
        z = (taken.to(taps.dtype) * taps).sum(1)
        y.append(z if lift is None else z + lift)
        window = taken[:, 1:]
    if not y:
        return x.clone(), window
    whole = torch.stack(y, 1)
    return (activated(whole) if silu else whole).to(x.dtype), window


def matrix(
    x: Tensor, kernel: Tensor, bias: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None, *, silu: bool = False,
) -> tuple[Tensor, State]:  # fmt: skip
    """The band of each channel as a T x T triangle, and its product with x.

    Cost: time O(B T^2 C), memory O(C T^2); B times that with documents.
    """
    window, taps, lift, new = _start("conv.matrix", x, kernel, bias, state, documents)
    if not x.shape[1]:
        return x.clone(), window
    low = None if new is None else _low(new, len(taps))
    band = _band(taps, low, x)  # [B or 1, C, T, W - 1 + T]
    given = torch.cat([window, x], 1)
    with unmixed(x):
        z = torch.einsum("bcts,bsc->btc", band.expand(len(x), -1, -1, -1), given.to(taps.dtype))
    z = z if lift is None else z + lift
    return (activated(z) if silu else z).to(x.dtype), _last(given, low, len(taps))


def chunk(
    x: Tensor, kernel: Tensor, bias: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None, *,
    silu: bool = False, size: int = 1024,
) -> tuple[Tensor, State]:  # fmt: skip
    """W shifted products of `size` positions at a time; the last inputs are passed on.

    Cost: time O(B T C W), memory O(B size C) beyond the output, T / size steps.
    """
    window, taps, lift, new = _start("conv.chunk", x, kernel, bias, state, documents)
    chunk_size("conv.chunk", size)
    y, W = [x[:, :0]], len(taps)
    low = None if new is None else _low(new, W)
    for start in range(0, x.shape[1], size):
        part = x[:, start : start + size]
        n, given = part.shape[1], torch.cat([window, part], 1)
        z = torch.zeros_like(part, dtype=taps.dtype)
        for j in range(W):
            taken = given[:, j : j + n]
            if low is not None:
                taken = taken.masked_fill((low[:, start : start + n] > j)[..., None], 0)
            z = z + taken.to(taps.dtype) * taps[j]
        z = z if lift is None else z + lift
        y.append((activated(z) if silu else z).to(x.dtype))
        window = _last(given, None if low is None else low[:, : start + n + 1], W)
    return torch.cat(y, 1), window


def step(
    x: Tensor, kernel: Tensor, bias: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None, *, silu: bool = False,
) -> tuple[Tensor, State]:  # fmt: skip
    """One position at a time, as a stream delivers them: multiply, add up, drop the oldest.

    Cost: time O(C W) and memory O(C W) for each position and row.
    """
    window, taps, lift, new = _start("conv.step", x, kernel, bias, state, documents)
    past, y = list(window.unbind(1)), []
    for t, now in enumerate(x.unbind(1)):  # [B, C]
        if new is not None:
            past = [one.masked_fill(new[:, t, None], 0) for one in past]
        past.append(now)
        z = past[0].to(taps.dtype) * taps[0]
        for one, tap in zip(past[1:], taps[1:], strict=True):
            z = torch.addcmul(z, one.to(taps.dtype), tap)
        z = z if lift is None else z + lift
        y.append((activated(z) if silu else z).to(x.dtype))
        past = past[1:]
    after = torch.stack(past, 1) if past else window
    return torch.stack(y, 1) if y else x.clone(), after


@shared
def shard(
    x: Tensor, kernel: Tensor, bias: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None, *,
    silu: bool = False, group: Group | None = None,
) -> tuple[Tensor, State]:  # fmt: skip
    """Each rank of a group has a piece of time, and gets the W - 1 inputs before it from others.

    Cost: that of the best form for each piece; each rank sends O(B W C) numbers to its neighbour,
    or to several where pieces are shorter than W - 1.
    """
    piece = Piece("conv.shard", CONTRACT, (x, kernel, bias, silu), state, documents, group)
    window, *_ = _start("conv.shard", x, kernel, bias, state, None)
    before = window.shape[1]
    (window,) = piece.halo([x], before, [window])
    window = window.masked_fill(~piece.before.seen(before)[..., None], 0)
    return piece.leaving(*MIXER.local(x, kernel, bias, window, documents, silu=silu))


def fused(
    x: Tensor, kernel: Tensor, bias: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None, *, silu: bool = False,
) -> tuple[Tensor, State]:  # fmt: skip
    """One compiled pass over x, which is read once.

    Cost: time O(B T C W), memory O(W) for each thread beyond the output.
    """
    window, taps, lift, new = _start("conv.fused", x, kernel, bias, state, documents)
    if why := ops.obstacle(x):
        raise FormError(f"conv.fused: x {why} take form='chunk'")
    lift = taps.new_zeros(taps.shape[1]) if lift is None else lift
    low = None if new is None else _low(new, len(taps))
    return ops.causal_convolution(x, taps.mT, lift, window, low, silu)


def weights(
    x: Tensor, kernel: Tensor, bias: Tensor | None = None,
    state: State | None = None, documents: Tensor | None = None, *, silu: bool = False,
) -> Weights:  # fmt: skip
    """The band of each channel: the weight of every position for every position.

    Args:
        x, kernel, bias, state, documents, silu: as for every form. With silu=False only the shape
            of x matters; with silu=True each row is multiplied by the sigmoid of its output before
            silu.

    Returns:
        wei: [B, C, T, T], row = the position that reads, column = the position read.
        carried: [B, T, C], what the state and the bias add to each position.

    For each channel y is `wei @ x + carried`; `weights(...).on(x)` does it for all at once.

    Raises:
        ShapeError, DtypeError, DocumentError: as for every form.

    Cost: memory O(B C T^2).

    >>> weights(torch.zeros(1, 3, 1), torch.tensor([[0.5, 1.0]])).wei.tolist()
    [[[[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.0, 0.5, 1.0]]]]
    """
    window, taps, lift, new = _start("conv.weights", x, kernel, bias, state, documents)
    before = len(taps) - 1
    low = None if new is None else _low(new, len(taps))
    band = _band(taps, low, x).expand(len(x), -1, -1, -1)
    with unmixed(x):
        carried = torch.einsum("bcts,bsc->btc", band[..., :before], window.to(taps.dtype))
        carried = carried if lift is None else carried + lift
        wei = band[..., before:]
        if silu:
            z = torch.einsum("bcts,bsc->btc", wei, x.to(taps.dtype)) + carried
            wei, carried = wei * z.sigmoid().mT[..., None], carried * z.sigmoid()
    return Weights(wei.to(x.dtype), carried.to(x.dtype))


def _band(taps: Tensor, low: Tensor | None, x: Tensor) -> Tensor:
    """[B or 1, C, T, W-1+T]: the weight of every input, those of the state first."""
    T, W = x.shape[1], len(taps)
    place = torch.arange(W - 1 + T, device=x.device)
    number = place - torch.arange(T, device=x.device)[:, None]  # [T, W - 1 + T]
    out = ((number < 0) | (number >= W))[None]
    if low is not None:
        out = out | (number < low[:, :T, None])
    return taps.mT[:, number.clamp(0, W - 1)].masked_fill(out[:, None], 0)


def _low(new: Tensor, W: int) -> Tensor:
    """[B, T+1]: how many of its W inputs each position leaves out, as its document began later.

    The last one is that of the next position, if it belongs to the last document.
    """
    first = firsts(new)
    first = torch.cat([first, first[:, -1:]], 1) if new.shape[1] else first.new_zeros(len(new), 1)
    apart = torch.arange(first.shape[1], device=new.device) - first
    return torch.where(first > 0, (W - 1 - apart).clamp(min=0), 0)


def _last(given: Tensor, low: Tensor | None, W: int) -> Tensor:
    """The last W - 1 of some inputs; zeros for those that the next position leaves out."""
    last = given[:, given.shape[1] - (W - 1) :]
    if low is None:
        return last
    number = torch.arange(W - 1, device=low.device)
    return last.masked_fill((low[:, -1:] > number)[..., None], 0)


def _start(
    where: str, x: Tensor, kernel: Tensor, bias: Tensor | None,
    state: State | None, documents: Tensor | None,
) -> tuple[State, Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    """Check the contract; return the last inputs, taps [W, C] and bias in the dtype to compute in,
    and where documents begin.
    """
    given = (x, kernel, bias, False)
    window, new, size = CONTRACT.start(where, given, state, documents)
    if not size["W"]:
        raise ShapeError(f"{where}: kernel is {list(kernel.shape)}, expected [C W] with W >= 1")
    dtype = wide(x.dtype)
    return window, kernel.mT.to(dtype), None if bias is None else bias.to(dtype), new


def _best(x: Tensor, *_others: object, **_named: object) -> str:
    """`fused` where its kernel runs (a CPU, any floating dtype, any size), `chunk` elsewhere."""
    return ops.form(x, "chunk")


def draw(
    *, B: int = 2, T: int = 13, C: int = 3, W: int = 4, seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Random valid arguments of `loop`, time on axis 1: x, a kernel and a bias.

    >>> [list(t.shape) for t in draw(B=1, T=2, C=3)]
    [[1, 2, 3], [3, 4], [3]]
    """
    rng = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=rng, dtype=torch.float64)

    x, kernel, bias = normal(B, T, C), normal(C, W) / max(W, 1) ** 0.5, normal(C)
    return x.to(dtype), kernel.to(dtype), bias.to(dtype)


MIXER = Mixer(
    contract=CONTRACT,
    forms=dict(loop=loop, matrix=matrix, chunk=chunk, step=step, shard=shard, fused=fused),
    absent=dict(
        softmax="its weights have either sign and their rows add up to the sum of the kernel",
        scan="a prefix of a convolution is no smaller than its inputs; `chunk` is parallel already",
    ),
    best=_best,
    weights=weights,
    draw=draw,
)
