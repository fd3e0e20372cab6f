"""Kernels under rough conditions: the right result or a clear error, never an abort or a hang."""

import os
import signal
import subprocess
import sys
import threading
import time
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


DOUBLES = """
import numba
@numba.njit
def twice(value):
    return 2 * value
def doubles(x, n):
    for i in range(n):
        x[i] = twice(x[i])
"""


def test_a_fork_does_not_wait_for_a_compilation_and_the_child_compiles_for_itself(tmp_path):
    (tmp_path / "doubles.py").write_text(DOUBLES)
    code = """
import os, signal, sys, threading, time
import numba, numpy as np
from numba.core.typeinfer import TypeInferer
sys.path.insert(0, os.environ["NUMBA_CACHE_DIR"])
from doubles import doubles
from trilby.kernels.machine.compiler import Kernel
kernel = Kernel(doubles, lambda element: (numba.types.CPointer(element), numba.int64))
inside, go_on, propagate = threading.Event(), threading.Event(), TypeInferer.propagate
def slowly(self, raise_errors=True):
    if threading.current_thread() is other and len(self.context.callstack) > 1:
        inside.set()  # a function that the kernel calls is half compiled, every lock is held
        go_on.wait(60)
    return propagate(self, raise_errors)
def works(element=numba.float32, dtype=np.float32):
    x = np.ones(3, dtype)
    kernel.of(element).ctypes(np.ctypeslib.as_ctypes(x), 3)
    return x.tolist() == [2, 2, 2]
TypeInferer.propagate = slowly
other = threading.Thread(target=works)
other.start()
assert inside.wait(60)
before = time.perf_counter()
child = os.fork()
waited = time.perf_counter() - before
if child == 0:
    signal.alarm(40)  # a lock that nobody will give back
    os._exit(0 if works() and works(numba.float64, np.float64) else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
go_on.set()
other.join()
assert works() and works(numba.float64, np.float64)
print("right", code, waited < 1)
"""
    found = result(child(code, NUMBA_CACHE_DIR=str(tmp_path)))
    assert found[:2] == (0, "right 0 True"), found


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


@pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    reason="this process ignores interrupts, as a shell's job in the background does",
)
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


CALLS = {
    "rows": lambda: trilby.mean.fused(torch.ones(8, 512, 64)),
    "series": lambda: trilby.mean.fused(torch.ones(1, 1 << 17, 1)),  # two launches, one cut
    "documents": lambda: trilby.mean.fused(
        torch.ones(8, 512, 64), documents=torch.zeros(8, 512, dtype=torch.int64)
    ),
    "fading memories": lambda: trilby.decay.fused(
        *[torch.ones(1, 512, 4, 64)] * 3, torch.zeros(1, 512, 4)
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_launch_asks_once_how_many_threads_there_are(call, monkeypatch):
    asked, used, spread = [], [], threads.spread
    monkeypatch.setattr(threads, "count", lambda: asked.append(1) or 2)
    monkeypatch.setattr(threads, "spread", lambda *a, **k: used.append(a[3]) or spread(*a, **k))
    call()
    assert asked == [1]
    assert set(used) == {2}


TASKS = """
import os, torch, trilby
from trilby.kernels.machine import team
assert team.there(), team.found().why
torch.set_num_threads(8)
x = torch.randn(2, 512, 64)
trilby.mean.fused(torch.randn(8, 512, 64))
(torch.randn(1 << 22) + 1).sum()  # torch gathers its team
tasks = lambda: len(os.listdir("/proc/self/task"))
before = tasks()
for few in (x, x[:1], torch.randn(8, 512, 64)):
    trilby.mean.fused(few)
    assert torch.get_num_threads() == 8
with team.single():
    torch.randn(1 << 20) + 1
print(before >= 8, tasks() - before)
"""


@pytest.mark.skipif(not team.there(), reason=team.found().why)
def test_a_call_of_few_parts_leaves_torch_all_of_its_threads():
    assert result(child(TASKS))[:2] == (0, "True 0")


@pytest.mark.skipif(not team.there(), reason=team.found().why)
def test_another_package_s_openmp_in_the_process_is_not_taken_for_torch_s(monkeypatch):
    class Other:
        """GNU OpenMP of another package: what is set there, torch does not see."""

        most = 3

        def omp_get_max_threads(self) -> int:
            return self.most

        def omp_set_num_threads(self, n: int) -> None:
            self.most = n

    other, mine = Other(), torch.get_num_threads()
    assert team._of_torch(team.found().library)
    assert not team._of_torch(other)
    assert (other.most, torch.get_num_threads()) == (3, mine)
    monkeypatch.setattr(team, "_of_torch", lambda _library: False)
    library, why = team._library.__wrapped__()
    assert library is None
    assert why.startswith("torch computes on another OpenMP than ")


WHICH = """
import torch, trilby
from trilby.kernels.machine import team, threads
torch.set_num_threads(2)
print(trilby.mean.fused(torch.ones(8, 4096, 64))[0].sum().item(), team.found().why)
print(threads._pool is not None)
"""


def test_the_pool_is_used_where_the_environment_says_so():
    code, out, _ = result(child(WHICH, TRILBY_THREADS="pool"))
    assert (code, out.split()) == (0, ["2097152.0", "TRILBY_THREADS=pool", "True"])


def test_another_word_in_the_environment_is_an_error_of_one_line():
    code, _, err = result(child(WHICH, TRILBY_THREADS="gang"))
    assert code == 1
    said = "TRILBY_THREADS is 'gang', expected pool, or nothing for the threads of torch"
    assert said in err.splitlines()[-1]


def test_a_fork_after_the_team_ran_leaves_parent_and_child_able_to_use_torch():
    if not team.there():  # then torch itself waits for ever in a forked child
        pytest.skip(team.found().why)
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
