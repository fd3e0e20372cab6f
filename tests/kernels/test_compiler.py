"""What is compiled anew and what comes from disk, what a person is told meanwhile, and forks."""

import contextlib
import ctypes
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

import numba

from trilby.kernels.machine import compiler, fork, notice, whole

PACKAGE = {
    "__init__": "",
    "doubles": """
from .calls import (
    twice,
)
def doubles(x, n):
    for i in range(n):
        x[i] = twice(x[i])
""",
    "calls": "import numba\nfrom .number import TWO\n@numba.njit\ndef twice(x): return TWO * x\n",
    "number": "TWO = 2\n",
    "other": "from .number import TWO\n",
}


def arguments(element):
    return numba.types.CPointer(element), numba.types.int64


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a kernel in files of its own; call it to compile, or load, the kernel anew."""
    folder = tmp_path / "little"
    folder.mkdir()
    for name, text in PACKAGE.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load():
        compiler.fingerprint.cache_clear()
        compiler._imported.cache_clear()
        for name in [name for name in sys.modules if name.partition(".")[0] == "little"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        source = importlib.import_module("little.doubles").doubles
        kernel = compiler.Kernel(source, arguments)
        program, x = kernel.of(numba.float64), np.ones(2)
        program.ctypes(x.ctypes.data_as(ctypes.POINTER(ctypes.c_double)), 2)
        return x.tolist(), program.cache_hits

    yield folder, load
    for name in [name for name in sys.modules if name.partition(".")[0] == "little"]:
        del sys.modules[name]


def programs(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.nb[ic]"))


def test_a_program_is_compiled_anew_when_a_file_that_it_reaches_changed_and_the_old_one_goes(
    package,
):
    folder, load = package
    assert load() == ([2, 2], 0)
    assert load() == ([2, 2], 1)
    first = programs(folder)
    (folder / "number.py").write_text("TWO = 3\n")  # two imports away
    assert load() == ([3, 3], 0)
    assert load() == ([3, 3], 1)
    assert len(programs(folder)) == len(first) == 2
    assert not set(programs(folder)) & set(first)


def test_a_change_in_a_file_that_a_kernel_does_not_reach_compiles_nothing(package):
    folder, load = package
    assert load() == ([2, 2], 0)
    (folder / "other.py").write_text("THREE = 3\n")
    (folder / "__init__.py").write_text("'text'\n")
    assert load() == ([2, 2], 1)


def test_the_programs_of_another_kernel_of_the_file_are_left(package):
    folder, load = package
    load()
    (old,) = folder.rglob("*.nbi")
    kept = old.with_name(old.name.replace(".doubles.", ".doubles_of.").replace("-", "0-", 1))
    kept.write_bytes(b"of another")
    (folder / "number.py").write_text("TWO = 3\n")
    load()
    assert kept.exists()
    assert not old.exists()


def test_the_kernels_of_a_mixer_do_not_depend_on_those_of_another():
    from trilby.kernels.cpu.fading_memory import launch
    from trilby.kernels.cpu.prefix_mean import _prefix_rows

    mean = compiler.files(Path(_prefix_rows._source.__code__.co_filename))
    decay = compiler.files(Path(launch.__file__))
    both = {f"{file.parent.name}/{file.name}" for file in mean & decay}
    assert {name.partition("/")[0] for name in both} == {"simd"}
    assert "simd/vector.py" in both
    assert len(mean - decay) > 1
    assert len(decay - mean) > 1


SLOW = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import numba, numpy as np
from trilby.kernels.machine import notice
from trilby.kernels.machine.compiler import Kernel
from little.doubles import doubles
notice.PATIENCE /= 5
def slowly(element):
    if len(sys.argv) > 2 and os.fork() == 0:  # the child compiles as well
        sys.argv.pop()
        Kernel(doubles, slowly).of(element)
        os._exit(0)
    time.sleep(1.5)
    os.write(1, b"waited\\n")
    return numba.types.CPointer(element), numba.types.int64
Kernel(doubles, slowly).of(numba.float32)
if len(sys.argv) > 2:
    os.wait()
"""
SAID = "trilby: compiling the kernel little for float32, once for this machine; kept in "


def test_a_person_at_a_terminal_is_told_of_a_compilation_once_while_it_lasts(package):
    assert notice.PATIENCE == 1
    pty = pytest.importorskip("pty")
    folder, _ = package
    screen, terminal = pty.openpty()
    run = [sys.executable, "-c", SLOW, str(folder.parent), "fork"]
    process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    text = os.read(screen, 4096).decode()
    told = time.monotonic()
    out, _ = process.communicate(timeout=90)
    assert process.returncode == 0
    assert time.monotonic() - told > 0.2, "said when the waiting was over"
    with contextlib.suppress(OSError):  # nothing more was written
        text += os.read(screen, 4096).decode()
    os.close(screen)
    assert text.startswith(SAID)
    assert text.count("\n") == 1
    assert Path(text.removesuffix("\r\n").partition("kept in ")[2]).is_relative_to(folder)
    assert out == b"waited\nwaited\n"


