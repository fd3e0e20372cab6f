"""What learners ask on the way, answered by running it."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ...mixers import attention, decay, linear
from ...verify import check, same
from ..screen import Screen
from .speed import timed


def why_is_a_scan_slow(screen: Screen) -> None:
    """The loop and the scan of decay in turn, and what each of them writes."""
    given = decay.draw(B=1, T=256, H=4, K=32, V=32)
    (_, T, H, K), V = given[0].shape, given[2].shape[3]
    states, depth = T * H * K * V, math.ceil(math.log2(T))
    screen.line("Why is the scan slower than the loop here?")
    screen.wrapped(
        f"The loop has {T} steps and one state; the scan has {depth} steps, and each writes all "
        f"{T} states: {4 * states * depth >> 20} MiB in all, and as many products more. A "
        "processor with two cores is busy writing; one with thousands would be done first.",
        "  ", "  ",
    )  # fmt: skip
    ways: dict[str, Callable[[], object]] = {
        "loop": lambda: decay.loop(*given),
        "scan": lambda: decay.scan(*given),
    }
    timed(screen, ways, "times the loop", rounds=3)


def which_way_does_a_mask_point(screen: Screen) -> None:
    """The two opposite conventions of torch, each against attention without a mask of one's own."""
    q, k, v = (x[:, :, :1] for x in attention.draw(B=1, T=5, H=1, K=4, V=4))
    wanted = attention.loop(q, k, v)[0][:, :, 0]
    may = torch.ones(5, 5, dtype=torch.bool).tril()
    first, then, last = (x.transpose(1, 2) for x in (q, k, v))  # [B, H, T, K]
    one = scaled_dot_product_attention(first, then, last, attn_mask=may)[:, 0]
    other = _multihead(q[:, :, 0], k[:, :, 0], v[:, :, 0], ~may)
    screen.line("Which way does a mask point?")
    screen.wrapped(
        "Row = the position that reads, column = the one read: a causal mask is the lower "
        "triangle. In scaled_dot_product_attention True means that it may be read. In "
        "nn.MultiheadAttention True means that it may not. trilby takes no mask: the past is all "
        "there is.", "  ", "  ",
    )  # fmt: skip
    screen.line(f"  sdpa, attn_mask=tril:             {_apart(one, wanted)}")
    screen.line(f"  MultiheadAttention, ~tril:        {_apart(other, wanted)}")
    wrong = _multihead(q[:, :, 0], k[:, :, 0], v[:, :, 0], may)
    screen.line(f"  MultiheadAttention, tril:         {_apart(wrong, wanted)}")


def _multihead(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """torch's layer with one head, whose projections do nothing."""
    layer = torch.nn.MultiheadAttention(q.shape[-1], 1, bias=False, batch_first=True)
    one = torch.eye(q.shape[-1])
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.cat([one] * 3))
        layer.out_proj.weight.copy_(one)
        result: Tensor = layer(q, k, v, attn_mask=mask, need_weights=False)[0]
    return result


def _apart(found: Tensor, wanted: Tensor) -> str:
    if not found.isfinite().all():
        return "NaN: its first row may read nothing"
    gap = float((found - wanted).abs().max())
    return f"{'the same' if gap < 1e-5 else 'different'}, largest difference {gap:.1e}"


def why_read_before_the_future(screen: Screen) -> None:
    """A linear attention that sums all keys and values first, beside the right one."""
    given = linear.draw(B=1, T=8, H=1, K=3, V=2)

    def hasty(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        h = torch.einsum("bthk,bthv->bhkv", k, v)  # over all t
        return torch.einsum("bthk,bhkv->bthv", q, h)

    def right(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return linear.loop(q, k, v, normalize=False)[0]

    screen.line("Why is the state read before the future is added?")
    screen.wrapped(
        "A sum over the whole sequence, read afterwards, is one line shorter, and holds what "
        "comes later. It is the same only at the last position:", "  ", "  ",
    )  # fmt: skip
    screen.wrapped(f"same: {same(right, hasty, *given)}", "  ", "  ")
    report = check(hasty, given, laws=["causal"], effort="quick")
    screen.wrapped(f"check: {next(iter(report))}", "  ", "  ")
