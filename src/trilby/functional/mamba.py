"""mamba-ssm: the selective scan of the first Mamba, and the layer around it."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CallError
from ..mixers.selective import MIXER as selective
from ..state import wide
from .convolution import causal_conv1d_fn
from .refuse import shown
from .sizes import fit, share
from .steps import gated, steps


def selective_scan_fn(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The selective scan, as `mamba_ssm.ops.selective_scan_interface.selective_scan_fn`.

    Args:
        u: [B, D, T] the inputs, time last.
        delta: [B, D, T] time steps, before `delta_bias` [D] and softplus.
        A: [D, N] rates of decay.
        B, C: [B, N, T], or [B, G, N, T] where D / G neighbouring channels share them.
        D: [D] what passes by.
        z: [B, D, T] a gate; the output is multiplied by silu(z).
        delta_bias, delta_softplus: what is done to delta first.
        return_last_state: whether the memory after the last position is returned.

    Returns:
        [B, D, T] in the dtype of u; with `return_last_state` also [B, D, N] in float32.

    Raises:
        CallError: A, B or C is complex, or B or C does not depend on time.

    Cost: `trilby.selective`, once for each group.

    >>> from trilby.functional import selective_scan_fn
    >>> one = torch.ones(1, 1, 3)
    >>> selective_scan_fn(one, one, torch.zeros(1, 1), one, one).flatten().tolist()
    [1.0, 2.0, 3.0]
    """
    given = Scan(u, delta, A, B, C, D, z, (delta_bias, delta_softplus))
    y, last = scanned("selective_scan_fn", given)
    return (y, last) if return_last_state else y


class Scan(NamedTuple):
    """The arguments of a scan, with what the package has no place for: a state, and documents."""

    u: Tensor  # [B, D, T]
    delta: Tensor  # [B, D, T]
    A: Tensor  # [D, N]
    B: Tensor  # [B, N, T], or [B, G, N, T]
    C: Tensor  # as B
    D: Tensor | None  # [D]
    z: Tensor | None  # [B, D, T]
    step: tuple[Tensor | None, bool]  # the bias [D] of delta, and whether its softplus follows
    state: Tensor | None = None  # [B, D, N]
    documents: Tensor | None = None  # [B, T]


def scanned(where: str, given: Scan) -> tuple[Tensor, Tensor]:
    """y [B, D, T] in the dtype of u, and the memory after the last position."""
    u, _, A, B, C, D, z, step, state, documents = given
    writes, reads = _grouped(where, A, B, C)
    known: dict[str, int] = {}
    fit(where, known, u=(u, "B D T"), delta=(given.delta, "B D T"), A=(A, "D N"),
        B=(writes, "B G N T"), C=(reads, "B G N T"), D=(D, "D"), z=(z, "B D T"),
        delta_bias=(step[0], "D"))  # fmt: skip
    share(where, "G", "D", known)
    dtype = wide(u.dtype)
    dt, A, D = (
        steps(given.delta.mT, *step).to(dtype),
        A.to(dtype),
        None if D is None else D.to(dtype),
    )
    groups = writes.shape[1]
    each = u.shape[1] // max(groups, 1)
    parts = [slice(i * each, (i + 1) * each) for i in range(groups)]
    results = [
        selective(
            u[:, part].mT, dt[..., part], A[part], writes[:, i].mT.to(u.dtype),
            reads[:, i].mT.to(u.dtype), None if D is None else D[part],
            None if state is None else state[:, part], documents,
        )
        for i, part in enumerate(parts)
    ]  # fmt: skip
    alone = len(results) == 1
    y = results[0][0] if alone else torch.cat([y for y, _ in results], -1)
    last = results[0][1] if alone else torch.cat([h for _, h in results], 1)
    return gated(y, None if z is None else z.mT).mT, last


