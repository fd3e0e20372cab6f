"""The compiled loop that runs the parts of a kernel, on torch's team of threads and on a pool."""

import ctypes
import gc
import os
import signal
import threading
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from numba import types

from trilby.kernels.machine import team, threads
from trilby.kernels.machine.compiler import Kernel
from trilby.kernels.machine.loop import arguments
from trilby.kernels.simd.places import row


@pytest.fixture(params=["the team of torch", "a pool"])
def crew(request, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    if request.param == "a pool":
        monkeypatch.setattr(team, "there", lambda: False)
    elif not team.there():
        pytest.skip(team.found().why)
    yield request.param
    torch.set_num_threads(before)


def python(part):
    """A program that calls `part(told, row, scratch)`; it takes the lock of the interpreter."""
    number = ctypes.c_int64
    function = ctypes.CFUNCTYPE(None, number, number, number)(part)
    return SimpleNamespace(address=ctypes.cast(function, ctypes.c_void_p).value, alive=function)


def number(address):
    return ctypes.c_int64.from_address(address).value


def counted(told, part, counts):
    (none,) = told[0]
    number, steps = part[0]
    found = none
    for i in range(steps):
        found = (found ^ i) * 3
    row(counts, none, number)[0] += 1 if found != 1 else 2  # it is never 1; the loop cannot go


COUNTED = Kernel(counted, lambda kind: arguments((kind,), 2))


def counts(rows, steps):
    """How often each row was worked on: each thread counts in scratch memory of its own."""
    found = np.zeros((2, rows), np.int64)
    parts = [(number, steps) for number in range(rows)]
    scratch = found.ctypes.data, found.strides[0]
    threads.spread(COUNTED.of(types.int64), [0], parts, 2, scratch, found)
    return found.sum(0)


def test_every_part_runs_once_whoever_takes_it(crew):
    for rows in (1, 2, 3, 64):
        assert (counts(rows, 5) == 1).all()


def tallied(told, _part, counts):
    row(counts, told[0][0], 0)[0] += 1


TALLIED = Kernel(tallied, lambda kind: arguments((kind,), 0))


def test_threads_that_compete_take_each_part_once(crew):
    parts, program = [()] * 1_000_000, TALLIED.of(types.int64)
    for _ in range(20):
        found = np.zeros((2, 64), np.int64)  # each thread has its own line of the cache
        threads.spread(program, [0], parts, 2, (found.ctypes.data, found.strides[0]), found)
        assert found.sum() == len(parts)
        if found[:, 0].all():  # both threads took parts
            return
    pytest.skip("one thread was always late")


def test_a_program_is_given_what_it_is_told_and_its_row(crew):
    seen = []
    program = python(lambda told, part, _: seen.append((number(told + 8), number(part + 16))))
    threads.spread(program, [7, -8], [(0, 0, 3), (0, 0, -4), (0, 0, 5)], 2)
    assert sorted(seen) == [(-8, -4), (-8, 3), (-8, 5)]


def test_no_more_threads_than_wanted_take_parts(crew):
    torch.set_num_threads(6)  # a team of six, or a pool
    took = set()

    def part(*_):
        took.add(threading.get_ident())
        time.sleep(0.01)

    for wanted in (1, 2, 3):
        threads.spread(python(part), [], [(i,) for i in range(12)], wanted)
        assert 1 <= len(took) <= wanted
        took.clear()


def test_threads_that_work_at_once_have_scratch_memory_of_their_own(crew):
    both, found = threading.Barrier(2, timeout=60), []

    def part(_told, _row, scratch):
        both.wait()  # two threads are here at once
        found.append((threading.get_ident(), scratch))

    threads.spread(python(part), [], [(i,) for i in range(8)], 2, (4096, 64))
    assert len(found) == 8
    assert {scratch for _, scratch in found} == {4096, 4096 + 64}
    assert len(set(found)) == 2, "a thread changed its scratch memory, or two have the same"


def interrupted(work):
    """Whether an interrupt that comes while `work` runs is raised, there or soon after it."""
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        work()
        timer.join(60)
        time.sleep(1)  # Python handles it here at the latest
    except KeyboardInterrupt:
        return True
    return False


@pytest.fixture
def interrupts():
    """Interrupts raise here, also where the process was started without them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_is_raised_when_the_whole_launch_has_ended(crew, interrupts):
    assert counts(2, 5).tolist() == [1, 1]  # compiled
    started = time.perf_counter()
    counts(1, 10_000_000)
    steps = int(10_000_000 * 0.2 / (time.perf_counter() - started))  # 0.2 seconds for each part
    found = np.zeros(8, np.int64)
    parts, program = [(number, steps) for number in range(8)], COUNTED.of(types.int64)
    scratch = found.ctypes.data, 0  # of both threads
    assert interrupted(lambda: threads.spread(program, [0], parts, 2, scratch, found))
    assert (found == 1).all()


def test_an_interrupt_waits_for_the_threads_of_the_pool(interrupts):
    begun, ended, here = threading.Event(), [], threading.get_ident()

    def run(_table):
        if threading.get_ident() == here:
            assert begun.wait(60)
        else:
            begun.set()
            time.sleep(0.3)
            ended.append(1)

    assert interrupted(lambda: threads.pooled(run, 0, 1, None))
    assert ended == [1]


def test_a_thread_that_the_caller_does_not_know_of_keeps_its_memory(monkeypatch):
    begun, go_on, pool = threading.Event(), threading.Event(), threads._threads()

    def submit(*work):
        pool.submit(*work)
        raise KeyboardInterrupt  # before the caller has noted what it began

    def run(_table):
        begun.set()
        go_on.wait(60)

    monkeypatch.setattr(threads, "_threads", lambda: SimpleNamespace(submit=submit))
    memory = np.zeros(3)
    kept = weakref.ref(memory)
    with pytest.raises(KeyboardInterrupt):
        threads.pooled(run, 0, 1, memory)
    del memory
    assert begun.wait(60)
    gc.collect()
    assert kept() is not None
    go_on.set()
    for _ in range(600):
        if kept() is None:
            break
        time.sleep(0.1)
    assert kept() is None
