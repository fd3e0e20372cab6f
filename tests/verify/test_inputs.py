"""Inputs of other kinds than one sequence [B, T, ...]: what follows the rows, other axes, numpy."""

import numpy as np
import pytest
import torch
from torch import nn

import trilby
from trilby.errors import CallError
from trilby.streaming import by_methods, by_state
from trilby.verify.sizes import Setting
from trilby.verify.subjects.prepare import prepared
from trilby.verify.subjects.reading import Asked


def x(*shape, dtype=torch.float32):
    return torch.randn(
        *(shape or (2, 16, 8)), dtype=dtype, generator=torch.Generator().manual_seed(0)
    )


def memory(S=5):
    return torch.randn(2, S, 8, generator=torch.Generator().manual_seed(1))


def remembers(x, memory):
    return x.cumsum(1) + (memory * memory.shape[1] ** -1).sum(1, keepdim=True)


def of_another_row(x, memory):
    return remembers(x, memory.flip(0))


def up_to(x, lengths):
    return x.cumsum(1) * (torch.arange(x.shape[1]) < lengths[:, None])[..., None]


def from_past(x, past):
    return x.cumsum(1) + past[0][-1][:, None]


def batched(batch):
    return remembers(batch["x"], batch["more"][0])


def drawn(B, T, seed):
    torch.manual_seed(seed)
    return torch.randn(B, T, 8), torch.randint(1, T + 1, (B,))


class Convolved(nn.Module):
    """[B, C, T], centred or causal."""

    def __init__(self, ahead=0, out=8):
        super().__init__()
        self.taps, self.ahead = nn.Conv1d(8, out, 3), ahead

    def forward(self, x):
        return self.taps(nn.functional.pad(x, (2 - self.ahead, self.ahead)))


class TimeFirst(nn.Module):
    """Tokens [T, B] to [T, B, 8], with a look ahead or without."""

    def __init__(self, ahead=0):
        super().__init__()
        self.embed, self.ahead = nn.Embedding(9, 8), ahead

    def forward(self, ids):
        return self.embed(ids).roll(-self.ahead, 0).cumsum(0)


class Padded(nn.Module):
    """A mean of the embeddings so far, without pads; `bug` reads them."""

    def __init__(self, bug=False):
        super().__init__()
        self.embed, self.bug = nn.Embedding(9, 8), bug

    def forward(self, ids):
        real = torch.ones_like(ids) if self.bug else (ids != 0)
        real = real[..., None].to(self.embed.weight.dtype)
        return (self.embed(ids) * real).cumsum(1) / real.cumsum(1).clamp(min=1)


class Summed(nn.Module):
    """A running sum of [B, C, T] with a state; `bug` loses it. A memory goes along."""

    def __init__(self, bug=False):
        super().__init__()
        self.bug = bug

    def forward(self, x, memory, state=None):
        y = x.cumsum(-1) + (0 if state is None or self.bug else state)
        return y + memory.sum(1)[..., None], y[..., -1:]


def judged(subject, example, **how):
    how = dict(effort="quick", laws=["causal", "isolated", "sound"]) | how
    return trilby.check(subject, example, **how)


RIGHT = [
    (remembers, (x(), memory()), {}),
    (remembers, dict(x=x(), memory=memory(16)), dict(fixed=("memory",))),
    (remembers, (x(), memory(16)), dict(fixed=1)),
    (remembers, lambda B, T, _seed: (torch.randn(B, T, 8), torch.randn(B, 16, 8)), {}),
    (up_to, drawn, {}),
    (from_past, (x(), (torch.randn(1, 2, 8), 3)), {}),
    (from_past, (x(), (torch.randn(2, 2, 8), 3)), {}),  # of which axis is the batch?
    (lambda x, rates: x.cumsum(1) * rates.sum(), (x(), torch.rand(2)), dict(laws=["causal"])),
    (batched, ({"x": x(), "more": (memory(), "name")},), {}),
    (lambda x: np.cumsum(x, 1), x().double().numpy(), {}),
    (lambda x: x.cumsum(1) * (1 + 2j), x(dtype=torch.complex64), {}),
    (Convolved(), x(2, 8, 16), dict(time_axis=2)),
    (Convolved(out=4), x(2, 8, 16), dict(time_axis=-1)),
    (TimeFirst(), torch.randint(0, 9, (16, 2)), dict(time_axis=0)),
    (nn.GRU(8, 8), x(16, 2, 8), dict(time_axis=0, laws=["isolated"])),
    (Padded(), torch.randint(0, 9, (2, 16)), dict(padding=0, laws=["padding", "causal"])),
    (Summed(), (x(2, 8, 16), memory()), dict(time_axis=2, carry=by_state(), laws=["resumes"])),
]


@pytest.mark.parametrize(("subject", "example", "how"), RIGHT)
def test_what_is_right_is_accepted(subject, example, how):
    report = judged(subject, example, **how)
    assert report, str(report)
    assert not [v for v in report if v.outcome == "not run"], str(report)


WRONG = [
    (of_another_row, (x(), memory()), {}, "isolated", "neighbour"),
    (of_another_row, lambda B, T, seed: (torch.randn(B, T, 8), torch.randn(B, 3, 8)), {},
     "isolated", "neighbour"),
    (lambda x, h: from_past(x, (h.roll(1, 1),)), (x(), torch.randn(1, 2, 8)), {},
     "isolated", "neighbour"),
    (remembers, (x(), memory(16)), {}, "causal", "leak"),  # it says nowhere that this is no x
    (lambda x: x[:, ::-1] + x, x().numpy(), {}, "causal", "leak"),
    (lambda x: x.flip(1).abs() + x, x(dtype=torch.complex64), {}, "causal", "leak"),
    (Convolved(1), x(2, 8, 16), dict(time_axis=2), "causal", "leak"),
    (TimeFirst(1), torch.randint(0, 9, (16, 2)), dict(time_axis=0), "causal", "leak"),
    (Summed(True), (x(2, 8, 16), memory()),
     dict(time_axis=2, carry=by_state(), laws=["resumes"]), "resumes", "state lost"),
    (Padded(True), torch.randint(0, 9, (2, 16)), dict(padding=0, laws=["padding"]),
     "padding", "padding"),
]  # fmt: skip


