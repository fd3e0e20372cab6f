"""`check` on anyone's module: the cause is named, the witness runs, what was given is kept."""

import random

import pytest
import torch
from torch import nn

import trilby
from trilby.errors import CallError
from trilby.streaming import by_cache, by_methods, by_past, by_state


class Block(nn.Module):
    """Attention with a padding mask, documents, a cache and dropout; `bug` breaks one of them."""

    def __init__(self, bug=""):
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.drop, self.bug = nn.Dropout(0.1), bug

    def forward(self, x, mask=None, doc=None, cache=None):
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        if cache is not None:
            k, v = torch.cat([cache["k"], k], 1), torch.cat([cache["v"], v], 1)
            cache["k"], cache["v"] = k, v
        T, S = x.shape[1], k.shape[1]
        ahead = 2 if self.bug == "one ahead" else 1
        hidden = torch.ones(T, S, dtype=torch.bool).triu(S - T + ahead)[None]
        if self.bug == "train" and self.training:
            hidden = torch.zeros_like(hidden)
        if mask is not None:
            alone = torch.zeros_like(hidden) if self.bug == "mask alone" else hidden
            hidden = alone | ~mask[:, None].bool()
        if doc is not None and self.bug != "documents":
            hidden = hidden | (doc[:, :, None] != doc[:, None])
        score = (q @ k.transpose(1, 2)).masked_fill(hidden, torch.finfo(q.dtype).min)
        return x + self.drop(self.out(score.softmax(-1) @ v))


class Average(nn.Module):
    """An exponential average, parallel and in steps; `bug` spoils its state."""

    def __init__(self, bug=""):
        super().__init__()
        self.rate, self.bug = nn.Parameter(torch.zeros(8)), bug

    def init_state(self, B):
        return torch.zeros(B, 8)

    def forward(self, x, state=None):
        h = first = self.init_state(len(x)).to(x) if state is None else state
        if self.bug == "lost":
            h = torch.zeros_like(h)
        share, y = self.rate.sigmoid(), []
        for now in x.unbind(1):
            h = share * h + (1 - share) * now
            y.append(h)
        if self.bug == "double" and x.shape[1] == 1:
            h = share * h + (1 - share) * x[:, 0]
        return torch.stack(y, 1), first if self.bug == "stale" else h

    def step(self, x, state):
        y, state = self(x[:, None], state)
        return y[:, 0], state


