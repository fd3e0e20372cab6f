"""`check`: the mixer holds, the report tells what was run, the caller's things are as before."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.verify.page import JUDGED, beside

import trilby
from trilby.cli.names import EFFORTS as TYPED
from trilby.errors import CallError, FormError
from trilby.verify.mutants import MUTANTS
from trilby.verify.reports.report import Report
from trilby.verify.reports.verdict import Verdict
from trilby.verify.sizes import EFFORTS


def with_scan(scan):
    return replace(trilby.mean, forms={"loop": trilby.mean.loop, "scan": scan})


@pytest.mark.slow
@pytest.mark.timeout(600)  # effort "default" takes a minute on a quiet machine
@pytest.mark.parametrize("effort", ["quick", pytest.param("default", marks=pytest.mark.long)])
def test_the_mean_holds_every_law(effort):
    report = trilby.check(trilby.mean, effort=effort)
    assert report, str(report)
    for form in trilby.mean.forms:
        ran = [v.law for v in report if v.ok and v.subject == f"mean.{form}"]
        assert ran == [law for law in JUDGED if law != "agrees" or form != "loop"]


@pytest.mark.slow
def test_thorough_generates_code():
    verdict = trilby.check(trilby.mean, forms=["scan"], laws=["compiles"], effort="thorough")
    [only] = verdict
    assert only.outcome == "holds" or "inductor generates no code here" in only.sentence
    assert any("inductor" in line for line in verdict.sizes()) == only.ok


def test_a_report_prints_as_a_table():
    report = trilby.check(
        beside(MUTANTS["reads_one_ahead"]), laws=["isolated", "padding", "causal"], effort="quick"
    )
    head, titles, *lines = str(report).splitlines()
    assert head.startswith("mean: 3 of 4 hold (quick, ")
    assert titles.split() == ["loop", "scan"]
    assert lines[0].split() == ["causal", "ok", "BROKEN"]
    assert lines[1].split() == ["isolated", "ok", "ok"]
    assert lines[2] == (
        "causal: leak  mean.scan  y[0, 0] reads x[0, 1]  change 0.2  B=1 T=2 C=1 float32"
    )
    assert lines[3].startswith("    largest ")
    assert lines[3].endswith(" at T=2, 5, 8, 66")
    assert lines[4] == "padding (mean.loop scan) skipped: a mixer takes no mask"
    assert lines[5] == (
        "sizes  causal: T 1 2 3 5 8 66, B 1-3, C 1-4, float32 float64 bfloat16 float16"
    )


def test_a_later_law_stands_after_the_first():
    report = trilby.check(beside(MUTANTS["forgets_the_state"]), laws=JUDGED[:7], effort="quick")
    assert [v.law for v in report.first()] == ["resumes"]
    assert "\n  then agrees: different  mean.scan  differs from mean.loop" in str(report)


def test_a_note_is_no_failure():
    report = trilby.check(trilby.mean, forms=["matrix"], laws=["causal"], effort="quick")
    assert report
    assert "note  mean.matrix: causal, what is not finite in the future reaches the past" in str(
        report
    )
    report = trilby.check(trilby.mean, forms=["scan"], laws=["causal"], effort="quick")
    assert "note" not in str(report)


def test_a_report_is_json():
    report = trilby.check(beside(MUTANTS["ends_in_nan"]), laws=["agrees"], effort="quick")
    found = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert found["ok"] is False
    assert [v["outcome"] for v in found["verdicts"]] == ["not run", "broken"]
    assert found["verdicts"][1]["error"] == "inf"


def test_a_report_of_nothing_is_not_a_pass():
    assert not Report("mean", ())
    assert not Report("mean", (Verdict("mean.scan", "causal", "not run"),))
    assert Report("mean", (Verdict("a", "causal", "holds"), Verdict("a", "sound", "not run")))
    assert not trilby.check(trilby.mean, forms=[])
    report = trilby.check(trilby.mean, forms=["scan"], laws=["padding"])
    assert not report
    assert str(report).startswith("mean: nothing was run")


def test_the_reproducer_runs(capsys):
    [verdict] = trilby.check(trilby.mean, forms=["scan"], laws=["repeats"], effort="quick")
    exec(verdict.reproducer)
    assert capsys.readouterr().out.startswith("mean: 1 of 1 hold")


def test_a_form_that_raises_is_broken_and_the_rest_goes_on():
    def raises(x, state=None, documents=None):
        raise RuntimeError("boom\nand more")

    report = trilby.check(with_scan(raises), forms=["scan"], laws=JUDGED, effort="quick")
    assert [v.law for v in report.failed()] == JUDGED
    for verdict in report.failed():
        assert "RuntimeError" in verdict.sentence
        assert "boom" in verdict.sentence
        assert verdict.kind == ("different" if verdict.law == "agrees" else "raises")


def _surroundings():
    return (
        torch.get_rng_state().tolist(),
        random.getstate(),
        str(np.random.get_state()),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
    )


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_nothing_of_the_caller_is_changed(mode):
    laws = ["repeats", "causal", "differentiates", "sound", "compiles"]
    torch.set_default_dtype(torch.float64)
    try:
        with mode():
            before = _surroundings()
            assert trilby.check(trilby.mean, forms=["scan"], laws=laws, effort="quick")
            assert _surroundings() == before
    finally:
        torch.set_default_dtype(torch.float32)


def test_nor_after_an_interrupt():
    def interrupted(x, state=None):
        torch.rand(1), random.random(), np.random.rand()
        raise KeyboardInterrupt

    before = _surroundings()
    with pytest.raises(KeyboardInterrupt):
        trilby.check(with_scan(interrupted), forms=["scan"], laws=["causal"])
    assert _surroundings() == before


def test_wrong_arguments_are_one_sentence():
    with pytest.raises(CallError, match=r"^check: there is no law 'casual'; did you mean 'causal'"):
        trilby.check(trilby.mean, laws=["casual"])
    with pytest.raises(FormError, match=r"mean: form is 'chunks', .* did you mean 'chunk'\?"):
        trilby.check(trilby.mean, forms=["chunks"])
    with pytest.raises(CallError, match=r"^check: example is missing; give the arguments of one"):
        trilby.check(trilby.mean.loop)
    with pytest.raises(CallError, match=r"^check: subject is an int, expected a mixer, a module"):
        trilby.check(3)
    with pytest.raises(CallError, match=r"^check: effort is 'hard', expected one of quick default"):
        trilby.check(trilby.mean, effort="hard")


def test_the_command_line_takes_these_efforts():
    assert TYPED == EFFORTS


def test_all_forms_are_judged_by_one_answer_of_the_definition():
    """Seen to fail where each form asks anew: two forms then take twice the calls of one."""
    calls = []

    def counted(x, state=None, documents=None):
        calls.append(x.shape)
        return trilby.mean.loop(x, state, documents)

    def asked(*names):
        calls.clear()
        forms = {"loop": counted, **{name: trilby.mean.forms[name] for name in names}}
        mixer = replace(trilby.mean, forms=forms)
        assert trilby.check(mixer, forms=names, laws=["sound"], effort="quick")
        return len(calls)

    both, one = asked("matrix", "chunk"), asked("chunk")
    assert both < 1.2 * one


def test_what_was_compiled_before_does_not_enter_a_verdict(monkeypatch):
    """torch compiles a second size for any size; `check` says itself which it wants."""
    wanted, compile = [], torch.compile
    spied = lambda f, **how: wanted.append(how["dynamic"]) or compile(f, **how)
    monkeypatch.setattr(torch, "compile", spied)
    for T in (4, 7):
        report = trilby.check(lambda x: x.cumsum(1), torch.randn(2, T, 3), laws=["compiles"])
        assert report, report
    assert wanted == [False] * 4
    wanted.clear()
    assert trilby.check(trilby.mean, forms=["scan"], laws=["compiles"])
    assert wanted == [False, True]