def test_nothing_is_said_of_a_compilation_that_is_over_soon(monkeypatch):
    said = []
    monkeypatch.setattr(notice, "_terminal", lambda: True)
    monkeypatch.setattr(notice, "_say", said.append)
    monkeypatch.setattr(notice, "PATIENCE", 0.2)
    with notice.notice("mine", "float32", "/folder"):
        pass
    time.sleep(0.4)
    assert said == []


def test_nothing_is_said_of_a_compilation_where_nobody_is_at_a_terminal(package):
    folder, _ = package
    run = [sys.executable, "-c", SLOW, str(folder.parent)]
    found = subprocess.run(run, capture_output=True, timeout=90, check=True)
    assert (found.stdout, found.stderr) == (b"waited\n", b"")


NAMES = (
    "llvmlite.binding.ffi:lib",
    "llvmlite.binding.ffi:lib._lock",
    "numba.core.compiler_lock:global_compiler_lock",
    "numba.core.compiler_lock:global_compiler_lock._lock",
    "numba.core.registry:cpu_target.typing_context",
    "numba.core.registry:cpu_target.typing_context.callstack",
    "numba.core.registry:cpu_target.typing_context.refresh",
    "numba.core.registry:cpu_target.target_context.refresh",
    "numba.core.typing.context:CallStack",
    "numba.core.dispatcher:CompilingCounter",
)


@pytest.mark.parametrize("name", NAMES)
def test_the_compiler_may_lack_a_private_name(name, monkeypatch):
    module, _, path = name.partition(":")
    owner, (*parents, last) = importlib.import_module(module), path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    assert fork.inside() is not None
    for place in (owner, *type(owner).__mro__):  # a method, a property or a slot is in a class
        with contextlib.suppress(AttributeError):  # it holds no names of its own
            if last in object.__getattribute__(place, "__dict__") and hasattr(owner, last):
                monkeypatch.delattr(place, last)
    assert fork.inside() is None


LACKS = """
import os, sys, threading, time
sys.path.insert(0, sys.argv[1])
import numba
from numba.core.typing import context
mine = context.CallStack
del context.CallStack
from trilby.kernels.machine import fork
context.CallStack = mine  # numba itself needs it
from trilby.kernels.machine.compiler import Kernel
from little.doubles import doubles
inside = threading.Event()
def slowly(element):
    inside.set()
    time.sleep(1)
    return numba.types.CPointer(element), numba.types.int64
kernel = Kernel(doubles, slowly)
other = threading.Thread(target=kernel.of, args=(numba.float32,))
other.start()
inside.wait()
child = os.fork()
done = numba.float32 in kernel._programs
kernel.of(numba.float64)
if child == 0:
    os._exit(0 if done else 1)
print(fork._inside, done, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_without_a_private_name_a_fork_waits_until_the_compilation_has_ended(package):
    folder, _ = package
    run = [sys.executable, "-W", "ignore", "-c", LACKS, str(folder.parent)]
    found = subprocess.run(run, capture_output=True, text=True, timeout=90, check=False)
    assert (found.stdout.split(), found.stderr) == (["None", "True", "0"], "")


def test_only_the_kernel_becomes_machine_code(monkeypatch):
    """And a function that is called through three others is optimised with the kernel alone."""
    from numba.core.codegen import JITCodeLibrary

    @compiler.inner()
    def one(x):
        return x + 1

    @compiler.inner()
    def two(x):
        return one(x) * 2

    @compiler.inner()
    def three(x):
        return two(x) - 3

    def four(line):
        line[0] = three(line[0])

    made, optimised = [], []
    add, run = JITCodeLibrary._finalize_specific, JITCodeLibrary._optimize_final_module
    monkeypatch.setattr(
        JITCodeLibrary, "_finalize_specific", lambda self: made.append(self.name) or add(self)
    )
    monkeypatch.setattr(
        JITCodeLibrary,
        "_optimize_final_module",
        lambda self: optimised.append(self.name) or run(self),
    )
    line = numba.types.CPointer(numba.float64)
    program = numba.cfunc(numba.void(line), **compiler._OPTIONS)(four)
    x = np.full(1, 5.0)
    program.ctypes(x.ctypes.data_as(ctypes.POINTER(ctypes.c_double)))
    assert x.item() == 9
    assert [name.rpartition(".")[2] for name in made] == ["four"]
    assert [name.rpartition(".")[2] for name in optimised] == ["one", "two", "four"]


@pytest.mark.parametrize(
    "name", ["_dynfunc.make_function", "core.codegen.CPUCodeLibrary._finalize_final_module"]
)
def test_without_a_private_name_numba_compiles_in_its_own_way(name, monkeypatch):
    assert whole.pipeline() is not numba.core.compiler.Compiler
    monkeypatch.delattr(f"numba.{name}")
    assert whole.pipeline.__wrapped__() is numba.core.compiler.Compiler
