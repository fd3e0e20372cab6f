"""A mixer of the user's own, outside of the package, gets what ours get: by its contract alone."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import trilby
from tests.mixers.outside import bank, shift
from trilby import bench
from trilby.cli import main
from trilby.errors import CallError, DtypeError, ShapeError

MIXERS = [pytest.param(m.MIXER, id=m.MIXER.name) for m in (shift, bank)]
SLOW = (pytest.mark.slow, pytest.mark.timeout(300))  # half a minute on a quiet machine
FILE = f"{shift.__file__}:MIXER"


@pytest.mark.parametrize("mixer", MIXERS)
def test_what_the_contract_tells(mixer):
    told = {"shift": (("x",), ("share", "bias"), ("C",)),
            "bank": (("x", "gate", "reads"), ("A", "D"), ("C", "N"))}[mixer.name]  # fmt: skip
    contract = mixer.contract
    assert (contract.sequences, contract.parameters, contract.own) == told


@pytest.mark.parametrize("mixer", MIXERS)
def test_same(mixer):
    for form in mixer.forms.values():
        verdict = trilby.same(mixer.loop, form, *mixer.draw())
        assert verdict, verdict

    def changed(*given):  # the last parameter by a thousandth
        return mixer.loop(*given[:-1], given[-1] * 1.001)

    assert not trilby.same(mixer.loop, changed, *mixer.draw())


@pytest.mark.parametrize(
    "mixer", [shift.MIXER, *(pytest.param(m, marks=SLOW) for m in (bank.MIXER, trilby.ema))]
)
def test_every_law(mixer):
    report = trilby.check(mixer, effort="quick")
    assert report, report
    skipped = {v.law for v in report if v.outcome == "not run" and not v.subject.endswith(".loop")}
    assert skipped == {"padding"} | ({"documents"} if not mixer.contract.documents else set())


@pytest.mark.parametrize("mixer", MIXERS)
def test_check(mixer):
    def late(*given, **named):  # reads one position of the future
        y, state = mixer.loop(*given, **named)
        return y + named["x"].roll(-1, 1), state

    forms = {**mixer.forms, [*mixer.forms][-1]: late}
    wrong = dataclasses.replace(mixer, forms=forms)
    found = trilby.check(wrong, laws=["causal", "agrees"], effort="quick", forms=[[*forms][-1]])
    assert {v.law for v in found.failed()} == {"causal", "agrees"}


@pytest.mark.parametrize("mixer", MIXERS)
def test_bench(mixer):
    found = bench.mixer(mixer, B=1, T=8, C=3, rounds=1, backward=True)
    assert bool(found), found
    assert set(mixer.forms) <= set(found.timings.seconds)


def test_mix_of_one_sequence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, share, bias = shift.draw(B=1, T=50, C=3, dtype=torch.float64)
    np.save("x.npy", x[0].numpy())
    np.save("share.npy", share.numpy())
    asked = ["--share", "share.npy", "--bias", ",".join(map(str, bias.tolist()))]
    assert main(["mix", FILE, "x.npy", "-o", "y.npy", "--block", "7", *asked]) == 0
    wanted = shift.loop(x, share, bias)[0][0]
    np.testing.assert_allclose(np.load("y.npy"), wanted, rtol=1e-12, atol=1e-12)
    assert main(["mix", FILE, "x.npy", "-o", "z.npy", *asked[:2], "--state-out", "s.st"]) == 0
    np.testing.assert_allclose(np.load("z.npy"), wanted - bias, rtol=1e-12, atol=1e-12)
    assert load_file("s.st")["state"].tolist() == x[:, -1].tolist()


def test_mix_of_several_sequences(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, gate, A, reads, D = bank.draw(T=20, dtype=torch.float64)
    save_file(dict(x=x, gate=gate, reads=reads), "in.safetensors")
    np.save("A.npy", A.numpy())
    np.save("D.npy", D.numpy())
    asked = ["--A", "A.npy", "--D", "D.npy", "--block", "6", "-o", "y.npy"]
    assert main(["mix", f"{bank.__file__}:MIXER", "in.safetensors", *asked]) == 0
    wanted = bank.loop(x, gate, A, reads, D)[0]
    np.testing.assert_allclose(np.load("y.npy"), wanted, rtol=1e-12, atol=1e-12)


def test_check_show_same_and_bench_of_a_file(capsys):
    assert main(["check", FILE, "--effort", "quick", "--law", "agrees", "--form", "chunk"]) == 0
    assert "shift: 1 of 1 hold" in capsys.readouterr().out
    assert main(["show", FILE, "-T", "3"]) == 0
    assert "The first of its triangles, one for each C, T = 3" in capsys.readouterr().out
    assert main(["same", f"{FILE}.loop", f"{FILE}.chunk"]) == 0
    assert "the same function" in capsys.readouterr().out
    assert main(["bench", FILE, "--shape", "1,8,2", "--rounds", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["mixer"] == "shift"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", f"{shift.__file__}:loop"], "is of type function, expected a trilby.Mixer"),
        (["show", f"{shift.__file__}:MIXR"], "there is no name in"),
        (["bench", "nowhere.py:MIXER"], "nowhere.py is not a file"),
        (["mix", FILE, "x.npy", "-o", "y.npy"], "shift needs --share, "),
        (["mix", FILE, "x.npy", "-o", "y.npy", "--share", "k.npy"], "--share is 'k.npy', expec"),
    ],
)
def test_a_wrong_target_or_keyword_is_one_line(arguments, told, capsys):
    assert main(arguments) == 2
    complaint = capsys.readouterr().err
    assert told in complaint
    assert complaint.count("\n") == 1


def test_a_draw_that_ignores_its_seed_is_named(capsys):
    def deaf(*, seed=0, **how):
        return shift.draw(**how)

    mixer = dataclasses.replace(shift.MIXER, draw=deaf)
    for call in (lambda: trilby.check(mixer, effort="quick"), lambda: bench.mixer(mixer, T=8, C=2)):
        with pytest.raises(
            CallError, match=r"^shift: draw ignores its seed, 0 and 1 give the same"
        ):
            call()


def test_errors_name_the_call_the_argument_and_its_value():
    x, share, bias = shift.draw()
    for given, error, sentence in (
        ((x, share[:2]), ShapeError, "share is [2], expected [C] with C=3 (from x)"),
        ((x, share, bias[:1]), ShapeError, "bias is [1], expected [C] with C=3 (from x)"),
        ((x, share, 0.5), DtypeError, "bias is a float, expected a tensor [C]; convert it first, "
         "e.g. torch.as_tensor(bias)"),
        ((x, None), DtypeError, "share is None, expected a tensor [C]; give one"),
        ((x, share, bias, x[:, 0, :2]), ShapeError,
         "state is [2, 2], expected [B C] = [2, 3]; give the state that an earlier call returned"),
    ):  # fmt: skip
        with pytest.raises(error) as caught:
            shift.loop(*given)
        assert str(caught.value) == f"shift.loop: {sentence}"
