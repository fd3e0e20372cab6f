"""The laws on mixers from elsewhere: other arguments, another state, rounding-level noise."""

from collections import Counter

import pytest
import torch

from trilby.verify.comparing.finding import NotRun
from trilby.verify.judge import judge
from trilby.verify.laws import LAWS, Law
from trilby.verify.sizes import LENGTHS, Setting, cuts, pieces, sizes
from trilby.verify.subjects.mixer_form import MixerForm

NAMES = ("q", "k", "v", "g")
JUDGED = [law for law in LAWS if law not in ("padding", "documents", "agrees")]


def decay(sequences, state):
    """Linear attention: q, k [B, T, K], v [B, T, V], g [B, T], state {"h": [B, K, V]}."""
    q, k, v, g = sequences
    h = state["h"] if state else q.new_zeros(len(q), q.shape[2], v.shape[2], dtype=torch.float64)
    y = [v[:, :0].double()]
    for t in range(q.shape[1]):
        write = k[:, t, :, None].double() * v[:, t, None].double()
        h = g[:, t, None, None].double().exp() * h + write
        y.append((q[:, t, :, None].double() * h).sum(1)[:, None])
    return torch.cat(y, 1).to(v.dtype), {"h": h}


def draw(setting):
    rng = torch.Generator().manual_seed(setting.seed)
    B, T, C = setting.B, setting.T, setting.C
    q, k, v = (torch.randn(B, T, n, generator=rng, dtype=torch.float64) for n in (C, C, C + 1))
    g = -torch.rand(B, T, generator=rng, dtype=torch.float64)
    return tuple((setting.scale * x).to(setting.dtype) for x in (q, k, v, g))


def subject(call, **more):
    return MixerForm("decay", call, draw, NAMES, **more)


def verdict(call, law, effort="quick"):
    judged = subject(call, longest=600, traced=5)
    return judge(judged, LAWS[law], LAWS[law].mixer_settings(effort, judged))


@pytest.mark.parametrize("law", JUDGED)
def test_a_gated_mixer_holds(law):
    found = verdict(decay, law)
    assert found.ok, found


def late_gate(sequences, state):
    q, k, v, g = sequences
    return decay((q, k, v, torch.cat([g[:, 1:], g[:, -1:]], 1)), state)


def ungated_state(sequences, state):
    y, left = decay(sequences, state)
    return y, {"h": left["h"] - sequences[3].double().sum(1)[:, None, None]}


def detached_gate(sequences, state):
    q, k, v, g = sequences
    return decay((q, k, v, g.detach()), state)


def first_state(sequences, state):
    return decay(
        sequences, {"h": state["h"].mean(0, keepdim=True).expand_as(state["h"])} if state else None
    )


@pytest.mark.parametrize(
    ("call", "law", "told"),
    [
        (late_gate, "causal", "reads (q, k, v, g)[0, 1]"),
        (ungated_state, "resumes", "state wrong  decay  y[0, 1, 0]"),
        (first_state, "isolated", "neighbour  decay  y[0, 0"),
        (detached_gate, "differentiates", "/ d g[0, 0]"),
    ],
)
def test_a_wrong_gated_mixer_is_named(call, law, told):
    found = verdict(call, law)
    assert found.outcome == "broken"
    assert told in found.sentence


def test_noise_at_the_size_of_rounding_is_the_floor_and_no_leak():
    calls = Counter()

    def noisy(sequences, state):
        calls["n"] += 1
        y, left = decay(sequences, state)
        return y * (1 + calls["n"] % 2 * torch.finfo(y.dtype).eps), left

    repeats = verdict(noisy, "repeats")
    assert repeats.ok
    assert repeats.error > 0
    assert verdict(noisy, "causal").ok


def test_a_law_that_cannot_run_is_not_run():
    def no(_subject, _setting):
        raise NotRun("no compiler")
        yield

    def nothing(_subject, _setting):
        yield from ()

    settings = [Setting(1)]
    for probe, reason in ((no, "no compiler"), (nothing, "there was nothing to compare")):
        found = judge(subject(decay), Law("demo", probe, lambda *_: settings), settings)
        assert (found.outcome, found.sentence) == ("not run", reason)
    found = judge(subject(decay), LAWS["causal"], [])
    assert (found.outcome, found.sentence) == ("not run", "there was no size to try")


def test_the_sizes_stand_around_the_borders_of_blocks():
    lengths = LENGTHS["default"]
    assert {1, 2, 3} | {b + d for b in (8, 16, 32, 64, 128) for d in (-1, 0, 1)} <= {*lengths}
    assert list(lengths) == sorted(lengths)
    settings = sizes("default", dtypes=(torch.float32, torch.bfloat16))
    assert {s.B for s in settings} == {1, 2, 3}
    assert {s.C for s in settings} == {1, 2, 3, 4}
    assert {s.turned for s in settings} == {True, False}


@pytest.mark.parametrize("T", [1, 2, 3, 9, 10, 64, 65, 130])
def test_pieces_and_cuts_cover_the_whole(T):
    assert all(sum(lengths) == T for lengths in pieces(T))
    assert all(0 < t < T for t in cuts(T))
    assert {n for lengths in pieces(130) for n in lengths} >= {0, 1, 2, 3, 7, 63, 64, 65}
