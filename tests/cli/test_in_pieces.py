"""`trilby check --world`: processes that share a sequence."""

import json
from pathlib import Path

import pytest
from tests.verify import in_pieces

from trilby.cli import main


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_function_in_a_file_is_run_on_two_processes(tmp_path, capsys):
    file = tmp_path / "of_a_user.py"
    file.write_text(Path(in_pieces.__file__).read_text("utf-8"))
    asked = ["--world", "2", "--effort", "quick", "--example", "B=2,T=4,C=2", "--json"]
    assert main(["check", f"{file}:lost", *asked]) == 1
    [verdict] = json.loads(capsys.readouterr().out)["verdicts"]
    assert (verdict["law"], verdict["kind"]) == ("shards", "gradient wrong")
    assert verdict["witness"]["pieces"] == [1, 1]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--form", "loop"], "--form with --world is shard; leave it out"),
        (["--law", "causal"], "--law with --world is shards; leave it out"),
        (["--padding", "mask"], "--padding is given with --world; leave it out"),
        (["--time-axis", "2"], "--time-axis is given with --world; leave it out"),
    ],
)
def test_what_does_not_go_with_processes_is_refused(asked, said, capsys):
    assert main(["check", "mean", "--world", "2", *asked]) == 2
    assert said in capsys.readouterr().err
