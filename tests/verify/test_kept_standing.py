"""What goes wrong while a fault is explained or made smaller does not hide it, and is no crash."""

import pytest
import torch
from torch import nn

import trilby
from trilby.streaming import by_cache


class Picky(nn.Module):
    """It leaks; `refuses` says what it cannot bear besides."""

    def __init__(self, refuses):
        super().__init__()
        self.refuses, self.out = refuses, nn.Linear(4, 4)

    def forward(self, x):
        if self.refuses == "short" and x.shape[1] < 6:
            raise ValueError(f"{x.shape[1]} positions are too few for the window")
        if self.refuses == "gradients" and torch.is_grad_enabled():
            raise RuntimeError("only for inference")
        return self.out(x) + x.flip(1)


class Hidden(Picky):
    """Its result cannot be taken apart: `vars` of it raises."""

    class Result:
        __slots__ = ("logits",)

        def __init__(self, logits):
            self.logits = logits

    def forward(self, x):
        return self.Result(super().forward(x))


def x(T=16):
    return torch.randn(2, T, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("refuses", ["short", "gradients"])
def test_a_leak_is_named_although_the_module_refuses_something(refuses):
    [verdict] = trilby.check(Picky(refuses), x(), laws=["causal"], effort="quick").first()
    assert verdict.kind == "leak", verdict.sentence
    if refuses == "short":
        assert "T=7" in verdict.sentence or "T=8" in verdict.sentence


def test_an_explanation_that_raises_is_dropped_with_a_note():
    [verdict] = trilby.check(Hidden(""), x(), laws=["causal"], effort="quick")
    assert verdict.kind == "leak"
    assert verdict.reproducer == ""
    assert verdict.detail
    assert verdict.notes == (
        "there is no reproducer, making it raises TypeError: "
        "vars() argument must have __dict__ attribute",
    )


class Raises(nn.Module):
    """In training mode it raises; a short input it refuses with another message."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.0)

    def forward(self, x):
        if x.shape[1] < 5:
            raise ValueError("too short")
        if self.training:
            raise ValueError("it was never trained")
        return x.cumsum(1)


def test_an_exception_is_made_smaller_only_to_the_same_one():
    first = trilby.check(Raises(), x(), laws=["repeats"], effort="quick").first()[0]
    assert first.kind == "raises"
    assert "it was never trained" in first.sentence
    assert "T=5" in first.sentence


class Buffered(nn.Module):
    """A running sum with a buffer of `room` positions; one call takes more of them."""

    def __init__(self, room):
        super().__init__()
        self.room = room

    def forward(self, x, cache=None):
        if cache is None:
            return x.cumsum(1)
        past = cache["x"] = torch.cat([cache["x"], x], 1)
        if past.shape[1] > self.room:
            raise ValueError(f"the buffer has room for {self.room} positions")
        return past.cumsum(1)[:, -x.shape[1] :]


def asked(room):
    start = lambda B: {"x": torch.zeros(B, 0, 4)}
    laws = ["resumes", "sound"]
    return trilby.check(Buffered(room), x(), laws=laws, carry=by_cache(start=start), effort="quick")


def test_lengths_above_the_limit_of_a_stream_are_a_limit():
    report = asked(16)
    assert report, str(report)
    assert "it does not take 66 positions in pieces, it raises ValueError: the buffer" in str(
        report
    )


def test_a_stream_that_does_not_take_the_example_is_broken():
    assert asked(15).first()[0].kind == "raises"
