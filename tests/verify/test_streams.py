"""Every way to keep a state between calls: the right ones hold, the wrong ones are named."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import trilby
from trilby.cli.target import PAST
from trilby.errors import CallError
from trilby.gallery.blocks import CachedAttention, CarriedScan, Keys, Scan, clock, recur
from trilby.gallery.streams import EditedKeys
from trilby.streaming import by_cache, by_methods, by_module, by_past, by_prefix, by_state

X = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def judged(module, carry, law="resumes", x=X, **how):
    [verdict] = trilby.check(module, x, laws=[law], effort="quick", carry=carry, **how)
    return verdict


def shown(verdict, module, capsys):
    """What the reproducer prints, or the exception that it raises."""
    lines = verdict.reproducer.splitlines()
    origin = [line for line in lines if line.startswith("f = ") and not line.startswith("f = f.")]
    if "def make():" in lines:  # f itself is run: a class that a test edits is not in any source
        made = next(i for i, line in enumerate(lines) if line.endswith("= make()"))
        origin = lines[lines.index("def make():") : made + 1]
    text = "\n".join(line for line in lines if line not in origin)
    try:
        exec(text, {"f": module, "reached": [module]})
    except Exception as error:
        return error
    return float(capsys.readouterr().out.replace("tensor(", "").split(",")[0].split(")")[0])


class Inside(Scan):
    """The state is a buffer, an attribute, or in an object that an attribute holds."""

    def __init__(self, where="attribute", forgets=False):
        super().__init__()
        self.where, self.forgets = where, forgets
        self.register_buffer("buffer", torch.zeros(0))
        self.attribute, self.keys = None, Keys()

    def forward(self, x):
        held = dict(attribute=self.attribute, object=self.keys.kept, buffer=self.buffer)[self.where]
        none = held is None or not len(held)
        h, last = recur(*self.parts(x), self.zeros(x) if none else held)
        if self.where == "attribute":
            self.attribute = last
        elif self.where == "buffer":
            self.buffer = last
        else:
            self.keys.kept = last
        return self.out(h)

    def reset(self):
        if not self.forgets:
            self.attribute, self.keys.kept, self.buffer = None, None, torch.zeros(0)


@pytest.mark.parametrize("where", ["attribute", "buffer", "object"])
@pytest.mark.parametrize("reset", ["reset", None, Inside.reset])
def test_a_state_inside_the_module_is_a_state(where, reset):
    module = Inside(where)
    report = trilby.check(
        module, X, laws=["repeats", "causal", "resumes"], effort="quick", carry=by_module(reset)
    )
    assert [v.outcome for v in report] == ["holds"] * 3, str(report)
    assert (module.attribute, module.keys.kept, module.buffer.numel()) == (None, None, 0)


def test_a_reset_that_forgets_is_named_and_shown(capsys):
    module = Inside("object", forgets=True)
    verdict = judged(module, by_module("reset"))
    assert verdict.kind == "state not emptied"
    assert shown(verdict, module, capsys) > 1e-4
    assert judged(module, by_module())  # the copy is put back


def test_a_module_that_is_not_copied_is_put_back():
    module = Inside("object")
    module.keys.kept = module(X).detach()[:, -1] * 0
    module.lock = (n for n in "cannot be copied")
    before = module.keys.kept.clone()
    report = trilby.check(module, X, laws=["resumes"], effort="quick", carry=by_module("reset"))
    assert report, str(report)
    assert any("cannot be copied" in line for line in report.limits)
    assert torch.equal(module.keys.kept, before)


def test_a_function_has_no_inside():
    with pytest.raises(CallError, match="by_module: it is for a module, and this is a function"):
        by_module().begin(torch.nn.functional.relu, 2)


class Methods(CarriedScan):
    """A step with the axis of time, chunks of a length or of multiples of it."""

    def init_state(self, B):
        return self.out.weight.new_zeros(B, 8)

    def timed(self, x, h):
        assert x.ndim == 3, "[B, 1, ...] is expected"
        assert x.shape[1] == 1, "one position"
        return self(x, h)

    def fours(self, x, h):
        assert x.shape[1] % 4 == 0, "multiples of 4"
        return self(x, h)

    def four(self, x, h):
        assert x.shape[1] == 4, "4 positions"
        return self(x, h)

    def stale(self, x, h):
        return self(x, h)[0], h


ALONE = dict(step=None, start="init_state")
METHODS = {
    "time": (dict(step="timed", keep_time=True), ""),
    "multiples": (ALONE | dict(chunk="fours", multiple=4), ""),
    "exactly": (ALONE | dict(chunk="four", exactly=4), ""),
    "stale": (ALONE | dict(chunk="stale", exactly=4), "state stale"),
    "no time": (dict(step="timed"), "raises"),
    "any": (ALONE | dict(chunk="fours"), "raises"),
}


@pytest.mark.parametrize("name", METHODS)
def test_steps_and_chunks(name, capsys):
    how, kind = METHODS[name]
    verdict = judged(Methods(), by_methods(**how))
    assert verdict.kind == kind, verdict.sentence
    assert ("with keep_time=True it does not" in verdict.sentence) == (name == "no time")
    if kind:
        seen = shown(verdict, Methods(), capsys)
        assert isinstance(seen, AssertionError) if kind == "raises" else seen > 1e-4


def test_all_laws_hold_of_a_module_with_chunks_alone():
    report = trilby.check(Methods(), X, effort="quick", carry=by_methods(**METHODS["exactly"][0]))
    assert report, str(report)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (dict(step=None), "step and chunk are both None"),
        (dict(multiple=4), "a length of 4 is given and no chunk"),
        (dict(chunk="c", multiple=2, exactly=4), "multiple is 2 and exactly is 4; give one"),
    ],
)
def test_methods_that_disagree(how, told):
    with pytest.raises(CallError, match=told):
        by_methods(**how)


class Single(CachedAttention):
    """A call that continues takes one position."""

    lost = False

    def forward(self, x, cache=None):
        if cache is not None and len(cache) and x.shape[1] > 1:
            raise ValueError("one position at a time")
        if self.lost and cache is not None and len(cache) > 4:
            cache.kept = tuple(t[:, :, -4:] for t in cache.kept)
        return super().forward(x, cache)


def test_one_position_for_each_call_that_continues(capsys):
    module = Single()
    assert judged(module, by_cache(start="empty", one=True))
    verdict = judged(module, by_cache(start="empty"))
    assert verdict.kind == "raises"
    assert "; with one=True it does not, if that is how it is meant" in verdict.sentence
    assert isinstance(shown(verdict, module, capsys), ValueError)
    module.lost = True
    verdict = judged(module, by_cache(start="empty", one=True))
    assert verdict.kind == "state wrong"
    assert shown(verdict, module, capsys) > 1e-4


class Whole(CachedAttention):
    """Every call gets the whole prefix; what is in the cache is not computed again."""

    def __init__(self, every=False, again=0):
        super().__init__()
        self.every, self.again = every, again

    def forward(self, x, cache=None):
        old = max(0, (0 if cache is None else len(cache)) - self.again)
        y = super().forward(x[:, old:], cache)
        return F.pad(y, (0, 0, old, 0)) if self.every else y


class Counted(CarriedScan):
    """The returned cache is the last state and how many positions it has seen."""

    def forward(self, x, cache=None):
        h, n = (None, 0) if cache is None else cache
        y, h = super().forward(x[:, n:], h)
        return y, (h, x.shape[1])


def test_a_call_that_wants_the_whole_prefix(capsys):
    assert judged(Whole(), by_prefix(start="empty"))
    assert judged(Whole(every=True), by_prefix(start="empty"))
    assert judged(Counted(), by_prefix())
    module = Whole(again=1)  # the last position is computed, and stored, twice
    verdict = judged(module, by_prefix(start="empty"))
    assert verdict.outcome == "broken"
    assert shown(verdict, module, capsys) > 1e-4


class Behind(CachedAttention):
    """Positions restart in a call with a cache, behind a projection that is zero at first."""

    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.out.weight)

    def forward(self, x, cache=None):
        return super().forward(x + clock(torch.arange(x.shape[1]), x), cache)


def test_a_projection_of_zeros_hides_no_cache():
    verdict = judged(Behind(), by_cache(start="empty"))
    assert verdict.kind == "state wrong"
    assert verdict.sentence.endswith("redrawn")


def edited(method, wrong):
    class Edited(EditedKeys):
        pass

    setattr(Edited, method, wrong)

    class Module(CachedAttention):
        def empty(self):
            return Edited()

    return Module()


def one_row_less(keys, n):
    keys.change(lambda t: t.repeat(n, 1, 1, 1))


def refuses(keys, n):
    raise NotImplementedError("a window cannot be cropped")


@pytest.mark.parametrize("one", [False, True])
@pytest.mark.parametrize(
    ("method", "wrong", "kind"),
    [
        ("crop", lambda keys, n: keys.change(lambda t: t[:, :, : n + 1]), "crop wrong"),
        ("crop", lambda keys, n: None, "crop wrong"),
        ("reorder_cache", lambda keys, rows: keys.change(lambda t: t[rows.argsort()]), ""),
        ("reorder_cache", lambda keys, rows: None, "rows wrong"),
        ("batch_select_indices", lambda keys, rows: keys.change(lambda t: t[: len(rows)]), "rows "),
        ("batch_repeat_interleave", one_row_less, "rows wrong"),
        ("crop", refuses, ""),
    ],
)
def test_an_edited_cache(method, wrong, kind, one, capsys):
    if method == "reorder_cache" and not kind:
        x = X.repeat(2, 1, 1)[:3]  # a permutation of two rows is its own inverse
        assert judged(edited(method, wrong), by_cache(start="empty"), x=x).kind == "rows wrong"
        return
    module = edited(method, wrong)
    verdict = judged(module, by_cache(start="empty", one=one))
    assert verdict.kind.startswith(kind)
    if kind:
        assert shown(verdict, module, capsys) > 1e-4
    else:
        assert "its cache refuses crop(" in verdict.sentence


@pytest.mark.parametrize("method", ["crop", "reorder_cache", "batch_repeat_interleave"])
def test_the_cache_of_a_library_is_edited(method, monkeypatch):
    transformers = pytest.importorskip("transformers")
    sizes = dict(n_embd=8, n_layer=1, n_head=2, n_positions=64, vocab_size=16)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)).eval()
    ids = torch.randint(0, 16, (2, 9), generator=torch.Generator().manual_seed(0))
    how = dict(x=ids, vocabulary=16)
    takes = inspect.signature(model.forward).parameters
    carry = by_past(next(name for name in PAST if name in takes))
    assert judged(model, carry, **how)
    monkeypatch.setattr(transformers.DynamicCache, method, lambda *_: None)
    kind = "crop wrong" if method == "crop" else ("rows wrong", "raises")
    assert judged(model, carry, **how).kind in kind


class Masked(CarriedScan):
    """A recurrence whose mask is that of the call, or the last of all positions so far."""

    def __init__(self, piece, fault=""):
        super().__init__()
        self.piece, self.fault = piece, fault

    def forward(self, x, state=None, mask=None):
        a, b = self.parts(x)
        if mask is not None:
            if self.piece and mask.shape[1] != x.shape[1]:
                raise ValueError("a mask of the call is expected")
            real = (mask[:, : x.shape[1]] if self.fault == "first" else mask[:, -x.shape[1] :]) > 0
            a, b = torch.where(real[..., None], a, 1), b * real[..., None]
        h, last = recur(a, b, self.zeros(x) if state is None else state)
        return self.out(h), last


@pytest.mark.parametrize("piece", [False, True])
def test_a_padded_prompt_is_continued_with_either_mask(piece):
    verdict = judged(Masked(piece), by_state(), "padding", padding="mask")
    assert verdict, verdict.sentence
    assert "no prefill" not in verdict.sentence


def test_the_mask_of_other_positions_is_named_and_shown(capsys):
    module = Masked(False, "first")  # a token after the prompt gets the mask of the first ones
    verdict = judged(module, by_state(), "padding", padding="mask")
    assert verdict.kind == "padding in a stream"
    assert "after a prompt with" in verdict.sentence
    assert shown(verdict, module, capsys) > 1e-4
