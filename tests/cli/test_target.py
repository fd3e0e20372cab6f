"""`trilby check TARGET`: kinds of targets, output formats, and messages for wrong targets."""

import json
from xml.etree import ElementTree

import pytest

from trilby.cli import main

WRONG = """
import torch
class Ahead(torch.nn.Module):
    def forward(self, x):
        return x.flip(1)
"""

CONVOLVED = """
from torch import nn
class Convolved(nn.Conv1d):
    def __init__(self):
        super().__init__(8, 8, 3)
    def forward(self, x):
        return super().forward(nn.functional.pad(x, (2, 0)))
"""


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(WRONG)
    return path


def test_a_file_is_run_and_its_class_judged(module, capsys, tmp_path):
    junit = tmp_path / "found.xml"
    code = main(["check", f"{module}:Ahead", "--effort", "quick", "--junit", str(junit)])
    assert code == 1
    assert "causal: leak  Ahead.forward" in capsys.readouterr().out
    cases = ElementTree.parse(junit).getroot()
    assert next(c.get("name") for c in cases if c.find("failure") is not None) == "causal"


def test_annotations_json_and_something_importable(module, capsys):
    assert main(["check", f"{module}:Ahead", "--effort", "quick", "--format", "github"]) == 1
    assert capsys.readouterr().out.startswith("::error title=causal::leak  Ahead.forward")
    assert main(["check", "torch.nn:Tanh", "--effort", "quick", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_time_on_another_axis(tmp_path, capsys):
    path = tmp_path / "convolved.py"
    path.write_text(CONVOLVED)
    asked = ["check", f"{path}:Convolved", "--effort", "quick", "--law", "causal"]
    assert main([*asked, "--time-axis", "2"]) == 0
    assert main([*asked, "--time-axis", "-1"]) == 0
    assert main(asked) == 2
    assert "it takes the example with time on axis 2" in capsys.readouterr().err


def test_an_exhibit_of_the_gallery(capsys):
    assert main(["check", "gallery:convolution_same", "--effort", "quick"]) == 1
    assert "causal: leak" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("torch.nn:Tnah", "there is no name in torch.nn 'Tnah'"),
        ("no.such.module:x", "no.such.module cannot be imported, it raises ModuleNotFoundError"),
        ("nowhere.py:x", "nowhere.py is not a file"),
        ("mine", "there is no mixer 'mine'"),
        (":x", "':x' is no target; write a mixer, gallery:NAME"),
        ("hf:nowhere", "nowhere is not a folder; give that of a checkpoint on disk"),
        ("gallery:convolution_smae", "there is no exhibit 'convolution_smae'; did you mean"),
    ],
)
def test_a_wrong_target_is_one_line(target, told, capsys):
    assert main(["check", target]) == 2
    complaint = capsys.readouterr().err
    assert told in complaint
    assert complaint.count("\n") == 1


ODD = """
import torch
class Loud(torch.nn.Module):
    def forward(self, x):
        print("called")
        return x.tanh()
class Summed(torch.nn.Module):
    def forward(self, x):
        return x.sum(1)
class Narrow(torch.nn.Linear):
    def __init__(self):
        super().__init__(3, 3)
class Empty(torch.nn.Linear):
    def __init__(self):
        super().__init__(8, 8, device="meta")
class Words(torch.nn.Embedding):
    def __init__(self):
        super().__init__(4, 8)
class Writes(torch.nn.Module):
    def forward(self, x):
        return x.mul_(2)
class Random(torch.nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)
class Hoards(torch.nn.Module):
    kept = []
    def forward(self, x):
        y = x.tanh()
        self.kept.append(y)
        return y
class Reads(torch.nn.Module):
    def forward(self, x):
        return x * 2 if x.flatten()[0].item() > 0 else x * 2
def factory():
    raise OSError("no weights here")
"""


@pytest.fixture
def odd(tmp_path):
    path = tmp_path / "odd.py"
    path.write_text(ODD)
    return path


@pytest.mark.parametrize(
    ("name", "more", "told"),
    [
        ("Nobody", [], "there is no name in"),
        ("factory", [], "factory() was to make the subject and raises OSError: no weights here"),
        ("Summed", [], "returns [2, 8] for B=2 and T=16, expected [B, T, ...]"),
        ("Narrow", [], "Narrow.forward(float32 [2, 16, 8]) raises RuntimeError: mat1"),
        ("Empty", [], "parameter weight is on meta; give it memory first"),
        (
            "Words",
            ["--tokens", "9"],
            "raises IndexError: index out of range in self; tokens 0 to 8",
        ),
    ],
)
def test_what_cannot_be_judged_is_one_line_and_exit_2(odd, name, more, told, capsys):
    assert main(["check", f"{odd}:{name}", "--effort", "quick", *more]) == 2
    complaint = capsys.readouterr().err
    assert told in complaint
    assert complaint.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "laws", "code", "told"),
    [
        ("Writes", ["repeats"], 1, "repeats: writes to its arguments  Writes.forward  "),
        ("Random", ["repeats"], 1, "repeats: random  Random.forward  "),
        ("Hoards", ["repeats", "causal"], 0, "2 of 2 hold"),
        ("Reads", ["repeats", "isolated"], 0, "2 of 2 hold"),
    ],
)
def test_odd_ways_to_behave_have_a_line_and_an_exit_code(odd, name, laws, code, told, capsys):
    asked = [word for law in laws for word in ("--law", law)]
    assert main(["check", f"{odd}:{name}", "--effort", "quick", *asked]) == code
    assert told in capsys.readouterr().out


def test_a_file_that_is_no_python_is_one_line(tmp_path, capsys):
    path = tmp_path / "torn.py"
    path.write_text("def (")
    assert main(["check", f"{path}:x"]) == 2
    complaint = capsys.readouterr().err
    assert "torn.py was run and raises SyntaxError" in complaint
    assert complaint.count("\n") == 1


def test_what_a_module_prints_is_left_out_and_counted(odd, capsys):
    laws = ["--law", "repeats", "--law", "causal"]
    assert main(["check", f"{odd}:Loud", "--effort", "quick", "--json", *laws]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["ok"] is True
    assert err.startswith(f"note: {odd}:Loud prints, ")
    assert "lines were left out, the first of them 'called'" in err
