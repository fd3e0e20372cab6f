"""The exact weights of a recorded call, head by head, by the same mixers that compute it.

Everything here is float64: a call that a model made in float32 or bfloat16 is unfolded without
rounding of ours, and what it gave itself differs by its own rounding alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..card import Mixer
from ..functional.recurrent import Given, ready
from ..functional.steps import LIMIT, gated, steps
from ..mixers.conv import weights as conv_weights
from ..mixers.decay import weights as decay_weights
from ..mixers.delta import MIXER as delta
from ..mixers.kda import MIXER as kda
from ..mixers.selective import weights as selective_weights
from .recording import Call


class Unfolded(NamedTuple):
    """Some heads of a call.

    Attributes:
        weights: [n, T, T], row = the position that reads.
        output: [n, T, V] what the function gave; V is 1 where each channel has weights of its own.
        explained: [n, T, V] the same from the weights.
    """

    weights: Tensor
    output: Tensor
    explained: Tensor


@dataclass(frozen=True)
class Kind:
    """How the calls of a function are unfolded.

    Attributes:
        word: what people call it.
        unit: what has weights of its own, "head" or "channel".
        values: the argument that the weights mix, and its axis of heads or channels.
        weighs: the call and the numbers of heads -> the heads, unfolded.
        said: one sentence, what is multiplied by the weights and what follows.
    """

    word: str
    unit: str
    values: tuple[str, int]
    weighs: Callable[[Call, list[int]], Unfolded]
    said: str

    def count(self, call: Call) -> int:
        """How many heads or channels a call has."""
        name, axis = self.values
        return int(call.given[name].shape[axis])

    def length(self, call: Call) -> int:
        """How many positions."""
        return int(call.output.shape[2 if self.unit == "channel" else 1])


def triangle(call: Call) -> bool:
    """Whether it can be unfolded: every position reads and is read, and nothing came before."""
    if call.function not in KINDS or call.output.shape[0] != 1:
        return False
    if call.function != "attention":
        return True
    return bool(call.given["query"].shape[2] == call.given["key"].shape[2])


def unfolded(call: Call, heads: list[int]) -> Unfolded:
    """The weights of some heads of a call, and its output beside what they give.

    Cost: memory O(n T^2) of float64; time of the mixer's `weights`.
    """
    return KINDS[call.function].weighs(call, heads)


def _wide(x: Any) -> Any:
    return x.double().cpu() if isinstance(x, Tensor) and x.is_floating_point() else x


def _shared(heads: list[int], count: int, groups: int) -> list[int]:
    """The group of each head, where neighbouring heads share one."""
    return [head * groups // count for head in heads]


def _attention(call: Call, heads: list[int]) -> Unfolded:
    """Softmax over scores with a mask, a bias, a cap and sinks, whatever the model has of these."""
    given = call.given
    q, k, v = (_wide(given[name][0]) for name in ("query", "key", "value"))  # [H, T, K], [G, T, .]
    T, scaling, cap = q.shape[1], given.get("scaling"), given.get("softcap")
    group = _shared(heads, len(q), len(k))
    scores = q[heads] @ k[group].mT * (q.shape[2] ** -0.5 if scaling is None else scaling)
    scores = scores if cap is None else cap * (scores / cap).tanh()
    for name in ("position_bias", "attention_mask"):
        scores = _masked(scores, given.get(name), heads)
    causal = not given.get("eager") and given.get("is_causal") is not False and T > 1
    if given.get("attention_mask") is None and causal:
        scores = scores.masked_fill(scores.new_ones(T, T).triu(1).bool(), -torch.inf)
    wei = torch.cat([scores, *_sinks(given, heads, T)], -1).softmax(-1)[..., :T]
    return Unfolded(wei, _wide(call.output[0]).transpose(0, 1)[heads], wei @ v[group])


def _sinks(given: dict[str, Any], heads: list[int], T: int) -> list[Tensor]:
    """Scores [n, T, 1] that take a share and have no value: one for a head, or for a position."""
    found = []
    if given.get("s_aux") is not None:  # [H]
        found.append(_wide(given["s_aux"])[heads, None, None].expand(-1, T, 1))
    if given.get("sinks") is not None:  # [1, H, T, 1]
        found.append(_wide(given["sinks"][0])[heads])
    return found


def _masked(scores: Tensor, mask: Tensor | None, heads: list[int]) -> Tensor:
    """Scores [n, T, T] with a mask, true where a key is seen, or a bias; [1, H or 1, T, S]."""
    if mask is None:
        return scores
    each = mask[0].cpu()[..., : scores.shape[2]]
    each = each[heads] if len(each) > 1 else each
    if each.dtype == torch.bool:
        return scores.masked_fill(~each, -torch.inf)
    return scores + each.double()


def _delta(mixer: Mixer[Any, Any]) -> Callable[[Call, list[int]], Unfolded]:
    """The gated delta rule, with a gate for each head or for each channel of the keys."""

    def weighs(call: Call, heads: list[int]) -> Unfolded:
        given = {name: _wide(value) for name, value in call.given.items()}
        group = _shared(heads, given["value"].shape[2], given["query"].shape[2])
        q, k = given["query"][:, :, group], given["key"][:, :, group]
        v, g, beta = (given[name][:, :, heads] for name in ("value", "g", "beta"))
        state = given.get("initial_state")
        state = None if state is None else state[:, heads]
        normalised = given.get("use_qk_l2norm_in_kernel", False)
        whole = Given(q, k, v, g, beta, None, state, False, normalised)
        q, k, v, g, beta, state = ready(call.function, mixer, whole)
        found = mixer.weights(q, k, v, beta=beta, g=g, state=state)
        explained = found.on(v)[0].transpose(0, 1)
        return Unfolded(found.wei[0], _wide(call.output[0]).transpose(0, 1)[heads], explained)

    return weighs


def _mamba2(call: Call, heads: list[int]) -> Unfolded:
    """Mamba-2's scan: the time step of a position is in the weight of what it writes."""
    given = {name: _wide(value) for name, value in call.given.items()}
    x, H = given["hidden_states"], given["hidden_states"].shape[2]
    bias = given.get("dt_bias")
    limit = given.get("dt_limit", LIMIT)
    dt = steps(given["dt"], bias, given.get("dt_softplus", False), limit)[:, :, heads]
    group = _shared(heads, H, given["B"].shape[2])
    q, k, x = given["C"][:, :, group], given["B"][:, :, group], x[:, :, heads]
    state = given.get("initial_states")
    state = None if state is None else state[:, heads].mT.contiguous()
    found = decay_weights(q, k, x, dt * given["A"][heads], state)
    wei, D, x = found.wei[0] * dt[0].T[:, None], given.get("D"), x[0].transpose(0, 1)
    if D is not None and D.ndim == 1:  # one number for a head: what a position has of itself
        wei = wei + torch.diag_embed(D[heads, None].expand(-1, wei.shape[1]))
    explained = wei @ x + found.carried[0].transpose(0, 1)
    if D is not None and D.ndim == 2:  # one for each channel is no part of a head's weights
        explained = explained + x * D[heads, None]
    z = given.get("z")
    explained = gated(explained, None if z is None else z[0, :, heads].transpose(0, 1))
    return Unfolded(wei, _wide(call.output[0]).transpose(0, 1)[heads], explained)