def _grouped(where: str, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """B and C as [B, G, N, T]; an error for what the mixer does not compute."""
    for name, x in dict(A=A, B=B, C=C).items():
        if x.is_complex():
            raise CallError(f"{where}: {name} is complex, which trilby does not compute")
    for name, x in dict(B=B, C=C).items():
        if x.ndim not in (3, 4):
            raise CallError(
                f"{where}: {name} is {list(x.shape)} and does not depend on time, which trilby "
                "does not compute; expand it to [B, N, T] if all channels share it"
            )
    writes, reads = (x if x.ndim == 4 else x[:, None] for x in (B, C))
    return writes, reads


def mamba_inner_fn(
    xz: Tensor,
    conv1d_weight: Tensor,
    conv1d_bias: Tensor | None,
    x_proj_weight: Tensor,
    delta_proj_weight: Tensor,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    A: Tensor,
    B: Tensor | None = None,
    C: Tensor | None = None,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    B_proj_bias: Tensor | None = None,
    C_proj_bias: Tensor | None = None,
    delta_softplus: bool = True,
    checkpoint_lvl: int = 1,
    b_rms_weight: Tensor | None = None,
    c_rms_weight: Tensor | None = None,
    dt_rms_weight: Tensor | None = None,
    b_c_dt_rms_eps: float = 1e-6,
) -> Tensor:
    """Mamba's layer between its two projections, as `mamba_ssm`'s `mamba_inner_fn`.

    Args:
        xz: [B, 2 D, T] what the first projection returns: inputs and gates.
        conv1d_weight: [D, 1, W] with `conv1d_bias` [D].
        x_proj_weight: [R + 2 N, D], or without the part of a B or C that is given.
        delta_proj_weight: [D, R].
        out_proj_weight: [E, D] with `out_proj_bias` [E].
        A, B, C, D, delta_bias, delta_softplus: as of `selective_scan_fn`.
        B_proj_bias, C_proj_bias: [N], added to B and C where these are projected.
        checkpoint_lvl: what is computed again on the way back, which changes nothing here.
        b_rms_weight, c_rms_weight, dt_rms_weight: [N], [N], [R] norms of B, C and the steps.
        b_c_dt_rms_eps: of these.

    Returns:
        [B, T, E].

    Cost: `trilby.conv`, `trilby.selective` and three matrix products.
    """
    where, N, R = "mamba_inner_fn", A.shape[-1], delta_proj_weight.shape[1]
    _either(where, B, B_proj_bias=B_proj_bias, b_rms_weight=b_rms_weight)
    _either(where, C, C_proj_bias=C_proj_bias, c_rms_weight=c_rms_weight)
    _fit(where, xz, A, (conv1d_weight, x_proj_weight, delta_proj_weight), (B, C))
    x, z = xz.chunk(2, 1)
    convolved = causal_conv1d_fn(x, conv1d_weight[:, 0], conv1d_bias, activation="silu")
    assert isinstance(convolved, Tensor)
    rest = F.linear(convolved.mT, x_proj_weight)  # [B, T, R + 2 N]
    dt = _normed(rest[..., :R], None, dt_rms_weight, b_c_dt_rms_eps)
    if B is None:
        B = _normed(rest[..., R : R + N], B_proj_bias, b_rms_weight, b_c_dt_rms_eps).mT
    if C is None:
        C = _normed(rest[..., -N:], C_proj_bias, c_rms_weight, b_c_dt_rms_eps).mT
    delta = F.linear(dt, delta_proj_weight).mT
    given = Scan(convolved, delta, A, B, C, D, z, (delta_bias, delta_softplus))
    y, _ = scanned(where, given)
    return F.linear(y.mT.to(out_proj_weight.dtype), out_proj_weight, out_proj_bias)


def _either(where: str, given: Tensor | None, **inside: Tensor | None) -> None:
    """An error if B or C is given, and also what is done to it where it is projected."""
    for name, value in inside.items():
        if given is not None and value is not None:
            raise CallError(
                f"{where}: {name} is {shown(value)}, and {name[0].upper()} is given, not "
                "projected; leave one of them out"
            )


def _fit(
    where: str, xz: Tensor, A: Tensor, weights: tuple[Tensor, ...], given: tuple[Tensor | None, ...]
) -> None:
    """An error unless the sizes of the weights fit; `given` are B and C where not projected."""
    kernel, into, lift = weights
    known: dict[str, int] = {"one": 1}
    fit(where, known, A=(A, "D N"), delta_proj_weight=(lift, "D R"))
    known |= {"2D": 2 * known["D"]}
    known["R+2N"] = known["R"] + known["N"] * sum(x is None for x in given)
    fit(where, known, xz=(xz, "B 2D T"), conv1d_weight=(kernel, "D one W"),
        x_proj_weight=(into, "R+2N D"))  # fmt: skip


def _normed(x: Tensor, bias: Tensor | None, weight: Tensor | None, eps: float) -> Tensor:
    x = x if bias is None else x + bias
    return x if weight is None else F.rms_norm(x, x.shape[-1:], weight, eps)
