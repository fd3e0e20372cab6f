"""`trilby mix` on several processes: what they write, what they refuse, and what a kill leaves."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.comm.launch import SECONDS, on_ranks
from tests.comm.torchrun import WAIT, ranks, start

MIX = ["-m", "trilby", "mix", "mean", "x.npy", "-o", "y.npy"]


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
def test_processes_write_what_one_process_writes(tmp_path):
    given = (str(tmp_path), "mean", "conv")
    assert on_ranks(2, "tests.comm.mixing:complaints", *given) == [[]] * 2


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("size", [2, 3, 4])
def test_processes_write_what_one_process_writes_with_every_mixer(tmp_path, size):
    assert on_ranks(size, "tests.comm.mixing:complaints", str(tmp_path)) == [[]] * size


@pytest.fixture
def started(tmp_path):
    """A run of two processes that takes long, in the middle of its work; an older OUT is there."""
    np.save(tmp_path / "x.npy", np.ones((1_000_000, 1), "float32"))
    (tmp_path / "y.npy").write_bytes(b"older")
    run = start(tmp_path, 2, *MIX, "--block", "8", "--state-out", "s.safetensors")
    try:
        end = time.monotonic() + WAIT
        while not any(path.stat().st_size > 500 for path in tmp_path.glob(".y.npy.trilby-*")):
            assert run.poll() is None, run.communicate()[1]
            assert time.monotonic() < end, "it does not get going"
            time.sleep(0.05)
        yield run
    finally:
        run.kill()
        run.communicate()


@pytest.mark.long
@pytest.mark.timeout(3 * WAIT)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it finds processes in /proc")
@pytest.mark.parametrize("hit", ["first", "second", "SIGTERM", "SIGINT", "keyboard"])
def test_what_is_killed_or_interrupted_leaves_nothing(started, tmp_path, hit):
    both = ranks(started)
    if hit in ("first", "second"):
        os.kill(both[hit == "second"], signal.SIGKILL)
    elif hit == "keyboard":  # a terminal interrupts all that run in it
        for process in (*both, started.pid):
            os.kill(process, signal.SIGINT)
    else:
        started.send_signal(getattr(signal, hit))
    told = started.communicate(timeout=WAIT)[1]
    assert started.returncode != 0
    assert not any(Path(f"/proc/{process}").exists() for process in both)
    assert {path.name for path in tmp_path.iterdir()} == {"x.npy", "y.npy"}
    assert (tmp_path / "y.npy").read_bytes() == b"older"
    assert "this is a bug in trilby" not in told
    assert told.count("trilby: ") <= 1


@pytest.mark.slow
@pytest.mark.timeout(2 * WAIT)
def test_the_command_of_the_page(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(6, 2))
    run = start(tmp_path, 2, *MIX)
    told = run.communicate(timeout=WAIT)[1]
    said = [line for line in told.splitlines() if line.startswith("mix: ")]
    assert said == ["mix: mean of x.npy, 1 x 6 x 2 float64, in y.npy; by 2 processes"]
    want = np.stack([np.arange(6.0), np.arange(6.0) + 1], 1)
    assert np.array_equal(np.load(tmp_path / "y.npy"), want)


STALL = """
import datetime, os, signal
from trilby.cli import main, processes
from trilby.files import joint

processes.WAIT = datetime.timedelta(seconds=5)
append = joint.JointSink.append

def stalled(self, part, values):
    if self.share.rank and part.start > 100:
        os.kill(os.getpid(), signal.SIGSTOP)
    append(self, part, values)

joint.JointSink.append = stalled
raise SystemExit(main())
"""


@pytest.mark.long
@pytest.mark.timeout(2 * WAIT)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it stops a process")
def test_a_process_that_stalls_is_not_waited_for(tmp_path):
    (tmp_path / "stall.py").write_text(STALL)
    np.save(tmp_path / "x.npy", np.ones((1000, 1)))
    run = start(tmp_path, 2, "stall.py", *MIX[2:], "--block", "8")
    told = run.communicate(timeout=WAIT)[1]
    assert run.returncode != 0
    said = [line for line in told.splitlines() if line.startswith("trilby: ")]
    lost = "mix: rank 0 lost another process, which has ended or does not answer; nothing was "
    assert said == [f"trilby: {lost}written, run the command again"]
    assert {path.name for path in tmp_path.iterdir()} == {"x.npy", "stall.py"}


def used(folder: Path, rows: int) -> tuple[float, float]:
    """The most memory, and the bytes read, of the process that needs most of them, in MB."""
    np.save(folder / "x.npy", np.ones((rows, 16)))
    run = start(folder, 2, *MIX)
    memory, read = [0], [0]
    while run.poll() is None:
        with contextlib.suppress(OSError, ValueError):  # a process that begins or ends
            for process in map(Path, (f"/proc/{p}" for p in ranks(run))):
                status = (process / "status").read_text().split("VmHWM:")[1]
                memory.append(int(status.split()[0]))
                read.append(int((process / "io").read_text().split()[1]))
        time.sleep(0.01)
    assert run.communicate()[0] == ""
    assert run.returncode == 0
    return max(memory) / 1e3, max(read) / 1e6


@pytest.mark.long
@pytest.mark.timeout(3 * WAIT)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it reads /proc")
def test_a_process_holds_some_blocks_and_reads_its_half(tmp_path):
    (some, read), (more, longer) = used(tmp_path, 250_000), used(tmp_path, 2_250_000)
    assert more - some < 64  # MB; the file is 256 MB longer
    assert 100 < longer - read < 180
