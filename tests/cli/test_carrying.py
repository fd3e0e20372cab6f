"""`trilby check` is told on the command line how a module keeps its state between calls."""

import json

import pytest

from trilby.cli import main

MODULES = """
import torch
from torch import nn

class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.out, self.held = nn.Linear(8, 8), None
    def forward(self, x, state=None):
        s, n = (0, 0) if state is None else state
        n = n + torch.arange(1, x.shape[1] + 1)
        s = s + x.cumsum(1)
        return self.out(s / n[:, None]), (s[:, -1:], n[-1])
    def init_state(self, B):
        return 0, 0
    def step(self, x, state):
        if x.ndim == 3:
            raise ValueError("[B, C] is expected")
        y, state = self(x[:, None], state)
        return y[:, 0], state
    def step_in_time(self, x, state):
        return self(x, state) if x.ndim == 3 and x.shape[1] == 1 else 1 / 0
    def chunk(self, x, state):
        return self(x, state) if x.shape[1] == 4 else 1 / 0

class Inside(Mean):
    def forward(self, x):
        y, self.held = super().forward(x, self.held)
        return y
    def reset(self):
        self.held = None

class Listed(Mean):
    def forward(self, x, cache=None):
        if cache is not None and cache and x.shape[1] > 1:
            raise ValueError("one position")
        past = cache[0] if cache else None
        y, past = super().forward(x, past)
        if cache is not None:
            cache[:] = [past]
        return y
    def empty(self):
        return []

def nothing():
    return []

class Whole(Mean):
    def forward(self, x, cache=None):
        return super().forward(x)[0], x.shape[1]
"""


@pytest.fixture
def judged(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(MODULES)

    def run(name, *options):
        asked = ["check", f"{path}:{name}", "--law", "resumes", "--effort", "quick", "--json"]
        code = main([*asked, *(o.replace("FILE", str(path)) for o in options)])
        said = capsys.readouterr()
        return code, json.loads(said.out)["verdicts"][0] if said.out else said.err

    return run


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Mean", ["--state", "state"]),
        ("Mean", ["--state", "state", "--start", "init_state"]),
        ("Mean", ["--step", "step"]),
        ("Mean", ["--step", "step_in_time", "--keep-time"]),
        ("Mean", ["--step", "step", "--chunk", "chunk", "--exactly", "4"]),
        ("Mean", ["--chunk", "chunk", "--exactly", "4"]),
        ("Inside", ["--reset", "reset"]),
        ("Inside", ["--inside"]),
        ("Listed", ["--cache", "cache", "--start", "empty", "--one"]),
        ("Listed", ["--cache", "cache", "--start", "FILE:nothing", "--one"]),
        ("Whole", ["--prefix", "cache"]),
    ],
)
def test_each_way_is_an_option(judged, name, options):
    code, verdict = judged(name, *options)
    assert (code, verdict["outcome"]) == (0, "holds"), verdict


def test_a_way_that_is_not_its_own_is_broken(judged):
    code, verdict = judged("Listed", "--cache", "cache", "--start", "empty")
    assert (code, verdict["kind"]) == (1, "raises")
    assert "with one=True it does not" in verdict["sentence"]
    code, verdict = judged("Mean", "--step", "step_in_time")
    assert "with keep_time=True it does not" in verdict["sentence"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--state", "s", "--past", "p"], "--state and --past are both given; choose one"),
        (["--cache", "c", "--step", "s"], "--cache and --step are both given; choose one"),
        (["--past", "p", "--reset", "r"], "--past and --reset are both given; choose one"),
        (["--cache", "c"], "--cache needs --start, the method that makes an empty cache"),
        (["--start", "s"], "--start is given without --state or --cache or --prefix or --step or"),
        (["--prefix", "c", "--one"], "--one is given without --state or --past or --cache"),
        (["--state", "s", "--keep-time"], "--keep-time is given without --step; name one"),
        (["--step", "s", "--exactly", "4"], "--multiple and --exactly are for --chunk"),
        (
            ["--chunk", "s", "--exactly", "4", "--multiple", "2"],
            "--multiple and --exactly are both given; choose one",
        ),
    ],
)
def test_options_that_disagree_are_one_line(judged, options, told):
    code, complaint = judged("Mean", *options)
    assert code == 2
    assert told in complaint
    assert complaint.count("\n") == 1
