"""Kernels under rough conditions: the right result or a clear error, never an abort or a hang."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import trilby
from trilby.kernels.machine import team, threads

LARGE = (8, 512, 64)  # more elements than one thread takes alone

ONE_CALL = """
import torch, trilby
x = torch.arange(8 * 512 * 64, dtype=torch.float32).view(8, 512, 64)
y, state = trilby.mean.fused(x)
assert torch.equal(y, trilby.mean.scan(x)[0])
print("right")
"""


def large(seed: int = 0) -> torch.Tensor:
    return trilby.mean.draw(B=LARGE[0], T=LARGE[1], C=LARGE[2], seed=seed)[0]


def child(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def result(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=90)
    return process.returncode, out.strip(), err


def test_many_threads_at_once():
    wanted = [trilby.mean.fused(large(i))[0] for i in range(8)]
    wrong: list[int] = []

    def work(i: int) -> None:
        x = large(i)
        for _ in range(20):
            if not torch.equal(trilby.mean.fused(x)[0], wanted[i]):
                wrong.append(i)

    crowd = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(60)
    assert not any(thread.is_alive() for thread in crowd)
    assert wrong == []


class Means(Dataset):  # at the top: a spawned worker imports it
    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> torch.Tensor:
        return trilby.mean.fused(large(i))[0]


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_of_a_loader_after_the_parent_ran_one(start):
    wanted = trilby.mean.fused(large(0))[0]
    loader = DataLoader(Means(), batch_size=1, num_workers=2, multiprocessing_context=start)
    found = [batch[0] for batch in loader]
    assert torch.equal(found[0], wanted)
    assert torch.equal(found[5], trilby.mean.fused(large(5))[0])


def test_a_forked_child_with_threads_of_its_own():
    code = """
import os, torch, trilby
torch.set_num_threads(2)
x = torch.randn(8, 512, 64)
want = trilby.mean.fused(x)[0]
child = os.fork()
good = torch.equal(trilby.mean.fused(x)[0], want)
if child == 0:
    os._exit(0 if good else 1)
assert good and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("right")
"""
    assert result(child(code))[:2] == (0, "right")


def test_a_fork_waits_for_a_kernel_that_is_being_compiled():
    code = """
import os, signal, threading, time, torch, trilby
from numba.core.compiler_lock import global_compiler_lock
from trilby.kernels.machine import compiler
x = torch.randn(2, 9, 3)
inside, compile = threading.Event(), compiler.Kernel._compile
def slowly(self, element):
    with global_compiler_lock:
        inside.set()
        time.sleep(0.5)
        return compile(self, element)
compiler.Kernel._compile = slowly
other = threading.Thread(target=lambda: trilby.mean.fused(x))
other.start()
inside.wait()  # the compiler is at work, and holds its lock
child = os.fork()
if child == 0:
    signal.alarm(60)  # a lock that nobody will give back
    y = trilby.mean.fused(x.double())[0]  # another dtype, another compilation
    os._exit(0 if y.shape == x.shape else 1)
