"""The law `shards`: what breaks it, what does not, and what is said where processes fail."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import torch.distributed as dist
from tests.house.tree import ROOT
from tests.verify import in_pieces
from tests.verify.page import in_pieces as judged
from tests.verify.page import kinds

import trilby
from trilby.errors import CallError, KernelError
from trilby.verify.laws import ACROSS
from trilby.verify.laws.shards import splits
from trilby.verify.mutants import SHARDED, Mutant
from trilby.verify.mutants.shards import pieces
from trilby.verify.ranks import processes
from trilby.verify.ranks.processes import Processes
from trilby.verify.ranks.sharded import sharded_form

X = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
BY_HAND = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_mutant_is_caught_by_its_cause():
    assert kinds(patience=5) == {name: mutant.kind for name, mutant in SHARDED.items()}


@pytest.mark.long
@pytest.mark.timeout(300)
def test_what_the_mutants_are_made_of_is_healthy():
    with Processes(3, processes.LONG) as ranks:
        found = judged(Mutant(pieces, "", ""), ranks)
    assert found, str(found)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", trilby.MIXERS)
def test_every_mixer_holds_on_up_to_four_processes(name):
    report = trilby.check(trilby.MIXERS[name], world=4)
    assert report, str(report)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_functions_that_are_right_hold_and_what_they_refuse_is_a_note():
    report = trilby.check(in_pieces.everywhere, X, world=2, reference=in_pieces.plain)
    assert report, str(report)
    [verdict] = trilby.check(in_pieces.even, X, world=2)
    assert verdict
    assert verdict.notes[0] == ("it refuses pieces of 0 2, ValueError: the pieces differ in length")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_module_and_three_processes_hold():
    assert trilby.check(in_pieces.Scaled, X, world=2)
    assert trilby.check(in_pieces.total, X, world=3)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_gradient_that_is_lost_is_told_with_a_program_that_shows_it(tmp_path):
    [verdict] = trilby.check(in_pieces.lost, X, world=2, reference=in_pieces.plain)
    assert verdict.kind == "gradient wrong"
    assert verdict.sentence.startswith("gradient wrong  lost  rank 0: d x[0, 0, ")
    assert verdict.sentence.endswith("world 2  pieces 1 1  B=1 T=2 float64")
    seen = verdict.witness
    assert (seen.rank, seen.pieces, seen.to, seen.start) == (0, (1, 1), "d x", "")
    (tmp_path / "again.py").write_text(verdict.reproducer)
    found = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "again.py"],
        cwd=tmp_path, env=BY_HAND, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    said = dict(line.split(" is off by ") for line in found.stdout.splitlines())
    assert float(said["rank 0: d x"]) > 0.1, found.stderr
    assert {float(said[name]) for name in ("rank 0: y", "rank 1: y", "rank 1: d x")} == {0.0}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_rank_that_waits_says_where_and_so_do_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv("TRILBY_TEST_HERE", str(tmp_path / "here"))
    monkeypatch.setattr(processes, "PATIENCE", 5.0)
    [verdict] = trilby.check(in_pieces.stuck, X, world=2)
    assert verdict.kind == "hangs"
    assert (
        "hangs  stuck  rank 0 does not return, it waits in all_gather, called at in_pieces.py:"
    ) in verdict.sentence
    assert " in forward; rank 1 has returned  world 2  pieces 1 1" in verdict.sentence


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_interrupt_leaves_no_process(tmp_path):
    here = tmp_path / "here"
    program = (
        "import torch, trilby\nfrom tests.verify.in_pieces import stuck\n"
        "if __name__ == '__main__':\n    trilby.check(stuck, torch.randn(2, 6, 3), world=2)\n"
    )
    (tmp_path / "run.py").write_text(program)
    started = subprocess.Popen(
        [sys.executable, "run.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env=BY_HAND | {"TRILBY_TEST_HERE": str(here)}, start_new_session=True,
    )  # fmt: skip
    while not here.exists() and started.poll() is None:
        time.sleep(0.05)
    os.killpg(started.pid, signal.SIGINT)
    assert "KeyboardInterrupt" in started.communicate(timeout=60)[1]
    for _ in range(100):  # what watches over shared memory ends a moment later
        if not _left(started.pid):
            return
        time.sleep(0.1)
    pytest.fail("a process is left")


def _left(group):
    """Whether a process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


FILE = "put it into a file and give file.py:NAME to `trilby check`, or import it from there"


def test_what_another_process_cannot_import_is_refused_in_one_line(monkeypatch):
    def inner(x):
        return x

    with pytest.raises(CallError) as caught:
        trilby.check(inner, X, world=2)
    assert (
        str(caught.value)
        == ("check: inner is defined inside of a function, which another process cannot import; ")
        + FILE
    )
    with pytest.raises(CallError) as caught:
        trilby.check(lambda x: x, X, world=2)
    assert str(caught.value) == (
        "check: <lambda> is a lambda, which another process cannot import; " + FILE
    )
    monkeypatch.setattr(in_pieces.plain, "__module__", "__main__")
    with pytest.raises(CallError) as caught:
        trilby.check(in_pieces.plain, X, world=2)
    assert str(caught.value) == (
        "check: plain is defined in the program that runs (__main__), which another process "
        "cannot import; " + FILE
    )


def test_a_torch_without_gloo_is_told(monkeypatch):
    monkeypatch.setattr(dist, "is_gloo_available", lambda: False)
    with pytest.raises(KernelError, match="has no gloo here, so no processes can share"):
        trilby.check(trilby.mean, world=2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"world": 0}, "check: world is 0, expected a number of processes, 1 to 8"),
        ({"laws": ["shards"]}, "the law 'shards' is about several processes; say how many"),
        ({"reference": in_pieces.plain}, "reference is given without world=; say how many"),
        ({"world": 2, "laws": ["causal"]}, r"laws is \['causal'\] with world=2, which is about"),
        ({"world": 2, "waive": {"causal": "so"}}, "waive is .* with world=2; leave it out"),
        ({"world": 2, "padding": "mask"}, "padding is given with world=, which takes reference, "),
    ],
)
def test_what_does_not_go_with_processes_is_refused(given, said):
    with pytest.raises(CallError, match=said):
        trilby.check(in_pieces.plain, X, **given)


def test_a_mixer_brings_its_own_example():
    with pytest.raises(CallError, match="example is given, but a mixer draws its own; leave it"):
        trilby.check(trilby.mean, X, world=2)
    with pytest.raises(
        CallError, match="output is given with world=, which takes none of a mixer; leave"
    ):
        trilby.check(trilby.mean, world=2, output=0)


def test_pieces_are_uneven_and_empty_at_each_number_of_processes():
    with Processes(4) as ranks:  # none is started
        subject = sharded_form(trilby.mean, 4, ranks)
    settings = ACROSS["shards"].mixer_settings("default", subject)
    assert {len(s.pieces) for s in settings} == {1, 2, 3, 4}
    for world in (2, 3, 4):
        assert any(0 in one for one in splits(world))
        assert any(len({*one}) > 1 and 0 not in one for one in splits(world))
        assert splits(world)[1][:2] == (0, 2)