def _mamba(call: Call, channels: list[int]) -> Unfolded:
    """Mamba's scan, in which each channel has weights of its own."""
    given = {name: _wide(value) for name, value in call.given.items()}
    u, D, z = given["hidden_states"], given.get("D"), given.get("z")
    bias = given.get("delta_bias")
    step = (None if bias is None else bias[channels], given.get("delta_softplus", False))
    dt = steps(given["dt"][:, channels].mT, *step)
    writes, reads = (x if x.ndim == 4 else x[:, None] for x in (given["B"], given["C"]))
    group = _shared(channels, u.shape[1], writes.shape[1])
    parts = []
    for number in dict.fromkeys(group):  # neighbouring channels share what they write and read
        some = [i for i, one in enumerate(group) if one == number]
        own = [channels[i] for i in some]
        skip = None if D is None else D[own]
        sequences = (u[:, own].mT, dt[..., some], given["A"][own])
        both = (writes[:, number].mT, reads[:, number].mT)
        parts.append(selective_weights(*sequences, *both, skip).wei[0])
    wei = torch.cat(parts)
    explained = (wei @ u[0, channels, :, None])[..., 0]
    explained = gated(explained, None if z is None else z[0, channels])
    return Unfolded(wei, _wide(call.output[0])[channels, :, None], explained[..., None])


def _convolution(call: Call, channels: list[int]) -> Unfolded:
    """A short convolution: the same band for every position."""
    given = {name: _wide(value) for name, value in call.given.items()}
    x, kernel, bias = given["hidden_states"][:, channels].mT, given["weight"], given.get("bias")
    found = conv_weights(x, kernel[channels], None if bias is None else bias[channels])
    y = found.on(x)[0].T
    if given.get("activation") is not None:
        from transformers.activations import ACT2FN

        y = ACT2FN[given["activation"]](y)
    return Unfolded(found.wei[0], _wide(call.output[0])[channels, :, None], y[..., None])


_RULE = "What later positions erase is taken off the weight of what they erase. y = w v"
_SCAN = "Time steps are in the weights, and D is on the diagonal. y = w x, times a gate if there is"
DELTA = Kind("delta", "head", ("value", 2), _delta(delta), _RULE)
KDA = Kind("kda", "head", ("value", 2), _delta(kda), _RULE)
KINDS = {
    "attention": Kind("attention", "head", ("query", 1), _attention, "y = w v"),
    "chunk_gated_delta_rule": DELTA,
    "fused_recurrent_gated_delta_rule": DELTA,
    "chunk_kda": KDA,
    "fused_recurrent_kda": KDA,
    "mamba_chunk_scan_combined": Kind(
        "mamba2", "head", ("hidden_states", 2), _mamba2, _SCAN + " one"
    ),
    "selective_scan_fn": Kind("mamba", "channel", ("hidden_states", 1), _mamba, _SCAN + " one"),
    "causal_conv1d_fn": Kind(
        "conv", "channel", ("hidden_states", 1), _convolution,
        "The same few weights at every position. y = w x, plus a bias, and a function of it",
    ),
}  # fmt: skip
"""What can be unfolded, by the names of the functions."""
