"""`trilby check TARGET`: what it is pointed at, its formats, and what it says of a wrong target."""

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


def test_an_exhibit_of_the_gallery(capsys):
    assert main(["check", "gallery:convolution_same", "--effort", "quick"]) == 1
    assert "causal: leak" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("torch.nn:Tnah", "there is no name in torch.nn 'Tnah'"),
        ("no.such.module:x", "no.such.module cannot be imported, it raises ModuleNotFoundError"),
        ("nowhere.py:x", "nowhere.py is not a file"),
        ("hf:nowhere", "nowhere is not a folder; give that of a checkpoint on disk"),
        ("gallery:convolution_smae", "there is no exhibit 'convolution_smae'; did you mean"),
    ],
)
def test_a_wrong_target_is_one_line(target, told, capsys):
    assert main(["check", target]) == 2
    complaint = capsys.readouterr().err
    assert told in complaint
    assert complaint.count("\n") == 1
