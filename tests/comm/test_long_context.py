"""`examples/long_context.py`: the losses of one process, on any number of them, and resumed."""

import os
import re
import signal
import sys
import time

import pytest

from tests.comm.torchrun import WAIT, ranks, start
from tests.house.tree import ROOT

EXAMPLE = str(ROOT / "examples" / "long_context.py")
CLOSE = 1e-12
"""Of losses around 3 in float64. A gradient of the wrong size shows least, as AdamW divides by it:
losses were off by 4e-7.
"""


def words(folder, steps, data=1, dtype="float64"):
    given = dict(folder=folder, steps=steps, data=data, dtype=dtype)
    return [EXAMPLE, *(f"--{name}={value}" for name, value in given.items())]


def losses(folder, size, *options):
    """step -> loss of a run, which goes to its end."""
    run = start(folder.parent, size, *words(folder, *options))
    told, errors = run.communicate(timeout=WAIT)
    assert run.returncode == 0, errors
    return {int(step): float(loss) for step, loss in re.findall(r"step (\d+) loss (\S+)", told)}


def off(one, other):
    return max(abs(one[step] - other[step]) for step in other)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return losses(tmp_path_factory.mktemp("alone") / "run", 1, 14)


@pytest.mark.slow
@pytest.mark.timeout(3 * WAIT)
def test_two_processes_have_the_losses_of_one(alone, tmp_path):
    found = losses(tmp_path / "run", 2, 5)
    assert [*found] == [*range(5)]
    assert off(alone, found) < CLOSE
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["step-000004"]


@pytest.mark.long
@pytest.mark.timeout(8 * WAIT)
def test_a_mesh_has_the_losses_of_one_process_and_others_continue_it(alone, tmp_path):
    found = losses(tmp_path / "run", 4, 6, 2)
    assert [*found] == [*range(6)]
    assert off(alone, found) < CLOSE
    for size, data, begin, steps in ((3, 1, 4, 9), (1, 1, 8, 13), (2, 2, 12, 14)):
        found = losses(tmp_path / "run", size, steps, data)
        assert [*found] == [*range(begin, steps)]
        assert off(alone, found) < CLOSE


@pytest.mark.long
@pytest.mark.timeout(8 * WAIT)
def test_in_float32_two_processes_are_as_exact_as_one(alone, tmp_path):
    one = losses(tmp_path / "one", 1, 14, 1, "float32")
    two = losses(tmp_path / "two", 2, 14, 1, "float32")
    assert off(two, alone) <= 2 * off(one, alone) + 4 * 2**-24  # two units of a loss around 3


@pytest.mark.long
@pytest.mark.timeout(8 * WAIT)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it finds processes in /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_run_whose_process_is_killed_while_it_saves_is_resumed(alone, tmp_path, rank):
    folder = tmp_path / "run"
    run = start(tmp_path, 2, *words(folder, 1000))
    try:
        end = time.monotonic() + WAIT
        while not any(folder.glob("*-000008")):
            assert run.poll() is None, run.communicate()[1]
            assert time.monotonic() < end, "it does not get going"
            time.sleep(0.002)
        os.kill(ranks(run)[rank], signal.SIGKILL)
        run.communicate(timeout=WAIT)
        assert run.returncode != 0
    finally:
        run.kill()
        run.communicate()
    last = max(int(path.name[5:]) for path in folder.glob("step-*"))
    assert last in (4, 8)
    found = losses(folder, 1, 11)
    assert [*found] == [*range(last, 11)]
    assert off(alone, found) < CLOSE