other.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("right")
"""
    assert result(child(code))[:2] == (0, "right")


def test_two_processes_compile_at_once(tmp_path):
    both = [child(ONE_CALL, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    assert [result(process)[:2] for process in both] == [(0, "right")] * 2
    assert result(child(ONE_CALL, NUMBA_CACHE_DIR=str(tmp_path)))[:2] == (0, "right")


def test_a_folder_that_cannot_be_written_is_survived():
    code, out, _ = result(child(ONE_CALL, NUMBA_CACHE_DIR="/proc/no/such/folder"))
    assert (code, out) == (0, "right")


def test_no_place_for_a_cache_is_said_and_survived():
    nowhere = "from numba.core.caching import CacheImpl; CacheImpl._locator_classes = []\n"
    code, out, err = result(child(nowhere + ONE_CALL))
    assert (code, out) == (0, "right")
    assert "kernel cache not usable" in err
    assert "set NUMBA_CACHE_DIR to a folder that can be written" in err
    assert "Traceback" not in err


def test_a_damaged_cache_is_said_and_survived(tmp_path):
    assert result(child(ONE_CALL, NUMBA_CACHE_DIR=str(tmp_path)))[0] == 0
    files = [path for path in Path(tmp_path).rglob("*") if path.is_file()]
    assert files, "nothing was cached, so nothing is tested"
    for path in files:
        path.write_bytes(path.read_bytes()[:10])
    code, out, err = result(child(ONE_CALL, NUMBA_CACHE_DIR=str(tmp_path)))
    assert (code, out) == (0, "right")
    assert "kernel cache not usable" in err


def test_a_program_on_disk_is_not_taken_when_what_it_calls_has_changed(tmp_path):
    from trilby.kernels.cpu.fading_memory.programs import RECUR
    from trilby.kernels.machine.compiler import fingerprint

    assert RECUR._source.__qualname__.endswith(
        f".{fingerprint(Path(team.__file__).parent.parent):08x}"
    )
    seen = set()
    for text in ("a = 1", "a = 2"):
        folder = tmp_path / text[-1]
        folder.mkdir()
        (folder / "calls.py").write_text("b = 1")
        (folder / "called.py").write_text(text)
        seen.add(fingerprint(folder))
    assert len(seen) == 2


def test_an_interrupt_in_the_middle_leaves_a_working_library():
    code = """
import signal, torch, trilby
x = torch.randn(8, 4096, 512)
trilby.mean.fused(x)
print("ready", flush=True)
try:
    while True:
        trilby.mean.fused(x)
except KeyboardInterrupt:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
small = x[:, :512, :64]
torch.testing.assert_close(  # one unit of rounding: the kernel multiplies by 1 / n
    trilby.mean.fused(small)[0], trilby.mean.scan(small)[0], rtol=2**-23, atol=0
)
print("right")
"""
    process = child(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert result(process)[:2] == (0, "right")


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["the team of torch", "a pool"])
def crew(request, monkeypatch, two_threads):
    if request.param == "a pool":
        monkeypatch.setattr(team, "there", lambda: False)
    elif not team.there():
        pytest.skip("torch has no team of GNU OpenMP here")
    return request.param


def test_an_error_in_one_part_ends_the_others_before_it_is_raised(crew):
    ended, begun = [], threading.Event()

    def slow() -> None:
        begun.set()
        time.sleep(0.2)
        ended.append(1)

    def fails() -> None:
        begun.wait(60)
        raise RuntimeError("one part")

    with pytest.raises(RuntimeError, match="one part"):
        threads.spread([fails, slow, lambda: ended.append(2)])
    assert ended[:1] == [1]


def test_every_part_runs_once_whoever_takes_it(crew):
    done = []
    for n in (1, 2, 3, 64):
        threads.spread([partial(done.append, i) for i in range(n)])
        assert sorted(done) == list(range(n))
        done.clear()


def test_an_interrupt_ends_the_parts_that_run_and_begins_no_other(crew):
    begun, ended = threading.Event(), []

    def slow() -> None:
        begun.set()
        time.sleep(0.2)
        ended.append(1)

    def interrupted() -> None:
        begun.wait(60)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        threads.spread([interrupted, slow])
    assert ended == [1]


def test_a_fork_after_the_team_ran_leaves_parent_and_child_able_to_use_torch():
    code = """
import os, signal, torch, trilby
torch.set_num_threads(2)
x = torch.randn(8, 4096, 512)
wanted = trilby.mean.fused(x)[0], (x + 1).sum()  # large enough for threads, ours and torch's
for _ in range(3):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
    good = torch.equal(trilby.mean.fused(x)[0], wanted[0]) and (x + 1).sum() == wanted[1]
    if child == 0:
        os._exit(0 if good else 1)
    assert good and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("right")
"""
    assert result(child(code))[:2] == (0, "right")
