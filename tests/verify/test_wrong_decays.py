"""A mixer of many arguments: wrong decays, each caught by the law that names the fault."""

from dataclasses import replace

import pytest
import torch

import trilby
from trilby.algebra import fade, faded
from trilby.verify.laws import LAWS


def parts(q, k, v, g, state):
    """Triangle [B, H, T, T] and the share of the state [B, T, H, V], as they should be."""
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    q, k, v, g = (x.to(wide).movedim(2, 1) for x in (q, k, v, g))  # [B, H, T, ...]
    zero = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    return q, k, v, g, zero if state is None else state


def healthy(q, k, v, g, state=None, documents=None):
    return put(q, k, v, g, state, documents)


def put(q, k, v, g, state=None, documents=None, **instead):
    """The matrix form with one thing replaced: its weights, `old` or `end` decays, or `gate`."""
    dtype = v.dtype
    if documents is not None:
        new = torch.cat([torch.zeros_like(documents[:, :1]), documents.diff(dim=1)], 1) != 0
        g = g.masked_fill(new[..., None], -torch.inf)
    g = instead.get("gate", torch.clone)(g)
    q, k, v, g, h = parts(q, k, v, g, state)
    if not q.shape[2]:
        return v.movedim(1, 2).to(dtype), h.clone()
    decays, left = fade(g), instead.get("old", faded)(g)
    fading = instead["wei"](decays, g) if "wei" in instead else decays
    y = ((q @ k.mT) * fading) @ v + left[..., None] * (q @ h)
    kept = decays[..., -1, :, None] * k
    after = kept.mT @ v + (instead["end"](g) if "end" in instead else left[..., -1, None, None]) * h
    return y.movedim(1, 2).to(dtype), after


def fades_one_position_too_many(q, k, v, g, state=None, documents=None):
    wei = lambda decays, g: decays * g.exp()[..., None, :]
    return put(q, k, v, g, state, documents, wei=wei)


def forgets_to_fade_the_state(q, k, v, g, state=None, documents=None):
    return put(q, k, v, g, state, documents, end=lambda g: torch.ones_like(g[..., -1, None, None]))


def reads_the_state_unfaded(q, k, v, g, state=None, documents=None):
    return put(q, k, v, g, state, documents, old=torch.ones_like)


def subtracts_sums_of_gates(q, k, v, g, state=None, documents=None):
    """-inf - -inf is NaN where a document begins."""

    def wei(decays, g):
        sums = g.cumsum(-1)
        return (sums[..., :, None] - sums[..., None, :]).exp().tril()

    return put(q, k, v, g, state, documents, wei=wei)


def masks_after_the_exponential(q, k, v, g, state=None, documents=None):
    """Where a gate of the future grows, exp overflows there, and 0 x inf is NaN in the past."""

    def wei(decays, g):
        sums = g.cumsum(-1)
        return (sums[..., :, None] - sums[..., None, :]).exp() * torch.ones_like(decays).tril()

    return put(q, k, v, g, state, documents, wei=wei)


def gives_the_gate_no_gradient(q, k, v, g, state=None, documents=None):
    """As torch's own associative scan does in eager mode."""
    return put(q, k, v, g, state, documents, gate=torch.Tensor.detach)


def normalises_the_gates_over_time(q, k, v, g, state=None, documents=None):
    return put(q, k, v, g - 1e-2 * g.mean(1, keepdim=True), state, documents)


def mixes_heads(q, k, v, g, state=None, documents=None):
    """Every head is read with the query of the first."""
    return put(q[:, :, :1].expand_as(q), k, v, g, state, documents)


WRONG = {
    fades_one_position_too_many: ("resumes", "state wrong"),
    forgets_to_fade_the_state: ("resumes", "state wrong"),
    reads_the_state_unfaded: ("resumes", "state wrong"),
    subtracts_sums_of_gates: ("documents", "document"),
    gives_the_gate_no_gradient: ("differentiates", "gradient missing"),
    normalises_the_gates_over_time: ("causal", "leak"),
    mixes_heads: ("agrees", "different"),
    masks_after_the_exponential: ("causal", "leak without gradient"),
}


def judged(form, **how):
    wrong = replace(trilby.decay, forms={"loop": trilby.decay.loop, "matrix": form})
    return trilby.check(wrong, forms=["matrix"], effort="quick", **how)


@pytest.mark.slow
def test_what_they_are_made_of_is_healthy():
    assert (report := judged(healthy)), str(report)


@pytest.mark.parametrize("form", WRONG)
def test_a_wrong_decay_is_caught_by_the_law_that_names_it(form):
    law, kind = WRONG[form]
    first = judged(form, laws=[*LAWS][: [*LAWS].index(law) + 1]).first()[0]
    assert (first.law, first.kind) == (law, kind), first.sentence
