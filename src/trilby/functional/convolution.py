"""causal-conv1d: the short convolution in front of a recurrence. Time is the last axis here."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CallError, ShapeError
from ..mixers.conv import MIXER as conv
from ..state import wide
from . import packed
from .refuse import refuse
from .sizes import fit

SILU = ("silu", "swish")


def causal_conv1d_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    seq_idx: Tensor | None = None,
    initial_states: Tensor | None = None,
    return_final_states: bool = False,
    final_states_out: Tensor | None = None,
    activation: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """A causal convolution of each channel, as `causal_conv1d.causal_conv1d_fn`.

    Args:
        x: [B, D, T].
        weight: [D, W], the last one belongs to the position itself.
        bias: [D].
        seq_idx: [B, T] the sequence of each position; nothing passes between sequences.
        initial_states: [B, D, W-1] the inputs before the first, the latest last.
        return_final_states: whether the last W - 1 inputs are returned as well.
        final_states_out: [B, D, W-1], which they are written into.
        activation: None, "silu" or "swish".

    Returns:
        [B, D, T] in the dtype of x; with `return_final_states` also [B, D, W-1].

    Cost: `trilby.conv`; no copy where x has its channels next to each other in memory.

    >>> from trilby.functional import causal_conv1d_fn
    >>> causal_conv1d_fn(torch.tensor([[[1.0, 2.0, 4.0]]]), torch.tensor([[0.5, 1.0]])).tolist()
    [[[1.0, 2.5, 5.0]]]
    """
    where = "causal_conv1d_fn"
    B, T = _fit(where, x, weight, bias)
    rest = {"B": B, "D": x.shape[1], "W-1": weight.shape[1] - 1}
    fit(where, rest, initial_states=(initial_states, "B D W-1"),
        final_states_out=(final_states_out, "B D W-1"))  # fmt: skip
    if final_states_out is not None and not return_final_states:
        raise CallError(
            f"{where}: final_states_out is given and return_final_states is False; give both"
        )
    documents = None if seq_idx is None else packed.of_index(where, seq_idx, B, T)
    past = None if initial_states is None else initial_states.mT.to(x.dtype)
    bent = silu(where, activation)
    y, after = conv(x.mT, _wide(weight, x), _bias(bias, x), past, documents, silu=bent)
    if not return_final_states:
        return y.mT
    last = after.mT
    if final_states_out is not None:
        last = final_states_out.copy_(last)
    return y.mT, last


def causal_conv1d_update(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    cache_seqlens: Tensor | None = None,
    conv_state_indices: Tensor | None = None,
) -> Tensor:
    """One or several positions of a stream, as `causal_conv1d.causal_conv1d_update`.

    Args:
        x: [B, D] one position, or [B, D, T].
        conv_state: [B, D, S] the last S >= W - 1 inputs, which are moved on in place.
        weight, bias, activation: as of `causal_conv1d_fn`.
        cache_seqlens, conv_state_indices: not supported.

    Returns:
        As x. Gradients pass to every argument but the state.

    >>> from trilby.functional import causal_conv1d_update
    >>> past = torch.tensor([[[7.0, 2.0]]])
    >>> causal_conv1d_update(torch.tensor([[4.0]]), past, torch.tensor([[0.5, 1.0]])).tolist()
    [[5.0]]
    >>> past.tolist()
    [[[2.0, 4.0]]]
    """
    where = "causal_conv1d_update"
    refuse(where, cache_seqlens=cache_seqlens, conv_state_indices=conv_state_indices)
    bent = silu(where, activation)
    given = x[..., None] if x.ndim == 2 else x
    _fit(where, given, weight, bias)
    fit(where, dict(zip("BD", x.shape, strict=False)), conv_state=(conv_state, "B D S"))
    few = weight.shape[1] - 1
    if conv_state.shape[-1] < few:
        raise ShapeError(
            f"{where}: conv_state is {list(conv_state.shape)}, too short for a kernel of "
            f"{few + 1}; it needs the last {few} inputs"
        )
    state = conv_state.detach()
    both = torch.cat([state, given], -1)  # the way back needs what is overwritten
    if given.shape[2] == 1:
        y = _one(both[..., -few - 1 :].to(x.dtype), weight, bias, bent)
    else:
        past = both[..., state.shape[-1] - few : state.shape[-1]].to(x.dtype)
        y = conv(given.mT, _wide(weight, x), _bias(bias, x), past.mT, silu=bent)[0].mT
    state.copy_(both.detach()[..., -state.shape[-1] :])
    return y[..., 0] if x.ndim == 2 else y


def _one(last: Tensor, weight: Tensor, bias: Tensor | None, bent: bool) -> Tensor:
    """[B, D, 1] from the last W inputs [B, D, W]; a kernel's launch would cost more."""
    dtype = wide(last.dtype)
    z = (last.to(dtype) * weight.to(dtype)).sum(-1, keepdim=True)
    z = z if bias is None else z + bias.to(dtype)[:, None]
    return (F.silu(z) if bent else z).to(last.dtype)


def _fit(where: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[int, int]:
    """Rows and positions; an error unless all sizes fit each other."""
    known: dict[str, int] = {}
    fit(where, known, x=(x, "B D T"), weight=(weight, "D W"), bias=(bias, "D"))
    return known["B"], known["T"]


def silu(where: str, activation: str | None) -> bool:
    """Whether silu follows; an error for another activation."""
    if activation is not None and activation not in SILU:
        raise CallError(f"{where}: activation is {activation!r}, expected None, 'silu' or 'swish'")
    return activation is not None


def _wide(weight: Tensor, x: Tensor) -> Tensor:
    """The kernel as `conv` takes it: in the dtype of x, or in float32 beside halves."""
    keeps = weight.dtype == torch.float32 and x.dtype in (torch.bfloat16, torch.float16)
    return weight if keeps else weight.to(x.dtype)


def _bias(bias: Tensor | None, x: Tensor) -> Tensor | None:
    return None if bias is None else _wide(bias, x)
