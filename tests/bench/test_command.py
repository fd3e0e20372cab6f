"""`trilby bench`: what it prints, what it refuses, and its exit codes."""

import dataclasses
import json

import pytest

import trilby
from trilby.cli import main

SMALL = ["--shape", "2,16,4", "--rounds", "2"]


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(["bench", *arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_the_table(capsys):
    code, out, err = run(capsys, "mean", *SMALL, "--forms", "scan,step", "--backward")
    assert code == 0
    assert out.startswith("mean [2, 16, 4] float32, forward and backward: median of 2 rounds\n")
    assert "of copy's speed" in out
    assert "step: against chunk at [2, 16, 4]" in out
    assert err == "judging the forms of mean, then timing them in turn\n"


def test_json(capsys):
    _, out, _ = run(capsys, "mean", *SMALL, "--forms", "scan", "--json", "--dtype", "bfloat16")
    told = json.loads(out)
    assert (told["schema"], told["ok"], told["dtype"]) == ("trilby.bench/1", True, "bfloat16")
    assert list(told["ways"]) == ["y.copy_(x)", "cumsum(x, 1) / n", "scan"]


def test_a_refused_form_is_exit_code_1(capsys, monkeypatch):
    def wrong(x, state=None):
        y, state = trilby.mean.scan(x, state)
        return y * 1.001, state

    forms = {**trilby.mean.forms, "fused": wrong}
    broken = dataclasses.replace(trilby.mean, forms=forms)
    monkeypatch.setitem(trilby.MIXERS, "mean", broken)
    code, out, _ = run(capsys, "mean", *SMALL, "--forms", "fused")
    assert code == 1
    assert "fused: not timed, refused against the loop at [2, 13, 3]: different functions" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--forms", "sacn"], "there is no form of mean called 'sacn'; did you mean 'scan'?"),
        (["--forms", "zzz"], "there is no form of mean called 'zzz'"),
        (["--rounds", "0"], "0 is not in the range x>=1"),
    ],
)
def test_wrong_input_is_code_2(capsys, arguments, sentence):
    code, out, err = run(capsys, "mean", *SMALL, *arguments)
    assert (code, out) == (2, "")
    assert sentence in err
