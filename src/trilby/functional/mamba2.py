"""mamba-ssm: the scan of Mamba-2, and the layer around it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CallError, ShapeError
from ..mixers.decay import MIXER as decay
from ..state import wide
from . import packed
from .convolution import causal_conv1d_fn, silu
from .refuse import shown
from .sizes import fit, share
from .steps import LIMIT, fine, gated, steps


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
    given = dict(x=x, dt=dt, A=A, B=B, C=C, D=D, z=z, dt_bias=dt_bias, state=initial_states)
    _fit(where, given)
    documents = _documents(where, x, seq_idx, cu_seqlens, return_varlen_states)
    dtype = wide(x.dtype)
    dt = steps(dt.to(dtype), dt_bias, dt_softplus, dt_limit)
    q, k, v, g = C.to(dtype), B.to(dtype), x.to(dtype) * dt[..., None], dt * A.to(dtype)
    state = None if initial_states is None else initial_states.mT.to(dtype).contiguous()
    y, after = decay(q, k, v, g, state, documents)
    if D is not None:
        y = y + x.to(dtype) * (D if D.ndim == 2 else D[:, None])
    y = gated(y, z).to(x.dtype)
    states = [after.mT.contiguous()] if return_final_states else []
    if return_varlen_states and cu_seqlens is not None:
        ends = lambda part, i: decay(
            q[:, part], k[:, part], v[:, part], g[:, part], state if i == 0 else None
        )
        states.append(packed.one_by_one(cu_seqlens.tolist(), ends)[1].mT.contiguous())
    return (y, *states) if states else y


def _fit(where: str, given: dict[str, Tensor | None]) -> None:
    """An error unless all sizes fit each other."""
    known: dict[str, int] = {}
    D = given["D"]
    letters = dict(
        x="B T H P", dt="B T H", A="H", B="B T G N", C="B T G N",
        D="H" if D is None or D.ndim != 2 else "H P", z="B T H P", dt_bias="H",
    )  # fmt: skip
    fit(where, known, **{name: (given[name], letters[name]) for name in letters})
    fit(where, known, initial_states=(given["state"], "B H P N"))
    share(where, "G", "H", known)


def _documents(
    where: str, x: Tensor, seq_idx: Tensor | None, cu_seqlens: Tensor | None, varlen: bool
) -> Tensor | None:
    """Documents [B, T]; an error unless seq_idx and cu_seqlens name the same sequences."""
    if varlen and (cu_seqlens is None or x.shape[0] != 1):
        raise CallError(
            f"{where}: return_varlen_states needs one row and cu_seqlens, which say where each "
            f"sequence begins; there are {x.shape[0]} rows, and cu_seqlens is {shown(cu_seqlens)}"
        )
    documents = None if seq_idx is None else packed.of_index(where, seq_idx, *x.shape[:2])
    if cu_seqlens is None:
        return documents
    if documents is None:
        raise CallError(
            f"{where}: cu_seqlens says where sequences end and separates none; give seq_idx too"
        )
    named = packed.of_lengths(where, cu_seqlens, x.shape[1])
    if not torch.equal(documents, packed.of_index(where, named, *named.shape)):
        raise CallError(
            f"{where}: cu_seqlens is {cu_seqlens.tolist()}, and seq_idx changes elsewhere; both "
            "must name the same sequences"
        )
    return documents


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
    where, H, full = "mamba_split_conv1d_scan_combined", dt_bias.shape[0], conv1d_weight.shape[0]
    silu(where, activation)
    inner, P = _inner(where, zxbcdt, full, (H, headdim, ngroups))
    z, xBC, dt = zxbcdt.split([inner, full, H], -1)
    mixed = causal_conv1d_fn(xBC.mT, conv1d_weight, conv1d_bias, seq_idx, activation=activation)
    assert isinstance(mixed, Tensor)
    x, B, C = mixed.mT.split([inner, *[(full - inner) // 2] * 2], -1)
    heads, groups = lambda t: t.unflatten(-1, (-1, P)), lambda t: t.unflatten(-1, (ngroups, -1))
    D, gate = (D if len(D) == H else heads(D)), (None if rmsnorm_weight is not None else heads(z))
    result = mamba_chunk_scan_combined(
        heads(x), dt, A, groups(B), groups(C), chunk_size, D, gate, dt_bias, initial_states,
        seq_idx, None, True, dt_limit, True,
    )  # fmt: skip
    y = result[0].flatten(2)
    if rmsnorm_weight is not None:
        y = _normed(y, z, rmsnorm_weight, rmsnorm_eps, ngroups, norm_before_gate)
    y = _projected(where, y, outproj_weight, outproj_bias)
    return (y, result[1]) if return_final_states else y


def _inner(
    where: str, zxbcdt: Tensor, channels: int, sizes: tuple[int, int | None, int]
) -> tuple[int, int]:
    """H P and P; an error unless the channels are as many as these sizes need."""
    H, P, groups = sizes
    inner = zxbcdt.shape[-1] - channels - H
    P = inner // H if P is None else P
    if inner != H * P or (channels - inner) % (2 * groups) or channels < inner:
        raise ShapeError(
            f"{where}: zxbcdt is {list(zxbcdt.shape)} and the kernel has {channels} channels, with "
            f"{H} heads of {P} and {groups} groups; expected 2 H P + 2 G N + H channels, of which "
            "H P + 2 G N are convolved"
        )
    return inner, P


def _projected(where: str, y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is None and bias is not None:
        raise CallError(f"{where}: outproj_bias is given without outproj_weight; leave it out")
    return y if weight is None else F.linear(y.to(weight.dtype), weight, bias)


def _normed(y: Tensor, z: Tensor, weight: Tensor, eps: float, groups: int, before: bool) -> Tensor:
    """The root mean square norm of each group of channels, before or after the gate silu(z)."""
    raised = fine(y)
    grouped = (raised if before else gated(raised, z)).unflatten(-1, (groups, -1))
    normed = F.rms_norm(grouped, grouped.shape[-1:], None, eps).flatten(-2) * weight
    return gated(normed, z if before else None).to(y.dtype)