class Gate(nn.Module):
    """A leak behind a gate that is initialised to zero."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(8))

    def forward(self, x):
        return x + self.gate * x.mean(1, keepdim=True)


def broken_factory():
    raise OSError("no weights here")


def x(T=16):
    return torch.randn(2, T, 8, generator=torch.Generator().manual_seed(0))


def empty(B):
    return {"k": torch.zeros(B, 0, 8), "v": torch.zeros(B, 0, 8)}


def test_a_right_block_holds_every_law_that_can_be_asked():
    how = dict(padding="mask", documents="doc", carry=by_cache(start=empty))
    report = trilby.check(Block(), x(), effort="quick", **how)
    assert report, str(report)
    assert [v.law for v in report if v.outcome == "not run"] == ["compiles"]


WRONG = [
    (Block("one ahead"), {}, "causal", "leak"),
    (Block("train"), {}, "causal", "leak"),
    (Block("mask alone"), dict(padding="mask"), "causal", "leak"),
    (Block("documents"), dict(documents="doc"), "documents", "document"),
    (Average("lost"), dict(carry=by_state()), "resumes", "state lost"),
    (Average("stale"), dict(carry=by_state(start="init_state")), "resumes", "state stale"),
    (Average("double"), dict(carry=by_methods()), "resumes", "state double"),
    (Gate(), {}, "causal", "hidden leak"),
    (lambda x: x * x.mean().item(), {}, "causal", "leak without gradient"),
    (lambda x: x / x.shape[1], {}, "causal", "length"),
    (lambda x: x.cumsum(1) + x.sum(0), {}, "isolated", "neighbour"),
    (lambda x: nn.functional.dropout(x, 0.5), {}, "repeats", "random"),
]


@pytest.mark.parametrize(("subject", "how", "law", "kind"), WRONG)
def test_the_cause_is_named_and_the_reproducer_shows_it(subject, how, law, kind, capsys):
    report = trilby.check(subject, x(), effort="quick", **how)
    first = report.first()[0]
    assert (first.law, first.kind) == (law, kind), str(report)
    lines = first.reproducer.splitlines()
    assert len(lines) <= 15
    assert not any("trilby" in line for line in lines if not line.startswith("from tests"))
    origin = [line for line in lines if line.startswith(("f = ", "from "))]
    text = "\n".join(line for line in lines if line not in origin or line.startswith("f = f."))
    exec(text, {"f": subject})
    shown = capsys.readouterr().out
    assert float(shown.replace("tensor(", "").split(",")[0].split(")")[0]) > 1e-4


def test_a_leak_draws_its_triangle_and_says_where_it_enters():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = Block(), Block("one ahead")

        def forward(self, x):
            return self.second(self.first(x))

    [verdict] = trilby.check(Deep(), x(), effort="quick").first()
    assert "it enters in second (Block)" in verdict.detail
    rows = [line for line in verdict.detail.splitlines() if line.strip()[:1].isdigit()]
    assert rows[1].split()[:5] == ["0", "#", "!", ".", "."]


def test_rounding_and_taint_are_notes():
    class Spectral(nn.Module):
        def forward(self, x):
            n = 2 * x.shape[1]
            wave = torch.fft.rfft(x, n, dim=1) * torch.fft.rfft(torch.ones_like(x), n, dim=1)
            return torch.fft.irfft(wave, n, dim=1)[:, : x.shape[1]]

    report = trilby.check(Spectral(), x(), laws=["causal"])
    assert report, str(report)
    assert "at the level of rounding" in str(report)


def test_tokens_dicts_and_lengths_that_are_refused():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.place, self.block = nn.Embedding(9, 8), nn.Embedding(20, 8), Block()

        def forward(self, ids):
            places = self.place(torch.arange(ids.shape[1]))
            return {"loss": torch.zeros(()), "logits": self.block(self.embed(ids) + places)}

    report = trilby.check(Tokens(), dict(ids=torch.randint(0, 9, (2, 16))), effort="quick")
    assert report, str(report)
    assert any("IndexError" in line for line in report.limits)


def test_the_users_things_are_as_before():
    module = nn.Sequential(Block(), nn.BatchNorm1d(16)).train()
    module[0].calls = []
    module[0].register_forward_hook(lambda m, _a, _y: m.calls.append(1))
    before = {k: v.clone() for k, v in module.state_dict().items()}
    torch.manual_seed(5), random.seed(5)
    state = torch.get_rng_state(), random.getstate(), torch.get_num_threads()
    trilby.check(module, x(), laws=["repeats", "causal"], effort="quick")
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert module.training
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (random.getstate(), torch.get_num_threads()) == state[1:]


def test_a_law_can_be_waived_and_the_time_limited():
    report = trilby.check(Block("one ahead"), x(), laws=["causal"], waive={"causal": "on purpose"})
    assert not report
    assert "waived, on purpose; it found: leak" in str(report)
    report = trilby.check(Block(), x(), seconds=1e-9)
    assert not report
    assert "the time limit of 1e-09 s was reached" in str(report)


@pytest.mark.parametrize(
    ("subject", "example", "how", "told"),
    [
        (Block(), None, {}, "check: example is missing; give the arguments of one call"),
        (Block(), torch.randn(8), {}, "without a tensor [B, T, ...]"),
        (
            Block(),
            x()[..., :5],
            {},
            "refuses the example, Block.forward(float32 [2, 16, 5]) raises RuntimeError: Given",
        ),
        (
            nn.Embedding(4, 8),
            torch.randint(0, 4, (2, 16)),
            dict(vocabulary=9),
            "raises IndexError: index out of range in self; tokens 0 to 8 were drawn, vocabulary=",
        ),
        (
            broken_factory,
            x(),
            {},
            "broken_factory() was to make the subject and raises OSError: no",
        ),
        (lambda x: x.sum(), x(), {}, "returns [] for B=2 and T=16, expected [B, T, ...]"),
        (lambda x: None, x(), {}, "returns None where a tensor [B, T, ...] is expected"),
        (Block(), x(), dict(paddin="mask"), "did you mean padding?"),
        (Block(), x(), dict(carry="state"), "check: carry is a str, expected e.g. by_state"),
        (nn.Linear(8, 8, device="meta"), x(), {}, "has no values: parameter weight is on meta"),
        (trilby.mean, x(), {}, "check: example is given, but a mixer draws its own"),
    ],
)
def test_wrong_input_is_one_line(subject, example, how, told):
    with pytest.raises(CallError) as problem:
        trilby.check(subject, example, **how)
    assert told in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_cache_is_asked_for_only_where_something_goes_on():
    class Cached(Block):
        def forward(self, x, past_key_values=None, use_cache=False):
            if use_cache and torch.is_grad_enabled():
                raise RuntimeError("the cache is for inference")
            past = empty(len(x)) if past_key_values is None else past_key_values
            past = {k: t.to(x.dtype) for k, t in past.items()}
            y = super().forward(x, cache=past)
            return {"logits": y, "past_key_values": past} if use_cache else {"logits": y}

    laws = ["causal", "resumes", "differentiates"]
    report = trilby.check(Cached(), x(), laws=laws, effort="quick", carry=by_past())
    assert [v.outcome for v in report] == ["holds"] * 3, str(report)


class Odd(nn.Module):
    """A running mean with a habit."""

    def __init__(self, habit):
        super().__init__()
        self.out, self.habit, self.last = nn.Linear(8, 8), habit, None

    def forward(self, x):
        if self.habit == "writes":
            x[:, 0] = 0
        if self.habit == "differs":
            x = x + random.SystemRandom().random()
        if self.habit == "item" and x.abs().max().item() > 1e9:
            raise ValueError("too large")
        y = self.out(x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None])
        if self.habit == "keeps":
            self.last = y
        return y


@pytest.mark.parametrize(
    ("habit", "told"),
    [
        ("writes", "writes to its arguments  Odd.forward  argument 0[0, 0, 0] is 0, not "),
        ("differs", "it differs from call to call, whatever the seed"),
    ],
)
def test_a_habit_that_is_a_fault_is_one_sentence(habit, told):
    [verdict] = trilby.check(Odd(habit), x(), laws=["repeats"], effort="quick")
    assert verdict.outcome == "broken"
    assert told in verdict.sentence
    assert "\n" not in verdict.sentence


def test_a_habit_that_is_none_is_left_alone():
    for habit in ("item", "keeps"):
        report = trilby.check(Odd(habit), x(), effort="quick")
        assert report, str(report)


def test_a_module_that_keeps_a_graph_is_run_itself_and_says_so():
    module = Odd("keeps")
    y = module(x())
    report = trilby.check(module, x(), effort="quick")
    assert report, str(report)
    assert [v.outcome for v in report if v.law == "sound"] == ["not run"]
    assert module.last is y
    [line] = [line for line in report.limits if "it cannot be copied" in line]
    assert "RuntimeError: Only Tensors created explicitly" in line
    assert "not tried in other dtypes" in line


def test_a_law_that_needs_a_longer_example_says_so():
    class One(nn.Module):
        def forward(self, x, state=None):
            if x.shape[1] != 1:
                raise ValueError("one position at a time")
            return x, x

    report = trilby.check(One(), x(1), laws=["resumes", "causal"], carry=by_state())
    assert [v.outcome for v in report] == ["holds", "not run"], str(report)
    assert "nothing to compare at T=1; give a longer example" in report.verdicts[1].sentence


class Embedded(nn.Module):
    """Tokens whose embedding is scaled in place, and places that are handed the tokens."""

    class Places(nn.Embedding):
        def forward(self, ids):
            return super().forward(torch.arange(ids.shape[1]))

    def __init__(self):
        super().__init__()
        self.embed, self.places, self.block = nn.Embedding(9, 8), self.Places(20, 8), Block()

    def forward(self, ids):
        embedded = self.embed(ids)
        embedded *= 8**0.5
        return self.block(embedded + self.places(ids))


def test_what_an_embedding_gives_out_may_be_changed_in_place():
    report = trilby.check(Embedded(), torch.randint(0, 9, (2, 16)), laws=["causal"])
    assert report, str(report)


def test_the_noise_of_differences_is_that_of_a_unit_in_every_number():
    from trilby.verify.laws.differentiates import Graph

    x = torch.linspace(1, 2, 9, dtype=torch.float64)
    graph = Graph(lambda tensors: [("y", tensors[0])], [("x", x)], 1, 2.0**-52)
    assert 2.0**-52 <= graph.noise(lambda tensors: tensors[0]) <= 2 * 2.0**-52
