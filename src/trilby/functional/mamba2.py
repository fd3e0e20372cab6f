"""mamba-ssm: the scan of Mamba-2, and the layer around it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CallError, ShapeError
from ..mixers.decay import MIXER as decay
from . import packed
from .convolution import causal_conv1d_fn, silu
from .sizes import fit, share
from .steps import LIMIT, gated, steps


def mamba_chunk_scan_combined(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    chunk_size: int,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    initial_states: Tensor | None = None,
    seq_idx: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = LIMIT,
    return_final_states: bool = False,
    return_varlen_states: bool = False,
) -> Tensor | tuple[Tensor, ...]:
    """The scan of Mamba-2, as `mamba_ssm.ops.triton.ssd_combined.mamba_chunk_scan_combined`.

    Args:
        x: [B, T, H, P] the inputs.
        dt: [B, T, H] time steps, before `dt_bias` [H] and softplus, then kept in `dt_limit`.
        A: [H] rates of decay.
        B, C: [B, T, G, N]; H / G neighbouring heads share them.
        chunk_size: how many positions are computed together, which changes nothing here.
        D: [H] or [H, P] what passes by.
        z: [B, T, H, P] a gate; the output is multiplied by silu(z).
        initial_states: [B, H, P, N].
        seq_idx: [B, T] the sequence of each position; nothing passes between sequences.
        cu_seqlens: [S + 1] where S packed sequences of one row begin and end, for
            `return_varlen_states`; it needs a `seq_idx` that says the same.
        return_final_states: whether the states [B, H, P, N] of the last sequences are returned.
        return_varlen_states: whether the last state of each sequence is returned, [S, H, P, N].

    Returns:
        [B, T, H, P] in the dtype of x, and the states that are wanted, in float32.

    Cost: `trilby.decay`; with `return_varlen_states` one call for each sequence.

    >>> from trilby.functional import mamba_chunk_scan_combined
    >>> one = torch.ones(1, 3, 1, 1)
    >>> mamba_chunk_scan_combined(one, one[..., 0], torch.zeros(1), one, one, 64).flatten().tolist()
    [1.0, 2.0, 3.0]
    """
    where = "mamba_chunk_scan_combined"
    rows, T = _sizes(where, x, cu_seqlens, return_varlen_states)
    known: dict[str, int] = {}
    fit(
        where,
        known,
        x=(x, "B T H P"),
        dt=(dt, "B T H"),
        A=(A, "H"),
        B=(B, "B T G N"),
        C=(C, "B T G N"),
        D=(D, "H P" if D is not None and D.ndim == 2 else "H"),
        z=(z, "B T H P"),
        dt_bias=(dt_bias, "H"),
        initial_states=(initial_states, "B H P N"),
    )
    share(where, "G", "H", known)
    wide = torch.promote_types(x.dtype, torch.float32)
    dt = steps(dt.to(wide), dt_bias, dt_softplus, dt_limit)
    q, k, v, g = C.to(wide), B.to(wide), x.to(wide) * dt[..., None], dt * A.to(wide)
    state = None if initial_states is None else initial_states.mT.to(wide).contiguous()
    documents = None if seq_idx is None else packed.of_index(where, seq_idx, rows, T)
    if cu_seqlens is not None:
        _agree(where, documents, cu_seqlens, T)
    y, after = decay(q, k, v, g, state, documents)
    if D is not None:
        y = y + x.to(wide) * (D if D.ndim == 2 else D[:, None])
    y = gated(y, z).to(x.dtype)
    states = [after.mT.contiguous()] if return_final_states else []
    if return_varlen_states and cu_seqlens is not None:
        ends = lambda part, i: decay(
            q[:, part], k[:, part], v[:, part], g[:, part], state if i == 0 else None
        )
        states.append(packed.one_by_one(where, cu_seqlens, T, ends)[1].mT.contiguous())
    return (y, *states) if states else y


def _sizes(where: str, x: Tensor, cu_seqlens: Tensor | None, varlen: bool) -> tuple[int, int]:
    """Rows and positions; an error for what does not fit."""
    if x.ndim != 4:
        raise ShapeError(f"{where}: x is {list(x.shape)}, expected [B, T, H, P]")
    if varlen and (cu_seqlens is None or x.shape[0] != 1):
        raise CallError(
            f"{where}: return_varlen_states needs one row and cu_seqlens, which say where each "
            "sequence begins"
        )
    return x.shape[0], x.shape[1]


def _agree(where: str, documents: Tensor | None, cu_seqlens: Tensor, T: int) -> None:
    """An error unless seq_idx and cu_seqlens name the same sequences."""
    if documents is None:
        raise CallError(
            f"{where}: cu_seqlens says where sequences end and separates none; give seq_idx too"
        )
    named = packed.of_lengths(where, cu_seqlens, T)
    if not torch.equal(documents, packed.of_index(where, named, 1, T)):
        raise CallError(
            f"{where}: cu_seqlens is {cu_seqlens.tolist()}, and seq_idx changes elsewhere; both "
            "must name the same sequences"
        )


def mamba_split_conv1d_scan_combined(
    zxbcdt: Tensor,
    conv1d_weight: Tensor,
    conv1d_bias: Tensor | None,
    dt_bias: Tensor,
    A: Tensor,
    D: Tensor,
    chunk_size: int,
    initial_states: Tensor | None = None,
    seq_idx: Tensor | None = None,
    dt_limit: tuple[float, float] = LIMIT,
    return_final_states: bool = False,
    activation: str | None = "silu",
    rmsnorm_weight: Tensor | None = None,
    rmsnorm_eps: float = 1e-6,
    outproj_weight: Tensor | None = None,
    outproj_bias: Tensor | None = None,
    headdim: int | None = None,
    ngroups: int = 1,
    norm_before_gate: bool = True,
) -> Tensor | tuple[Tensor, Tensor]:
    """Mamba-2's layer after its first projection, as `mamba_split_conv1d_scan_combined`.

    Args:
        zxbcdt: [B, T, 2 H P + 2 G N + H] gates, inputs, B, C and time steps.
        conv1d_weight: [H P + 2 G N, W] with `conv1d_bias`.
        dt_bias: [H]; a softplus follows.
        A: [H] rates of decay.
        D: [H], or [H, P], or [H P].
        rmsnorm_weight: [H P] of a norm over the channels of each group, or None: the output is
            multiplied by silu(z).
        norm_before_gate: whether the norm comes before the gate.
        outproj_weight: [E, H P] with `outproj_bias` [E], or None.
        headdim: P, where D does not say it.
        ngroups: G.
        Others: as of `mamba_chunk_scan_combined`.

    Returns:
        [B, T, E], or [B, T, H P]; with `return_final_states` also [B, H, P, N].

    Cost: `trilby.conv`, `trilby.decay` and, with a projection, a matrix product.
    """
    H, wide = dt_bias.shape[0], conv1d_weight.shape[0]
    inner = zxbcdt.shape[-1] - wide - H  # H P
    P = inner // H if headdim is None else headdim
    where = "mamba_split_conv1d_scan_combined"
    if inner != H * P or (wide - inner) % (2 * ngroups) or wide < inner:
        raise ShapeError(
            f"{where}: zxbcdt is {list(zxbcdt.shape)}, conv1d_weight {list(conv1d_weight.shape)}, "
            f"with {H} heads of {P} and {ngroups} groups; expected 2 H P + 2 G N + H channels, of "
            "which H P + 2 G N are convolved"
        )
    if outproj_weight is None and outproj_bias is not None:
        raise CallError(f"{where}: outproj_bias is given without outproj_weight; leave it out")
    silu(where, activation)
    z, xBC, dt = zxbcdt.split([inner, wide, H], -1)
    mixed = causal_conv1d_fn(xBC.mT, conv1d_weight, conv1d_bias, seq_idx, activation=activation)
    assert isinstance(mixed, Tensor)
    x, B, C = mixed.mT.split([inner, *[(wide - inner) // 2] * 2], -1)
    heads, groups = lambda t: t.unflatten(-1, (-1, P)), lambda t: t.unflatten(-1, (ngroups, -1))
    D, gate = (D if len(D) == H else heads(D)), (None if rmsnorm_weight is not None else heads(z))
    result = mamba_chunk_scan_combined(
        heads(x), dt, A, groups(B), groups(C), chunk_size, D, gate, dt_bias, initial_states,
        seq_idx, None, True, dt_limit, True,
    )  # fmt: skip
    y = result[0].flatten(2)
    if rmsnorm_weight is not None:
        y = _normed(y, z, rmsnorm_weight, rmsnorm_eps, ngroups, norm_before_gate)
    y = _projected(y, outproj_weight, outproj_bias)
    return (y, result[1]) if return_final_states else y


def _projected(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    return y if weight is None else F.linear(y.to(weight.dtype), weight, bias)


def _normed(y: Tensor, z: Tensor, weight: Tensor, eps: float, groups: int, before: bool) -> Tensor:
    """The root mean square norm of each group of channels, before or after the gate silu(z)."""
    wide = y.to(torch.promote_types(y.dtype, torch.float32))
    grouped = (wide if before else gated(wide, z)).unflatten(-1, (groups, -1))
    normed = F.rms_norm(grouped, grouped.shape[-1:], None, eps).flatten(-2) * weight
    return gated(normed, z if before else None).to(y.dtype)
