"""What the functions of the delta rule share: lengths, gates, scales, states and packing."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..card import Mixer
from ..errors import CallError
from ..mixers.delta import MIXER as delta
from . import packed
from .refuse import shown
from .sizes import fit, share
from .steps import fine

Result = tuple[Tensor, Tensor | None]
EPSILON = 1e-6  # under the root of the length of q and k
NAMES = (
    "q", "k", "v", "g", "beta", "scale", "initial_state", "output_final_state",
    "use_qk_l2norm_in_kernel", "use_beta_sigmoid_in_kernel", "allow_neg_eigval", "state_v_first",
    "cu_seqlens",
)  # fmt: skip
HALVES = (torch.bfloat16, torch.float16)


class Given(NamedTuple):
    """The arguments of one call, with a gate that is a logarithm."""

    q: Tensor  # [B, T, H, K]
    k: Tensor  # [B, T, H, K]
    v: Tensor  # [B, T, HV, V]
    g: Tensor | None  # [B, T, HV], or with a gate for each channel [B, T, HV, K]
    beta: Tensor  # [B, T, HV]
    scale: float | None
    state: Tensor | None  # [N, HV, K, V], or [N, HV, V, K]
    wanted: bool  # whether the last states are returned
    normalised: bool  # whether q and k are divided by their lengths
    sigmoid: bool = False  # whether beta is given before its sigmoid
    twice: bool = False  # whether beta is twice that
    v_first: bool = False
    cu_seqlens: Tensor | None = None
    documents: Tensor | None = None  # [B, T], in place of cu_seqlens: one state for each row

    @classmethod
    def of(cls, call: dict[str, Any]) -> "Given":
        """What a function was called with, by the names that the packages give its arguments."""
        return cls(*(call[name] for name in NAMES))


def computed(where: str, mixer: Mixer[Any, Any], given: Given) -> Result:
    """The output and the last states, in the form that the packages give them."""
    borders = _fit(where, mixer, given)
    q, k, v, g, beta, state = ready(where, mixer, given)
    if borders is None:
        y, after = mixer(q, k, v, beta=beta, g=g, state=state, documents=given.documents)
    elif state is None and not given.wanted:
        documents = packed.of_borders(borders, v.device)
        y, after = mixer(q, k, v, beta=beta, g=g, documents=documents)
    else:
        sequences = {"q": q, "k": k, "v": v, "beta": beta, "g": g}

        def one(part: slice, i: int) -> tuple[Tensor, Tensor]:
            own = {n: None if x is None else x[:, part] for n, x in sequences.items()}
            y, after = mixer(**own, state=None if state is None else state[i : i + 1])
            return y, after

        y, after = packed.one_by_one(borders, one)
    y = y.to(given.v.dtype)
    if not given.wanted:
        return y, None
    return y, after.mT.contiguous() if given.v_first else after


def moved(where: str, mixer: Mixer[Any, Any], given: Given) -> Tensor:
    """The output alone, without packing; the state is moved on in place, as a decoder keeps it."""
    _fit(where, mixer, given)
    q, k, v, g, beta, state = ready(where, mixer, given)
    gates = (beta, g) if mixer is delta else (g, beta)
    y = mixer.advance(q, k, v, *gates, state=state)
    if given.state is not None and state is not given.state:  # it was of another dtype
        given.state.copy_(state)
    return y.to(given.v.dtype)


def _fit(where: str, mixer: Mixer[Any, Any], given: Given) -> list[int] | None:
    """An error unless all sizes fit each other; the borders of packed sequences, if there are."""
    known: dict[str, int] = {}
    gate, state = "B T HV" if mixer is delta else "B T HV K", "N HV V K"
    fit(where, known, q=(given.q, "B T H K"), k=(given.k, "B T H K"), v=(given.v, "B T HV V"),
        g=(given.g, gate), beta=(given.beta, "B T HV"))  # fmt: skip
    share(where, "H", "HV", known)
    known["N"], borders = known["B"], None
    if given.cu_seqlens is not None:
        borders = packed.checked(where, given.cu_seqlens, known["T"])
        known["N"] = len(borders) - 1
        if known["B"] != 1:
            raise CallError(
                f"{where}: cu_seqlens is for one row of packed sequences, and there are "
                f"{known['B']} rows; join them on axis 1"
            )
    fit(where, known, initial_state=(given.state, state if given.v_first else "N HV K V"))
    return borders


def ready(where: str, mixer: Mixer[Any, Any], given: Given) -> tuple[Any, ...]:
    """The arguments of the mixer.

    Halves become float32 where something is multiplied before the recurrence, as it is in the
    packages: a product rounded to half precision would be another function.
    """
    q, k, v = given.q, given.k, given.v
    scale = q.shape[-1] ** -0.5 if given.scale is None else given.scale
    if q.dtype in HALVES and (given.normalised or scale != 1):
        q, k, v = q.float(), k.float(), v.float()
    if given.normalised:
        q, k = (_by_root(x) if mixer is delta else _by_division(x) for x in (q, k))
    state = given.state
    if state is not None:
        state = (state.mT if given.v_first else state).to(fine(v).dtype)
    g = given.g if given.g is None or v.dtype in HALVES else given.g.to(v.dtype)
    beta = _beta(where, given.beta, given.sigmoid, given.twice)
    beta = beta if v.dtype in HALVES else beta.to(v.dtype)
    return q if scale == 1 else q * scale, k, v, g, beta, state


def _by_root(x: Tensor) -> Tensor:
    """Each vector times the reciprocal root of its squares, as the delta rule has it."""
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + EPSILON)


def _by_division(x: Tensor) -> Tensor:
    """Each vector divided by the root of its squares, as Kimi delta attention has it."""
    return x / torch.sqrt((x * x).sum(-1, keepdim=True) + EPSILON)


def _beta(where: str, beta: Tensor, sigmoid: bool, twice: bool) -> Tensor:
    if twice and not sigmoid:
        raise CallError(
            f"{where}: allow_neg_eigval is for a beta before its sigmoid; give "
            "use_beta_sigmoid_in_kernel=True too, or multiply beta by 2"
        )
    if not sigmoid:
        return beta
    return fine(beta).sigmoid() * (2 if twice else 1)


def gate(where: str, g: Tensor | None, raw: dict[str, Any]) -> Tensor | None:
    """g, or with `use_gate_in_kernel` -exp(A_log) softplus(g + dt_bias), taken out of `raw`."""
    rate, bias = _raw(where, raw, needs_rate=True)
    if rate is None:
        return g
    if g is None:
        raise CallError(f"{where}: use_gate_in_kernel needs g, the gate before its softplus")
    fit(where, {"HV": g.shape[-1]}, A_log=(rate, "HV"), dt_bias=(bias, "HV"))
    return -fine(rate).exp() * F.softplus(fine(g) if bias is None else fine(g) + fine(bias))


def channel_gate(where: str, g: Tensor, lower_bound: float | None, raw: dict[str, Any]) -> Tensor:
    """The same for a gate [B, T, HV, K]; with a lower bound a sigmoid in place of the softplus."""
    in_kernel = bool(raw.get("use_gate_in_kernel"))
    if lower_bound is not None and not in_kernel:
        raise CallError(
            f"{where}: lower_bound is {lower_bound}, and g is a gate already; leave it out, or "
            "give use_gate_in_kernel=True"
        )
    rate, bias = _raw(where, raw, needs_rate=lower_bound is None)
    if not in_kernel:
        return g
    rate, bias = (None if x is None else x.flatten() for x in (rate, bias))
    known = {"HV": g.shape[-2], "HV*K": g.shape[-2] * g.shape[-1]}
    fit(where, known, A_log=(rate, "HV"), dt_bias=(bias, "HV*K"))
    raised = fine(g) if bias is None else fine(g) + fine(bias).view(g.shape[-2:])
    grown = 1.0 if rate is None else fine(rate).exp().view(-1, 1)
    if lower_bound is not None:
        return lower_bound * torch.sigmoid(grown * raised)
    return -grown * F.softplus(raised)


def _raw(where: str, raw: dict[str, Any], needs_rate: bool) -> tuple[Tensor | None, Tensor | None]:
    """A_log and dt_bias where the gate is computed inside, else None and None."""
    inside, rate, bias = (raw.pop(n, None) for n in ("use_gate_in_kernel", "A_log", "dt_bias"))
    for name, value in dict(A_log=rate, dt_bias=bias).items():
        if value is not None and not inside:
            raise CallError(
                f"{where}: {name} is {shown(value)}, and g is a gate already; leave it out, or "
                "give use_gate_in_kernel=True"
            )
    if not inside:
        return None, None
    if rate is None and needs_rate:
        raise CallError(f"{where}: use_gate_in_kernel needs A_log, the logarithm of the rates")
    return rate, bias