@pytest.mark.parametrize(("subject", "example", "how", "law", "kind"), WRONG)
def test_the_cause_is_named_and_the_reproducer_shows_it(subject, example, how, law, kind, capsys):
    first = judged(subject, example, **how).first()[0]
    assert (first.law, first.kind) == (law, kind)
    lines = first.reproducer.splitlines()
    assert "..." not in "\n".join(lines[2:]), first.reproducer
    own = [line for line in lines if not line.startswith(("f = ", "from ")) or "f = f." in line]
    exec("\n".join(own), {"f": subject})
    shown = capsys.readouterr().out
    assert float(shown.replace("tensor(", "").split(",")[0].split(")")[0]) > 1e-4


def test_what_goes_with_the_rows_has_their_number_and_is_named():
    seen = set()

    def watched(x, memory, lengths):
        seen.add((len(x), len(memory), len(lengths)))
        return remembers(x, memory)

    report = judged(watched, (x(), memory(), torch.tensor([3, 4])), laws=["causal", "isolated"])
    assert report, str(report)
    assert "with the rows go memory, lengths" in report.limits
    assert {1, 2, 3} < {B for B, _, _ in seen}
    assert all(B == M == L for B, M, L in seen)


def test_tokens_on_another_axis_have_a_gradient_at_their_embedding():
    [verdict] = judged(TimeFirst(1), torch.randint(0, 9, (16, 2)), time_axis=0).failed()[:1]
    assert "by gradient" in verdict.detail


def test_rounding_is_asked_of_what_goes_along_too():
    """A thousand times a number that goes along: rounding that number moves the sine as far."""
    phased = lambda x, phase: x.cumsum(1) / 100 + (phase[:, None] * 0.1 * 1e4).sin()
    for example in (
        (x(), torch.rand(2, 8)),
        lambda B, T, _s: (torch.randn(B, T, 8), torch.rand(B, 8)),
    ):
        report = judged(phased, example, laws=["sound"])
        assert report, str(report)


def test_no_pad_is_drawn_where_none_is_meant():
    user = prepared(Padded(), torch.randint(0, 2, (2, 16)), Asked(padding=0))
    [ids] = user.example.draw(Setting(66, 2))
    assert bool((ids == 1).all())


@pytest.mark.parametrize(
    ("subject", "example", "law", "told"),
    [
        (Convolved(), x(2, 8, 16), "causal", "if axis 2 is time, pass time_axis=2"),
        (nn.LSTM(8, 8), x(), "isolated", "axis 0 looks like time: pass time_axis=0"),
        (lambda x: x + x.mean(0), x(), "isolated", "if axis 0 is time, pass time_axis=0"),
    ],
)
def test_below_a_broken_law_stands_the_axis_that_looks_like_time(subject, example, law, told):
    [verdict] = judged(subject, example, laws=[law]).failed()
    assert told in verdict.detail


def test_a_fault_along_time_says_nothing_of_other_axes():
    for subject in (lambda x: x.flip(1), lambda x: x.cumsum(1) + x.sum(0)):
        [verdict] = judged(subject, x(), laws=["causal", "isolated"]).failed()
        assert "time_axis" not in verdict.detail


def test_a_note_where_nothing_is_read_along_time_and_all_along_another_axis():
    told = "if axis 2 is time, pass time_axis=2"
    report = judged(lambda x: x.cumsum(-1), x(2, 8, 16), laws=["causal"])
    assert any(told in line for line in report.limits)
    for subject in (nn.Linear(8, 8), lambda x: x.cumsum(1).cumsum(2)):
        assert not any(told in line for line in judged(subject, x(), laws=["causal"]).limits)


@pytest.mark.parametrize(
    ("subject", "example", "how", "told"),
    [
        (Convolved(), x(), {}, "it takes the example with time on axis 2, [B, ..., T]: give it so"),
        (Convolved(out=4), x(2, 8, 16), {}, "axis 2 looks like time: pass time_axis=2"),
        (remembers, lambda B, T, _s: (torch.randn(B, 8, T), memory()), {}, "pass time_axis=2"),
        (remembers, lambda B, T, _s: (torch.randn(T, B, 8), memory()), {}, "pass time_axis=0"),
        (remembers, (x(), memory()), dict(fixed=("memry",)),
         "fixed names 'memry', but the call of remembers has no such argument among x, memory"),
        (Padded(), x(), dict(padding=0), "padding is 0, a token, but no sequence of the example"),
        (Convolved(), x(2, 8, 16), dict(time_axis=2, carry=by_methods()),
         "carry=step() hands over parts of sequences [B, T, ...], and those of Convolved.forward"),
        (Padded(), x(), dict(padding=True), "padding is True, expected the keyword of a mask"),
        (Convolved(), x(), dict(time_axis="T"), "time_axis is 'T', expected an axis, e.g. 2"),
        (Convolved(), x(), dict(time_axis=5), "time_axis is 5, but x has the axes 0 to 2"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line(subject, example, how, told):
    with pytest.raises(CallError) as problem:
        judged(subject, example, **how)
    assert told in str(problem.value)
    assert "\n" not in str(problem.value)
